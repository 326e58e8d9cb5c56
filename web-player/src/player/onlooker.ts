/** A page hidden for this long tries WebRTC again when it is looked at. */
const LONG_HIDDEN_MS = 300_000;
/** The picture of a page that is hidden for this long is not sent until it is looked at; sound goes on. */
const PAUSE_HIDDEN_MS = 5_000;

export interface OnlookerOptions {
  /** The picture is looked at, or not any more. */
  wantPicture(wanted: boolean): void;
  /** The page is looked at again, after so long. */
  back(afterLong: boolean): void;
}

/** Whether anybody looks. A picture in picture is looked at. */
export class Onlooker {
  #options: OnlookerOptions;
  #hiddenSince: number | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: OnlookerOptions) {
    this.#options = options;
  }

  /** The page was hidden, or is looked at. `inPicture`: whether there is a picture in picture, asked when it matters. */
  changed(hidden: boolean, inPicture: () => boolean): void {
    const now = performance.now();
    this.stop();
    if (hidden) {
      this.#hiddenSince = now;
      this.#timer = setTimeout(() => this.#options.wantPicture(inPicture()), PAUSE_HIDDEN_MS);
    } else if (this.#hiddenSince !== null) {
      const long = now - this.#hiddenSince > LONG_HIDDEN_MS;
      this.#hiddenSince = null;
      this.#options.back(long);
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
