import type { Figures, ServerFigures } from '../player/figures';
import { because } from '../player/state';
import type { PlayerState } from '../player/state';

/** One line of the statistics panel. */
export interface Line {
  readonly name: string;
  readonly value: string;
}

const MODES = { webrtc: 'WebRTC', hls: 'LL-HLS', none: 'none' } as const;

/** The panel in words. What nobody knows is left out: a row of dashes helps nobody. */
export function lines(state: PlayerState, figures: Figures | null, server: ServerFigures | null): Line[] {
  const why = because(state.path.reason);
  const all: [string, string | null][] = [
    ['Mode', MODES[state.path.shown] + (why === null ? '' : `, because ${why}`)],
    ['Codec', figures?.codec ?? null],
    ['Size', size(figures, server)],
    ['Frames', join(per(figures?.fps, 'per second'), figures?.framesDropped ? `${figures.framesDropped} dropped` : null)],
    ['Bit rate', bits(figures?.bitrateBps)],
    ['Loss', join(percent(figures?.loss), server?.resent ? `${server.resent} sent again` : null)],
    ['Round trip', ms(figures?.roundTripMs ?? server?.roundTripMs)],
    ['Estimate', bits(server?.estimateBps)],
    ['Buffer', join(ms(figures?.bufferMs), figures?.jitterMs ? `jitter ${ms(figures.jitterMs)}` : null)],
    ['Latency', ms(state.latencyMs)],
    ['Server adds', server?.addedMs == null ? null : `${server.addedMs.toFixed(1)} ms`],
    ['Connection', join(server?.transport?.toUpperCase() ?? null, cipher(server?.srtpProfile))],
    ['Viewers', state.viewers === null ? null : String(state.viewers)],
  ];
  return all.flatMap(([name, value]) => (value === null ? [] : [{ name, value }]));
}

function size(figures: Figures | null, server: ServerFigures | null): string | null {
  if (figures?.width == null || figures.height === null) return null;
  const layer = server?.layer ? `layer ${server.layer}` : null;
  return join(`${figures.width} × ${figures.height}`, layer, limit(server?.cap ?? null));
}

/** What the server keeps back because it has too much to do. */
export function limit(cap: string | null): string | null {
  switch (cap) {
    case 'smallest':
      return 'smallest layer only: the server is busy';
    case 'off':
      return 'sound only: the server is busy';
    default:
      return null;
  }
}

function join(...parts: (string | null)[]): string | null {
  const known = parts.filter((part) => part !== null);
  return known.length === 0 ? null : known.join(', ');
}

function per(value: number | null | undefined, unit: string): string | null {
  return value == null ? null : `${Math.round(value)} ${unit}`;
}

function percent(share: number | null | undefined): string | null {
  return share == null ? null : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

function ms(value: number | null | undefined): string | null {
  return value == null ? null : `${Math.round(value)} ms`;
}

function bits(bps: number | null | undefined): string | null {
  if (bps == null) return null;
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1e3)} kbit/s`;
}

/** `SRTP_AEAD_AES_128_GCM`, for people. */
function cipher(profile: string | null | undefined): string | null {
  if (profile == null) return null;
  return profile.includes('GCM') ? 'AES-GCM' : 'AES-CM';
}
