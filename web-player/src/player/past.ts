import type { Pass } from '../access/pass';
import { fetchRecordings } from '../api/recordings';
import type { Recording } from '../api/recordings';
import type { PlayerState } from './state';

type Liveness = PlayerState['liveness'];

/** So many of a channel's recordings are shown. */
const RECORDINGS_MAX = 12;
/** What a channel has left is looked up this long after its state changed: at once where there is nothing else to see. */
const AFTER_MS = { unknown: null, live: 4_000, away: null, offline: 0, ended: 1_500, missing: null } as const;
/** A Stream that has just ended becomes a recording within seconds: it is looked for again this often, so many times. */
const AGAIN_MS = 3_000;
const TRIES = 4;

/** Looks up what a channel has left, when there may be something new. */
export class Past {
  #pass: Pass;
  #found: (recordings: Recording[]) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Grows with each change: a question that is still on its way after one is not asked again. */
  #round = 0;

  constructor(pass: Pass, found: (recordings: Recording[]) => void) {
    this.#pass = pass;
    this.#found = found;
  }

  /** The channel is now this; `awaited`: the Stream that has ended, which is looked for until it is there. */
  expect(liveness: Liveness, awaited: string | null): void {
    this.stop();
    const round = this.#round;
    const after = AFTER_MS[liveness];
    if (after === null) return;
    const look = async (triesLeft: number): Promise<void> => {
      const recordings = await fetchRecordings(this.#pass.channel, this.#pass.token, RECORDINGS_MAX).catch(() => null);
      if (recordings !== null) this.#found(recordings);
      const done = recordings !== null && (liveness !== 'ended' || recordings.some((it) => it.id === awaited));
      if (!done && triesLeft > 1 && round === this.#round) this.#timer = setTimeout(() => void look(triesLeft - 1), AGAIN_MS);
    };
    this.#timer = setTimeout(() => void look(TRIES), after);
  }

  stop(): void {
    this.#round += 1;
    clearTimeout(this.#timer);
  }
}
