import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ICE_BY_MS, WARM_HLS_AFTER_MS } from '../src/player/path';
import { INITIAL, reduce } from '../src/player/state';
import type { PlayerState } from '../src/player/state';
import { Ticker } from '../src/player/ticker';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** A player that begins, and whose page can be kept from looking at the clock. */
function rig() {
  let late = 0;
  const clock = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => clock() + late);
  const began = performance.now();
  let state: PlayerState = reduce(INITIAL, { type: 'path', event: { type: 'start', preference: 'auto', webrtc: true } }, began);
  const told: string[] = [];
  const ticker = new Ticker(() => state, () => false, (event) => {
    told.push(`${event.type} ${performance.now() - began}`);
    state = reduce(state, { type: 'path', event }, performance.now());
  });
  ticker.set();
  return { ticker, told, busy: (ms: number) => (late += ms) };
}

it('tells the time at each deadline', () => {
  const { told } = rig();
  vi.advanceTimersByTime(ICE_BY_MS);
  expect(told).toEqual([`tick ${WARM_HLS_AFTER_MS}`, `tick ${ICE_BY_MS}`]);
});

it('gives the sources of a busy page time to say what came meanwhile, once', () => {
  const { told, busy } = rig();
  vi.advanceTimersByTime(WARM_HLS_AFTER_MS - 1);
  busy(1_000);
  vi.advanceTimersByTime(599);
  busy(1_000);
  expect(told).toEqual([]);
  vi.advanceTimersByTime(2);
  expect(told).toHaveLength(1);
});

it('is silent once it is stopped', () => {
  const { ticker, told } = rig();
  ticker.stop();
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual([]);
});
