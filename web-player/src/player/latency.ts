/**
 * How late the picture is, measured, from the moment at which the server took the frame in (or, where the publisher
 * says so, at which it was captured) to the moment at which it is shown. Every function answers null rather than guess.
 */

/** Seconds between the NTP epoch (1900) and the unix epoch, in milliseconds. */
const NTP_TO_UNIX_MS = 2_208_988_800_000;
/** Beyond this a figure says that two clocks disagree, not that a picture is late. */
const PLAUSIBLE_MAX_MS = 60_000;

/** What one look at a receiver's statistics says. Cumulative counters, seconds as in the WebRTC statistics. */
export interface ReceiverSample {
  readonly jitterBufferDelay: number;
  readonly jitterBufferEmittedCount: number;
  readonly roundTripTime: number | null;
  /** NTP or unix milliseconds of the sender's clock; browsers differ. */
  readonly estimatedPlayoutTimestamp: number | null;
}

function plausible(ms: number): number | null {
  return ms > -200 && ms < PLAUSIBLE_MAX_MS ? Math.max(0, ms) : null;
}

/** From the playout timestamp: exact where the clock offset to the server is known. */
export function fromPlayout(timestamp: number | null, serverNow: number | null): number | null {
  if (timestamp === null || serverNow === null || timestamp <= 0) return null;
  const unix = timestamp > NTP_TO_UNIX_MS + serverNow / 2 ? timestamp - NTP_TO_UNIX_MS : timestamp;
  return plausible(serverNow - unix);
}

/** From the capture time of a shown frame (`requestVideoFrameCallback`), which the browser already maps to its own clock. */
export function fromCapture(captureTime: number | undefined, displayTime: number): number | null {
  return captureTime === undefined || captureTime <= 0 ? null : plausible(displayTime - captureTime);
}

/** The sum of the parts: the jitter buffer since the last look, half a round trip, and the server's own share. */
export function fromParts(before: ReceiverSample | null, now: ReceiverSample, serverDelayMs: number): number | null {
  const emitted = now.jitterBufferEmittedCount - (before?.jitterBufferEmittedCount ?? 0);
  if (emitted <= 0 || now.roundTripTime === null) return null;
  const buffered = (now.jitterBufferDelay - (before?.jitterBufferDelay ?? 0)) / emitted;
  return plausible(buffered * 1000 + (now.roundTripTime * 1000) / 2 + serverDelayMs);
}

/** HLS: the playlist says which wall-clock time is on screen (EXT-X-PROGRAM-DATE-TIME). */
export function fromProgramDate(playing: number | null, serverNow: number): number | null {
  return playing === null ? null : plausible(serverNow - playing);
}

/** Calms the figure on the badge: follows at once when it is off by much, slowly otherwise. */
export function smooth(before: number | null, sample: number): number {
  if (before === null || Math.abs(sample - before) > 500) return sample;
  return before + (sample - before) * 0.3;
}
