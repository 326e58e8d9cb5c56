/** The controls are out of the way when nobody touched anything for this long. */
const IDLE_AFTER_MS = 2_500;
/** What a tap is to a control, in its order: a slider acts on the first, a button on the last. */
const TAP = ['touchstart', 'mousedown', 'click'] as const;

type Host = Pick<HTMLElement, 'addEventListener' | 'toggleAttribute' | 'hasAttribute' | 'dataset'>;
type Bar = Pick<HTMLElement, 'addEventListener' | 'querySelector'>;

/**
 * When the controls hide (`data-idle`), and what brings them back.
 *
 * A finger cannot look before it presses: the tap that brings them back does nothing to the control that appears under it. For
 * that `data-pointer` tells the sheet what was used last, and the tap is kept from the bar as well, since browsers may look for
 * what was clicked after the bar is back. A mouse may press what it rests on, as it always could.
 */
export class Idle {
  #host: Host;
  #bar: Bar;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The last tap brought the controls back. */
  #waking = false;

  constructor(host: Host, bar: Bar) {
    this.#host = host;
    this.#bar = bar;
    host.addEventListener('pointerdown', (event) => (this.#waking = event.pointerType === 'touch' && this.#hidden()), { capture: true });
    for (const type of ['pointerdown', 'pointermove'] as const) host.addEventListener(type, (event) => (host.dataset.pointer = event.pointerType));
    for (const type of ['pointermove', 'pointerdown', 'focusin', 'keydown']) host.addEventListener(type, () => this.wake());
    host.addEventListener('pointerleave', (event) => {
      if (event.pointerType === 'mouse') host.toggleAttribute('data-idle', true);
    });
    for (const type of TAP) bar.addEventListener(type, (event) => this.#spare(event), { capture: true, passive: false });
  }

  wake(): void {
    this.#host.toggleAttribute('data-idle', false);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#host.toggleAttribute('data-idle', true), IDLE_AFTER_MS);
  }

  /** As the sheet has it: only over a moving picture, and not from a keyboard that is in the bar. */
  #hidden(): boolean {
    return this.#host.hasAttribute('data-idle') && this.#host.dataset.phase === 'playing' && this.#bar.querySelector(':focus-visible') === null;
  }

  #spare(event: UIEvent): void {
    // A click without a press is a keyboard's, or a screen reader's.
    if (!this.#waking || (event.type === 'click' && event.detail === 0)) return;
    if (event.type === 'click') this.#waking = false;
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}
