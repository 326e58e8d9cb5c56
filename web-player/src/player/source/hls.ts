import type Hls from 'hls.js';
import { openedBy } from '../../access/grant';
import type { Figures } from '../figures';
import { fromProgramDate, smooth } from '../latency';
import type { Dates } from '../playhead';
import { positionOf } from '../timeline';
import { mendAppendQueue } from './append_queue';
import { keepBackBufferShort } from './back_buffer';
import { makeVideo } from './source';
import { beginningIn } from './start_tag';
import type { Source, SourceEvents } from './source';

const LOOK_EVERY_MS = 500;
/** Further behind than the playlist asks by this much: seek, for playing faster would take minutes. */
const BEHIND_MAX_S = 4;
/** So fast hls.js plays while it is a little behind. */
const CATCH_UP_RATE = 1.1;
/** A wish for the end of a recording leads to so much before it, in seconds. */
const END_S = 0.3;
/** So many recoveries of the decoder are tried before the source gives up. */
const RECOVERIES_MAX = 2;

/** Safari's own element can say which wall-clock time is on screen. */
interface NativeVideo extends HTMLVideoElement {
  getStartDate?(): Date;
}

/** What to play, and who plays it. */
export interface HlsOptions {
  readonly url: string;
  /** What was made at this time (unix milliseconds) comes first; null: the present. */
  readonly from: number | null;
  /** It is a recording: it begins at its beginning, and has an end. */
  readonly recording: boolean;
  /** The grant to show at each request: it stands in the path, and changes while the stream plays. Null where none is needed. */
  token(): string | null;
  /** The server does not take that grant, or wants one. The source is of no use any more. */
  refused(used: string | null): void;
  /** The end of a Stream that is over was shown. */
  over(): void;
}

/** LL-HLS by hls.js, which is loaded only now; by the browser itself where Media Source Extensions are missing (iOS). */
export class HlsSource implements Source {
  readonly via = 'hls';
  readonly video = makeVideo();
  #options: HlsOptions;
  #events: SourceEvents;
  #serverNow: () => number;
  #hls: Hls | null = null;
  #recoveries = 0;
  #timer: ReturnType<typeof setInterval>;
  #lastTime = 0;
  /** The time at which it is to begin, and that at which hls.js was told to: the viewer may change their mind meanwhile. */
  #from: number | null;
  #begunFrom: number | null;
  /** The viewer went back to a time of before: nothing hurries to the present. */
  #rewound: boolean;
  #latency: number | null = null;
  #frames: { readonly count: number; readonly at: number } | null = null;
  #figures: Figures | null = null;
  #closed = false;

  constructor(options: HlsOptions, events: SourceEvents, serverNow: () => number) {
    this.#options = options;
    this.#events = events;
    this.#serverNow = serverNow;
    this.#from = this.#begunFrom = options.from;
    this.#rewound = options.from !== null || options.recording;
    this.video.addEventListener('ended', () => {
      if (!this.#closed) options.over();
    });
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    if ('requestVideoFrameCallback' in this.video) {
      this.video.requestVideoFrameCallback(() => {
        if (this.#closed) return;
        this.#events.frame();
        if (this.#from !== null && this.#from !== this.#begunFrom) this.goTo(this.#from);
      });
    }
    void this.#open();
  }

  /** Null while nothing is known, and where a playlist has no dates. */
  dates(): Dates | null {
    const shown = this.#playingDate();
    if (shown === null) return null;
    const first = this.#hls?.latestLevelDetails?.fragments[0];
    if (first !== undefined) return first.programDateTime === null ? null : { shown, oldest: first.programDateTime };
    const { seekable, currentTime } = this.video;
    return seekable.length === 0 ? null : { shown, oldest: shown - (currentTime - seekable.start(0)) * 1000 };
  }

  /** Where a recording is, and how long; null while it is not known. */
  place(): { readonly atMs: number; readonly lengthMs: number } | null {
    const { currentTime, duration } = this.video;
    return Number.isFinite(duration) && duration > 0 ? { atMs: currentTime * 1000, lengthMs: duration * 1000 } : null;
  }

  /** Goes to a place in a recording. */
  goToPlace(ms: number): void {
    // Of the very end there may be no picture, or no sound: players would wait for it.
    this.video.currentTime = Math.max(0, Math.min(ms / 1000, this.video.duration - END_S));
    if (this.video.paused) this.#play();
  }

  /** Shows what was made at that time, or the nearest that there is. */
  goTo(date: number): void {
    if (this.framesDecoded() === 0) {
      this.#from = date;
      return;
    }
    const position = this.#positionOf(date);
    if (position === null) return;
    this.#stayBehind(true);
    this.video.currentTime = position;
    if (this.video.paused) this.#play();
  }

  /** Goes on at the present. */
  goToPresent(): void {
    this.#stayBehind(false);
    this.#catchUp();
  }

  /** Whether the picture stays where it is in time, or hurries to the present where it is behind. */
  #stayBehind(stay: boolean): void {
    this.#rewound = stay;
    if (this.#hls === null) return;
    // hls.js reads it at each step, and leaves the rate as it is where it is not to change it.
    this.#hls.config.maxLiveSyncPlaybackRate = stay ? 1 : CATCH_UP_RATE;
    if (stay) this.video.playbackRate = 1;
  }

  framesDecoded(): number {
    return this.video.getVideoPlaybackQuality().totalVideoFrames;
  }

  figures(): Figures | null {
    return this.#figures;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.video.onerror = null;
    this.#hls?.destroy();
    this.#hls = null;
    if (this.video.getAttribute('src') !== null) {
      this.video.removeAttribute('src');
      this.video.load();
    }
  }

  async #open(): Promise<void> {
    try {
      const { default: Engine } = await import('hls.js');
      if (this.#closed) return;
      if (Engine.isSupported()) this.#openEngine(Engine);
      else this.#openNative();
    } catch (error) {
      if (this.#closed) return;
      console.warn('hls:', error);
      this.#events.lost();
    }
  }

  #openEngine(Engine: typeof Hls): void {
    const hls = new Engine({
      lowLatencyMode: !this.#options.recording,
      maxLiveSyncPlaybackRate: this.#rewound ? 1 : CATCH_UP_RATE,
      ...(this.#from === null ? {} : { pLoader: beginningIn(Engine, () => this.#serverNow() - this.#begin()) }),
      // Playlists lead on to addresses with the grant by which they were asked for: it may have been renewed since.
      xhrSetup: (xhr, url) => xhr.open('GET', openedBy(url, this.#options.token()), true),
      bufferController: mendAppendQueue(Engine.DefaultConfig.bufferController),
      // A failing playlist is our own affair: the player decides whether and when to try again.
      manifestLoadPolicy: {
        default: { maxTimeToFirstByteMs: 8_000, maxLoadTimeMs: 10_000, timeoutRetry: null, errorRetry: null },
      },
    });
    this.#hls = hls;
    hls.on(Engine.Events.ERROR, (_event, data) => {
      if (this.#closed) return;
      if (data.response?.code === 401 || data.response?.code === 403) {
        this.#options.refused(this.#options.token());
        return;
      }
      if (!data.fatal) return;
      if (data.type === Engine.ErrorTypes.MEDIA_ERROR && this.#recoveries < RECOVERIES_MAX) {
        this.#recoveries += 1;
        hls.recoverMediaError();
        return;
      }
      console.warn(`hls: ${data.type} ${data.details}`);
      this.#events.lost();
    });
    hls.on(Engine.Events.MANIFEST_PARSED, () => this.#play());
    keepBackBufferShort(hls, Engine.Events, this.video);
    hls.loadSource(this.#address());
    hls.attachMedia(this.video);
  }

  #begin(): number {
    this.#begunFrom = this.#from;
    return this.#from ?? this.#serverNow();
  }

  #openNative(): void {
    if (this.video.canPlayType('application/vnd.apple.mpegurl') === '') {
      this.#events.lost();
      return;
    }
    this.video.disableRemotePlayback = false; // AirPlay can take over a real URL
    this.video.onerror = () => this.#events.lost();
    // This one keeps the grant of its beginning: when that is over it fails, and the next one begins with another.
    // The first frame is of the present; then it is sent back.
    this.#begunFrom = null;
    this.video.src = this.#address();
    this.#play();
  }

  #address(): string {
    return openedBy(this.#options.url, this.#options.token());
  }

  #play(): void {
    // A refusal shows as a paused element; the player reacts to that.
    this.video.play().catch(() => undefined);
  }

  #look(): void {
    const { video } = this;
    // Not "later than before": who goes back sees a moving picture too.
    if (video.currentTime !== this.#lastTime && !video.seeking && !video.ended && this.framesDecoded() > 0) {
      this.#lastTime = video.currentTime;
      this.#events.frame();
    }
    this.#catchUp();
    this.#figure();
    const latency = fromProgramDate(this.#playingDate(), this.#serverNow());
    if (latency === null || video.paused) return;
    this.#latency = smooth(this.#latency, latency);
    this.#events.latency(this.#latency);
  }

  #figure(): void {
    const { video } = this;
    const quality = video.getVideoPlaybackQuality();
    const before = this.#frames;
    this.#frames = { count: quality.totalVideoFrames, at: performance.now() };
    const seconds = before === null ? 0 : (this.#frames.at - before.at) / 1000;
    const level = this.#hls?.levels[this.#hls.currentLevel];
    const ranges = video.buffered;
    const codecs = [level?.videoCodec, level?.audioCodec].filter((codec) => codec !== undefined);
    this.#figures = {
      codec: codecs.length === 0 ? null : codecs.join(' + '),
      width: video.videoWidth || null,
      height: video.videoHeight || null,
      fps: before === null || seconds <= 0 ? null : Math.max(0, this.#frames.count - before.count) / seconds,
      bitrateBps: level === undefined ? null : level.bitrate,
      loss: null,
      roundTripMs: null,
      jitterMs: null,
      bufferMs: ranges.length === 0 ? null : Math.max(0, ranges.end(ranges.length - 1) - video.currentTime) * 1000,
      framesDropped: quality.droppedVideoFrames,
    };
  }

  #catchUp(): void {
    const hls = this.#hls;
    if (hls === null || this.#rewound || this.video.paused || this.video.seeking) return;
    const edge = hls.liveSyncPosition;
    if (edge === null || hls.targetLatency === null || hls.latency <= hls.targetLatency + BEHIND_MAX_S) return;
    this.video.currentTime = edge;
  }

  #positionOf(date: number): number | null {
    const details = this.#hls?.latestLevelDetails;
    if (details !== null && details !== undefined) return positionOf(details.fragments, date);
    const shown = this.#playingDate();
    return shown === null ? null : this.video.currentTime + (date - shown) / 1000;
  }

  #playingDate(): number | null {
    if (this.#hls !== null) return this.#hls.playingDate?.getTime() ?? null;
    const start = (this.video as NativeVideo).getStartDate?.().getTime();
    return start === undefined || Number.isNaN(start) ? null : start + this.video.currentTime * 1000;
  }
}
