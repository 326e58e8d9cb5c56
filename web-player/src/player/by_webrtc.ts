/**
 * WebRTC as one of the two ways of a `Path`: how peers begin, find another way, stall and are given up, and what a frame means.
 * Pure, milliseconds.
 */

import { closeHls, openHls } from './by_hls';
import type { Path, Reason, Webrtc } from './path';
import { RUN_GAP_MS, anew, isShaky, onProbation, withFrame, withRelapse, withScreen, withStall } from './trust';

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

/** What may be over in half a minute. */
const MAY_PASS: readonly Reason[] = ['udp_blocked', 'no_frame', 'busy'];

/** `trusted`: its first frame has the screen, also from HLS. */
export function openWebrtc(path: Path, now: number, trusted = false): Path {
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

/** Brings frames while HLS has the screen. */
export function behind({ webrtc, shown, rewound }: Path): boolean {
  return shown === 'hls' && !rewound && (webrtc.state === 'playing' || webrtc.state === 'stalled');
}

/** Looks for another way to the server, with the peer that there is. One that still connects does so anyway. */
export function restartIce(path: Path, now: number): Path {
  const { webrtc } = path;
  if (webrtc.state === 'off' || webrtc.state === 'connecting' || now < webrtc.iceRestartedAt + ICE_RESTART_EVERY_MS) return path;
  return { ...path, webrtc: { ...webrtc, iceRestarts: webrtc.iceRestarts + 1, iceRestartedAt: now } };
}

export function ice(path: Path, state: 'connected' | 'disconnected' | 'failed', now: number): Path {
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
export function stall(before: Path, restartAt: number, now: number): Path {
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
export function broken(path: Path, now: number): Path {
  return behind(path) ? giveUp(path, 'unstable', now) : restart(path, now);
}

export function webrtcFrame(path: Path, gapMs: number, now: number): Path {
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

/** HLS has a moving picture and WebRTC has not: that goes on behind it, or is left alone if it was on probation. */
export function handBack(path: Path, now: number): Path {
  const shown: Path = { ...path, shown: 'hls', reason: path.reason ?? 'unstable' };
  if (onProbation(path.webrtc.trust, now)) return giveUp(shown, 'unstable', now);
  return { ...shown, webrtc: { ...path.webrtc, since: now } };
}

/** Makes the peer anew, or gives WebRTC up if that happened too often. */
export function restart(path: Path, now: number): Path {
  const restarts = [...path.webrtc.restarts.filter((at) => at > now - RESTART_WINDOW_MS), now];
  if (restarts.length > RESTARTS_MAX) return giveUp(path, 'unstable', now);
  return openWebrtc({ ...path, webrtc: { ...path.webrtc, restarts } }, now);
}

export function giveUp(path: Path, reason: Reason, now: number): Path {
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
