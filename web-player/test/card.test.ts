import { describe, expect, it } from 'vitest';
import { doorOf } from '../src/access/grant';
import { recordingsOf } from '../src/api/recordings';
import type { Recording } from '../src/api/recordings';
import { wayBack } from '../src/app/route';
import { ago, cardFor } from '../src/element/card';
import { INITIAL, phase, reduce } from '../src/player/state';
import type { PlayerEvent, PlayerState } from '../src/player/state';

const START = { type: 'start', preference: 'auto', webrtc: true } as const;
const LIVE: PlayerEvent = { type: 'live', stream: { id: 's1', startedAt: 1, title: null }, preference: 'auto', webrtc: true };
const FOLLOW: PlayerEvent = { type: 'denied', door: doorOf(403, 'followers') };

function run(...events: PlayerEvent[]): PlayerState {
  return events.reduce((state, event, index) => reduce(state, event, index * 100), INITIAL);
}

it.each([
  [401, 'followers', 'For followers', ['Sign in']],
  [403, 'followers', 'For followers', ['Follow']],
  [401, 'subscribers', 'For subscribers', ['Sign in', 'Look again']],
  [403, 'subscribers', 'For subscribers', ['Look again']],
  [403, 'signed', 'By invitation', ['Sign in']],
] as const)('%i for %s: %s, with a button that helps', (status, visibility, title, buttons) => {
  const card = cardFor(run({ type: 'path', event: START }, { type: 'denied', door: doorOf(status, visibility) }), 0);
  expect([card?.title, card?.buttons.map((button) => button.label)]).toEqual([title, buttons]);
});

it('nothing plays behind a closed door, also when the stream begins; it plays as soon as the door opens', () => {
  const closed = run({ type: 'path', event: START }, FOLLOW, LIVE);
  expect([phase(closed), closed.path.active]).toEqual(['denied', false]);
  const open = reduce(closed, { type: 'admitted', start: START }, 500);
  expect([phase(open), open.path.webrtc.state]).toEqual(['connecting', 'connecting']);
});

it('while it is asked why, the card says that it connects', () => {
  expect(cardFor(run({ type: 'path', event: START }, { type: 'denied', door: 'asking' }), 0)?.title).toBe('Connecting…');
});

it('a door that opens to a channel that is offline starts nothing', () => {
  const offline = run({ type: 'path', event: START }, { type: 'notLive' }, FOLLOW, { type: 'admitted', start: START });
  expect([phase(offline), offline.path.active]).toEqual(['offline', false]);
});

it.each([
  ['?then=%2Fana', '/ana'],
  ['?then=%2Fana%3Fvia%3Dhls', '/ana?via=hls'],
  ['?then=%2F%2Fevil.test', null],
  ['?then=%2F%5Cevil.test', null],
  ['?then=https%3A%2F%2Fevil.test', null],
  ['?then=javascript%3Aalert(1)', null],
  ['', null],
])('the way back of %s', (search, way) => {
  expect(wayBack(search)).toBe(way);
});

describe('a channel that is offline', () => {
  const HOUR = 3_600_000;
  const recording = (id: string): Recording => ({ id, startedAt: 0, endedAt: HOUR, durationMs: HOUR - 5_000, bytes: 1, hls: `/vod/${id}/master.m3u8`, mp4: null });
  const offline = (...events: PlayerEvent[]): PlayerState =>
    run({ type: 'path', event: START }, { type: 'notLive' }, { type: 'recordings', recordings: [recording('r2'), recording('r1')] }, ...events);
  const play: PlayerEvent = { type: 'playRecording', recording: recording('r2') };

  it('offers its last broadcast', () => {
    const card = cardFor(offline(), 3 * HOUR);
    expect(card?.text).toMatch(/^Last broadcast 2 hours ago, 59:55 long\./);
    expect(card?.buttons.map((button) => button.act)).toEqual(['watch_last']);
    expect(cardFor(offline({ type: 'recordings', recordings: [] }), 0)?.buttons).toEqual([]);
  });

  it('plays it, says when it is over, and can play it again', () => {
    expect(phase(offline(play))).toBe('connecting');
    expect(phase(offline(play, { type: 'recordingIs', state: 'playing' }))).toBe('playing');
    expect(phase(offline(play, { type: 'recordingIs', state: 'playing' }, { type: 'paused', paused: true }))).toBe('paused');
    const over = offline(play, { type: 'recordingIs', state: 'playing' }, { type: 'recordingIs', state: 'over' });
    expect([cardFor(over, 0)?.title, cardFor(over, 0)?.buttons.map((button) => button.label)]).toEqual(['The end', ['Play again', 'Close']]);
    expect(phase(reduce(over, { type: 'leaveRecording', start: START }, 9))).toBe('offline');
  });

  it('goes live by itself, also from the middle of a recording', () => {
    const live = offline(play, { type: 'recordingIs', state: 'playing' }, LIVE);
    expect([live.recording, live.liveness, live.path.webrtc.state]).toEqual([null, 'live', 'connecting']);
  });

  it('a recording that was chosen while the channel is live goes on, and leads back', () => {
    const chosen = run({ type: 'path', event: START }, LIVE, play, LIVE, { type: 'away', away: true });
    expect([chosen.recording?.is.id, chosen.path.active]).toEqual(['r2', false]);
    const back = reduce(chosen, { type: 'leaveRecording', start: START }, 9_000);
    expect([back.recording, back.path.webrtc.state]).toEqual([null, 'connecting']);
  });

  it('says how long ago something was', () => {
    expect([5_000, 60_000, 2 * HOUR, 50 * HOUR, 70 * 24 * HOUR].map(ago)).toEqual(['a moment ago', '1 minute ago', '2 hours ago', '2 days ago', '2 months ago']);
  });
});

it('takes from a list of recordings what can be played', () => {
  const good = { id: 'r1', hls: '/vod/r1/master.m3u8', mp4: null, startedAt: 1, endedAt: 2, durationMs: 1, bytes: 3 };
  expect(recordingsOf([good, { ...good, hls: null }, { ...good, durationMs: 0 }, null, 'x'])).toEqual([good]);
  expect(recordingsOf(undefined)).toEqual([]);
});
