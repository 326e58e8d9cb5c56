/** Where the picture is in what can be watched: how far a live Stream goes back, or how long a recording is. Pure; milliseconds. */

export type Timeline =
  /** `behindMs`: behind the server's present. `windowMs`: how far back there is something. */
  | { readonly kind: 'live'; readonly behindMs: number; readonly windowMs: number; readonly rewound: boolean }
  | { readonly kind: 'recording'; readonly atMs: number; readonly lengthMs: number };

/** A wish for a place nearer to the present than this is a wish for the present. */
export const LIVE_WITHIN_MS = 3_000;
/** Streams younger than this have no bar: there is nothing to go back to yet. */
const WINDOW_MIN_MS = 10_000;
/** How far back a Stream goes whose playlist we have not seen: what servers keep unless they are told otherwise. */
const WINDOW_GUESS_MS = 7_200_000;

/** A Stream that plays by WebRTC, seen from its age. `reach`: how far back it went when its playlist was last seen. */
export function fromAge(ageMs: number | null, reach: number | null): Timeline | null {
  if (ageMs === null) return null;
  const windowMs = Math.min(ageMs, reach ?? WINDOW_GUESS_MS);
  return windowMs < WINDOW_MIN_MS ? null : { kind: 'live', behindMs: 0, windowMs, rewound: false };
}

/** How long the bar is. */
export function spanMs(timeline: Timeline): number {
  return timeline.kind === 'live' ? timeline.windowMs : timeline.lengthMs;
}

/** How far from the left of the bar the picture is. Who did not go back is at its right end, however late the way is. */
export function placeMs(timeline: Timeline): number {
  if (timeline.kind === 'recording') return timeline.atMs;
  return timeline.rewound ? Math.max(0, timeline.windowMs - timeline.behindMs) : timeline.windowMs;
}

/** A place `byMs` further on, within the bar. */
export function stepFrom(timeline: Timeline, fromMs: number, byMs: number): number {
  return Math.min(spanMs(timeline), Math.max(0, fromMs + byMs));
}

/** Whether a place means the present. */
export function isPresent(timeline: Timeline, atMs: number): boolean {
  return timeline.kind === 'live' && spanMs(timeline) - atMs < LIVE_WITHIN_MS;
}

/** `−1:23`, or `4:05` of a recording. */
export function shortPlace(timeline: Timeline, atMs: number): string {
  if (timeline.kind === 'recording') return clock(atMs);
  return isPresent(timeline, atMs) ? 'Live' : `−${clock(spanMs(timeline) - atMs)}`;
}

/** For those who hear it. */
export function spokenPlace(timeline: Timeline, atMs: number): string {
  if (timeline.kind === 'recording') return `${spoken(atMs)} of ${spoken(timeline.lengthMs)}`;
  return isPresent(timeline, atMs) ? 'Live' : `${spoken(spanMs(timeline) - atMs)} behind live`;
}

/** `1:02:03`, or `4:05` below an hour. */
export function clock(ms: number): string {
  const all = Math.max(0, Math.round(ms / 1000));
  const [hours, minutes, seconds] = [Math.floor(all / 3600), Math.floor((all % 3600) / 60), String(all % 60).padStart(2, '0')];
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${seconds}` : `${minutes}:${seconds}`;
}

function spoken(ms: number): string {
  const all = Math.max(0, Math.round(ms / 1000));
  const parts: [number, string][] = [[Math.floor(all / 3600), 'hour'], [Math.floor((all % 3600) / 60), 'minute'], [all % 60, 'second']];
  const said = parts.filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}${count === 1 ? '' : 's'}`);
  return said.length === 0 ? '0 seconds' : said.join(' ');
}

/** One segment of a playlist: where it lies on the player's line (seconds), and when it was made (unix milliseconds). */
export interface Dated {
  readonly start: number;
  readonly duration: number;
  readonly programDateTime: number | null;
}

/** The place on the player's line, in seconds, that shows what was made at `date`; the nearest that there is. Null without dates. */
export function positionOf(segments: readonly Dated[], date: number): number | null {
  const dated = segments.filter((segment) => segment.programDateTime !== null);
  const found = dated.findLast((segment) => (segment.programDateTime ?? 0) <= date) ?? dated[0];
  if (found === undefined) return null;
  // Times have gaps where the encoder was away: no further than the end of what there is.
  const into = Math.min(found.duration, Math.max(0, (date - (found.programDateTime ?? 0)) / 1000));
  return found.start + into;
}
