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

import { PROVE_BY_MS, RUN_GAP_MS, UNTRIED, anew, isShaky, onProbation, withFrame, withRelapse, withScreen, withStall } from './trust';
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
/** A connected peer that brings nothing is made anew after this long: the server's grace for an encoder that dropped. */
export const RESTART_AFTER_STALL_MS = 10_000;
/**
 * When ICE is interrupted (itself noticed only after some 5 s), another way is looked for at once (ICE restart: two round trips
 * and the checks); without success by then, the peer is made anew.
 */
export const RESTART_AFTER_DISCONNECT_MS = 3_000;
/** Networks that change in pieces say so several times: ways are not looked for more often than this. */
export const ICE_RESTART_EVERY_MS = 2_000;
/**
 * After the server said that the encoder is away, frames of before still come: out of the jitter buffer, and when the
 * server answers a plea for a keyframe from its cache. Only a picture that moves for this long says that the encoder is
 * back (where the server's own word got lost).
 */
export const BACK_AFTER_MS = 4_000;
/** More restarts than this within the window: the network does not carry WebRTC well, HLS takes over. */
export const RESTARTS_MAX = 3;
export const RESTART_WINDOW_MS = 60_000;
/** From HLS, WebRTC is tried again this often; sooner where it has worked before … */
export const RETRY_WEBRTC_MS = 300_000;
export const RETRY_PLAYED_WEBRTC_MS = 60_000;
/** … twice as long after each time that it was not steady … */
const RELAPSE_FACTOR = 2;
/** … and where nothing came, or the server had no room: what was in the way may be gone. Three times as long after each time. */
export const RETRY_SOON_WEBRTC_MS = 30_000;
/** Those who were sent away together come again over so much more of that time. */
const RETRY_SPREAD = 0.5;
/** … and this soon where HLS does not play either. */
export const RETRY_BOTH_MS = 5_000;
/** HLS plays from a buffer of seconds: without progress for this long it hangs … */
export const HLS_STALL_MS = 3_000;
/** … and is opened anew after this long. */
export const HLS_RESTART_AFTER_STALL_MS = 5_000;
/** Who went back where HLS fails so often is brought back to a WebRTC that worked. */
const REWIND_FAILURES_MAX = 2;
const HLS_RETRY_FIRST_MS = 1_000;
const HLS_RETRY_MAX_MS = 10_000;

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

/** What may be over in half a minute. */
const MAY_PASS: readonly Reason[] = ['udp_blocked', 'no_frame', 'busy'];

/** What the viewer asked for; `auto` is what everybody gets. */
export type Preference = 'auto' | 'webrtc' | 'hls';

export type Via = 'webrtc' | 'hls';

interface Webrtc {
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

interface Hls {
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

/** `trusted`: its first frame has the screen, also from HLS. */
function openWebrtc(path: Path, now: number, trusted = false): Path {
  const webrtc: Webrtc = {
    ...path.webrtc,
    state: 'connecting',
    attempt: path.webrtc.attempt + 1,
    since: now,
    lastFrameAt: now,
    trust: anew(path.webrtc.trust, trusted, now),
    restartAt: null,
    retryAt: null,
  };
  return { ...path, webrtc };
}

function openHls(path: Path): Path {
  if (path.hls.state !== 'off' && path.hls.state !== 'waiting') return path;
  return { ...path, hls: { ...path.hls, state: 'warming', attempt: path.hls.attempt + 1, retryAt: null } };
}

function closeHls(path: Path): Path {
  return { ...path, hls: { ...path.hls, state: 'off', failures: 0, retryAt: null } };
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

/** Brings frames while HLS has the screen. */
function behind({ webrtc, shown, rewound }: Path): boolean {
  return shown === 'hls' && !rewound && (webrtc.state === 'playing' || webrtc.state === 'stalled');
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

/** Looks for another way to the server, with the peer that there is. One that still connects does so anyway. */
function restartIce(path: Path, now: number): Path {
  const { webrtc } = path;
  if (webrtc.state === 'off' || webrtc.state === 'connecting' || now < webrtc.iceRestartedAt + ICE_RESTART_EVERY_MS) return path;
  return { ...path, webrtc: { ...webrtc, iceRestarts: webrtc.iceRestarts + 1, iceRestartedAt: now } };
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

function ice(path: Path, state: 'connected' | 'disconnected' | 'failed', now: number): Path {
  const { webrtc } = path;
  if (webrtc.state === 'off') return path;
  if (state === 'connected') {
    if (webrtc.state === 'connecting') return { ...path, webrtc: { ...webrtc, state: 'connected' } };
    return webrtc.state === 'stalled' && path.awaySince === null ? standStill(path, now + RESTART_AFTER_STALL_MS) : path;
  }
  // A first attempt that fails early need not wait for its deadline.
  if (webrtc.state === 'connecting' && state === 'failed') return giveUp(path, 'udp_blocked', now);
  if (state === 'failed') return broken(path, now);
  if (webrtc.state !== 'playing' && webrtc.state !== 'stalled') return path;
  // Nobody waits for what comes behind HLS.
  const wait = behind(path) ? RESTART_AFTER_STALL_MS : RESTART_AFTER_DISCONNECT_MS;
  const restartAt = Math.min(webrtc.restartAt ?? Number.POSITIVE_INFINITY, now + wait);
  return restartIce(stall(path, restartAt, now), now);
}

/** A picture that is not trusted to come back soon has HLS warmed up behind it. */
function stall(before: Path, restartAt: number, now: number): Path {
  const path = standStill(before, restartAt);
  if (before.webrtc.state !== 'playing') return path;
  const trust = withStall(path.webrtc.trust);
  const stalled: Path = { ...path, webrtc: { ...path.webrtc, trust } };
  const warm = path.preference === 'auto' && path.hls.state === 'off' && path.awaySince === null;
  return warm && isShaky(trust, now) ? openHls(stalled) : stalled;
}

function standStill(path: Path, restartAt: number): Path {
  return { ...path, webrtc: { ...path.webrtc, state: 'stalled', restartAt } };
}

/** A peer that cannot be waited for any longer. Behind HLS there is time to let the path recover first. */
function broken(path: Path, now: number): Path {
  return behind(path) ? giveUp(path, 'unstable', now) : restart(path, now);
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

function webrtcFrame(path: Path, gapMs: number, now: number): Path {
  const { webrtc, awaySince } = path;
  if (webrtc.state === 'off') return path;
  const first = webrtc.state === 'connecting' || webrtc.state === 'connected';
  const gap = first ? Number.POSITIVE_INFINITY : Math.min(gapMs, now - webrtc.lastFrameAt);
  const before = path.shown === 'none' ? { ...webrtc.trust, held: true } : webrtc.trust;
  const trust = withFrame(before, gap, now);
  const stillAway = awaySince !== null && now < Math.max(awaySince, trust.runSince) + BACK_AFTER_MS;
  const failures = trust.held ? 0 : webrtc.failures;
  const playing: Webrtc = { ...webrtc, state: 'playing', played: true, failures, lastFrameAt: now, trust, restartAt: null };
  const next: Path = { ...path, webrtc: playing, awaySince: stillAway ? awaySince : null };
  // Until HLS has the past, the present stays on the screen.
  if (path.rewound) return { ...next, reason: trust.held ? null : path.reason };
  if (!trust.held && path.hls.state === 'playing') {
    const shaken = !first && gap > RUN_GAP_MS;
    if (path.shown === 'hls') return shaken ? { ...next, reason: 'unstable' } : next;
    if (shaken) return handBack(next, now);
  }
  const shown: Path = { ...next, shown: 'webrtc', reason: null };
  if (!trust.held) return shown;
  const earned = path.hls.state !== 'off' && (!before.held || trust.relapses > 0);
  return closeHls(earned ? { ...shown, webrtc: { ...playing, trust: withScreen(trust, now) } } : shown);
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

/** HLS has a moving picture and WebRTC has not: that goes on behind it, or is left alone if it was on probation. */
function handBack(path: Path, now: number): Path {
  const shown: Path = { ...path, shown: 'hls', reason: path.reason ?? 'unstable' };
  if (onProbation(path.webrtc.trust, now)) return giveUp(shown, 'unstable', now);
  return { ...shown, webrtc: { ...path.webrtc, since: now } };
}

/** Makes the peer anew, or gives WebRTC up if that happened too often. */
function restart(path: Path, now: number): Path {
  const restarts = [...path.webrtc.restarts.filter((at) => at > now - RESTART_WINDOW_MS), now];
  if (restarts.length > RESTARTS_MAX) return giveUp(path, 'unstable', now);
  return openWebrtc({ ...path, webrtc: { ...path.webrtc, restarts } }, now);
}

function giveUp(path: Path, reason: Reason, now: number): Path {
  if (path.preference === 'webrtc') {
    // The viewer wants WebRTC or nothing: try again, with the reason on the badge.
    return { ...path, reason, webrtc: { ...path.webrtc, state: 'off', retryAt: now + RETRY_BOTH_MS } };
  }
  const { failures, trust, played } = path.webrtc;
  const often = played ? RETRY_PLAYED_WEBRTC_MS : RETRY_WEBRTC_MS;
  const wait =
    reason === 'unstable'
      ? Math.min(RETRY_WEBRTC_MS, RETRY_PLAYED_WEBRTC_MS * RELAPSE_FACTOR ** trust.relapses)
      : Math.min(MAY_PASS.includes(reason) ? RETRY_SOON_WEBRTC_MS * 3 ** failures : often, often);
  const webrtc: Webrtc = {
    ...path.webrtc,
    state: 'off',
    failures: failures + 1,
    trust: reason === 'unstable' ? withRelapse(trust) : trust,
    restartAt: null,
    retryAt: now + wait * (1 + RETRY_SPREAD * path.spread),
  };
  const shown = path.hls.state === 'playing' ? 'hls' : path.shown;
  return openHls({ ...path, webrtc, reason, shown });
}

function hlsFailed(path: Path, now: number): Path {
  if (path.hls.state === 'off' || path.hls.state === 'waiting') return path;
  const failures = path.hls.failures + 1;
  if (path.rewound && path.reason === null && failures >= REWIND_FAILURES_MAX) return present(closeHls(path), now);
  const wait = Math.min(HLS_RETRY_MAX_MS, HLS_RETRY_FIRST_MS * 2 ** (failures - 1));
  const hls: Hls = { ...path.hls, state: 'waiting', failures, retryAt: now + wait };
  // Where neither plays, what blocked WebRTC may have passed.
  const soon = path.webrtc.state === 'off' && path.webrtc.retryAt !== null ? Math.min(path.webrtc.retryAt, now + RETRY_BOTH_MS) : path.webrtc.retryAt;
  return { ...path, hls, webrtc: { ...path.webrtc, retryAt: soon } };
}
