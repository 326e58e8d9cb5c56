import type { ChatUser, ServerFrame } from '../gateway/protocol';

/** So many lines are kept; the oldest go first. Enough to scroll back, few enough for a phone. */
export const LINES_MAX = 400;
export const TEXT_MAX = 500;

export interface Line {
  readonly key: string;
  readonly kind: 'message' | 'notice';
  readonly id: string | null;
  readonly ts: number | null;
  readonly user: ChatUser | null;
  readonly text: string;
  /** `sending` until the server has it; `deleted` keeps its place without its text. */
  readonly state: 'sent' | 'sending' | 'deleted';
}

/** One chat room as a page sees it. */
export interface Room {
  readonly joined: boolean;
  readonly lines: readonly Line[];
  /** Until when (our clock) the room takes nothing from us, and why. */
  readonly blockedUntil: number | null;
  readonly blockedWhy: 'slow' | 'timeout' | 'banned' | null;
  /** What the last refusal said. */
  readonly refusal: string | null;
  readonly dropped: number;
}

export type RoomEvent =
  | { type: 'frame'; frame: ServerFrame; me: string | null }
  | { type: 'sending'; nonce: string; text: string; user: ChatUser }
  | { type: 'acked'; nonce: string; id: string | null }
  | { type: 'refused'; nonce: string; why: string | null }
  | { type: 'slow'; waitMs: number }
  | { type: 'tick' };

export const EMPTY: Room = { joined: false, lines: [], blockedUntil: null, blockedWhy: null, refusal: null, dropped: 0 };

export function reduceRoom(room: Room, event: RoomEvent, now: number): Room {
  switch (event.type) {
    case 'frame':
      return handleFrame(room, event.frame, event.me, now);
    case 'sending': {
      const line: Line = { key: event.nonce, kind: 'message', id: null, ts: now, user: event.user, text: event.text, state: 'sending' };
      return { ...append(room, line), refusal: null };
    }
    case 'acked': {
      // The room's own copy may have come first; then ours goes.
      const arrived = event.id !== null && room.lines.some((line) => line.id === event.id);
      if (arrived) return without(room, event.nonce);
      const { id } = event;
      return { ...room, lines: room.lines.map((line) => (line.key === event.nonce ? { ...line, id, state: 'sent' } : line)) };
    }
    case 'refused':
      return { ...without(room, event.nonce), refusal: event.why };
    case 'slow':
      return { ...room, blockedUntil: now + event.waitMs, blockedWhy: 'slow' };
    case 'tick':
      return room.blockedUntil !== null && now >= room.blockedUntil ? { ...room, blockedUntil: null, blockedWhy: null } : room;
  }
}

function handleFrame(room: Room, frame: ServerFrame, me: string | null, now: number): Room {
  switch (frame.type) {
    case 'joined':
      // Not recovered: there is a hole behind us, and the history that follows starts afresh.
      return frame.recovered ? { ...room, joined: true } : { ...room, joined: true, lines: room.lines.filter((line) => line.state === 'sending') };
    case 'message': {
      if (room.lines.some((line) => line.id === frame.id)) return room;
      const ours = frame.nonce !== null && frame.user.id === me ? frame.nonce : null;
      const line: Line = { key: frame.id, kind: 'message', id: frame.id, ts: frame.ts, user: frame.user, text: frame.text, state: 'sent' };
      return append(ours === null ? room : without(room, ours), line);
    }
    case 'notice': {
      const key = `notice-${frame.seq ?? room.dropped + room.lines.length}`;
      return append(room, { key, kind: 'notice', id: null, ts: null, user: null, text: frame.text, state: 'sent' });
    }
    case 'gap': {
      const text = 'Chat moves fast: some messages were left out.';
      return append(room, { key: `gap-${frame.to}`, kind: 'notice', id: null, ts: null, user: null, text, state: 'sent' });
    }
    case 'delete':
      return strike(room, (line) => line.id !== null && frame.ids.includes(line.id));
    case 'ban': {
      const struck = strike(room, (line) => line.user !== null && line.user.id !== '' && line.user.id === frame.user);
      if (me === null || frame.user !== me) return struck;
      const banned = frame.until === null;
      return { ...struck, blockedUntil: banned ? Number.POSITIVE_INFINITY : Math.max(now, frame.until ?? now), blockedWhy: banned ? 'banned' : 'timeout' };
    }
    case 'clear':
      return { ...room, lines: room.lines.filter((line) => line.state === 'sending') };
    default:
      return room;
  }
}

function append(room: Room, line: Line): Room {
  const lines = [...room.lines, line];
  const over = Math.max(0, lines.length - LINES_MAX);
  return { ...room, lines: lines.slice(over), dropped: room.dropped + over };
}

function without(room: Room, key: string): Room {
  return { ...room, lines: room.lines.filter((line) => line.key !== key) };
}

function strike(room: Room, hit: (line: Line) => boolean): Room {
  return { ...room, lines: room.lines.map((line) => (hit(line) ? { ...line, text: '', state: 'deleted' } : line)) };
}
