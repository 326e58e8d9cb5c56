import { nextDeadline } from './path';
import type { PathEvent } from './path';
import type { PlayerState } from './state';

/** A timer that fires a little early is not set anew for less. */
const NO_SOONER_MS = 20;
/** A timer that is so late says that the page was busy, not that no frame came … */
const LATE_MS = 250;
/** … and the sources, which look twice a second, are given so long to say what came meanwhile. */
const GRACE_MS = 600;

/** Tells the path the time at its deadlines, and when nobody can expect a frame. */
export class Ticker {
  #state: () => PlayerState;
  #hidden: () => boolean;
  #tell: (event: PathEvent) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `hidden`: nobody sees the page. */
  constructor(state: () => PlayerState, hidden: () => boolean, tell: (event: PathEvent) => void) {
    this.#state = state;
    this.#hidden = hidden;
    this.#tell = tell;
  }

  /** The state has changed. */
  set(): void {
    this.stop();
    const deadline = nextDeadline(this.#state().path);
    if (deadline === null) return;
    const dueAt = Math.max(performance.now() + NO_SOONER_MS, deadline);
    this.#timer = setTimeout(() => {
      // Only once: a page that is always busy is told the time all the same.
      if (performance.now() > dueAt + LATE_MS) this.#timer = setTimeout(() => this.#due(), GRACE_MS);
      else this.#due();
    }, dueAt - performance.now());
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #due(): void {
    // A hidden page may not decode, and that is no stall; a paused one does not want to; sound alone has no frames.
    const { cap, layers, paused, path } = this.#state();
    const excused = this.#hidden() || paused || cap === 'off' || layers?.audioOnly != null;
    if (excused && (path.webrtc.state === 'playing' || path.hls.state === 'playing')) this.#tell({ type: 'excused' });
    // What else is due does not wait for the viewer.
    this.#tell({ type: 'tick' });
    // A timer that fired a little early changed nothing, and would not be set again.
    this.set();
  }
}
