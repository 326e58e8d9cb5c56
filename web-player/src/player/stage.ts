import type { PlayerEvent } from './state';

export interface StageOptions {
  /** Puts the element on the screen, and removes the one before if there is one that is not needed any more. */
  stage(video: HTMLVideoElement, before: HTMLVideoElement | null): void;
  /** Keeps the picture that the element shows now on the screen, until another element takes its place. */
  freeze(video: HTMLVideoElement): void;
  /** Keeps an element that still loads, out of sight. */
  wing(video: HTMLVideoElement): void;
  /** What an element has done. */
  tell(event: PlayerEvent): void;
  /** The element of the source that is shown; null while none is. */
  shown(): HTMLVideoElement | null;
}

/** The video elements: one is on the screen, the next one loads in the wings. Starts them where browsers demand a gesture. */
export class Stage {
  #options: StageOptions;
  #video: HTMLVideoElement | null = null;
  /** The source of the one on the screen is closed. */
  #retired = false;

  constructor(options: StageOptions) {
    this.#options = options;
  }

  /** The one on the screen. */
  get video(): HTMLVideoElement | null {
    return this.#video;
  }

  /** Takes a new element into the wings. */
  adopt(video: HTMLVideoElement): void {
    const { wing, tell, shown } = this.#options;
    wing(video);
    video.addEventListener('volumechange', () => {
      if (video === this.#video) tell({ type: 'volume', muted: video.muted, volume: video.volume, byUser: false });
    });
    for (const type of ['play', 'pause'] as const) {
      video.addEventListener(type, () => {
        // An element that is on stage as a still picture only pauses because its source is gone.
        if (video === this.#video && video === shown()) tell({ type: 'paused', paused: video.paused && !video.ended });
      });
    }
    video.addEventListener('resize', () => {
      if (video === this.#video) this.#reportSize(video);
    });
  }

  /** Puts an element on the screen, as loud as the one before; whose source goes on goes on in the wings, silently. */
  show(video: HTMLVideoElement, as: { volume: number; muted: boolean; paused: boolean }): void {
    const before = this.#video;
    const goesOn = before !== null && !this.#retired;
    this.#video = video;
    this.#retired = false;
    if (goesOn) before.muted = true;
    video.volume = as.volume;
    video.muted = as.muted;
    this.#options.stage(video, goesOn ? null : before);
    if (goesOn) {
      this.#options.wing(before);
      if (before.paused) before.play().catch(() => undefined);
    }
    this.#reportSize(video);
    // In the wings it plays by itself.
    if (as.paused) video.pause();
    else if (video.paused) void this.play();
  }

  /** Closes a source. Its last picture stays on the screen until another element takes its place. */
  retire(source: { readonly video: HTMLVideoElement; close(): void }): void {
    if (source.video === this.#video) {
      this.#retired = true;
      this.#options.freeze(source.video);
    }
    source.close();
    if (source.video !== this.#video) source.video.remove();
  }

  /** Sound on or off, by the viewer's hand. `blocked`: the browser has refused to play. */
  setMuted(muted: boolean, blocked: boolean): void {
    const video = this.#video;
    if (video === null) return;
    video.muted = muted;
    if (!muted && video.volume === 0) video.volume = 0.5;
    this.#options.tell({ type: 'volume', muted, volume: video.volume, byUser: true });
    if (!muted || blocked) void this.play();
  }

  async play(): Promise<void> {
    const video = this.#video;
    if (video === null) return;
    try {
      await video.play();
    } catch (error) {
      if (video !== this.#video || (error instanceof DOMException && error.name === 'AbortError')) return;
      if (video.muted) {
        // The browser wants a gesture even for a silent picture (low-power mode); the page shows a play button.
        this.#options.tell({ type: 'autoplay', autoplay: 'blocked' });
        return;
      }
      // Sound in a new element needs a new gesture in some browsers: go on without it, and say so.
      video.muted = true;
      this.#options.tell({ type: 'volume', muted: true, volume: video.volume, byUser: false });
      this.#options.tell({ type: 'autoplay', autoplay: 'muted' });
      await this.play();
    }
  }

  #reportSize(video: HTMLVideoElement): void {
    if (video.videoWidth > 0) this.#options.tell({ type: 'size', width: video.videoWidth, height: video.videoHeight });
  }
}
