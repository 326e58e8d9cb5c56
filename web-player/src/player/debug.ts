import type { Player } from './player';
import { phase } from './state';
import type { PlayerState } from './state';

/** What tests and curious people read as `window.__swiftwater`: always the state, never a wish. */
export interface DebugState {
  readonly mode: 'webrtc' | 'hls' | 'recording' | 'none';
  readonly reason: string | null;
  readonly latencyMs: number | null;
  readonly framesDecoded: number;
  readonly state: string;
  readonly video: HTMLVideoElement | null;
  readonly full: PlayerState;
}

export function debugState(player: Player): DebugState {
  return {
    get mode() {
      return player.state.recording !== null ? 'recording' : player.state.path.shown;
    },
    get reason() {
      return player.state.path.reason;
    },
    get latencyMs() {
      return player.state.latencyMs;
    },
    get framesDecoded() {
      return player.framesDecoded;
    },
    get state() {
      return phase(player.state);
    },
    get video() {
      return player.video;
    },
    get full() {
      return player.state;
    },
  };
}
