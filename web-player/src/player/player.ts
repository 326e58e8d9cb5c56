import type { Pass } from '../access/pass';
import type { Recording } from '../api/recordings';
import type { GatewayClient } from '../gateway/client';
import type { ServerFrame } from '../gateway/protocol';
import { Admission } from './admission';
import type { Figures, ServerFigures } from './figures';
import { eventsOf } from './frames';
import { Inquiry } from './inquiry';
import { Onlooker } from './onlooker';
import { Past } from './past';
import type { PathEvent, Preference } from './path';
import type { Quality } from './quality';
import { Seeker } from './seeker';
import { Sources } from './sources';
import type { Makers } from './sources';
import { Stage } from './stage';
import type { StageOptions } from './stage';
import { INITIAL, reduce } from './state';
import type { PlayerEvent, PlayerState } from './state';
import { Ticker } from './ticker';

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

/**
 * The shell around the reducer: turns what elements, peer connections, the gateway and the clock do into events, and has the
 * world match the state that comes out. Holds no truth of its own.
 */
export class Player {
  #options: PlayerOptions;
  #state: PlayerState;
  #stage: Stage;
  #sources: Sources;
  #admission: Admission;
  #inquiry: Inquiry;
  #seeker: Seeker;
  #past: Past;
  #ticker: Ticker;
  #onlooker: Onlooker;
  #undo: (() => void)[] = [];

  /** `makers`: what sources are made by, where that is not the browser. */
  constructor(options: PlayerOptions, makers?: Makers) {
    const { pass, gateway, whep } = options;
    this.#options = options;
    this.#state = { ...INITIAL, volume: options.volume, quality: options.quality };
    const state = (): PlayerState => this.#state;
    const tell = (event: PlayerEvent): void => this.dispatch(event);
    const begin = (): Extract<PathEvent, { type: 'start' }> => this.#startEvent();
    this.#past = new Past(pass, (recordings) => tell({ type: 'recordings', recordings }));
    this.#stage = new Stage({
      stage: (video, before) => options.stage(video, before),
      freeze: (video) => options.freeze(video),
      wing: (video) => options.wing(video),
      tell,
      shown: () => this.#sources.shown?.video ?? null,
    });
    this.#inquiry = new Inquiry({ state, tell, ask: () => (whep ? this.#askByWhep() : this.#admission.rejoin()) });
    const missing = (): void => this.#inquiry.noChannel();
    this.#admission = new Admission({ pass, gateway, state, tell, begin, missing });
    this.#seeker = new Seeker({
      state,
      tell,
      begin,
      now: () => gateway.clock.now(Date.now()),
      hls: () => this.#sources.hls,
      recording: () => this.#sources.recording,
      play: () => {
        if (this.video?.paused === true) void this.play();
      },
    });
    const from = (): number | null => this.#seeker.from;
    const refused = (used: string | null, words: string): void => void this.#admission.refused(used, words);
    this.#sources = new Sources({ pass, gateway, whep, stage: this.#stage, tell, from, refused, inquiry: this.#inquiry }, makers);
    this.#ticker = new Ticker(state, () => document.hidden, (event) => this.#onPath(event));
    this.#onlooker = new Onlooker({
      wantPicture: (wanted) => this.#sources.wantPicture(wanted),
      back: (afterLong) => {
        // That no frame came meanwhile was no stall.
        this.#onPath({ type: 'excused' });
        this.#sources.wantPicture(true);
        if (afterLong) this.#onPath({ type: 'tryWebrtc' });
      },
    });
  }

  get state(): PlayerState {
    return this.#state;
  }

  get video(): HTMLVideoElement | null {
    return this.#stage.video;
  }

  get framesDecoded(): number {
    return this.#sources.shown?.framesDecoded() ?? 0;
  }

  /** What is known of the picture here. */
  figures(): Figures | null {
    return this.#sources.shown?.figures() ?? null;
  }

  /** What the server says of our connection; null where there is none, and while it does not say. */
  async serverFigures(): Promise<ServerFigures | null> {
    const pc = this.#state.path.shown === 'webrtc' ? this.#sources.pc : null;
    if (pc === null) return null;
    const frame = await this.#options.gateway.request({ type: 'rtc.stats', pc }).catch(() => null);
    return frame?.type === 'rtc.stats' ? frame.stats : null;
  }

  start(): void {
    const { gateway, pass, whep } = this.#options;
    this.#undo.push(
      pass.onStatus((status) => this.#admission.passChanged(status)),
      listen(document, 'visibilitychange', () => !document.hidden && pass.look()),
      listen(window, 'focus', () => pass.look()),
    );
    this.#seeker.start();
    pass.start();
    this.#onPath(this.#startEvent());
    if (whep) return;
    this.#undo.push(
      gateway.onStatus((status) => {
        if (status.state === 'open') {
          this.dispatch({ type: 'gateway', state: 'open' });
          this.#onPath({ type: 'gatewayBack' });
          this.#sources.repeatWishes();
        } else if (status.state === 'down') {
          this.dispatch({ type: 'gateway', state: status.retryInMs === null ? 'refused' : 'down' });
          this.#onPath({ type: 'gatewayLost' });
        }
      }),
      gateway.onFrame((frame) => this.#handleFrame(frame)),
      listen(document, 'visibilitychange', () => this.#onlooker.changed(document.hidden, () => document.pictureInPictureElement !== null)),
      listen(window, 'online', () => this.#onPath({ type: 'networkChanged' })),
      listenToNetwork(() => this.#onPath({ type: 'networkChanged' })),
      listen(window, 'pagehide', () => this.#sources.leave()),
      // Back from the back-forward cache: the peer was closed on the way in.
      listen(window, 'pageshow', (event) => {
        if ((event as PageTransitionEvent).persisted) this.#onPath({ type: 'peerLost' });
      }),
    );
    this.#admission.join();
    gateway.start();
  }

  stop(): void {
    for (const undo of this.#undo.splice(0)) undo();
    this.#onPath({ type: 'stop' });
    this.#ticker.stop();
    this.#onlooker.stop();
    this.#inquiry.stop();
    this.#seeker.stop();
    this.#past.stop();
    this.#sources.closeRecording();
  }

  dispatch(event: PlayerEvent): void {
    const before = this.#state;
    this.#state = reduce(before, event, performance.now());
    if (this.#state === before) return;
    if (this.#state.path.shown !== 'none') this.#admission.watched();
    if (this.#state.liveness !== before.liveness) this.#past.expect(this.#state.liveness, before.stream?.id ?? null);
    this.#match();
    this.#options.changed(this.#state);
  }

  /** Whoever was not let in tries again. */
  tryAgain(): void {
    this.#admission.tryAgain();
  }

  /** Goes so much further, back if it is negative. */
  seekBy(ms: number): void {
    this.#seeker.seekBy(ms);
  }

  /** Goes to a place on the bar, or as near as there is one. */
  seekTo(wish: number): void {
    this.#seeker.seekTo(wish);
  }

  /** Back to the present. */
  goToPresent(): void {
    this.#seeker.goToPresent();
  }

  /** Plays a recording, from its beginning. */
  playRecording(recording: Recording): void {
    const playing = this.#sources.recording;
    if (playing !== null && this.#state.recording?.is.id === recording.id && this.#state.recording.state !== 'failed') {
      playing.goToPlace(0);
      this.dispatch({ type: 'recordingIs', state: 'playing' });
    } else {
      this.dispatch({ type: 'playRecording', recording });
    }
  }

  /** Which picture, by the viewer's hand. */
  choose(quality: Quality): void {
    this.dispatch({ type: 'quality', quality });
    this.#sources.askForLayer();
  }

  /** Sound on or off, by the viewer's hand. Works where browsers demand a gesture. */
  setMuted(muted: boolean): void {
    this.#stage.setMuted(muted, this.#state.autoplay === 'blocked');
  }

  async play(): Promise<void> {
    await this.#stage.play();
  }

  #onPath(event: PathEvent): void {
    this.dispatch({ type: 'path', event });
  }

  /** By WHEP the only question is a peer; the card stays while it is asked. Whoever watches a recording goes on. */
  #askByWhep(): void {
    const { door, path, recording } = this.#state;
    if (door === null && recording === null && !path.active) this.#onPath(this.#startEvent());
  }

  #startEvent(): Extract<PathEvent, { type: 'start' }> {
    return { type: 'start', preference: this.#options.preference, webrtc: 'RTCPeerConnection' in window, spread: Math.random() };
  }

  #handleFrame(frame: ServerFrame): void {
    const mine = { channel: this.#options.pass.channel, pc: this.#sources.pc, start: this.#startEvent() };
    for (const event of eventsOf(frame, mine)) this.dispatch(event);
    if (frame.type === 'rtc.layers') this.#sources.askForLayer();
  }

  /** Makes the world match the state. */
  #match(): void {
    this.#sources.match(this.#state);
    this.#seeker.match();
    const source = this.#sources.shown;
    // A source that starts anew waits in the wings until its first frame.
    if (source !== null && source.video !== this.video && moves(this.#state)) this.#stage.show(source.video, this.#state);
    this.#ticker.set();
  }
}

function moves({ recording, path }: PlayerState): boolean {
  if (recording !== null) return true;
  return (path.shown === 'webrtc' ? path.webrtc.state : path.hls.state) === 'playing';
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
