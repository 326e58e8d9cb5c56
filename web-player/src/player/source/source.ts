import type { Figures } from '../figures';
import type { Via } from '../path';

/** What a source tells the player. */
export interface SourceEvents {
  ice(state: 'connected' | 'disconnected' | 'failed'): void;
  /** A frame was shown or decoded; called at least once a second while the picture moves. `gapMs`: see `PathEvent`. */
  frame(gapMs?: number): void;
  /** The source cannot go on. */
  lost(): void;
  latency(ms: number): void;
}

/** One attempt to bring the picture into one `<video>`. Made, used, closed; never restarted. */
export interface Source {
  readonly via: Via;
  readonly video: HTMLVideoElement;
  framesDecoded(): number;
  /** As of the last look; null before the first. */
  figures(): Figures | null;
  close(): void;
}

export function makeVideo(): HTMLVideoElement {
  const video = document.createElement('video');
  video.playsInline = true;
  video.autoplay = true;
  video.muted = true;
  video.disableRemotePlayback = true;
  video.tabIndex = -1;
  return video;
}
