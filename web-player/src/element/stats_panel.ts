import type { ServerFigures } from '../player/figures';
import type { Player } from '../player/player';
import { lines } from './stats';

const LOOK_EVERY_MS = 1_000;
/** The server answers one question in ten seconds. */
const ASK_EVERY_MS = 10_500;

/** The statistics over the picture: shown on demand, and at work only while shown. */
export class StatsPanel {
  #section: HTMLElement;
  #list: HTMLElement;
  #button: HTMLElement;
  #player: () => Player | null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #askedAt = -Infinity;
  #server: ServerFigures | null = null;

  constructor(section: HTMLElement, list: HTMLElement, button: HTMLElement, player: () => Player | null) {
    this.#section = section;
    this.#list = list;
    this.#button = button;
    this.#player = player;
  }

  toggle(shown = this.#section.hidden): void {
    this.#section.hidden = !shown;
    this.#button.setAttribute('aria-pressed', String(shown));
    clearInterval(this.#timer);
    if (!shown) return;
    this.#look();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  #look(): void {
    const player = this.#player();
    if (player === null) return;
    const now = performance.now();
    if (now - this.#askedAt >= ASK_EVERY_MS) {
      this.#askedAt = now;
      void player.serverFigures().then((figures) => {
        this.#server = figures;
      });
    }
    const server = player.state.path.shown === 'webrtc' ? this.#server : null;
    const rows = lines(player.state, player.figures(), server).flatMap(({ name, value }) => [cell('dt', name), cell('dd', value)]);
    this.#list.replaceChildren(...rows);
  }
}

function cell(tag: 'dt' | 'dd', text: string): HTMLElement {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
