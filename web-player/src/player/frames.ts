import type { ServerFrame } from '../gateway/protocol';
import type { PathEvent } from './path';
import { reasonFrom } from './state';
import type { PlayerEvent, PlayerState } from './state';

/** What of the gateway's frames concerns a player. */
export interface Mine {
  readonly channel: string;
  /** Its peer connection, once the server has named it. */
  readonly pc: string | null;
  /** How it would begin now. */
  readonly start: Extract<PathEvent, { type: 'start' }>;
}

/** What a frame of the gateway means. Pure. */
export function eventsOf(frame: ServerFrame, mine: Mine): PlayerEvent[] {
  const ch = `stream:${mine.channel}`;
  const onPath = (event: PathEvent): PlayerEvent => ({ type: 'path', event });
  const live = (stream: NonNullable<PlayerState['stream']>): PlayerEvent => {
    const { preference, webrtc } = mine.start;
    return { type: 'live', stream, preference, webrtc };
  };
  switch (frame.type) {
    case 'joined': {
      if (frame.ch !== ch) return [];
      const viewers: PlayerEvent[] = frame.viewers === null ? [] : [{ type: 'viewers', viewers: frame.viewers }];
      if (frame.live === null) return [...viewers, { type: 'notLive' }];
      return [...viewers, live({ id: frame.live.stream, startedAt: frame.live.startedAt, title: frame.live.title })];
    }
    case 'stream.online':
      if (frame.channel !== mine.channel) return [];
      // The same Stream again: its encoder came back, perhaps with what WebRTC lacked.
      return [live({ id: frame.stream, startedAt: frame.startedAt, title: frame.title }), onPath({ type: 'tryWebrtc' })];
    case 'stream.offline':
      return frame.channel === mine.channel ? [{ type: 'ended' }] : [];
    case 'rtc.state':
      return rtcState(frame, frame.pc === null ? frame.ch === ch : frame.pc === mine.pc);
    case 'rtc.layers':
      if (frame.pc !== mine.pc) return [];
      return [{ type: 'layers', layers: { layers: frame.layers, current: frame.current, audioOnly: frame.audioOnly } }];
    case 'rtc.fallback':
      // The answer to a request is handled where the request was made.
      if (frame.re !== null || (frame.pc !== null && frame.pc !== mine.pc)) return [];
      return [onPath({ type: 'fallback', reason: reasonFrom(frame.reason), url: frame.url })];
    case 'rtc.restart':
    case 'rtc.closed':
      return frame.pc === mine.pc ? [onPath({ type: 'peerLost' })] : [];
    case 'stats':
      return frame.ch === ch && frame.viewers !== null ? [{ type: 'viewers', viewers: frame.viewers }] : [];
    default:
      return [];
  }
}

/** The encoder left, came back, or will not come back. */
function rtcState(frame: Extract<ServerFrame, { type: 'rtc.state' }>, ours: boolean): PlayerEvent[] {
  if (!ours) return [];
  const capped = frame.pc !== null && frame.video !== null;
  const cap: PlayerEvent[] = capped ? [{ type: 'cap', cap: frame.video === 'full' ? null : frame.video }] : [];
  if (frame.state === 'ended') return [...cap, { type: 'ended' }];
  if (frame.state === 'inactive') return [...cap, { type: 'away', away: true }];
  // Of one peer, `active` says that it is connected, which it may be to a stream whose encoder is away.
  if (frame.pc !== null) return cap;
  return [{ type: 'away', away: false }, { type: 'path', event: { type: 'tryWebrtc' } }];
}
