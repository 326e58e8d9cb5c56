import type { Door } from '../access/grant';
import type { Recording } from '../api/recordings';
import { IDLE, step } from './path';
import type { Path, PathEvent, Preference, Reason, Via } from './path';
import type { Layers, Quality } from './quality';
import { clock } from './timeline';
import type { Timeline } from './timeline';

/** What the server says about the Channel, as far as we know. `missing`: there is none of that name. */
export type Liveness = 'unknown' | 'live' | 'away' | 'offline' | 'ended' | 'missing';

/** All that the player knows. The `<video>` elements and the peer connection report into it; nothing is read back from them. */
export interface PlayerState {
  readonly liveness: Liveness;
  /** What keeps this viewer out; `asking` while it is looked into. Nothing plays then. */
  readonly door: Door | 'asking' | null;
  /** A recording that is played instead of what is live. */
  readonly recording: { readonly is: Recording; readonly state: 'opening' | 'playing' | 'over' | 'failed' } | null;
  /** What the channel has left, the newest first; null while nobody asked. */
  readonly recordings: readonly Recording[] | null;
  readonly stream: { readonly id: string; readonly startedAt: number | null; readonly title: string | null } | null;
  readonly path: Path;
  readonly gateway: 'connecting' | 'open' | 'down' | 'refused';
  readonly latencyMs: number | null;
  /** Where we are in what can be watched; null where there is nothing to go back to. */
  readonly timeline: Timeline | null;
  readonly viewers: number | null;
  readonly muted: boolean;
  readonly volume: number;
  readonly paused: boolean;
  /** `muted`: sound waits for a tap. `blocked`: the browser wants a tap even for a silent picture. */
  readonly autoplay: 'ok' | 'muted' | 'blocked';
  readonly audio: boolean | null;
  readonly size: { readonly width: number; readonly height: number } | null;
  /** What the server limits our picture to because it is overloaded: `smallest` or `off`. */
  readonly cap: string | null;
  /** What can be chosen of the picture that comes by WebRTC; null while nothing is known. */
  readonly layers: Layers | null;
  readonly quality: Quality;
}

export type PlayerEvent =
  | { type: 'path'; event: PathEvent }
  | { type: 'gateway'; state: PlayerState['gateway'] }
  | { type: 'live'; stream: PlayerState['stream']; preference: Preference; webrtc: boolean }
  | { type: 'denied'; door: Door | 'asking' }
  | { type: 'admitted'; start: Extract<PathEvent, { type: 'start' }> }
  | { type: 'recordings'; recordings: readonly Recording[] }
  | { type: 'playRecording'; recording: Recording }
  | { type: 'recordingIs'; state: NonNullable<PlayerState['recording']>['state'] }
  /** Back from a recording to the channel itself. */
  | { type: 'leaveRecording'; start: Extract<PathEvent, { type: 'start' }> }
  | { type: 'notLive' }
  | { type: 'noChannel' }
  /** The server, asked anew, has something to play. */
  | { type: 'found' }
  | { type: 'ended' }
  | { type: 'away'; away: boolean }
  | { type: 'latency'; via: Via; latencyMs: number | null }
  | { type: 'timeline'; timeline: Timeline | null }
  /** What was played is at its end. */
  | { type: 'over' }
  | { type: 'viewers'; viewers: number }
  | { type: 'volume'; muted: boolean; volume: number; byUser: boolean }
  | { type: 'paused'; paused: boolean }
  | { type: 'autoplay'; autoplay: PlayerState['autoplay'] }
  | { type: 'size'; width: number; height: number }
  | { type: 'cap'; cap: string | null }
  | { type: 'layers'; layers: Layers | null }
  | { type: 'quality'; quality: Quality };

export const INITIAL: PlayerState = {
  liveness: 'unknown',
  door: null,
  recording: null,
  recordings: null,
  stream: null,
  path: IDLE,
  gateway: 'connecting',
  latencyMs: null,
  timeline: null,
  viewers: null,
  muted: true,
  volume: 1,
  paused: false,
  autoplay: 'muted',
  audio: null,
  size: null,
  cap: null,
  layers: null,
  quality: 'auto',
};

export function reduce(state: PlayerState, event: PlayerEvent, now: number): PlayerState {
  const next = follow(state, event, now);
  // What could be chosen of one peer, and what it was spared, says nothing of the next.
  const { webrtc } = next.path;
  const gone = webrtc.state === 'off' || webrtc.attempt !== state.path.webrtc.attempt;
  return gone && (next.layers !== null || next.cap !== null) ? { ...next, layers: null, cap: null } : next;
}

function follow(state: PlayerState, event: PlayerEvent, now: number): PlayerState {
  switch (event.type) {
    case 'path': {
      const path = step(state.path, event.event, now);
      return path === state.path ? state : settle(state, { ...state, path }, event.event);
    }
    case 'gateway':
      return { ...state, gateway: event.state };
    case 'live': {
      // The same Stream again (a reconnected socket says so): the picture that plays is left alone.
      const same = state.stream !== null && state.stream.id !== '' && state.stream.id === event.stream?.id;
      if (same && state.path.active) return { ...state, liveness: state.liveness === 'away' ? 'away' : 'live', stream: event.stream };
      // Who chose a recording while the channel was live keeps it; who filled the time with one sees what begins.
      if (state.recording !== null && isOver(state)) return follow({ ...state, recording: null, timeline: null }, event, now);
      if (state.door !== null || state.recording !== null) return { ...state, liveness: 'live', stream: event.stream };
      const running = state.path.active && state.liveness === 'unknown';
      const start: PathEvent = { type: 'start', preference: event.preference, webrtc: event.webrtc };
      const path = running ? state.path : step(state.path, start, now);
      return { ...state, liveness: 'live', stream: event.stream, path, latencyMs: running ? state.latencyMs : null };
    }
    case 'denied':
      return { ...state, door: event.door, recording: null, path: step(state.path, { type: 'stop' }, now), latencyMs: null };
    case 'admitted': {
      return { ...state, door: null, path: isOver(state) ? state.path : step(state.path, event.start, now) };
    }
    case 'recordings':
      return { ...state, recordings: event.recordings };
    case 'playRecording': {
      const path = step(state.path, { type: 'stop' }, now);
      const recording = { is: event.recording, state: 'opening' } as const;
      return { ...state, recording, path, latencyMs: null, timeline: null, paused: false };
    }
    case 'recordingIs': {
      const { recording } = state;
      return recording === null || recording.state === event.state ? state : { ...state, recording: { ...recording, state: event.state } };
    }
    case 'leaveRecording': {
      if (state.recording === null) return state;
      return { ...state, recording: null, timeline: null, paused: false, path: isOver(state) ? state.path : step(state.path, event.start, now) };
    }
    case 'notLive': {
      // A refusal may overtake the word that the stream ended.
      if (state.recording !== null) return { ...state, liveness: 'offline', stream: null };
      const wasOn = state.path.shown !== 'none' && (state.liveness === 'live' || state.liveness === 'away');
      const liveness = wasOn || state.liveness === 'ended' ? 'ended' : 'offline';
      return { ...state, liveness, stream: null, path: step(state.path, { type: 'stop' }, now), latencyMs: null };
    }
    case 'noChannel':
      return { ...state, liveness: 'missing', stream: null, path: step(state.path, { type: 'stop' }, now), latencyMs: null };
    case 'found':
      return isOver(state) && state.path.active ? { ...state, liveness: 'live' } : state;
    case 'ended': {
      if (isOver(state)) return state;
      // Who went back sees it to its end.
      if (state.path.rewound && state.path.shown === 'hls') return { ...state, liveness: 'ended' };
      return { ...state, liveness: 'ended', path: step(state.path, { type: 'stop' }, now), latencyMs: null };
    }
    case 'away': {
      if (state.liveness !== 'live' && state.liveness !== 'away') return state;
      const path = step(state.path, { type: 'away', away: event.away }, now);
      return { ...state, liveness: event.away ? 'away' : 'live', path, latencyMs: event.away ? null : state.latencyMs };
    }
    case 'latency':
      return state.path.shown === event.via && isMoving(state.path) ? { ...state, latencyMs: event.latencyMs } : state;
    case 'timeline':
      return same(event.timeline, state.timeline) ? state : { ...state, timeline: event.timeline };
    case 'over':
      return state.liveness === 'ended' ? { ...state, path: step(state.path, { type: 'stop' }, now), latencyMs: null } : state;
    case 'viewers':
      return { ...state, viewers: event.viewers };
    case 'volume':
      return {
        ...state,
        muted: event.muted,
        volume: event.volume,
        autoplay: event.byUser || !event.muted ? 'ok' : state.autoplay,
      };
    case 'paused':
      return { ...state, paused: event.paused };
    case 'autoplay':
      return { ...state, autoplay: event.autoplay };
    case 'size':
      return { ...state, size: { width: event.width, height: event.height } };
    case 'cap':
      return { ...state, cap: event.cap };
    case 'layers':
      return event.layers === state.layers ? state : { ...state, layers: event.layers };
    case 'quality':
      return { ...state, quality: event.quality };
  }
}

/** Nothing is on the air, and that is known. */
function isOver({ liveness }: PlayerState): boolean {
  return liveness === 'offline' || liveness === 'ended' || liveness === 'missing';
}

function same(a: Timeline | null, b: Timeline | null): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

/** What a step of the path means for the rest: a frame proves that the encoder is back, and no figure outlives its picture. */
function settle(before: PlayerState, next: PlayerState, event: PathEvent): PlayerState {
  const same = next.path.shown === before.path.shown && isMoving(next.path);
  const state = same ? next : { ...next, latencyMs: null };
  if (event.type !== 'frame') return state;
  const back = state.liveness === 'away' && state.path.awaySince === null;
  const liveness = state.liveness === 'unknown' || back ? 'live' : state.liveness;
  return { ...state, liveness };
}

export type Phase = 'denied' | 'connecting' | 'playing' | 'paused' | 'reconnecting' | 'away' | 'offline' | 'ended' | 'missing';

/** The one word that the page shows, and that tests read. */
export function phase(state: PlayerState): Phase {
  if (state.door !== null) return state.door === 'asking' ? 'connecting' : 'denied';
  if (state.recording !== null) {
    const words = { opening: 'connecting', playing: state.paused ? 'paused' : 'playing', over: 'ended', failed: 'ended' } as const;
    return words[state.recording.state];
  }
  const { path } = state;
  const past = path.rewound && path.shown === 'hls';
  if (!past && state.liveness !== 'live' && state.liveness !== 'unknown') return state.liveness;
  if (path.shown === 'none') return 'connecting';
  if (!isMoving(path)) return 'reconnecting';
  return state.paused ? 'paused' : 'playing';
}

function isMoving(path: Path): boolean {
  if (path.shown === 'none' || (path.awaySince !== null && !path.rewound)) return false;
  return path.shown === 'webrtc' ? path.webrtc.state === 'playing' : path.hls.state === 'playing';
}

const BECAUSE: Record<Reason, string> = {
  udp_blocked: 'this network blocks UDP, and WebRTC by TCP',
  no_frame: 'no picture came by WebRTC',
  b_frames: 'the encoder uses B-frames (set B-frames to 0)',
  codec: 'this browser cannot play the codec by WebRTC',
  no_gateway: 'the signalling connection is down',
  no_webrtc: 'this browser has no WebRTC',
  unstable: 'the connection is unstable',
  server: 'the server asked for it',
  busy: 'the server has no room for more by WebRTC now',
  chosen: 'you chose it',
};

/** There is a picture on the screen, moving or not. */
export function hasPicture(state: PlayerState): boolean {
  if (state.recording !== null) return state.recording.state === 'playing' || state.recording.state === 'over';
  return state.path.shown !== 'none';
}

/** What stands after "HLS 2.4 s because …"; null while nothing needs an excuse. */
export function because(reason: Reason | null): string | null {
  return reason === null ? null : BECAUSE[reason];
}

/** A reason in the server's words, in ours. */
export function reasonFrom(word: string): Reason {
  switch (word) {
    case 'b_frames':
    case 'bframes':
      return 'b_frames';
    case 'codec':
    case 'codec_mismatch':
      return 'codec';
    case 'busy':
      return 'busy';
    default:
      return 'server';
  }
}

export interface BadgeText {
  /** `WebRTC 0.2 s` */
  readonly short: string;
  /** `because UDP is blocked`, or nothing. */
  readonly why: string | null;
}

/** The badge: how it plays and how late. Says nothing that was not measured. */
export function badge(state: PlayerState): BadgeText | null {
  if (state.recording !== null) return { short: 'Recording', why: new Date(state.recording.is.startedAt).toLocaleDateString('en-GB', { dateStyle: 'medium' }) };
  const { shown, reason } = state.path;
  if (shown === 'none' || !state.path.active) return null;
  const name = shown === 'webrtc' ? 'WebRTC' : 'HLS';
  if (state.timeline?.kind === 'live' && state.timeline.rewound) return { short: name, why: `${clock(state.timeline.behindMs)} behind live` };
  const late = state.latencyMs === null || state.paused ? '' : ` ${seconds(state.latencyMs)} s`;
  const why = shown === 'hls' ? because(reason) : null;
  return { short: `${name}${late}`, why: why === null ? null : `because ${why}` };
}

function seconds(ms: number): string {
  return (Math.max(0, ms) / 1000).toFixed(1);
}
