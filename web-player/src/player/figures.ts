/** What a source knows of the picture that it brings. Null: not known, or not yet. */
export interface Figures {
  readonly codec: string | null;
  readonly width: number | null;
  readonly height: number | null;
  readonly fps: number | null;
  /** Sound and picture, in bits per second. */
  readonly bitrateBps: number | null;
  /** Share of packets lost for good since the last look, 0 to 1. */
  readonly loss: number | null;
  readonly roundTripMs: number | null;
  readonly jitterMs: number | null;
  /** What waits to be shown. */
  readonly bufferMs: number | null;
  /** Frames that were decoded and not shown, so far. */
  readonly framesDropped: number | null;
}

/** What the server says of our connection (`rtc.stats`). */
export interface ServerFigures {
  /** The Layer that it sends; empty for the only one. */
  readonly layer: string | null;
  /** What the picture is limited to while the server is overloaded. */
  readonly cap: string | null;
  readonly estimateBps: number | null;
  readonly roundTripMs: number | null;
  readonly transport: string | null;
  readonly srtpProfile: string | null;
  readonly resent: number | null;
  /** The server's own share of the delay, in milliseconds: the median of its pictures. */
  readonly addedMs: number | null;
}

/** One look at the counters of a receiver. */
export interface Counters {
  /** Milliseconds of any clock that runs evenly. */
  readonly at: number;
  readonly bytes: number;
  readonly packets: number;
  readonly lost: number;
  readonly frames: number;
  readonly jitterBufferDelayS: number;
  readonly jitterBufferEmitted: number;
}

/** What happened per second between two looks; null without two. */
export function rates(before: Counters | null, now: Counters): Pick<Figures, 'fps' | 'bitrateBps' | 'loss' | 'bufferMs'> {
  const seconds = before === null ? 0 : (now.at - before.at) / 1000;
  if (before === null || seconds <= 0) return { fps: null, bitrateBps: null, loss: null, bufferMs: null };
  const grown = (of: (counters: Counters) => number): number => Math.max(0, of(now) - of(before));
  // Late packets make the count of lost ones shrink.
  const lost = grown((it) => it.lost);
  const sent = grown((it) => it.packets) + lost;
  const emitted = grown((it) => it.jitterBufferEmitted);
  return {
    fps: grown((it) => it.frames) / seconds,
    bitrateBps: (grown((it) => it.bytes) * 8) / seconds,
    loss: sent === 0 ? null : lost / sent,
    bufferMs: emitted === 0 ? null : (grown((it) => it.jitterBufferDelayS) * 1000) / emitted,
  };
}
