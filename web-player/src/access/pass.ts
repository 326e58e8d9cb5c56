import { Refused, ask } from '../api/ask';
import type { Fields } from '../api/fields';
import { text } from '../api/fields';
import { doorOf, isOpen, renewAfterMs, visibilityOf } from './grant';
import type { Door } from './grant';

/** Who stands before a closed door is looked after this often: a subscription may be given, a channel opened. */
const LOOK_EVERY_MS = 10_000;
/** An API that does not answer is asked again after this long. */
const RETRY_MS = 3_000;

/** What we know about getting in. `asking`: nothing yet. */
export type PassStatus =
  | { readonly state: 'asking' }
  /** The token is null where none is needed. */
  | { readonly state: 'open'; readonly token: string | null }
  | { readonly state: 'closed'; readonly door: Door };

/** What a pass needs from the world; tests bring their own. */
export interface PassEnvironment {
  ask(method: string, path: string, body?: object): Promise<Fields>;
  /** Runs `then` after `ms`; the returned function cancels. */
  after(ms: number, then: () => void): () => void;
  /** Somebody looks at the page. */
  visible(): boolean;
}

const BROWSER: PassEnvironment = {
  ask,
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  visible: () => !document.hidden,
};

type Listener = (status: PassStatus) => void;

/**
 * A viewer's way into one channel: finds out whether a grant is needed, gets one for whoever is signed in, renews it in time, and
 * while the door is closed looks again and again whether it has opened.
 *
 * `link` is a grant that somebody gave to the viewer (`?grant=…`). It is used first, and as long as it works.
 */
export class Pass {
  readonly channel: string;
  #environment: PassEnvironment;
  #link: string | null;
  #status: PassStatus = { state: 'asking' };
  #asking: Promise<void> | null = null;
  #listeners = new Set<Listener>();
  #cancel: (() => void) | null = null;
  #running = false;

  constructor(channel: string, link: string | null = null, environment: PassEnvironment = BROWSER) {
    this.channel = channel;
    this.#environment = environment;
    this.#link = link;
  }

  get status(): PassStatus {
    return this.#status;
  }

  /** The grant to show now; null where none is needed, and where there is none. */
  get token(): string | null {
    return this.#status.state === 'open' ? this.#status.token : null;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    if (this.#link === null) void this.#ask();
    else this.#opened(this.#link);
  }

  stop(): void {
    this.#running = false;
    this.#cancel?.();
  }

  /** Calls back at every change. */
  onStatus(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when it is known whether a grant is needed, and the grant is there; after `ms` in any case. */
  async settled(ms: number): Promise<void> {
    if (this.#status.state !== 'asking' || this.#asking === null) return;
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => (cancel = this.#environment.after(ms, resolve)));
    await Promise.race([this.#asking, late]);
    cancel();
  }

  /** The server refused this token (null: none was shown). Resolves with what holds instead: another token, or a closed door. */
  async renew(used: string | null): Promise<PassStatus> {
    if (used !== null && used === this.#link) this.#link = null;
    // Another one came meanwhile.
    if (this.#status.state === 'open' && this.#status.token !== used) return this.#status;
    await this.#ask();
    return this.#status;
  }

  /** Somebody came back to the page, or signed in elsewhere: what was closed may be open. */
  look(): void {
    if (this.#running && this.#status.state === 'closed') void this.#ask();
  }

  /** Follows the channel, then asks for a grant. Throws what the server says against it. */
  async follow(): Promise<void> {
    await this.#environment.ask('PUT', `${this.#path()}/follow`, { notify: true });
    await this.#ask();
  }

  #path(): string {
    return `/api/v1/channels/${encodeURIComponent(this.channel)}`;
  }

  /** One question at a time: who asks meanwhile gets the same answer. */
  #ask(): Promise<void> {
    this.#asking ??= this.#find().finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #find(): Promise<void> {
    this.#cancel?.();
    try {
      const channel = await this.#environment.ask('GET', this.#path());
      const visibility = visibilityOf(channel.visibility);
      if (isOpen(visibility)) return this.#opened(null);
      try {
        const made = await this.#environment.ask('POST', `${this.#path()}/grants`, {});
        const token = text(made.token);
        if (token === null) throw new Error('the server made no grant');
        this.#opened(token);
      } catch (error) {
        if (!(error instanceof Refused) || (error.status !== 401 && error.status !== 403)) throw error;
        this.#closed(doorOf(error.status, visibility));
      }
    } catch (error) {
      // A channel that the API does not know may be a hook backend's; whoever plays it decides.
      if (error instanceof Refused && error.status === 404) this.#opened(null);
      else this.#later(RETRY_MS);
    }
  }

  #opened(token: string | null): void {
    this.#become({ state: 'open', token });
    if (token !== null) this.#later(renewAfterMs(token));
  }

  #closed(door: Door): void {
    // A link that still works is better than an account that does not.
    if (this.#link !== null) return;
    this.#become({ state: 'closed', door });
    this.#later(LOOK_EVERY_MS);
  }

  #later(ms: number): void {
    this.#cancel?.();
    if (!this.#running) return;
    this.#cancel = this.#environment.after(ms, () => {
      if (this.#status.state === 'closed' && !this.#environment.visible()) this.#later(LOOK_EVERY_MS);
      else void this.#ask();
    });
  }

  #become(status: PassStatus): void {
    this.#status = status;
    for (const listener of this.#listeners) listener(status);
  }
}
