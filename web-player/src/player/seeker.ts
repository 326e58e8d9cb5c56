import type { HlsSource } from './source/hls';
import type { PathEvent } from './path';
import { Playhead } from './playhead';
import type { PlayerEvent, PlayerState } from './state';
import { isPresent, placeMs, spanMs, stepFrom } from './timeline';

/** How often it is looked where the picture is. */
const LOOK_EVERY_MS = 500;

export interface SeekerOptions {
  state(): PlayerState;
  tell(event: PlayerEvent): void;
  /** The server's clock, in unix milliseconds. */
  now(): number;
  /** What plays by HLS; null while nothing does. */
  hls(): Pick<HlsSource, 'dates' | 'goTo' | 'video'> | null;
  recording(): Pick<HlsSource, 'place' | 'goToPlace'> | null;
  /** Plays what is on the screen, if it is paused. */
  play(): void;
  /** How it would begin now. */
  begin(): Extract<PathEvent, { type: 'start' }>;
}

/** Takes the viewer to other times of what can be watched, and tells where they are. */
export class Seeker {
  #options: SeekerOptions;
  #head = new Playhead();
  #looking: ReturnType<typeof setInterval> | undefined;

  constructor(options: SeekerOptions) {
    this.#options = options;
  }

  /** Where a picture that begins anew has to begin; null: at the present. */
  get from(): number | null {
    return this.#options.state().path.rewound ? this.#head.from : null;
  }

  start(): void {
    this.#looking = setInterval(() => this.look(), LOOK_EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#looking);
  }

  /** The state has changed: who is not in the past any more wants no time of it. */
  match(): void {
    if (!this.#options.state().path.rewound) this.#head.toPresent();
  }

  /** Goes so much further, back if it is negative. */
  seekBy(ms: number): void {
    const { timeline, latencyMs } = this.#options.state();
    if (timeline === null) return;
    // At the present the picture itself is a little in the past.
    const late = timeline.kind === 'live' && !timeline.rewound ? (latencyMs ?? 0) : 0;
    this.seekTo(stepFrom(timeline, placeMs(timeline) - late, ms));
  }

  /** Goes to a place on the bar, or as near as there is one. */
  seekTo(wish: number): void {
    const { state, tell, now, hls, recording } = this.#options;
    const { timeline } = state();
    if (timeline === null) return;
    const place = stepFrom(timeline, wish, 0);
    if (timeline.kind === 'recording') {
      recording()?.goToPlace(place);
      this.look();
      return;
    }
    if (isPresent(timeline, place)) {
      this.goToPresent();
      return;
    }
    tell({ type: 'paused', paused: false });
    const at = now();
    const date = at - (spanMs(timeline) - place);
    this.#head.want(date, at);
    hls()?.goTo(date);
    tell({ type: 'path', event: { type: 'rewind' } });
    this.look();
  }

  /** Back to the present. */
  goToPresent(): void {
    const { state, tell, play, begin } = this.#options;
    if (state().recording !== null) {
      tell({ type: 'leaveRecording', start: begin() });
      return;
    }
    this.#head.toPresent();
    if (state().liveness === 'ended') tell({ type: 'over' });
    tell({ type: 'path', event: { type: 'present' } });
    tell({ type: 'paused', paused: false });
    play();
    this.look();
  }

  /** Tells where the picture is. */
  look(): void {
    const { state, tell, now, hls, recording } = this.#options;
    if (state().recording !== null) {
      const place = recording()?.place() ?? null;
      if (place !== null) tell({ type: 'timeline', timeline: { kind: 'recording', ...place } });
      return;
    }
    const { path, stream } = state();
    const source = hls();
    const dates = path.shown === 'hls' ? (source?.dates() ?? null) : null;
    const seeking = source?.video.seeking === true;
    const look = { now: now(), startedAt: stream?.startedAt ?? null, dates, seeking, rewound: path.rewound };
    tell({ type: 'timeline', timeline: path.shown === 'none' ? null : this.#head.look(look) });
  }
}
