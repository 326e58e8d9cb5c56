import { describe, expect, it } from 'vitest';
import { EMPTY, LINES_MAX, reduceRoom } from '../src/chat/room';
import type { Room, RoomEvent } from '../src/chat/room';
import { decodeFrame } from '../src/gateway/protocol';
import type { ChatUser } from '../src/gateway/protocol';

const ME: ChatUser = { id: 'g1', login: 'me', display: 'Me', color: null, badges: [] };

function frame(value: object): RoomEvent {
  const decoded = decodeFrame({ ch: 'stream:ana', ...value });
  if (decoded === null) throw new Error('the test pushes a frame that does not decode');
  return { type: 'frame', frame: decoded, me: 'g1' };
}
const message = (seq: number, user: object = { id: 'u1', login: 'ana' }): RoomEvent => frame({ type: 'message', id: `m${seq}`, seq, ts: seq, user, text: `t${seq}` });
const run = (...events: RoomEvent[]): Room => events.reduce((room, event, index) => reduceRoom(room, event, index), EMPTY);
const sending: RoomEvent = { type: 'sending', nonce: 'c-1', text: 'hi', user: ME };

describe('one’s own message', () => {
  it.each<[string, RoomEvent[]]>([
    ['ack first', [sending, { type: 'acked', nonce: 'c-1', id: 'm5' }, message(5, ME)]],
    ['echo first', [sending, message(5, ME), { type: 'acked', nonce: 'c-1', id: 'm5' }]],
    ['echo with nonce', [sending, frame({ type: 'message', id: 'm5', seq: 5, user: ME, text: 'hi', nonce: 'c-1' }), { type: 'acked', nonce: 'c-1', id: 'm5' }]],
  ])('stands once: %s', (_order, events) => {
    const room = run(...events);
    expect(room.lines).toHaveLength(1);
    expect(room.lines[0]).toMatchObject({ id: 'm5', state: 'sent' });
  });

  it('goes when it was refused', () => {
    expect(run(sending, { type: 'refused', nonce: 'c-1', why: 'no' })).toMatchObject({ lines: [], refusal: 'no' });
  });
});

it('blocks for as long as slow mode says, and then no longer', () => {
  const slow = reduceRoom(EMPTY, { type: 'slow', waitMs: 1_840 }, 100);
  expect(slow).toMatchObject({ blockedUntil: 1_940, blockedWhy: 'slow' });
  expect(reduceRoom(slow, { type: 'tick' }, 1_939).blockedUntil).toBe(1_940);
  expect(reduceRoom(slow, { type: 'tick' }, 1_940)).toMatchObject({ blockedUntil: null, blockedWhy: null });
});

describe('moderation', () => {
  it('strikes deleted messages and those of the banned', () => {
    const room = run(message(1), message(2), message(3, { id: 'u2', login: 'bo' }), frame({ type: 'delete', ids: ['m1'] }), frame({ type: 'ban', user: { id: 'u2' }, until: null }));
    expect(room.lines.map((line) => line.state)).toEqual(['deleted', 'sent', 'deleted']);
    expect(room.lines[0]?.text).toBe('');
    expect(room.blockedWhy).toBeNull();
  });

  it('closes the composer for whom it concerns', () => {
    expect(run(frame({ type: 'ban', user: { id: 'g1' }, until: null }))).toMatchObject({ blockedWhy: 'banned', blockedUntil: Number.POSITIVE_INFINITY });
    expect(run(frame({ type: 'ban', user: { id: 'g1' }, until: 5_000 }))).toMatchObject({ blockedWhy: 'timeout', blockedUntil: 5_000 });
  });

  it('clears', () => {
    expect(run(message(1), frame({ type: 'clear' })).lines).toEqual([]);
  });
});

it('keeps a bounded number of lines, the newest', () => {
  const room = run(...Array.from({ length: LINES_MAX + 20 }, (_, index) => message(index)));
  expect(room.lines).toHaveLength(LINES_MAX);
  expect(room.lines[0]?.id).toBe('m20');
  expect(room.dropped).toBe(20);
});

it('starts afresh after a hole, goes on after a recovery', () => {
  const joined = (recovered: boolean): RoomEvent => frame({ type: 'joined', re: 1, epoch: 'k', seq: 9, recovered, history: [], live: null });
  expect(run(message(1), joined(true)).lines).toHaveLength(1);
  expect(run(message(1), joined(false)).lines).toHaveLength(0);
});
