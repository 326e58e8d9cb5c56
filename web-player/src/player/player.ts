import type { Pass, PassStatus } from '../access/pass';
import type { GatewayClient } from '../gateway/client';
import type { ServerFrame } from '../gateway/protocol';
import type { Recording } from '../api/recordings';
import type { Figures, ServerFigures } from './figures';
import { eventsOf } from './frames';
import { nextDeadline } from './path';
import type { PathEvent, Preference, Via } from './path';
import { negotiateByGateway } from './source/gateway';
import { HlsSource } from './source/hls';
import type { HlsOptions } from './source/hls';
import { PeerSource } from './source/peer';
import type { Negotiate } from './source/peer';
import type { Source, SourceEvents } from './source/source';
import { negotiateByWhep } from './source/whep';
import { Playhead } from './playhead';
import { ridFor } from './quality';
import type { Quality } from './quality';
import { isPresent, placeMs, spanMs, stepFrom } from './timeline';
import { Past } from './past';
import { Stage } from './stage';
import type { StageOptions } from './stage';
import { INITIAL, reasonFrom, reduce } from './state';
import type { PlayerEvent, PlayerState } from './state';

export interface PlayerOptions extends Pick<StageOptions, 'stage' | 'freeze' | 'wing'> {
  /** The way into the channel that is played. */
  readonly pass: Pass;
  readonly gateway: GatewayClient;
  readonly preference: Preference;
  /** Negotiate by WHEP instead of the gateway. */
  readonly whep: boolean;
  readonly volume: number;
  readonly quality: Quality;
  changed(state: PlayerState): void;
}

/** The server that refuses a grant which the API has just made means this viewer, not the grant. */
const REFUSALS_MAX = 2;
/** Messages of the chat that are there when somebody comes. */
const HISTORY = 50;
/** How often it is looked where the picture is. */
const TIMELINE_EVERY_MS = 500;
/** A page hidden for this long tries WebRTC again when it is looked at. */
const LONG_HIDDEN_MS = 300_000;
/** The picture of a page that is hidden for this long is not sent until it is looked at; sound goes on. */
const PAUSE_HIDDEN_MS = 5_000;

/**
 * The shell around the reducer: opens and closes sources until they match the state, and turns what elements, peer
 * connections, the gateway and the clock do into events. Holds no truth of its own.
 */
export class Player {
  #options: PlayerOptions;
  #state: PlayerState;
  #webrtc: {
    source: PeerSource; attempt: number; iceRestarts: number; pc: string | null; asked: string; picture: boolean;
  } | null = null;
  #hls: { source: HlsSource; attempt: number } | null = null;
  #recording: { source: HlsSource; id: string } | null = null;
  #past: Past;
  #head = new Playhead();
  #looking: ReturnType<typeof setInterval> | undefined;
  #stage: Stage;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hiddenSince: number | null = null;
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  #undo: (() => void)[] = [];
  /** Grants refused since the last picture. */
  #refusals = 0;
  /** The gateway has not let us join. */
  #unjoined = false;

  constructor(options: PlayerOptions) {
    this.#options = options;
    this.#state = { ...INITIAL, volume: options.volume, quality: options.quality };
    this.#past = new Past(options.pass, (recordings) => this.dispatch({ type: 'recordings', recordings }));
    this.#stage = new Stage({
      stage: (video, before) => options.stage(video, before),
      freeze: (video) => options.freeze(video),
      wing: (video) => options.wing(video),
      tell: (event) => this.dispatch(event),
      shown: () => this.#shownSource()?.video ?? null,
    });
  }

  get state(): PlayerState {
    return this.#state;
  }

  get video(): HTMLVideoElement | null {
    return this.#stage.video;
  }

  get framesDecoded(): number {
    return this.#shownSource()?.framesDecoded() ?? 0;
  }

  /** What is known of the picture here. */
  figures(): Figures | null {
    return this.#shownSource()?.figures() ?? null;
  }

  /** What the server says of our connection; null where there is none, and while it does not say. */
  async serverFigures(): Promise<ServerFigures | null> {
    const pc = this.#state.path.shown === 'webrtc' ? (this.#webrtc?.pc ?? null) : null;
    if (pc === null) return null;
    const frame = await this.#options.gateway.request({ type: 'rtc.stats', pc }).catch(() => null);
    return frame?.type === 'rtc.stats' ? frame.stats : null;
  }

  start(): void {
    const { gateway, pass, whep } = this.#options;
    this.#undo.push(
      pass.onStatus((status) => this.#passChanged(status)),
      listen(document, 'visibilitychange', () => !document.hidden && pass.look()),
      listen(window, 'focus', () => pass.look()),
    );
    this.#looking = setInterval(() => this.#lookAtTimeline(), TIMELINE_EVERY_MS);
    pass.start();
    this.dispatch({ type: 'path', event: this.#startEvent() });
    if (whep) return;
    this.#undo.push(
      gateway.onStatus((status) => {
        if (status.state === 'open') {
          this.dispatch({ type: 'gateway', state: 'open' });
          this.dispatch({ type: 'path', event: { type: 'gatewayBack' } });
        } else if (status.state === 'down') {
          this.dispatch({ type: 'gateway', state: status.retryInMs === null ? 'refused' : 'down' });
          this.dispatch({ type: 'path', event: { type: 'gatewayLost' } });
        }
      }),
      gateway.onFrame((frame) => this.#handleFrame(frame)),
      listen(document, 'visibilitychange', () => this.#visibilityChanged()),
      listen(window, 'online', () => this.dispatch({ type: 'path', event: { type: 'networkChanged' } })),
      listenToNetwork(() => this.dispatch({ type: 'path', event: { type: 'networkChanged' } })),
      listen(window, 'pagehide', () => this.#webrtc?.source.close()),
      // Back from the back-forward cache: the peer was closed on the way in.
      listen(window, 'pageshow', (event) => {
        if ((event as PageTransitionEvent).persisted) this.dispatch({ type: 'path', event: { type: 'peerLost' } });
      }),
    );
    gateway.join(`stream:${pass.channel}`, HISTORY, {
      token: () => pass.token,
      refused: (used, words) => {
        this.#unjoined = true;
        void this.#refused(used, words);
      },
    });
    gateway.start();
  }

  stop(): void {
    for (const undo of this.#undo.splice(0)) undo();
    this.dispatch({ type: 'path', event: { type: 'stop' } });
    clearTimeout(this.#timer);
    clearTimeout(this.#hiddenTimer);
    clearInterval(this.#looking);
    this.#past.stop();
    if (this.#recording !== null) this.#stage.retire(this.#recording.source);
    this.#recording = null;
  }

  dispatch(event: PlayerEvent): void {
    const before = this.#state;
    this.#state = reduce(before, event, performance.now());
    if (this.#state === before) return;
    if (this.#state.path.shown !== 'none') this.#refusals = 0;
    if (this.#state.liveness !== before.liveness) this.#past.expect(this.#state.liveness, before.stream?.id ?? null);
    this.#reconcile();
    this.#options.changed(this.#state);
  }

  /** Whoever was not let in tries again. */
  tryAgain(): void {
    this.#refusals = 0;
    if (this.#options.pass.status.state === 'open') this.#admit();
    else this.#options.pass.look();
  }

  /** Goes so much further, back if it is negative. */
  seekBy(ms: number): void {
    const { timeline, latencyMs } = this.#state;
    if (timeline === null) return;
    // At the present the picture itself is a little in the past.
    const late = timeline.kind === 'live' && !timeline.rewound ? (latencyMs ?? 0) : 0;
    this.seekTo(stepFrom(timeline, placeMs(timeline) - late, ms));
  }

  /** Goes to a place on the bar, or as near as there is one. */
  seekTo(wish: number): void {
    const { timeline } = this.#state;
    if (timeline === null) return;
    const place = stepFrom(timeline, wish, 0);
    if (timeline.kind === 'recording') {
      this.#recording?.source.goToPlace(place);
      this.#lookAtTimeline();
      return;
    }
    if (isPresent(timeline, place)) {
      this.goToPresent();
      return;
    }
    this.dispatch({ type: 'paused', paused: false });
    const now = this.#now();
    const date = now - (spanMs(timeline) - place);
    this.#head.want(date, now);
    this.#hls?.source.goTo(date);
    this.dispatch({ type: 'path', event: { type: 'rewind' } });
    this.#lookAtTimeline();
  }

  /** Back to the present. */
  goToPresent(): void {
    if (this.#state.recording !== null) {
      this.dispatch({ type: 'leaveRecording', start: this.#startEvent() });
      return;
    }
    this.#head.toPresent();
    if (this.#state.liveness === 'ended') this.dispatch({ type: 'over' });
    this.dispatch({ type: 'path', event: { type: 'present' } });
    this.dispatch({ type: 'paused', paused: false });
    if (this.#stage.video?.paused === true) void this.play();
    this.#lookAtTimeline();
  }

  /** Plays a recording, from its beginning. */
  playRecording(recording: Recording): void {
    if (this.#recording?.id === recording.id && this.#state.recording?.state !== 'failed') {
      this.#recording.source.goToPlace(0);
      this.dispatch({ type: 'recordingIs', state: 'playing' });
    } else {
      this.dispatch({ type: 'playRecording', recording });
    }
  }

  /** Which picture, by the viewer's hand. */
  choose(quality: Quality): void {
    this.dispatch({ type: 'quality', quality });
    this.#askForLayer();
  }

  /** Sound on or off, by the viewer's hand. Works where browsers demand a gesture. */
  setMuted(muted: boolean): void {
    this.#stage.setMuted(muted, this.#state.autoplay === 'blocked');
  }

  async play(): Promise<void> {
    await this.#stage.play();
  }

  #passChanged(status: PassStatus): void {
    if (status.state === 'open' && this.#state.door !== 'asking') this.#admit();
    // Who watches already stays: the server says so itself when they have to go.
    if (status.state === 'closed' && this.#state.path.shown === 'none') this.dispatch({ type: 'denied', door: status.door });
  }

  /** The server did not let us in with this grant: the API may have another one, or say what is missing. */
  async #refused(used: string | null, words: string): Promise<void> {
    if (this.#state.door !== null) return;
    const { pass } = this.#options;
    this.dispatch({ type: 'denied', door: 'asking' });
    const status = await pass.renew(used);
    if (this.#state.door !== 'asking') return;
    this.#refusals += 1;
    if (status.state === 'closed') this.dispatch({ type: 'denied', door: status.door });
    else if (this.#refusals > REFUSALS_MAX) this.dispatch({ type: 'denied', door: { kind: 'forbidden', visibility: 'signed', words } });
    else if (status.state === 'open') this.#admit();
  }

  #admit(): void {
    if (this.#state.door !== null) this.dispatch({ type: 'admitted', start: this.#startEvent() });
    if (!this.#unjoined) return;
    this.#unjoined = false;
    this.#options.gateway.rejoin(`stream:${this.#options.pass.channel}`);
  }

  #startEvent(): Extract<PathEvent, { type: 'start' }> {
    return { type: 'start', preference: this.#options.preference, webrtc: 'RTCPeerConnection' in window, spread: Math.random() };
  }

  #handleFrame(frame: ServerFrame): void {
    const mine = { channel: this.#options.pass.channel, pc: this.#webrtc?.pc ?? null, start: this.#startEvent() };
    for (const event of eventsOf(frame, mine)) this.dispatch(event);
    if (frame.type === 'rtc.layers') this.#askForLayer();
  }

  #fallback(word: string, url: string | null): void {
    this.dispatch({ type: 'path', event: { type: 'fallback', reason: reasonFrom(word), url } });
  }

  /** Tells the server which Layer the wish comes to, when that is news. Layers come and go with the encoder. */
  #askForLayer(): void {
    const { layers, quality } = this.#state;
    const webrtc = this.#webrtc;
    if (webrtc === null || webrtc.pc === null || layers === null) return;
    const rid = ridFor(layers.layers, quality);
    if (rid === webrtc.asked) return;
    webrtc.asked = rid;
    this.#options.gateway.send({ type: 'rtc.layer', pc: webrtc.pc, rid });
  }

  /** Nobody looks, or somebody does again. A picture in picture is looked at. */
  #wantPicture(wanted: boolean): void {
    const webrtc = this.#webrtc;
    if (webrtc === null || webrtc.pc === null || webrtc.picture === wanted) return;
    webrtc.picture = wanted;
    this.#options.gateway.send({ type: wanted ? 'rtc.resume' : 'rtc.pause', pc: webrtc.pc, kind: 'video' });
  }

  #visibilityChanged(): void {
    const now = performance.now();
    clearTimeout(this.#hiddenTimer);
    if (document.hidden) {
      this.#hiddenSince = now;
      this.#hiddenTimer = setTimeout(() => this.#wantPicture(document.pictureInPictureElement !== null), PAUSE_HIDDEN_MS);
    } else if (this.#hiddenSince !== null) {
      const hidden = now - this.#hiddenSince;
      this.#hiddenSince = null;
      // That no frame came meanwhile was no stall.
      this.dispatch({ type: 'path', event: { type: 'excused' } });
      this.#wantPicture(true);
      if (hidden > LONG_HIDDEN_MS) this.dispatch({ type: 'path', event: { type: 'tryWebrtc' } });
    }
  }

  /** Makes the world match the state. */
  #reconcile(): void {
    const { path } = this.#state;
    if (this.#webrtc !== null && (path.webrtc.state === 'off' || path.webrtc.attempt !== this.#webrtc.attempt)) {
      this.#stage.retire(this.#webrtc.source);
      this.#webrtc = null;
    }
    if (this.#hls !== null && (path.hls.state === 'off' || path.hls.state === 'waiting' || path.hls.attempt !== this.#hls.attempt)) {
      this.#stage.retire(this.#hls.source);
      this.#hls = null;
    }
    const { recording } = this.#state;
    const plays = recording !== null && recording.state !== 'failed' ? recording.is : null;
    if (this.#recording !== null && this.#recording.id !== plays?.id) {
      this.#stage.retire(this.#recording.source);
      this.#recording = null;
    }
    if (plays !== null && this.#recording === null) this.#openRecording(plays);
    if (path.webrtc.state !== 'off' && this.#webrtc === null) this.#openWebrtc(path.webrtc.attempt);
    if (this.#webrtc !== null && this.#webrtc.iceRestarts !== path.webrtc.iceRestarts) {
      this.#webrtc.iceRestarts = path.webrtc.iceRestarts;
      void this.#webrtc.source.restartIce();
    }
    if (path.hls.state !== 'off' && path.hls.state !== 'waiting' && this.#hls === null) this.#openHls(path.hls.attempt);
    if (!path.rewound) this.#head.toPresent();
    // A picture of the past stays where it is while WebRTC looks for the present.
    if (!path.rewound && path.webrtc.state === 'off') this.#hls?.source.goToPresent();
    this.#stageShown();
    this.#schedule();
  }

  #openWebrtc(attempt: number): void {
    const { gateway, pass, whep } = this.#options;
    const noPublisher = (): void => this.dispatch({ type: 'notLive' });
    const refused = (used: string | null, words: string): void => {
      if (this.#webrtc?.attempt === attempt) void this.#refused(used, words);
    };
    const negotiate: Negotiate = whep
      ? negotiateByWhep(pass, { noPublisher, refused, fallback: (reason, url) => this.#fallback(reason, url) })
      : negotiateByGateway(gateway, pass, {
          noPublisher,
          refused,
          fallback: (reason, url) => this.#fallback(reason, url),
          gatewayLost: () => this.dispatch({ type: 'path', event: { type: 'gatewayLost' } }),
          opened: (pc) => {
            if (this.#webrtc?.attempt === attempt) this.#webrtc.pc = pc;
          },
        });
    const source = new PeerSource(negotiate, this.#eventsOf('webrtc', attempt), () => this.#serverNow());
    const { iceRestarts } = this.#state.path.webrtc;
    this.#webrtc = { source, attempt, iceRestarts, pc: null, asked: 'auto', picture: true };
    this.#stage.adopt(source.video);
  }

  #openHls(attempt: number): void {
    const { pass } = this.#options;
    const url = this.#state.path.hlsUrl ?? `/hls/${encodeURIComponent(pass.channel)}/master.m3u8`;
    const events = this.#eventsOf('hls', attempt);
    const options: HlsOptions = {
      url,
      recording: false,
      from: this.#state.path.rewound ? this.#head.from : null,
      token: () => pass.token,
      over: () => this.dispatch({ type: 'over' }),
      refused: (used) => {
        if (this.#hls?.attempt !== attempt) return;
        // What plays by WebRTC goes on.
        if (this.#state.path.shown !== 'webrtc') void this.#refused(used, '');
        else void pass.renew(used).then(() => events.lost());
      },
    };
    const source = new HlsSource(options, events, () => this.#now());
    this.#hls = { source, attempt };
    this.#stage.adopt(source.video);
  }

  #openRecording({ id, hls }: Recording): void {
    const { pass } = this.#options;
    const is = (state: NonNullable<PlayerState['recording']>['state']): void => {
      if (this.#recording?.id === id) this.dispatch({ type: 'recordingIs', state });
    };
    const options: HlsOptions = {
      url: hls,
      recording: true,
      from: null,
      token: () => pass.token,
      over: () => is('over'),
      refused: (used) => {
        if (this.#recording?.id === id) void this.#refused(used, '');
      },
    };
    const events: SourceEvents = { ice: () => undefined, frame: () => is('playing'), lost: () => is('failed'), latency: () => undefined };
    this.#recording = { id, source: new HlsSource(options, events, () => this.#now()) };
    this.#stage.adopt(this.#recording.source.video);
  }

  /** Events of one attempt; those of an attempt that is over go nowhere. */
  #eventsOf(via: Via, attempt: number): SourceEvents {
    const current = (): boolean => (via === 'webrtc' ? this.#webrtc?.attempt : this.#hls?.attempt) === attempt;
    return {
      ice: (state) => {
        if (current()) this.dispatch({ type: 'path', event: { type: 'ice', state } });
      },
      frame: () => {
        if (current()) this.dispatch({ type: 'path', event: { type: 'frame', via } });
      },
      lost: () => {
        if (current()) this.dispatch({ type: 'path', event: { type: via === 'webrtc' ? 'peerLost' : 'hlsFailed' } });
      },
      latency: (latencyMs) => {
        if (current()) this.dispatch({ type: 'latency', via, latencyMs });
      },
    };
  }

  #lookAtTimeline(): void {
    if (this.#state.recording !== null) {
      const place = this.#recording?.source.place() ?? null;
      if (place !== null) this.dispatch({ type: 'timeline', timeline: { kind: 'recording', ...place } });
      return;
    }
    const { path, stream } = this.#state;
    const dates = path.shown === 'hls' ? (this.#hls?.source.dates() ?? null) : null;
    const seeking = this.#hls?.source.video.seeking === true;
    const look = { now: this.#now(), startedAt: stream?.startedAt ?? null, dates, seeking, rewound: path.rewound };
    this.dispatch({ type: 'timeline', timeline: path.shown === 'none' ? null : this.#head.look(look) });
  }

  #now(): number {
    return this.#options.gateway.clock.now(Date.now());
  }

  /** The server's clock, where the gateway has told it; without it a playout timestamp says nothing. */
  #serverNow(): number | null {
    const { clock } = this.#options.gateway;
    return clock.offsetMs === null ? null : clock.now(Date.now());
  }

  #shownSource(): Source | null {
    if (this.#state.recording !== null) return this.#state.recording.state === 'opening' ? null : (this.#recording?.source ?? null);
    switch (this.#state.path.shown) {
      case 'webrtc':
        return this.#webrtc?.source ?? null;
      case 'hls':
        return this.#hls?.source ?? null;
      case 'none':
        return null;
    }
  }

  #stageShown(): void {
    const { path } = this.#state;
    const source = this.#shownSource();
    if (source === null || source.video === this.#stage.video) return;
    // A source that starts anew waits in the wings until its first frame.
    const byPath = path.shown === 'webrtc' ? path.webrtc.state === 'playing' : path.hls.state === 'playing';
    const moving = this.#state.recording !== null || byPath;
    if (!moving) return;
    this.#stage.show(source.video, this.#state);
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const deadline = nextDeadline(this.#state.path);
    if (deadline === null) return;
    this.#timer = setTimeout(
      () => {
        // A hidden page may not decode, and that is no stall; a paused one does not want to; sound alone has no frames.
        const alone = this.#state.cap === 'off' || this.#state.layers?.audioOnly != null;
        const excused = document.hidden || this.#state.paused || alone;
        const { webrtc, hls } = this.#state.path;
        if (excused && (webrtc.state === 'playing' || hls.state === 'playing')) this.dispatch({ type: 'path', event: { type: 'excused' } });
        // What else is due does not wait for the viewer.
        this.dispatch({ type: 'path', event: { type: 'tick' } });
        // A timer that fired a little early changed nothing, and would not be set again.
        this.#schedule();
      },
      Math.max(20, deadline - performance.now()),
    );
  }
}

function listen(target: EventTarget, type: string, then: (event: Event) => void): () => void {
  target.addEventListener(type, then);
  return () => target.removeEventListener(type, then);
}

/** Changes of the network, where the browser tells of them (Network Information, which the DOM library does not know). */
function listenToNetwork(then: () => void): () => void {
  const { connection } = navigator as Navigator & { connection?: EventTarget };
  return connection === undefined ? () => undefined : listen(connection, 'change', then);
}
