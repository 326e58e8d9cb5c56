import { expect, it } from 'vitest';
import { limit, lines } from '../src/element/stats';
import { decodeFrame } from '../src/gateway/protocol';
import { rates } from '../src/player/figures';
import type { Counters, Figures, ServerFigures } from '../src/player/figures';
import { INITIAL, reduce } from '../src/player/state';

const NOTHING: Figures = {
  codec: null, width: null, height: null, fps: null, bitrateBps: null, loss: null, roundTripMs: null, jitterMs: null,
  bufferMs: null, framesDropped: null,
};
const SERVER: ServerFigures = {
  layer: null, cap: null, estimateBps: null, roundTripMs: null, transport: null, srtpProfile: null, resent: null, addedMs: null,
};

function counters(at: number, more: Partial<Counters> = {}): Counters {
  return { at, bytes: 0, packets: 0, lost: 0, frames: 0, jitterBufferDelayS: 0, jitterBufferEmitted: 0, ...more };
}

it('makes rates of two looks, and of one none', () => {
  const now = counters(2_000, { bytes: 250_000, packets: 190, lost: 10, frames: 60, jitterBufferDelayS: 3, jitterBufferEmitted: 60 });
  expect(rates(counters(0), now)).toEqual({ fps: 30, bitrateBps: 1_000_000, loss: 0.05, bufferMs: 50 });
  expect(rates(null, now)).toEqual({ fps: null, bitrateBps: null, loss: null, bufferMs: null });
  expect(rates(now, now).fps).toBeNull();
});

it('does not take packets that came late for a gain', () => {
  expect(rates(counters(0, { packets: 100, lost: 5 }), counters(1_000, { packets: 200, lost: 3 })).loss).toBe(0);
});

it('leaves out what nobody knows', () => {
  expect(lines(INITIAL, null, null)).toEqual([{ name: 'Mode', value: 'none' }]);
});

it('says what is known, in words', () => {
  const figures: Figures = {
    codec: 'H264 + opus', width: 1280, height: 720, fps: 29.97, bitrateBps: 2_512_000, loss: 0.004, roundTripMs: 23.4,
    jitterMs: 2.2, bufferMs: 48, framesDropped: 3,
  };
  const server: ServerFigures = {
    layer: 'h', cap: 'smallest', estimateBps: 480_000, roundTripMs: 25, transport: 'udp', srtpProfile: 'SRTP_AEAD_AES_128_GCM',
    resent: 7, addedMs: 0.42,
  };
  const state = { ...INITIAL, latencyMs: 212, viewers: 3, path: { ...INITIAL.path, shown: 'webrtc' as const } };
  expect(Object.fromEntries(lines(state, figures, server).map(({ name, value }) => [name, value]))).toEqual({
    Mode: 'WebRTC',
    Codec: 'H264 + opus',
    Size: '1280 × 720, layer h, smallest layer only: the server is busy',
    Frames: '30 per second, 3 dropped',
    'Bit rate': '2.5 Mbit/s',
    Loss: '0.4 %, 7 sent again',
    'Round trip': '23 ms',
    Estimate: '480 kbit/s',
    Buffer: '48 ms, jitter 2 ms',
    Latency: '212 ms',
    'Server adds': '0.4 ms',
    Connection: 'UDP, AES-GCM',
    Viewers: '3',
  });
});

it('takes the round trip of whoever knows it', () => {
  const trip = (figures: Figures, server: ServerFigures): string | undefined =>
    lines(INITIAL, figures, server).find(({ name }) => name === 'Round trip')?.value;
  expect(trip(NOTHING, { ...SERVER, roundTripMs: 31 })).toBe('31 ms');
  expect(trip({ ...NOTHING, roundTripMs: 12 }, { ...SERVER, roundTripMs: 31 })).toBe('12 ms');
  expect(trip(NOTHING, SERVER)).toBeUndefined();
});

it('reads the server’s answer, and lives with less', () => {
  const frame = decodeFrame({
    type: 'rtc.stats', re: 4, pc: 'pc1', addedMs: 0.3,
    stats: { transport: 'udp', rttMs: 12.5, layer: '', cap: 'full', audio: { resent: 1 }, video: { resent: 2 } },
  });
  expect(frame).toEqual({
    type: 'rtc.stats', re: 4, pc: 'pc1',
    stats: { ...SERVER, transport: 'udp', roundTripMs: 12.5, layer: '', cap: 'full', resent: 3, addedMs: 0.3 },
  });
  expect(decodeFrame({ type: 'rtc.stats', re: 4, pc: 'pc1' })).toEqual({ type: 'rtc.stats', re: 4, pc: 'pc1', stats: { ...SERVER, resent: 0 } });
  expect(decodeFrame({ type: 'rtc.stats', pc: 'pc1' })).toBeNull();
});

it('tells why a picture is small or missing while the server is busy', () => {
  expect([limit(null), limit('full')]).toEqual([null, null]);
  expect(limit('off')).toContain('sound only');
  const started = reduce(INITIAL, { type: 'path', event: { type: 'start', preference: 'auto', webrtc: true } }, 0);
  const capped = reduce(started, { type: 'cap', cap: 'off' }, 0);
  expect(capped.cap).toBe('off');
  expect(reduce(capped, { type: 'cap', cap: null }, 0).cap).toBeNull();
  // What one peer was spared says nothing of HLS, or of the next peer.
  expect(reduce(capped, { type: 'path', event: { type: 'fallback', reason: 'busy', url: null } }, 0).cap).toBeNull();
});
