import type { Pass } from '../access/pass';
import type { Recording } from '../api/recordings';
import type { GatewayClient } from '../gateway/client';
import type { Inquiry } from './inquiry';
import type { Via } from './path';
import { ridFor } from './quality';
import { negotiateByGateway } from './source/gateway';
import { HlsSource } from './source/hls';
import type { HlsOptions } from './source/hls';
import { PeerSource } from './source/peer';
import type { Negotiate } from './source/peer';
import type { Source, SourceEvents } from './source/source';
import { negotiateByWhep } from './source/whep';
import type { Stage } from './stage';
import { INITIAL, reasonFrom } from './state';
import type { PlayerEvent, PlayerState } from './state';

type Peer = Pick<PeerSource, keyof PeerSource>;
type Playback = Pick<HlsSource, keyof HlsSource>;

/** What makes sources; tests bring their own. */
export interface Makers {
  peer(negotiate: Negotiate, events: SourceEvents, serverNow: () => number | null): Peer;
  hls(options: HlsOptions, events: SourceEvents, now: () => number): Playback;
}

const BROWSER: Makers = {
  peer: (negotiate, events, serverNow) => new PeerSource(negotiate, events, serverNow),
  hls: (options, events, now) => new HlsSource(options, events, now),
};

export interface SourcesOptions {
  readonly pass: Pass;
  readonly gateway: GatewayClient;
  /** Negotiate by WHEP instead of the gateway. */
  readonly whep: boolean;
  readonly stage: Pick<Stage, 'adopt' | 'retire'>;
  /** Where a picture by HLS that begins anew has to begin; null: at the present. */
  from(): number | null;
  /** The server does not let this viewer in with that grant. */
  refused(used: string | null, words: string): void;
  tell(event: PlayerEvent): void;
  /** Hears whether there is something to play. */
  readonly inquiry: Pick<Inquiry, 'noChannel' | 'notLive' | 'found'>;
}

/** What is open: at most one peer connection, one picture by HLS, one recording. Opens and closes them until they match the state. */
export class Sources {
  #options: SourcesOptions;
  #makers: Makers;
  /** As matched last. */
  #state: PlayerState = INITIAL;
  #webrtc: { source: Peer; attempt: number; iceRestarts: number; pc: string | null; asked: string; picture: boolean } | null = null;
  #hls: { source: Playback; attempt: number } | null = null;
  #recording: { source: Playback; id: string } | null = null;

  constructor(options: SourcesOptions, makers: Makers = BROWSER) {
    this.#options = options;
    this.#makers = makers;
  }

  /** Under which the server speaks of the peer; null while it has none. */
  get pc(): string | null {
    return this.#webrtc?.pc ?? null;
  }

  get hls(): Playback | null {
    return this.#hls?.source ?? null;
  }

  get recording(): Playback | null {
    return this.#recording?.source ?? null;
  }

  /** What the state says is shown; null while nothing is. */
  get shown(): Source | null {
    const { recording, path } = this.#state;
    if (recording !== null) return recording.state === 'opening' ? null : this.recording;
    switch (path.shown) {
      case 'webrtc':
        return this.#webrtc?.source ?? null;
      case 'hls':
        return this.hls;
      case 'none':
        return null;
    }
  }

  match(state: PlayerState): void {
    this.#state = state;
    const { stage } = this.#options;
    const { path, recording } = state;
    if (this.#webrtc !== null && (path.webrtc.state === 'off' || path.webrtc.attempt !== this.#webrtc.attempt)) {
      stage.retire(this.#webrtc.source);
      this.#webrtc = null;
    }
    const byHls = path.hls.state !== 'off' && path.hls.state !== 'waiting';
    if (this.#hls !== null && (!byHls || path.hls.attempt !== this.#hls.attempt)) {
      stage.retire(this.#hls.source);
      this.#hls = null;
    }
    const plays = recording !== null && recording.state !== 'failed' ? recording.is : null;
    if (this.#recording !== null && this.#recording.id !== plays?.id) this.closeRecording();
    if (plays !== null && this.#recording === null) this.#openRecording(plays);
    if (path.webrtc.state !== 'off' && this.#webrtc === null) this.#openWebrtc(path.webrtc.attempt);
    if (this.#webrtc !== null && this.#webrtc.iceRestarts !== path.webrtc.iceRestarts) {
      this.#webrtc.iceRestarts = path.webrtc.iceRestarts;
      void this.#webrtc.source.restartIce();
    }
    if (byHls && this.#hls === null) this.#openHls(path.hls.attempt);
    // A picture of the past stays where it is while WebRTC looks for the present.
    if (!path.rewound && path.webrtc.state === 'off') this.hls?.goToPresent();
  }

  closeRecording(): void {
    if (this.#recording !== null) this.#options.stage.retire(this.#recording.source);
    this.#recording = null;
  }

  /** The page goes away: the server need not wait for the peer. */
  leave(): void {
    this.#webrtc?.source.close();
  }

  /** Tells the server which Layer the wish comes to, when that is news. Layers come and go with the encoder. */
  askForLayer(): void {
    const { layers, quality } = this.#state;
    const webrtc = this.#webrtc;
    if (webrtc === null || webrtc.pc === null || layers === null) return;
    const rid = ridFor(layers.layers, quality);
    if (rid === webrtc.asked) return;
    webrtc.asked = rid;
    this.#options.gateway.send({ type: 'rtc.layer', pc: webrtc.pc, rid });
  }

  /** The picture is looked at, or not any more. */
  wantPicture(wanted: boolean): void {
    const webrtc = this.#webrtc;
    if (webrtc === null || webrtc.pc === null || webrtc.picture === wanted) return;
    webrtc.picture = wanted;
    this.#options.gateway.send({ type: wanted ? 'rtc.resume' : 'rtc.pause', pc: webrtc.pc, kind: 'video' });
  }

  /** The line to the server is there again: what was said meanwhile was lost, and saying it twice does no harm. */
  repeatWishes(): void {
    const webrtc = this.#webrtc;
    if (webrtc === null || webrtc.pc === null) return;
    const { layers, quality } = this.#state;
    if (layers !== null) webrtc.asked = ridFor(layers.layers, quality);
    const { asked: rid, pc, picture } = webrtc;
    this.#options.gateway.send({ type: picture ? 'rtc.resume' : 'rtc.pause', pc, kind: 'video' });
    this.#options.gateway.send({ type: 'rtc.layer', pc, rid });
  }

  #openWebrtc(attempt: number): void {
    const { gateway, inquiry, pass, whep, tell, refused } = this.#options;
    const noChannel = (): void => inquiry.noChannel();
    const fallback = (word: string, url: string | null): void => tell({ type: 'path', event: { type: 'fallback', reason: reasonFrom(word), url } });
    const refusedHere = (used: string | null, words: string): void => {
      if (this.#webrtc?.attempt === attempt) refused(used, words);
    };
    const negotiate: Negotiate = whep
      ? negotiateByWhep(pass, {
          noPublisher: (againMs) => inquiry.notLive(againMs),
          noChannel,
          found: () => {
            if (this.#webrtc?.attempt === attempt) inquiry.found();
          },
          refused: refusedHere,
          fallback,
        })
      : negotiateByGateway(gateway, pass, {
          noPublisher: () => inquiry.notLive(null),
          noChannel,
          refused: refusedHere,
          fallback,
          gatewayLost: () => tell({ type: 'path', event: { type: 'gatewayLost' } }),
          opened: (pc) => {
            if (this.#webrtc?.attempt === attempt) this.#webrtc.pc = pc;
          },
        });
    const source = this.#makers.peer(negotiate, this.#eventsOf('webrtc', attempt), () => this.#serverNow());
    const { iceRestarts } = this.#state.path.webrtc;
    this.#webrtc = { source, attempt, iceRestarts, pc: null, asked: 'auto', picture: true };
    this.#options.stage.adopt(source.video);
  }

  #openHls(attempt: number): void {
    const { pass, refused, from, tell } = this.#options;
    const events = this.#eventsOf('hls', attempt);
    const options: HlsOptions = {
      url: this.#state.path.hlsUrl ?? `/hls/${encodeURIComponent(pass.channel)}/master.m3u8`,
      recording: false,
      from: from(),
      token: () => pass.token,
      over: () => tell({ type: 'over' }),
      refused: (used) => {
        if (this.#hls?.attempt !== attempt) return;
        // What plays by WebRTC goes on.
        if (this.#state.path.shown !== 'webrtc') refused(used, '');
        else void pass.renew(used).then(() => events.lost());
      },
    };
    const source = this.#makers.hls(options, events, () => this.#now());
    this.#hls = { source, attempt };
    this.#options.stage.adopt(source.video);
  }

  #openRecording({ id, hls }: Recording): void {
    const { pass, refused, tell } = this.#options;
    const is = (state: NonNullable<PlayerState['recording']>['state']): void => {
      if (this.#recording?.id === id) tell({ type: 'recordingIs', state });
    };
    const options: HlsOptions = {
      url: hls,
      recording: true,
      from: null,
      token: () => pass.token,
      over: () => is('over'),
      refused: (used) => {
        if (this.#recording?.id === id) refused(used, '');
      },
    };
    const events: SourceEvents = { ice: () => undefined, frame: () => is('playing'), lost: () => is('failed'), latency: () => undefined };
    const source = this.#makers.hls(options, events, () => this.#now());
    this.#recording = { id, source };
    this.#options.stage.adopt(source.video);
  }

  /** Events of one attempt; those of an attempt that is over go nowhere. */
  #eventsOf(via: Via, attempt: number): SourceEvents {
    const tell = (event: PlayerEvent): void => {
      const current = via === 'webrtc' ? this.#webrtc?.attempt : this.#hls?.attempt;
      if (current === attempt) this.#options.tell(event);
    };
    return {
      ice: (state) => tell({ type: 'path', event: { type: 'ice', state } }),
      frame: (gapMs) => tell({ type: 'path', event: { type: 'frame', via, ...(gapMs === undefined ? {} : { gapMs }) } }),
      lost: () => tell({ type: 'path', event: { type: via === 'webrtc' ? 'peerLost' : 'hlsFailed' } }),
      latency: (latencyMs) => tell({ type: 'latency', via, latencyMs }),
    };
  }

  #now(): number {
    return this.#options.gateway.clock.now(Date.now());
  }

  /** The server's clock, where the gateway has told it; without it a playout timestamp says nothing. */
  #serverNow(): number | null {
    return this.#options.gateway.clock.offsetMs === null ? null : this.#now();
  }
}
