import { Pass } from '../../src/access/pass';
import { GatewayError } from '../../src/gateway/client';
import type { Admission, GatewayClient, Status } from '../../src/gateway/client';
import type { ServerFrame } from '../../src/gateway/protocol';
import { Player } from '../../src/player/player';
import type { PlayerOptions } from '../../src/player/player';
import type { Via } from '../../src/player/path';
import type { HlsOptions } from '../../src/player/source/hls';
import type { Negotiate } from '../../src/player/source/peer';
import type { SourceEvents } from '../../src/player/source/source';
import { vi } from 'vitest';
import { FakeVideo } from './video';

/** A source of either way: brings what the test says. */
export class FakeSource<V extends Via = Via> {
  readonly fake = new FakeVideo();
  readonly video = this.fake.element;
  closed = false;
  /** What it was asked to do. */
  asked: string[] = [];

  constructor(
    readonly via: V,
    readonly events: SourceEvents,
    readonly options: HlsOptions | null = null,
    readonly negotiate: Negotiate | null = null,
  ) {}

  /** Brings its offer to the server, as a real peer does at once. */
  async open(): Promise<void> {
    await this.negotiate?.('offer', new AbortController().signal).catch(() => undefined);
  }

  framesDecoded = (): number => 1;
  figures = (): null => null;
  close = (): void => {
    this.closed = true;
  };
  restartIce = async (): Promise<void> => {
    this.asked.push('restartIce');
  };
  goTo = (date: number): void => {
    this.asked.push(`goTo ${date - Date.now()}`);
  };
  goToPresent = (): void => undefined;
  goToPlace = (ms: number): void => {
    this.asked.push(`goToPlace ${ms}`);
  };
  dates = (): { shown: number; oldest: number } => ({ shown: Date.now() - 2_000, oldest: Date.now() - 600_000 });
  place = (): null => null;
}

export const CHANNEL = 'ana';

/** A player before an audience of one: sources, server and screen are fakes, and time is the test's (fake timers). */
export class Screen {
  peers: FakeSource[] = [];
  playlists: FakeSource[] = [];
  /** What was sent to the server. */
  sent: Record<string, unknown>[] = [];
  /** What `rtc.play` is answered by; null: nothing. */
  answer: ServerFrame | GatewayError | null = null;
  /** The channel as the gateway has it. */
  admission: Admission | null = null;
  rejoined = 0;
  /** Elements that were on the screen, one after the other. */
  stages: HTMLVideoElement[] = [];
  document = Object.assign(new EventTarget(), { hidden: false, pictureInPictureElement: null as object | null });
  window = Object.assign(new EventTarget(), { RTCPeerConnection: class {} });
  player: Player;
  /** The connection to the gateway. */
  line: 'open' | 'down' = 'open';
  #frames = new Set<(frame: ServerFrame) => void>();
  #statuses = new Set<(status: Status) => void>();

  constructor(options: Partial<PlayerOptions> = {}) {
    vi.stubGlobal('document', this.document);
    vi.stubGlobal('window', this.window);
    vi.stubGlobal('navigator', {});
    const gateway = {
      clock: { now: (local: number) => local, offsetMs: 0 },
      onStatus: (then: (status: Status) => void) => {
        this.#statuses.add(then);
        then({ state: this.line } as Status);
        return () => this.#statuses.delete(then);
      },
      onFrame: (then: (frame: ServerFrame) => void) => {
        this.#frames.add(then);
        return () => this.#frames.delete(then);
      },
      join: (_ch: string, _history: number, admission: Admission) => (this.admission = admission),
      rejoin: () => (this.rejoined += 1),
      start: () => undefined,
      send: (frame: Record<string, unknown>) => this.line === 'open' && this.sent.push(frame),
      request: async () => {
        if (this.answer instanceof GatewayError) throw this.answer;
        return this.answer ?? new Promise(() => undefined);
      },
    } as unknown as GatewayClient;
    const pass = new Pass(CHANNEL, null, { ask: async () => ({ visibility: 'public' }), after: () => () => undefined, visible: () => true });
    const given = { pass, gateway, preference: 'auto', whep: false, volume: 1, quality: 'auto', freeze: () => undefined, wing: () => undefined, changed: () => undefined } as const;
    const stage = (video: HTMLVideoElement, before: HTMLVideoElement | null): void => {
      this.stages.push(video);
      before?.remove();
    };
    this.player = new Player({ ...given, stage, ...options }, {
      peer: (negotiate, events) => this.#keep(this.peers, new FakeSource('webrtc', events, null, negotiate)),
      hls: (of, events) => this.#keep(this.playlists, new FakeSource('hls', events, of)),
    });
    this.player.start();
    this.say({ type: 'joined', ch: `stream:${CHANNEL}`, viewers: 1, live: { stream: 's1', startedAt: Date.now() - 900_000, title: null } });
  }

  /** The connection to the gateway is lost, or is there again. */
  connect(line: 'open' | 'down'): void {
    this.line = line;
    for (const then of [...this.#statuses]) then({ state: line } as Status);
  }

  /** The server says something. */
  say(frame: object): void {
    for (const then of this.#frames) then(frame as ServerFrame);
  }

  get peer(): FakeSource {
    return last(this.peers);
  }

  get playlist(): FakeSource {
    return last(this.playlists);
  }

  /** Time goes on by `ms`; each source brings frames so often, or none. */
  run(ms: number, every: { webrtc?: number; hls?: number } = {}): this {
    for (let passed = 100; passed <= ms; passed += 100) {
      vi.advanceTimersByTime(100);
      for (const via of ['webrtc', 'hls'] as const) {
        const source = (via === 'webrtc' ? this.peers : this.playlists).at(-1);
        const period = every[via];
        if (period !== undefined && passed % period === 0 && source?.closed === false) source.events.frame();
      }
      if (this.audible().length > 1) throw new Error('the sound is heard twice');
    }
    return this;
  }

  /** Which ways are heard. */
  audible(): string[] {
    return [...this.peers, ...this.playlists].filter(({ fake, closed }) => !closed && !fake.muted && !fake.paused).map(({ via }) => via);
  }

  hide(hidden: boolean): void {
    this.document.hidden = hidden;
    this.document.dispatchEvent(new Event('visibilitychange'));
  }

  #keep<V extends Via>(list: FakeSource[], source: FakeSource<V>): FakeSource<V> {
    list.push(source);
    return source;
  }
}

function last(list: readonly FakeSource[]): FakeSource {
  const found = list.at(-1);
  if (found === undefined) throw new Error('none was made');
  return found;
}
