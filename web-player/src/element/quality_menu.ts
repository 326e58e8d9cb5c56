import type { Option, Quality } from '../player/quality';
import { ICONS } from './icons';

/** A button with a menu of qualities. While the menu is open, the focus is in it. */
export class QualityMenu {
  #box: HTMLElement;
  #button: HTMLButtonElement;
  #now: HTMLElement;
  #menu: HTMLElement;
  #choose: (quality: Quality) => void;
  #options: readonly Option[] = [];

  constructor(box: HTMLElement, choose: (quality: Quality) => void) {
    box.innerHTML =
      `<button type="button" aria-haspopup="menu" aria-expanded="false">${ICONS.quality}<span class="only-wide"></span></button>` +
      '<span class="menu" role="menu" aria-label="Quality"></span>';
    this.#box = box;
    this.#choose = choose;
    const [button, menu] = box.children as unknown as [HTMLButtonElement, HTMLElement];
    this.#button = button;
    this.#now = button.querySelector('span') ?? button;
    this.#menu = menu;
    menu.hidden = true;
    button.addEventListener('click', () => this.#open(menu.hidden === true));
    menu.addEventListener('keydown', (event) => this.#key(event));
    box.addEventListener('focusout', (event) => {
      if (!box.contains(event.relatedTarget as Node | null)) this.#open(false);
    });
  }

  /** Opens or closes it; false where there is nothing to choose. */
  toggle(): boolean {
    if (this.#box.hidden) return false;
    this.#open(this.#menu.hidden === true);
    return true;
  }

  render(options: readonly Option[]): void {
    this.#options = options;
    const checked = options.find((option) => option.checked);
    const label = `Quality: ${checked?.label ?? 'Auto'} (q)`;
    this.#button.setAttribute('aria-label', label);
    this.#button.title = label;
    this.#now.textContent = checked?.label ?? '';
    // Items stay: one that was taken away would take the focus with it, and close the menu under the viewer's hand.
    while (this.#menu.children.length > options.length) this.#menu.lastElementChild?.remove();
    options.forEach((option, at) => {
      const item = this.#menu.children[at] ?? this.#menu.appendChild(this.#item(at));
      item.setAttribute('aria-checked', String(option.checked));
      if (item.textContent !== option.label) item.textContent = option.label;
    });
    this.#box.hidden = options.length === 0;
    if (options.length === 0) this.#open(false);
  }

  #item(at: number): HTMLElement {
    const item = document.createElement('button');
    item.type = 'button';
    item.setAttribute('role', 'menuitemradio');
    item.tabIndex = -1;
    item.addEventListener('click', () => {
      const option = this.#options[at];
      this.#open(false);
      if (option !== undefined) this.#choose(option.quality);
    });
    return item;
  }

  #open(open: boolean): void {
    if (this.#menu.hidden !== open) return;
    const inside = this.#menu.contains(this.#focused());
    this.#menu.hidden = !open;
    this.#button.setAttribute('aria-expanded', String(open));
    if (open) this.#focusChecked();
    else if (inside) this.#button.focus();
  }

  #focused(): Element | null {
    return (this.#box.getRootNode() as ShadowRoot | Document).activeElement;
  }

  #focusChecked(): void {
    (this.#menu.querySelector<HTMLElement>("[aria-checked='true']") ?? this.#menu.querySelector<HTMLElement>('button'))?.focus();
  }

  #key(event: KeyboardEvent): void {
    const items = [...this.#menu.querySelectorAll<HTMLElement>('button')];
    const at = items.indexOf(this.#focused() as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === 'Escape') this.#open(false);
    else if (to !== undefined) items[(to + items.length) % items.length]?.focus();
    else return;
    // Elsewhere the arrows are the volume's.
    event.preventDefault();
    event.stopPropagation();
  }
}
