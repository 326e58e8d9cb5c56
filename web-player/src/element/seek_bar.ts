import { isPresent, placeMs, shortPlace, spanMs, spokenPlace, stepFrom } from '../player/timeline';
import type { Timeline } from '../player/timeline';

/** Keys on the bar; elsewhere in the player the same ones do the same. */
const STEPS: Readonly<Record<string, number>> = { ArrowLeft: -5_000, ArrowRight: 5_000, ArrowDown: -5_000, ArrowUp: 5_000, PageDown: -60_000, PageUp: 60_000 };

/** What the bar asks for. */
export interface Seeks {
  seekTo(place: number): void;
  seekBy(ms: number): void;
  goToPresent(): void;
}

/** The bar over what can be watched, its time, and the button that leads back to the present. */
export class SeekBar {
  #box: HTMLElement;
  #range: HTMLInputElement;
  #bubble: HTMLElement;
  #time: HTMLElement;
  #live: HTMLButtonElement;
  #player: () => Seeks | null;
  #timeline: Timeline | null = null;
  /** The place under a finger that is not lifted yet. */
  #held: number | null = null;

  constructor(box: HTMLElement, time: HTMLElement, live: HTMLButtonElement, player: () => Seeks | null) {
    box.innerHTML = '<input type="range" min="0" step="1" aria-label="Seek" /><output class="bubble" aria-hidden="true"></output>';
    const [range, bubble] = box.children as unknown as [HTMLInputElement, HTMLElement];
    this.#box = box;
    this.#range = range;
    this.#bubble = bubble;
    this.#time = time;
    this.#live = live;
    this.#player = player;
    range.addEventListener('input', () => this.#hold(range.valueAsNumber * 1000));
    range.addEventListener('change', () => this.#letGo());
    range.addEventListener('keydown', (event) => this.#key(event));
    box.addEventListener('pointermove', (event) => this.#hover(event));
    box.addEventListener('pointerleave', () => this.#box.toggleAttribute('data-hover', false));
    live.addEventListener('click', () => player()?.goToPresent());
  }

  /** `live`: the channel is on the air. */
  render(timeline: Timeline | null, live: boolean): void {
    this.#timeline = timeline;
    this.#box.hidden = timeline === null;
    const present = timeline === null || (timeline.kind === 'live' && !timeline.rewound);
    this.#live.hidden = !live;
    this.#live.dataset.present = String(present);
    this.#live.setAttribute('aria-disabled', String(present));
    const label = present ? 'You see it live' : 'Back to live (End)';
    this.#live.setAttribute('aria-label', label);
    this.#live.title = label;
    if (timeline === null) {
      this.#time.textContent = '';
      this.#held = null;
      return;
    }
    const place = this.#held ?? placeMs(timeline);
    this.#range.max = String(Math.round(spanMs(timeline) / 1000));
    if (this.#held === null) this.#range.value = String(Math.round(place / 1000));
    this.#range.style.setProperty('--level', `${(100 * place) / Math.max(1, spanMs(timeline))}%`);
    this.#range.setAttribute('aria-valuetext', spokenPlace(timeline, place));
    const total = timeline.kind === 'recording' ? ` / ${shortPlace(timeline, timeline.lengthMs)}` : '';
    this.#time.textContent = isPresent(timeline, place) ? '' : shortPlace(timeline, place) + total;
  }

  #hold(place: number): void {
    this.#held = place;
    this.render(this.#timeline, !this.#live.hidden);
    this.#showBubble(place);
  }

  #letGo(): void {
    const place = this.#held;
    this.#held = null;
    this.#box.toggleAttribute('data-hover', false);
    if (place !== null) this.#player()?.seekTo(place);
  }

  #key(event: KeyboardEvent): void {
    const step = STEPS[event.key];
    if (step !== undefined) this.#player()?.seekBy(step);
    else if (event.key === 'Home') this.#player()?.seekTo(0);
    else if (event.key === 'End') this.#player()?.seekTo(Number.POSITIVE_INFINITY);
    else return;
    // Neither the range's own steps nor the player's keys besides.
    event.preventDefault();
    event.stopPropagation();
  }

  #hover(event: PointerEvent): void {
    if (this.#timeline === null || event.pointerType !== 'mouse') return;
    const { left, width } = this.#range.getBoundingClientRect();
    const share = (event.clientX - left) / Math.max(1, width);
    this.#showBubble(stepFrom(this.#timeline, spanMs(this.#timeline) * share, 0));
  }

  #showBubble(place: number): void {
    if (this.#timeline === null) return;
    this.#bubble.textContent = shortPlace(this.#timeline, place);
    this.#bubble.style.setProperty('--at', String(place / Math.max(1, spanMs(this.#timeline))));
    this.#box.toggleAttribute('data-hover', true);
  }
}
