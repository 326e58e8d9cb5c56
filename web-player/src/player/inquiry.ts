import type { PlayerEvent, PlayerState } from './state';

/** A channel that does not exist may be made … */
export const NO_CHANNEL_MS = 30_000;
/** … and those who wait for the same one ask over so much more of that time. */
const SPREAD = 0.5;

export interface InquiryOptions {
  state(): PlayerState;
  tell(event: PlayerEvent): void;
  /** Asks the server again. */
  ask(): void;
}

/** Asks again and again for what the server does not have, where it would not tell us by itself that it has come. */
export class Inquiry {
  #options: InquiryOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: InquiryOptions) {
    this.#options = options;
  }

  /** There is no such channel. */
  noChannel(): void {
    this.#options.tell({ type: 'noChannel' });
    this.#again(NO_CHANNEL_MS);
  }

  /** Nobody is live. `againMs`: when the server may be asked again; null where it tells by itself. */
  notLive(againMs: number | null): void {
    this.#options.tell({ type: 'notLive' });
    if (againMs !== null) this.#again(againMs);
  }

  /** Somebody is live: the server has an answer. */
  found(): void {
    this.#options.tell({ type: 'found' });
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #again(ms: number): void {
    this.stop();
    const { ask, state } = this.#options;
    const { liveness } = state();
    this.#timer = setTimeout(() => {
      // The server said something else meanwhile.
      if (state().liveness !== liveness) return;
      ask();
      this.#again(ms);
    }, ms * (1 + SPREAD * Math.random()));
  }
}
