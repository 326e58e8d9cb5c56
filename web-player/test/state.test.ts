import { describe, expect, it } from 'vitest';
import { fromCapture, fromParts, fromPlayout, fromProgramDate, smooth } from '../src/player/latency';
import { INITIAL, badge, phase, reasonFrom, reduce } from '../src/player/state';
import type { PlayerEvent, PlayerState } from '../src/player/state';

const STREAM = { id: 's1', startedAt: 1, title: null };
const START: PlayerEvent = { type: 'path', event: { type: 'start', preference: 'auto', webrtc: true } };
const LIVE: PlayerEvent = { type: 'live', stream: STREAM, preference: 'auto', webrtc: true };
const FRAME: PlayerEvent = { type: 'path', event: { type: 'frame', via: 'webrtc' } };

function run(...events: PlayerEvent[]): PlayerState {
  return events.reduce((state, event, index) => reduce(state, event, index * 100), INITIAL);
}

describe('the words of the page', () => {
  it.each<[string, string, PlayerEvent[]]>([
    ['connecting', 'at load', [START]],
    ['playing', 'with a frame', [START, LIVE, FRAME]],
    ['playing', 'with a frame before the gateway said a word', [START, FRAME]],
    ['offline', 'when nobody is live', [START, { type: 'notLive' }]],
    ['ended', 'when the stream ends', [START, LIVE, FRAME, { type: 'ended' }]],
    ['offline', 'when an offline channel ends again', [START, { type: 'notLive' }, { type: 'ended' }]],
    ['away', 'while the encoder is away', [START, LIVE, FRAME, { type: 'away', away: true }]],
    ['playing', 'when the encoder is back', [START, LIVE, FRAME, { type: 'away', away: true }, { type: 'away', away: false }, FRAME]],
    ['reconnecting', 'until the first frame of an encoder that is back', [START, LIVE, FRAME, { type: 'away', away: true }, { type: 'away', away: false }]],
    ['away', 'while the last frames come out of the buffer', [START, LIVE, FRAME, { type: 'away', away: true }, FRAME]],
    ['ended', 'when a refusal overtakes the word that the stream ended', [START, LIVE, FRAME, { type: 'notLive' }]],
    ['reconnecting', 'when ICE is interrupted', [START, LIVE, FRAME, { type: 'path', event: { type: 'ice', state: 'disconnected' } }]],
    ['paused', 'when paused', [START, LIVE, FRAME, { type: 'paused', paused: true }]],
    ['connecting', 'when the next stream begins', [START, { type: 'notLive' }, LIVE]],
  ])('%s %s', (word, _when, events) => {
    expect(phase(run(...events))).toBe(word);
  });
});

it('a picture that moves on says that the encoder is back', () => {
  let state = run(START, LIVE, FRAME, { type: 'away', away: true });
  for (let now = 400; now < 6_000; now += 500) state = reduce(state, FRAME, now);
  expect(phase(state)).toBe('playing');
});

describe('a reconnected gateway', () => {
  it('that names the same stream leaves the picture alone', () => {
    const before = run(START, LIVE, FRAME);
    expect(reduce(before, LIVE, 9_000).path).toBe(before.path);
  });

  it('that names another stream starts anew', () => {
    const after = reduce(run(START, LIVE, FRAME), { ...LIVE, stream: { ...STREAM, id: 's2' } }, 9_000);
    expect(after.path.webrtc).toMatchObject({ state: 'connecting', attempt: 2 });
  });

  it('does not interrupt what was begun at load', () => {
    expect(run(START, LIVE).path.webrtc.attempt).toBe(1);
  });
});

describe('the badge', () => {
  const late = (state: PlayerState, via: 'webrtc' | 'hls', latencyMs: number): PlayerState => reduce(state, { type: 'latency', via, latencyMs }, 9_999);

  it('says nothing before a picture, and no figure before a measurement', () => {
    expect(badge(run(START))).toBeNull();
    expect(badge(run(START, FRAME))).toEqual({ short: 'WebRTC', why: null });
  });

  it('WebRTC 0.2 s', () => {
    expect(badge(late(run(START, FRAME), 'webrtc', 187))).toEqual({ short: 'WebRTC 0.2 s', why: null });
  });

  it('HLS 2.4 s because …', () => {
    const hls: PlayerEvent = { type: 'path', event: { type: 'frame', via: 'hls' } };
    const fallback = (reason: 'udp_blocked' | 'b_frames'): PlayerEvent => ({ type: 'path', event: { type: 'fallback', reason, url: null } });
    expect(badge(late(run(START, fallback('udp_blocked'), hls), 'hls', 2_400))).toEqual({ short: 'HLS 2.4 s', why: 'because this network blocks UDP, and WebRTC by TCP' });
    expect(badge(run(START, fallback('b_frames'), hls))?.why).toBe('because the encoder uses B-frames (set B-frames to 0)');
  });

  it('ignores figures of the way that is not on screen', () => {
    expect(late(run(START, FRAME), 'hls', 2_400).latencyMs).toBeNull();
  });

  it('shows no figure of a picture that stands still', () => {
    const playing = late(run(START, LIVE, FRAME), 'webrtc', 187);
    const stalled = reduce(playing, { type: 'path', event: { type: 'ice', state: 'disconnected' } }, 9_999);
    expect(badge(stalled)?.short).toBe('WebRTC');
    expect(stalled.latencyMs).toBeNull();
    expect(badge(reduce(playing, { type: 'away', away: true }, 9_999))?.short).toBe('WebRTC');
    expect(badge({ ...playing, paused: true })?.short).toBe('WebRTC');
  });

  it('does not carry the figure of one way to the other', () => {
    const playing = late(run(START, LIVE, FRAME), 'webrtc', 187);
    const events = [{ type: 'fallback', reason: 'b_frames', url: null }, { type: 'frame', via: 'hls' }] as const;
    const hls = events.reduce<PlayerState>((state, event) => reduce(state, { type: 'path', event }, 10_000), playing);
    expect(badge(hls)?.short).toBe('HLS');
  });

  it('knows the server’s words', () => {
    expect([reasonFrom('b_frames'), reasonFrom('codec'), reasonFrom('codec_mismatch'), reasonFrom('else')]).toEqual(['b_frames', 'codec', 'codec', 'server']);
  });
});

describe('sound', () => {
  it('waits for a tap until the viewer has decided', () => {
    expect(run(START, FRAME)).toMatchObject({ muted: true, autoplay: 'muted' });
    expect(run(START, FRAME, { type: 'volume', muted: false, volume: 1, byUser: true })).toMatchObject({ muted: false, autoplay: 'ok' });
    expect(run(START, FRAME, { type: 'volume', muted: true, volume: 1, byUser: true })).toMatchObject({ muted: true, autoplay: 'ok' });
  });
});

describe('latency', () => {
  const now = 1_795_386_628_588;
  const NTP = 2_208_988_800_000;

  it('from the playout timestamp, in either epoch', () => {
    expect(fromPlayout(now - 180, now)).toBe(180);
    expect(fromPlayout(now - 180 + NTP, now)).toBe(180);
    expect(fromPlayout(now - 180, null)).toBeNull();
    expect(fromPlayout(null, now)).toBeNull();
    expect(fromPlayout(now - 3_600_000, now)).toBeNull();
  });

  it('from the capture time', () => {
    expect(fromCapture(1_000, 1_150)).toBe(150);
    expect(fromCapture(undefined, 1_150)).toBeNull();
    expect(fromCapture(1_000, 900)).toBe(0);
    expect(fromCapture(5_000, 900)).toBeNull();
  });

  it('from its parts, over the last interval only', () => {
    const sample = (delay: number, count: number, rtt: number | null) => ({
      jitterBufferDelay: delay, jitterBufferEmittedCount: count, roundTripTime: rtt, estimatedPlayoutTimestamp: null,
    });
    expect(fromParts(sample(10, 100, 0.04), sample(11, 125, 0.04), 12)).toBeCloseTo(40 + 20 + 12);
    expect(fromParts(sample(10, 100, 0.04), sample(10, 100, 0.04), 0)).toBeNull();
    expect(fromParts(null, sample(1, 10, null), 0)).toBeNull();
  });

  it('from the playlist', () => {
    expect(fromProgramDate(now - 2_400, now)).toBe(2_400);
    expect(fromProgramDate(null, now)).toBeNull();
  });

  it('moves calmly, but follows a jump', () => {
    expect(smooth(null, 200)).toBe(200);
    expect(smooth(200, 300)).toBe(230);
    expect(smooth(200, 2_400)).toBe(2_400);
  });
});
