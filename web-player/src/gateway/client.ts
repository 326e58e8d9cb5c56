import { backoffMs } from './backoff';
import { ServerClock } from './clock';
import { BROWSER } from './environment';
import type { Environment, Socket } from './environment';
import { SUB_PROTOCOL, decodeMessage, place } from './protocol';
import type { ChatUser, ClientRequest, Limits, ServerFrame } from './protocol';

/** How long a request may stay unanswered. */
const REQUEST_TIMEOUT_MS = 8_000;
/** A socket that does not open and welcome us within this time is given up (a swallowed SYN would take minutes). */
const WELCOME_BY_MS = 6_000;
/** Who we are is waited for no longer than this: the server waits for `hello` for 5 s, and a guest may watch too. */
const IDENTITY_BY_MS = 2_500;
/** How long after `heartbeatMs` of silence the line counts as dead. */
const HEARTBEAT_SLACK_MS = 10_000;
/** Close codes from here on mean "do not come back" (4000–4499 mean the opposite). */
const FIRST_FINAL_CLOSE = 4500;
/** The token of `hello` is not taken: a new one may be. */
const BAD_TOKEN = 4004;

export type Status =
  | { state: 'connecting'; failures: number }
  | { state: 'open'; user: ChatUser; limits: Limits }
  /** Down; `retryInMs` is null when the server said not to come back. */
  | { state: 'down'; failures: number; retryInMs: number | null; code: number; reason: string };

/** Why a request has no good answer. `code` is the protocol's, or `disconnected` / `timeout` of our own. */
export class GatewayError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly retryable: boolean,
  ) {
    super(message);
    this.name = 'GatewayError';
  }
}

interface Pending {
  resolve(frame: ServerFrame): void;
  reject(error: GatewayError): void;
  cancelTimeout(): void;
}

/** How one gets into a channel that is not for everybody. */
export interface Admission {
  /** The grant to show, if there is one. */
  token(): string | null;
  /** The server did not let us join; `used` is the grant that was shown. */
  refused(used: string | null, words: string): void;
  /** There is no such channel. */
  missing(): void;
}

/** Who speaks: the token of an account, or null for a guest. */
export interface Speaker {
  token(): Promise<string | null>;
  forget(): void;
}

interface Room {
  readonly history: number;
  readonly admission: Admission | null;
  epoch: string | null;
  seq: number;
}

type Listener<T> = (value: T) => void;

/**
 * The one WebSocket of a page: signalling, chat and notices.
 *
 * It keeps itself alive: reconnects with jittered backoff, joins its rooms again from where they were (epoch and
 * sequence number), answers pings, and gives up on a silent line. Listeners see every frame once and in order.
 */
export class GatewayClient {
  readonly clock = new ServerClock();
  #environment: Environment;
  #url: string;
  #name: string | null;
  #speaker: Speaker | null;
  #socket: Socket | null = null;
  #status: Status = { state: 'connecting', failures: 0 };
  #session: string | null = null;
  #heartbeatMs = 25_000;
  #failures = 0;
  #helloSentAt = 0;
  #nextId = 1;
  #pending = new Map<number, Pending>();
  #rooms = new Map<string, Room>();
  #frameListeners = new Set<Listener<ServerFrame>>();
  #statusListeners = new Set<Listener<Status>>();
  #cancelRetry: (() => void) | null = null;
  #cancelSilence: (() => void) | null = null;
  #running = false;

  constructor(url: string, options: { name?: string | null; speaker?: Speaker | null; environment?: Environment } = {}) {
    this.#url = url;
    this.#name = options.name ?? null;
    this.#speaker = options.speaker ?? null;
    this.#environment = options.environment ?? BROWSER;
  }

  get status(): Status {
    return this.#status;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#connect();
  }

  /** Ends the connection for good. */
  stop(): void {
    this.#running = false;
    this.#cancelRetry?.();
    this.#drop(1000, 'leaving', null);
  }

  onFrame(listener: Listener<ServerFrame>): () => void {
    this.#frameListeners.add(listener);
    return () => this.#frameListeners.delete(listener);
  }

  /** Calls back now and at every change. */
  onStatus(listener: Listener<Status>): () => void {
    this.#statusListeners.add(listener);
    listener(this.#status);
    return () => this.#statusListeners.delete(listener);
  }

  /** Joins a room now and after every reconnect, until `leave`. */
  join(ch: string, history = 0, admission: Admission | null = null): void {
    if (this.#rooms.has(ch)) return;
    const room: Room = { history, admission, epoch: null, seq: 0 };
    this.#rooms.set(ch, room);
    if (this.#status.state === 'open') this.#sendJoin(ch, room);
  }

  /** Asks again to join a room that did not let us in, or was not there. */
  rejoin(ch: string): void {
    const room = this.#rooms.get(ch);
    if (room !== undefined && this.#status.state === 'open') this.#sendJoin(ch, room);
  }

  /** Says anew who we are: somebody signed in. What plays goes on. */
  reintroduce(): void {
    this.#speaker?.forget();
    if (this.#status.state === 'open') this.#drop(1000, 'signed in', 0);
  }

  leave(ch: string): void {
    if (this.#rooms.delete(ch) && this.#status.state === 'open') this.send({ type: 'leave', ch });
  }

  /** Sends a request; the promise settles with the frame that answers it. Rejects with [`GatewayError`]. */
  request(request: ClientRequest): Promise<ServerFrame> {
    if (this.#status.state !== 'open' || this.#socket === null) {
      return Promise.reject(new GatewayError('disconnected', 'The connection to the server is down.', true));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const cancelTimeout = this.#environment.after(REQUEST_TIMEOUT_MS, () => {
        this.#pending.delete(id);
        reject(new GatewayError('timeout', 'The server did not answer in time.', true));
      });
      this.#pending.set(id, { resolve, reject, cancelTimeout });
      this.#write({ ...request, id });
    });
  }

  /** Sends without waiting for an answer; does nothing while the line is down. */
  send(frame: ClientRequest | { type: 'rtc.close'; pc: string }): void {
    if (this.#status.state === 'open') this.#write(frame);
  }

  /** Another display name. A server that cannot rename a running session sees a new one. */
  rename(name: string): void {
    if (name === this.#name) return;
    this.#name = name;
    if (this.#status.state !== 'open') return;
    this.request({ type: 'name', name }).then(
      () => {
        if (this.#status.state === 'open') {
          this.#setStatus({ ...this.#status, user: { ...this.#status.user, display: name } });
        }
      },
      (error: unknown) => {
        if (error instanceof GatewayError && error.code === 'unknown_type') {
          this.#session = null;
          this.#drop(1000, 'new name', 0);
        }
      },
    );
  }

  #connect(): void {
    this.#cancelRetry = null;
    this.#setStatus({ state: 'connecting', failures: this.#failures });
    const socket = this.#environment.connect(this.#url, SUB_PROTOCOL);
    this.#socket = socket;
    this.#watchSilence(WELCOME_BY_MS);
    // Asked for while the socket opens, so that it costs no time.
    const token = this.#token();
    socket.onopen = () => {
      if (token === null) this.#hello(null);
      else void token.then((known) => socket === this.#socket && this.#hello(known));
    };
    socket.onmessage = (event) => {
      if (socket !== this.#socket || typeof event.data !== 'string') return;
      for (const frame of decodeMessage(event.data)) this.#handle(frame);
      if (this.#status.state === 'open') this.#watchSilence(this.#heartbeatMs + HEARTBEAT_SLACK_MS);
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#closed(event.code, event.reason, null);
    };
  }

  #hello(token: string | null): void {
    this.#helloSentAt = this.#environment.now();
    this.#write({
      type: 'hello',
      v: 1,
      client: 'web-player',
      ...(this.#name === null ? {} : { name: this.#name }),
      ...(token === null ? {} : { token }),
      ...(this.#session === null ? {} : { resume: { session: this.#session } }),
    });
  }

  /** The speaker's token; null where nobody can speak but guests. */
  #token(): Promise<string | null> | null {
    if (this.#speaker === null) return null;
    let cancel = (): void => undefined;
    const late = new Promise<null>((resolve) => (cancel = this.#environment.after(IDENTITY_BY_MS, () => resolve(null))));
    return Promise.race([this.#speaker.token(), late]).finally(() => cancel());
  }

  #handle(frame: ServerFrame): void {
    switch (frame.type) {
      case 'welcome':
        this.#welcome(frame);
        break;
      case 'ping':
        this.clock.sample(frame.t, this.#environment.now());
        this.#write({ type: 'pong', t: frame.t });
        return;
      case 'reconnect':
        this.#cancelRetry?.();
        this.#cancelRetry = this.#environment.after(frame.inMs, () => {
          if (frame.url !== null) this.#url = frame.url;
          this.#drop(1000, 'moving', 0);
        });
        return;
      case 'joined':
        this.#joined(frame);
        return;
      case 'gap': {
        // The server dropped chat for us; what it names is gone, and what follows must not look like a repetition.
        const room = frame.ch === null ? undefined : this.#rooms.get(frame.ch);
        if (room !== undefined) room.seq = Math.max(room.seq, frame.to);
        break;
      }
      default:
        break;
    }
    if (frame.type !== 'gap' && !this.#advance(frame)) return;
    this.#settle(frame);
    this.#emit(frame);
  }

  #welcome(frame: Extract<ServerFrame, { type: 'welcome' }>): void {
    this.#session = frame.session;
    this.#heartbeatMs = frame.heartbeatMs;
    this.#failures = 0;
    const now = this.#environment.now();
    if (frame.serverTime !== null) this.clock.sample(frame.serverTime, now, this.#helloSentAt);
    this.#setStatus({ state: 'open', user: frame.user, limits: frame.limits });
    for (const [ch, room] of this.#rooms) this.#sendJoin(ch, room);
  }

  #joined(frame: Extract<ServerFrame, { type: 'joined' }>): void {
    const room = this.#rooms.get(frame.ch);
    if (room === undefined) return;
    // Another epoch counts from its own beginning: what we have seen says nothing about it.
    if (room.epoch !== frame.epoch || !frame.recovered) room.seq = 0;
    room.epoch = frame.epoch;
    this.#settle(frame);
    this.#emit(frame);
    for (const past of frame.history) {
      if (this.#advance(past)) this.#emit(past);
    }
    room.seq = Math.max(room.seq, frame.seq);
  }

  /** Whether the frame is new in its room; remembers it. */
  #advance(frame: ServerFrame): boolean {
    const at = place(frame);
    if (at === null) return true;
    const room = this.#rooms.get(at.ch);
    if (room === undefined) return false;
    if (at.seq <= room.seq) return false;
    room.seq = at.seq;
    return true;
  }

  #settle(frame: ServerFrame): void {
    if (!('re' in frame) || frame.re === null) return;
    const pending = this.#pending.get(frame.re);
    if (pending === undefined) return;
    this.#pending.delete(frame.re);
    pending.cancelTimeout();
    if (frame.type === 'error') pending.reject(new GatewayError(frame.code, frame.message, frame.retryable));
    else pending.resolve(frame);
  }

  #sendJoin(ch: string, room: Room): void {
    const since = room.epoch === null ? {} : { since: { epoch: room.epoch, seq: room.seq } };
    const token = room.admission?.token() ?? null;
    const grant = token === null ? {} : { token };
    this.request({ type: 'join', ch, history: room.history, ...since, ...grant }).catch((error: unknown) => {
      if (!(error instanceof GatewayError)) return;
      if (error.code === 'grant_needed' || error.code === 'forbidden') room.admission?.refused(token, error.message);
      if (error.code === 'not_found') room.admission?.missing();
    });
  }

  #write(frame: object): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  #watchSilence(ms: number): void {
    this.#cancelSilence?.();
    this.#cancelSilence = this.#environment.after(ms, () => this.#drop(4001, 'silence', null));
  }

  /** Lets go of the socket without waiting for its close handshake, which a dead line never finishes. */
  #drop(code: number, reason: string, retryInMs: number | null): void {
    const socket = this.#socket;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code === 1000 ? 1000 : 4000, reason);
    this.#closed(code, reason, retryInMs);
  }

  #closed(code: number, reason: string, retryInMs: number | null): void {
    this.#socket = null;
    this.#cancelSilence?.();
    this.#cancelSilence = null;
    this.#cancelRetry?.();
    this.#cancelRetry = null;
    for (const pending of this.#pending.values()) {
      pending.cancelTimeout();
      pending.reject(new GatewayError('disconnected', 'The connection to the server was lost.', true));
    }
    this.#pending.clear();
    if (code === BAD_TOKEN) this.#speaker?.forget();
    const final = !this.#running || (code >= FIRST_FINAL_CLOSE && code <= 4999);
    const wait = final ? null : (retryInMs ?? backoffMs(this.#failures, this.#environment.random()));
    this.#failures += 1;
    if (wait !== null) this.#cancelRetry = this.#environment.after(wait, () => this.#connect());
    this.#setStatus({ state: 'down', failures: this.#failures, retryInMs: wait, code, reason });
  }

  #setStatus(status: Status): void {
    this.#status = status;
    for (const listener of this.#statusListeners) listener(status);
  }

  #emit(frame: ServerFrame): void {
    for (const listener of this.#frameListeners) listener(frame);
  }
}

/** The gateway of the server that this page came from. The page's query goes along: a hook backend may know it. */
export function gatewayUrl(location: { protocol: string; host: string; search?: string }): string {
  const query = location.search?.replace('?', '&') ?? '';
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/ws?v=1${query}`;
}
