/**
 * The frames of sub-protocol `live.v1.json`, as far as these pages use them.
 *
 * Frames are flat JSON objects; one WebSocket message holds one or more of them, separated by line feeds.
 * What arrives is checked here and nowhere else: a frame that lacks what its type promises is dropped, a type
 * that we do not know is passed over (the protocol grows by adding).
 */

import type { ServerFigures } from '../player/figures';

export const SUB_PROTOCOL = 'live.v1.json';

export interface Badge {
  readonly set: string;
  readonly title: string;
}

export interface ChatUser {
  readonly id: string;
  readonly login: string;
  readonly display: string;
  readonly color: string | null;
  readonly badges: readonly Badge[];
}

export interface Live {
  readonly stream: string;
  readonly startedAt: number | null;
  readonly title: string | null;
  readonly hls: string | null;
}

/** Where a push belongs: its channel address, and its place there if it can be recovered. */
interface Addressed {
  readonly ch: string | null;
  readonly seq: number | null;
}

export type ServerFrame =
  | { type: 'welcome'; session: string | null; user: ChatUser; heartbeatMs: number; serverTime: number | null; limits: Limits }
  | { type: 'joined'; re: number; ch: string; epoch: string; seq: number; recovered: boolean; history: ServerFrame[]; live: Live | null; viewers: number | null }
  | { type: 'ack'; re: number; id: string | null; seq: number | null }
  | { type: 'error'; re: number | null; code: string; message: string; retryable: boolean }
  | { type: 'ping'; t: number }
  | { type: 'reconnect'; url: string | null; inMs: number }
  | { type: 'rtc.answer'; re: number; pc: string; sdp: string; iceServers: RTCIceServer[]; serverDelayMs: number | null }
  | { type: 'rtc.fallback'; re: number | null; pc: string | null; reason: string; url: string | null }
  /** Of one peer connection (`pc`), or of everybody who watches `ch`. */
  | { type: 'rtc.state'; pc: string | null; ch: string | null; state: 'active' | 'inactive' | 'ended'; video: string | null }
  | { type: 'rtc.stats'; re: number; pc: string; stats: ServerFigures }
  | { type: 'rtc.layers'; pc: string; layers: LayerFrame[]; current: string | null; audioOnly: 'choice' | 'bandwidth' | null }
  | { type: 'rtc.closed'; pc: string }
  | { type: 'rtc.restart'; pc: string }
  | ({ type: 'message'; id: string; ts: number | null; user: ChatUser; text: string; nonce: string | null } & Addressed)
  | ({ type: 'delete'; ids: string[] } & Addressed)
  | ({ type: 'clear' } & Addressed)
  | ({ type: 'ban'; user: string; until: number | null; reason: string | null } & Addressed)
  | ({ type: 'notice'; text: string } & Addressed)
  | ({ type: 'gap'; from: number; to: number } & Addressed)
  | { type: 'slowmode'; re: number | null; ch: string | null; waitMs: number }
  | { type: 'stream.online'; ch: string | null; channel: string; stream: string; title: string | null; startedAt: number | null; hls: string | null }
  | { type: 'stream.offline'; ch: string | null; channel: string; stream: string | null }
  | { type: 'stats'; ch: string | null; viewers: number | null; latencyMs: number | null };

/** One Layer that can be chosen. */
export interface LayerFrame {
  readonly rid: string;
  readonly height: number | null;
  readonly bitrate: number | null;
  readonly active: boolean;
}

export interface Limits {
  readonly textMax: number;
}

/** What a client may ask; `id` is added by the client object. */
export type ClientRequest =
  | { type: 'join'; ch: string; history: number; since?: { epoch: string; seq: number }; token?: string }
  | { type: 'leave'; ch: string }
  | { type: 'rtc.play'; ch: string; sdp: string; token?: string }
  | { type: 'rtc.stats'; pc: string }
  | { type: 'rtc.layer'; pc: string; rid: string }
  | { type: 'rtc.pause' | 'rtc.resume'; pc: string; kind: 'audio' | 'video' }
  | { type: 'rtc.restart'; pc: string; sdp: string }
  | { type: 'message'; ch: string; text: string; nonce: string }
  | { type: 'name'; name: string };

type Fields = { readonly [key: string]: unknown };

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function user(value: unknown): ChatUser {
  const from = isFields(value) ? value : {};
  const login = text(from.login) ?? 'guest';
  return {
    id: text(from.id) ?? '',
    login,
    display: text(from.display) ?? login,
    color: text(from.color),
    badges: list(from.badges)
      .filter(isFields)
      .map((badge) => ({ set: text(badge.set) ?? '', title: text(badge.title) ?? text(badge.set) ?? '' })),
  };
}

function live(value: unknown): Live | null {
  if (!isFields(value)) return null;
  const hls = isFields(value.hls) ? text(value.hls.url) : text(value.hls);
  return { stream: text(value.stream) ?? '', startedAt: number(value.startedAt), title: text(value.title), hls };
}

/** The name in `channel`, which is either the name itself or an object that has it. */
function channelName(value: unknown, address: string | null): string | null {
  if (isFields(value)) return text(value.name) ?? text(value.slug);
  return text(value) ?? (address?.startsWith('stream:') ? address.slice('stream:'.length) : null);
}

/** What the server says of one peer connection, and its own share of the delay. */
function serverFigures(value: Fields): ServerFigures {
  const peer = isFields(value.stats) ? value.stats : {};
  const of = (kind: unknown): number => (isFields(kind) ? (number(kind.resent) ?? 0) : 0);
  return {
    layer: text(peer.layer), cap: text(peer.cap), estimateBps: number(peer.estimateBps), roundTripMs: number(peer.rttMs),
    transport: text(peer.transport), srtpProfile: text(peer.srtpProfile),
    resent: of(peer.audio) + of(peer.video), addedMs: number(value.addedMs),
  };
}

function iceServers(value: unknown): RTCIceServer[] {
  return list(value)
    .filter(isFields)
    .flatMap((server) => {
      const urls = Array.isArray(server.urls) ? server.urls.filter((url) => typeof url === 'string') : text(server.urls);
      if (urls === null || urls.length === 0) return [];
      const username = text(server.username);
      const credential = text(server.credential);
      return [{ urls, ...(username === null ? {} : { username }), ...(credential === null ? {} : { credential }) }];
    });
}

function layers(value: unknown): LayerFrame[] {
  return list(value)
    .filter(isFields)
    .flatMap((layer) => {
      const rid = text(layer.rid);
      if (rid === null) return [];
      return [{ rid, height: number(layer.height), bitrate: number(layer.bitrate), active: layer.active !== false }];
    });
}

/** One frame out of what `JSON.parse` made, or null if it is not one that we can use. */
export function decodeFrame(value: unknown): ServerFrame | null {
  if (!isFields(value)) return null;
  const ch = text(value.ch);
  const seq = number(value.seq);
  const re = number(value.re);
  switch (value.type) {
    case 'welcome':
      return {
        type: 'welcome',
        session: text(value.session),
        user: user(value.user),
        heartbeatMs: number(value.heartbeatMs) ?? 25_000,
        serverTime: number(value.serverTime),
        limits: { textMax: (isFields(value.limits) ? number(value.limits.textMax) : null) ?? 500 },
      };
    case 'joined': {
      if (re === null || ch === null) return null;
      // Frames of the history may leave out the address that the whole answer has.
      const history = list(value.history)
        .map((past) => decodeFrame(isFields(past) ? { ch, ...past } : past))
        .filter((frame) => frame !== null);
      const stats = isFields(value.stats) ? value.stats : value;
      return {
        type: 'joined', re, ch,
        epoch: text(value.epoch) ?? '', seq: seq ?? 0, recovered: value.recovered === true,
        history, live: live(value.live), viewers: number(stats.viewers),
      };
    }
    case 'ack':
      return re === null ? null : { type: 'ack', re, id: text(value.id), seq };
    case 'error': {
      const error = isFields(value.error) ? value.error : {};
      const code = text(error.code) ?? 'internal';
      return { type: 'error', re, code, message: text(error.message) ?? code, retryable: error.retryable === true };
    }
    case 'ping':
      return { type: 'ping', t: number(value.t) ?? 0 };
    case 'reconnect':
      return { type: 'reconnect', url: text(value.url), inMs: Math.max(0, number(value.inMs) ?? 0) };
    case 'rtc.answer': {
      const sdp = text(value.sdp);
      if (re === null || sdp === null) return null;
      return {
        type: 'rtc.answer', re, sdp, pc: identifier(value.pc),
        iceServers: iceServers(value.iceServers), serverDelayMs: number(value.serverDelayMs),
      };
    }
    case 'rtc.fallback':
      return { type: 'rtc.fallback', re, pc: value.pc === undefined ? null : identifier(value.pc), reason: text(value.reason) ?? 'server', url: text(value.url) };
    case 'rtc.state': {
      const state = value.state;
      if (state !== 'active' && state !== 'inactive' && state !== 'ended') return null;
      return { type: 'rtc.state', pc: value.pc === undefined ? null : identifier(value.pc), ch, state, video: text(value.video) };
    }
    case 'rtc.stats':
      return re === null ? null : { type: 'rtc.stats', re, pc: identifier(value.pc), stats: serverFigures(value) };
    case 'rtc.layers': {
      const { audioOnly } = value;
      return {
        type: 'rtc.layers', pc: identifier(value.pc), layers: layers(value.layers), current: text(value.current),
        audioOnly: audioOnly === 'choice' || audioOnly === 'bandwidth' ? audioOnly : null,
      };
    }
    case 'rtc.closed':
      return { type: 'rtc.closed', pc: identifier(value.pc) };
    case 'rtc.restart':
      return { type: 'rtc.restart', pc: identifier(value.pc) };
    case 'message':
    case 'emote': {
      const body = text(value.text);
      const id = text(value.id);
      if (body === null || id === null) return null;
      return { type: 'message', id, ch, seq, ts: number(value.ts), user: user(value.user), text: body, nonce: text(value.nonce) };
    }
    case 'delete':
      return { type: 'delete', ch, seq, ids: list(value.ids).filter((id) => typeof id === 'string') };
    case 'clear':
      return { type: 'clear', ch, seq };
    case 'ban':
      return { type: 'ban', ch, seq, user: user(value.user).id, until: number(value.until), reason: text(value.reason) };
    case 'notice':
    case 'announce': {
      const body = text(value.text);
      return body === null ? null : { type: 'notice', ch, seq, text: body };
    }
    case 'gap':
      return { type: 'gap', ch, seq, from: number(value.from) ?? 0, to: number(value.to) ?? 0 };
    case 'slowmode':
      return { type: 'slowmode', re, ch, waitMs: Math.max(0, number(value.waitMs) ?? 0) };
    case 'stream.online': {
      const channel = channelName(value.channel, ch);
      if (channel === null) return null;
      return {
        type: 'stream.online', ch, channel, stream: text(value.stream) ?? '',
        title: text(value.title), startedAt: number(value.startedAt), hls: text(value.hls),
      };
    }
    case 'stream.offline': {
      const channel = channelName(value.channel, ch);
      return channel === null ? null : { type: 'stream.offline', ch, channel, stream: text(value.stream) };
    }
    case 'stats':
      return { type: 'stats', ch, viewers: number(value.viewers), latencyMs: number(value.latencyMs) };
    default:
      return null;
  }
}

/** Peer ids may be numbers or strings on the wire; here they are opaque strings. */
function identifier(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** All usable frames of one WebSocket message. Lines that are not JSON are skipped: one bad line must not cost its neighbours. */
export function decodeMessage(data: string): ServerFrame[] {
  return data.split('\n').flatMap((line) => {
    if (line.trim() === '') return [];
    try {
      const frame = decodeFrame(JSON.parse(line));
      return frame === null ? [] : [frame];
    } catch {
      return [];
    }
  });
}

/** The sequence number that puts a frame in its place, for frames that have one. */
export function place(frame: ServerFrame): { ch: string; seq: number } | null {
  if (!('seq' in frame) || !('ch' in frame) || frame.type === 'joined') return null;
  return frame.seq === null || frame.ch === null ? null : { ch: frame.ch, seq: frame.seq };
}
