/** HLS as one of the two ways of a `Path`: how it begins, ends, and waits. Pure, milliseconds. */

import type { Hls, Path } from './path';

/** HLS plays from a buffer of seconds: without progress for this long it hangs … */
export const HLS_STALL_MS = 3_000;
/** … and is opened anew after this long. */
export const HLS_RESTART_AFTER_STALL_MS = 5_000;
const HLS_RETRY_FIRST_MS = 1_000;
const HLS_RETRY_MAX_MS = 10_000;

export function openHls(path: Path): Path {
  if (path.hls.state !== 'off' && path.hls.state !== 'waiting') return path;
  return { ...path, hls: { ...path.hls, state: 'warming', attempt: path.hls.attempt + 1, retryAt: null } };
}

export function closeHls(path: Path): Path {
  return { ...path, hls: { ...path.hls, state: 'off', failures: 0, retryAt: null } };
}

/** It does not play: it is opened anew after a wait that grows with each time. */
export function afterFailure(hls: Hls, now: number): Hls {
  const failures = hls.failures + 1;
  const wait = Math.min(HLS_RETRY_MAX_MS, HLS_RETRY_FIRST_MS * 2 ** (failures - 1));
  return { ...hls, state: 'waiting', failures, retryAt: now + wait };
}
