import { fromAge } from './timeline';
import type { Timeline } from './timeline';

/** A wanted time that is not reached by then is given up: the bar says where the picture really is. */
const THERE_BY_MS = 10_000;
/** A playlist that does not reach back to this long after the beginning of its Stream has lost its beginning. */
const REACH_SLACK_MS = 10_000;

/** Times of the picture on the screen, and of the oldest one that there is. Unix milliseconds of the server. */
export interface Dates {
  readonly shown: number;
  readonly oldest: number;
}

/** What there is to be seen when one looks. */
export interface Look {
  /** The server's clock, in unix milliseconds. */
  readonly now: number;
  /** When the Stream began, by the same clock. */
  readonly startedAt: number | null;
  /** What the playlist says; null by WebRTC, and while nothing is known. */
  readonly dates: Dates | null;
  /** The picture is not yet where it was sent. */
  readonly seeking: boolean;
  readonly rewound: boolean;
}

/** Where a live viewer is in time, and where they want to be. Pure: the time is passed in. */
export class Playhead {
  #wanted: { readonly date: number; readonly since: number } | null = null;
  #past: number | null = null;
  #reach: number | null = null;

  /** Where a picture that begins anew has to begin; null: at the present. */
  get from(): number | null {
    return this.#past;
  }

  /** The viewer wants to see what was made at `date`. */
  want(date: number, now: number): void {
    this.#wanted = { date, since: now };
    this.#past = date;
  }

  /** The viewer wants the present. */
  toPresent(): void {
    this.#wanted = this.#past = null;
  }

  look({ now, startedAt, dates, seeking, rewound }: Look): Timeline | null {
    const age = startedAt === null ? null : now - startedAt;
    const windowMs = dates === null ? null : now - dates.oldest;
    if (windowMs !== null) this.#reach = age !== null && windowMs < age - REACH_SLACK_MS ? windowMs : null;
    // Where it is then is as near as it gets: dates of some encoders are seconds off.
    const there = rewound && dates !== null && !seeking;
    if (there || now - (this.#wanted?.since ?? now) > THERE_BY_MS) this.#wanted = null;
    if (rewound && dates !== null && this.#wanted === null) this.#past = dates.shown;
    const bar = fromAge(windowMs ?? age, this.#reach);
    if (bar === null || bar.kind !== 'live') return null;
    const at = this.#wanted?.date ?? dates?.shown ?? now;
    // Seconds are what is shown; more would only make work.
    return { ...bar, windowMs: seconds(bar.windowMs), behindMs: rewound ? seconds(now - at) : 0, rewound };
  }
}

function seconds(ms: number): number {
  return Math.round(ms / 1000) * 1000;
}
