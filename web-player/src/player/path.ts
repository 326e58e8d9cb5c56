/**
 * Which way the picture comes: WebRTC first, LL-HLS where WebRTC does not arrive.
 *
 * A pure state machine. Events and the time go in, the next `Path` comes out; the shell (`player.ts`) opens and
 * closes sources until they match `webrtc.attempt`, `hls.attempt` and `shown`, and calls `step` again at
 * `nextDeadline`. All times are milliseconds of one monotonic clock.
 *
 *     load ─► WebRTC connecting ──frame──► WebRTC shown ──stall──► ICE restart, new peer (at most 3 a minute) ──► HLS
 *               │ 1.5 s without ICE: HLS warms up, hidden                                                          ▲
 *               │ 3 s without ICE (by UDP, TCP or TURN), 4 s without a frame: late, and the badge says why ───shown─┤
 *               └ 12 s without a frame, or the server says so: given up, and tried again later ────────────────────┘
 *
 * Late is not blocked: a busy phone needs seconds for what takes others a tenth of one. So an attempt that is late goes on
 * behind the picture that HLS shows meanwhile, and takes the screen with a steady picture (`trust.ts`). Until then HLS is not
 * closed, and has the screen back at the first gap.
 */

import { HLS_RESTART_AFTER_STALL_MS, HLS_STALL_MS, afterFailure, closeHls, openHls } from './by_hls';
import { RESTART_AFTER_STALL_MS, RETRY_BOTH_MS, behind, broken, giveUp, handBack, ice, openWebrtc, restart, restartIce, stall, webrtcFrame } from './by_webrtc';
import { PROVE_BY_MS, RUN_GAP_MS, UNTRIED } from './trust';
import type { Trust } from './trust';

/** HLS starts to load, hidden, when ICE has not connected by then: it needs 1–2 s to its first frame. */
export const WARM_HLS_AFTER_MS = 1_500;
/** With ICE connected the first frame is near; HLS may wait a little longer. */
export const WARM_HLS_AFTER_ICE_MS = 2_500;
/** Later than this WebRTC is late … */
export const ICE_BY_MS = 3_000;
export const FRAME_BY_MS = 4_000;
/** … and after this it is given up. */
export const GIVE_UP_AFTER_MS = 12_000;
/** Without a frame for this long the picture counts as stalled (and the page says so). */
export const STALL_MS = 2_000;
/** Who went back where HLS fails so often is brought back to a WebRTC that worked. */
const REWIND_FAILURES_MAX = 2;

/** Why the picture does not come by WebRTC. */
export type Reason =
  | 'udp_blocked'
  | 'no_frame'
  | 'b_frames'
  | 'codec'
  | 'no_gateway'
  | 'no_webrtc'
  | 'unstable'
  | 'server'
  | 'busy'
  | 'chosen';

/** What the viewer asked for; `auto` is what everybody gets. */
export type Preference = 'auto' | 'webrtc' | 'hls';

export type Via = 'webrtc' | 'hls';

export interface Webrtc {
  readonly state: 'off' | 'connecting' | 'connected' | 'playing' | 'stalled';
  /** Counts up with every new peer connection; 0 before the first. */
  readonly attempt: number;
  /** When the present attempt began. */
  readonly since: number;
  readonly lastFrameAt: number;
  /** Whether its frames may have the screen. */
  readonly trust: Trust;
  /** When a stalled peer is made anew. */
  readonly restartAt: number | null;
  /** Counts up with every wish for an ICE restart; the last one was then. */
  readonly iceRestarts: number;
  readonly iceRestartedAt: number;
  /** Whether it has brought a frame since `start`. */
  readonly played: boolean;
  /** How many attempts were given up since the last steady picture. */
  readonly failures: number;
  /** When peers were made anew, within the window. */
  readonly restarts: readonly number[];
  /** When WebRTC is tried again after it was given up. */
  readonly retryAt: number | null;
}

export interface Hls {
  readonly state: 'off' | 'warming' | 'playing' | 'stalled' | 'waiting';
  readonly lastFrameAt: number;
  readonly attempt: number;
  readonly failures: number;
  readonly retryAt: number | null;
}

export interface Path {
  readonly active: boolean;
  readonly preference: Preference;
  readonly webrtc: Webrtc;
  readonly hls: Hls;
  readonly shown: 'none' | Via;
  readonly reason: Reason | null;
  /** The HLS address that the server named, if it named one. */
  readonly hlsUrl: string | null;
  /** Since when the encoder is away: no frames are expected, nobody is to blame. */
  readonly awaySince: number | null;
  /** The viewer went back in time: that is shown by HLS, and WebRTC waits until they want the present again. */
  readonly rewound: boolean;
  /** This viewer's place among those who wait for the same thing: 0 up to 1. */
  readonly spread: number;
}

export type PathEvent =
  /** `spread`: by chance; left out, as it was. */
  | { type: 'start'; preference: Preference; webrtc: boolean; spread?: number }
  | { type: 'stop' }
  | { type: 'tick' }
  | { type: 'ice'; state: 'connected' | 'disconnected' | 'failed' }
  /** A frame was shown, or the count of decoded frames went up. */
  | {
      type: 'frame';
      via: Via;
      /** How long there was none before, as far as somebody looked; left out: since the last one. */
      gapMs?: number;
    }
  /** The peer cannot go on: closed by the server, or its answer made no sense. */
  | { type: 'peerLost' }
  | { type: 'fallback'; reason: Reason; url: string | null }
  | { type: 'gatewayLost' }
  | { type: 'gatewayBack' }
  | { type: 'hlsFailed' }
  | { type: 'away'; away: boolean }
  /** The viewer goes back in time … */
  | { type: 'rewind' }
  /** … and wants the present again. */
  | { type: 'present' }
  /** Nobody looks (a hidden page, a pause): that no frame came is no stall. */
  | { type: 'excused' }
  /** Something changed that may let WebRTC through: another network, a page that was long hidden, a new Stream. */
  | { type: 'tryWebrtc' }
  /** This device has another network, or other addresses in it. */
  | { type: 'networkChanged' };

export const IDLE: Path = {
  active: false,
  preference: 'auto',
  webrtc: { state: 'off', attempt: 0, since: 0, lastFrameAt: 0, trust: UNTRIED, restartAt: null, iceRestarts: 0, iceRestartedAt: Number.NEGATIVE_INFINITY, played: false, failures: 0, restarts: [], retryAt: null },
  hls: { state: 'off', attempt: 0, lastFrameAt: 0, failures: 0, retryAt: null },
  shown: 'none',
  reason: null,
  hlsUrl: null,
  awaySince: null,
  rewound: false,
  spread: 0,
};

export function step(path: Path, event: PathEvent, now: number): Path {
  if (event.type === 'start') return start({ ...path, spread: event.spread ?? path.spread }, event.preference, event.webrtc, now);
  if (event.type === 'stop') return stop(path);
  if (!path.active) return path;
  switch (event.type) {
    case 'tick':
      return tick(path, now);
    case 'ice':
      return ice(path, event.state, now);
    case 'frame':
      return event.via === 'webrtc' ? webrtcFrame(path, event.gapMs ?? Number.POSITIVE_INFINITY, now) : hlsFrame(path, now);
    case 'peerLost':
      return path.webrtc.state === 'off' ? path : restart(path, now);
    case 'fallback':
      if (path.webrtc.state === 'off') return { ...path, hlsUrl: event.url ?? path.hlsUrl };
      return giveUp({ ...path, hlsUrl: event.url ?? path.hlsUrl }, event.reason, now);
    case 'gatewayLost':
      // A picture that already comes by WebRTC does not need the gateway.
      return path.webrtc.state === 'connecting' && path.preference !== 'webrtc' ? giveUp(path, 'no_gateway', now) : path;
    case 'gatewayBack':
      return path.reason === 'no_gateway' && !path.rewound ? openWebrtc(path, now) : path;
    case 'hlsFailed':
      return hlsFailed(path, now);
    case 'away':
      return away(path, event.away, now);
    case 'rewind':
      return openHls({ ...path, rewound: true });
    case 'present':
      return path.rewound ? present(path, now) : path;
    case 'excused':
      return excused(path, now);
    case 'tryWebrtc':
      return tryWebrtc(path, now);
    case 'networkChanged':
      return otherNetwork(path, now);
  }
}

/** When `step` wants to be called with a `tick`; null while it waits for events only. */
export function nextDeadline(path: Path): number | null {
  if (!path.active) return null;
  const deadlines: number[] = [];
  const { webrtc, hls } = path;
  if (webrtc.state === 'connecting' || webrtc.state === 'connected') {
    if (warms(path)) deadlines.push(warmAt(webrtc));
    const waits = webrtc.state === 'connecting' || path.awaySince === null;
    if (waits && path.reason === null) deadlines.push(webrtc.since + (webrtc.state === 'connecting' ? ICE_BY_MS : FRAME_BY_MS));
    if (waits) deadlines.push(webrtc.since + GIVE_UP_AFTER_MS);
  }
  if (webrtc.state === 'playing' && path.awaySince === null) deadlines.push(webrtc.lastFrameAt + STALL_MS);
  if (webrtc.state === 'stalled' && webrtc.restartAt !== null) deadlines.push(webrtc.restartAt);
  if (proves(path)) deadlines.push(webrtc.since + PROVE_BY_MS);
  if (webrtc.retryAt !== null && !path.rewound) deadlines.push(webrtc.retryAt);
  if (hls.retryAt !== null) deadlines.push(hls.retryAt);
  if (path.awaySince === null && hls.state === 'playing') deadlines.push(hls.lastFrameAt + HLS_STALL_MS);
  if (path.awaySince === null && hls.state === 'stalled') deadlines.push(hls.lastFrameAt + HLS_STALL_MS + HLS_RESTART_AFTER_STALL_MS);
  return deadlines.length === 0 ? null : Math.min(...deadlines);
}

function start(path: Path, preference: Preference, webrtc: boolean, now: number): Path {
  const fresh: Path = {
    ...IDLE,
    active: true,
    preference,
    // Attempts count on, so that the shell never mistakes a new source for an old one.
    webrtc: { ...IDLE.webrtc, attempt: path.webrtc.attempt },
    hls: { ...IDLE.hls, attempt: path.hls.attempt },
    spread: path.spread,
  };
  if (preference === 'hls') return openHls({ ...fresh, reason: 'chosen' });
  if (!webrtc) return openHls({ ...fresh, reason: 'no_webrtc' });
  return openWebrtc(fresh, now);
}

function stop(path: Path): Path {
  return {
    ...IDLE,
    preference: path.preference,
    webrtc: { ...IDLE.webrtc, attempt: path.webrtc.attempt },
    hls: { ...IDLE.hls, attempt: path.hls.attempt },
    spread: path.spread,
  };
}

/** Back to the present, by the way of before; a picture of the past stays until WebRTC has one. */
function present(before: Path, now: number): Path {
  const path = { ...before, rewound: false };
  if (path.shown === 'webrtc') return closeHls(path);
  return path.reason === null && path.webrtc.state === 'off' ? openWebrtc(path, now, true) : path;
}

/** That no frame came is no stall; nor was it a steady picture. */
function excused(path: Path, now: number): Path {
  const { webrtc, hls } = path;
  const trust = now - webrtc.lastFrameAt > RUN_GAP_MS ? { ...webrtc.trust, runSince: now } : webrtc.trust;
  return { ...path, webrtc: { ...webrtc, trust, lastFrameAt: now }, hls: { ...hls, lastFrameAt: now } };
}

function proves(path: Path): boolean {
  return behind(path) && path.awaySince === null;
}

/** Whether an attempt that takes long should have HLS warmed up behind it. */
function warms(path: Path): boolean {
  return path.preference === 'auto' && path.hls.state === 'off';
}

function warmAt(webrtc: Webrtc): number {
  return webrtc.since + (webrtc.state === 'connected' ? WARM_HLS_AFTER_ICE_MS : WARM_HLS_AFTER_MS);
}

/** Browsers take another estimate of a flapping network for another network: that does not shorten the wait after a relapse. */
function otherNetwork(path: Path, now: number): Path {
  if (path.webrtc.state !== 'off') return restartIce(path, now);
  return path.webrtc.trust.relapses > 0 ? path : tryWebrtc(path, now);
}

function tryWebrtc(path: Path, now: number): Path {
  return path.webrtc.state === 'off' && !path.rewound && path.reason !== 'chosen' && path.reason !== 'no_webrtc' ? openWebrtc(path, now) : path;
}

function tick(before: Path, now: number): Path {
  let path = before;
  if (path.hls.retryAt !== null && now >= path.hls.retryAt) {
    path = openHls({ ...path, hls: { ...path.hls, state: 'off', retryAt: null } });
  }
  if (path.webrtc.retryAt !== null && !path.rewound && now >= path.webrtc.retryAt) path = openWebrtc(path, now);
  path = hlsTick(path, now);
  const { webrtc } = path;
  if (webrtc.state === 'connecting' || webrtc.state === 'connected') {
    const connecting = webrtc.state === 'connecting';
    const waits = connecting || path.awaySince === null;
    const why = connecting ? 'udp_blocked' : 'no_frame';
    if (waits && now >= webrtc.since + GIVE_UP_AFTER_MS) return giveUp(path, why, now);
    if (waits && path.reason === null && now >= webrtc.since + (connecting ? ICE_BY_MS : FRAME_BY_MS)) return late(path, why);
    if (warms(path) && now >= warmAt(webrtc)) return openHls(path);
  }
  if (webrtc.state === 'playing' && path.awaySince === null && now >= webrtc.lastFrameAt + STALL_MS) {
    return stall(path, now + RESTART_AFTER_STALL_MS, now);
  }
  if (webrtc.state === 'stalled' && webrtc.restartAt !== null && now >= webrtc.restartAt) return broken(path, now);
  if (proves(path) && now >= webrtc.since + PROVE_BY_MS) return giveUp(path, 'unstable', now);
  return path;
}

/** HLS has the screen as soon as it has a frame; the attempt goes on behind it. */
function late(path: Path, reason: Reason): Path {
  const next: Path = { ...path, reason };
  return path.preference === 'webrtc' ? next : openHls(next);
}

function hlsTick(path: Path, now: number): Path {
  const { hls } = path;
  if (path.awaySince !== null) return path;
  if (hls.state === 'playing' && now >= hls.lastFrameAt + HLS_STALL_MS) return { ...path, hls: { ...hls, state: 'stalled' } };
  if (hls.state === 'stalled' && now >= hls.lastFrameAt + HLS_STALL_MS + HLS_RESTART_AFTER_STALL_MS) return hlsFailed(path, now);
  return path;
}

/** The encoder dropped, or came back. Either way the wait for frames begins anew; a picture counts as moving when it moves. */
function away(path: Path, gone: boolean, now: number): Path {
  if (!gone && path.awaySince === null) return path;
  const { webrtc, hls } = path;
  const stands = webrtc.state === 'playing' || webrtc.state === 'stalled';
  return {
    ...path,
    awaySince: gone ? (path.awaySince ?? now) : null,
    hls: { ...hls, state: hls.state === 'playing' && !gone ? 'stalled' : hls.state, lastFrameAt: now },
    webrtc: {
      ...webrtc,
      state: stands ? 'stalled' : webrtc.state,
      since: webrtc.state === 'connected' || behind(path) ? now : webrtc.since,
      lastFrameAt: now,
      trust: { ...webrtc.trust, runSince: now },
      restartAt: stands && !gone ? now + RESTART_AFTER_STALL_MS : null,
    },
  };
}

function hlsFrame(path: Path, now: number): Path {
  if (path.hls.state === 'off' || path.hls.state === 'waiting') return path;
  const playing: Path = { ...path, hls: { ...path.hls, state: 'playing', lastFrameAt: now, failures: 0 } };
  if (path.rewound) {
    // An attempt that was late, and is broken off here, is made anew with the present.
    const late = path.webrtc.state !== 'off' && path.reason !== null;
    const retryAt = late ? now : path.webrtc.retryAt;
    return { ...playing, shown: 'hls', webrtc: { ...path.webrtc, state: 'off', restartAt: null, retryAt } };
  }
  // HLS shows itself as soon as it can, unless WebRTC already has the screen with a moving picture.
  if (path.shown === 'webrtc' && path.webrtc.state === 'playing') return playing;
  return path.shown === 'webrtc' && path.webrtc.state === 'stalled' ? handBack(playing, now) : { ...playing, shown: 'hls' };
}

function hlsFailed(path: Path, now: number): Path {
  if (path.hls.state === 'off' || path.hls.state === 'waiting') return path;
  const hls = afterFailure(path.hls, now);
  if (path.rewound && path.reason === null && hls.failures >= REWIND_FAILURES_MAX) return present(closeHls(path), now);
  // Where neither plays, what blocked WebRTC may have passed.
  const soon = path.webrtc.state === 'off' && path.webrtc.retryAt !== null ? Math.min(path.webrtc.retryAt, now + RETRY_BOTH_MS) : path.webrtc.retryAt;
  return { ...path, hls, webrtc: { ...path.webrtc, retryAt: soon } };
}
