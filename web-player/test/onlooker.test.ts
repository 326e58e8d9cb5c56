import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Onlooker } from '../src/player/onlooker';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function rig() {
  const log: string[] = [];
  const onlooker = new Onlooker({
    wantPicture: (wanted) => log.push(wanted ? 'picture' : 'no picture'),
    back: (afterLong) => log.push(afterLong ? 'back after long' : 'back'),
  });
  return { log, onlooker };
}

const never = (): boolean => false;

it('is gone when the page is hidden for a while, and back when it is looked at', () => {
  const { log, onlooker } = rig();
  onlooker.changed(true, never);
  vi.advanceTimersByTime(4_900);
  expect(log).toEqual([]);
  vi.advanceTimersByTime(200);
  onlooker.changed(false, never);
  expect(log).toEqual(['no picture', 'back']);
});

it('who only glanced elsewhere was never gone', () => {
  const { log, onlooker } = rig();
  onlooker.changed(true, never);
  vi.advanceTimersByTime(1_000);
  onlooker.changed(false, never);
  vi.advanceTimersByTime(60_000);
  expect(log).toEqual(['back']);
});

it('looks at a picture in picture', () => {
  const { log, onlooker } = rig();
  onlooker.changed(true, () => true);
  vi.advanceTimersByTime(6_000);
  expect(log).toEqual(['picture']);
});

it('tells whether the page was hidden for long, and is not back who was never away', () => {
  const { log, onlooker } = rig();
  onlooker.changed(false, never);
  onlooker.changed(true, never);
  vi.advanceTimersByTime(301_000);
  onlooker.changed(false, never);
  expect(log).toEqual(['no picture', 'back after long']);
});
