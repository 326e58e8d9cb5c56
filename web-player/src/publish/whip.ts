/**
 * Publishing from the browser by WHIP (RFC 9725): one POST with the offer, one DELETE at the end.
 *
 * A connection that breaks is made again with a new POST and the same key; the server continues the same Stream
 * within its grace. One whose network changed restarts ICE first. Candidates are not told: the server finds us by our checks.
 */

import { IceSession } from '../ice/fragment';
import { iceServersFrom, useIceServers } from '../ice/servers';

export type CodecChoice = 'H264' | 'VP8';

export interface Quality {
  readonly id: string;
  readonly label: string;
  readonly width: number;
  readonly height: number;
  readonly bitrateBps: number;
}

export const QUALITIES: readonly Quality[] = [
  { id: '480', label: '480p · 1.2 Mbit/s', width: 854, height: 480, bitrateBps: 1_200_000 },
  { id: '720', label: '720p · 2.5 Mbit/s', width: 1280, height: 720, bitrateBps: 2_500_000 },
  { id: '1080', label: '1080p · 4.5 Mbit/s', width: 1920, height: 1080, bitrateBps: 4_500_000 },
];

/** ICE may come back by itself, or by a restart; after this long the connection is made anew. */
const DISCONNECTED_MAX_MS = 4_000;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 10_000;
const LOOK_EVERY_MS = 1_000;
const POST_TIMEOUT_MS = 10_000;
const DELETE_TIMEOUT_MS = 2_000;

/** What the server said against it, in its own words (RFC 9457). */
export interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
}

export interface Figures {
  readonly bitrateBps: number;
  readonly framesPerSecond: number;
  readonly width: number;
  readonly height: number;
  readonly roundTripMs: number | null;
  readonly lossPercent: number | null;
  readonly codec: string | null;
  /** Why the encoder holds back, if it does: `cpu` or `bandwidth`. */
  readonly limitedBy: string | null;
}

export type PublishState =
  | { phase: 'idle' }
  | { phase: 'connecting' }
  | { phase: 'live'; since: number; figures: Figures | null }
  | { phase: 'reconnecting'; attempt: number; why: string }
  | { phase: 'error'; problem: Problem };

export interface PublishOptions {
  readonly url: string;
  readonly key: string;
  readonly codec: CodecChoice;
  readonly quality: Quality;
  readonly screen: boolean;
}

/** Statuses that another try with the same key will not change. */
function final(status: number): boolean {
  return [400, 401, 403, 404, 405, 415, 422].includes(status);
}

class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.title);
  }
}

/** The encodings of the video track: one today; simulcast is a longer list (with `rid`s) at this very place. */
function encodings(quality: Quality): RTCRtpEncodingParameters[] {
  return [{ maxBitrate: quality.bitrateBps, maxFramerate: 30 }];
}

/** Formats that carry no picture of their own: repair and redundancy, useful beside every codec. */
const AUXILIARY = new Set(['VIDEO/RTX', 'VIDEO/RED', 'VIDEO/ULPFEC', 'VIDEO/FLEXFEC-03']);

/** The wanted codec alone, for the answer and not the offer decides among several; all where the browser lacks it. */
export function preferCodec(codecs: readonly RTCRtpCodec[], choice: CodecChoice): RTCRtpCodec[] {
  const wanted = (codec: RTCRtpCodec): boolean => codec.mimeType.toUpperCase() === `VIDEO/${choice}`;
  const packetized = (codec: RTCRtpCodec): number => (codec.sdpFmtpLine?.includes('packetization-mode=1') === true ? 0 : 1);
  const first = codecs.filter(wanted).sort((a, b) => packetized(a) - packetized(b));
  if (first.length === 0) return [...codecs];
  return [...first, ...codecs.filter((codec) => AUXILIARY.has(codec.mimeType.toUpperCase()))];
}

interface Counters {
  readonly at: number;
  readonly bytes: number;
}

export class WhipPublisher {
  #options: PublishOptions;
  #changed: (state: PublishState) => void;
  #tracks: { audio: MediaStreamTrack | null; video: MediaStreamTrack };
  #state: PublishState = { phase: 'idle' };
  #peer: RTCPeerConnection | null = null;
  #videoSender: RTCRtpSender | null = null;
  #audioSender: RTCRtpSender | null = null;
  #resource: string | null = null;
  #session: IceSession | null = null;
  #liveSince: number | null = null;
  #attempt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #grace: ReturnType<typeof setTimeout> | undefined;
  #looking: ReturnType<typeof setInterval> | undefined;
  #before: Counters | null = null;
  #stopped = true;

  constructor(tracks: { audio: MediaStreamTrack | null; video: MediaStreamTrack }, options: PublishOptions, changed: (state: PublishState) => void) {
    this.#tracks = tracks;
    this.#options = options;
    this.#changed = changed;
  }

  start(): void {
    this.#stopped = false;
    this.#set({ phase: 'connecting' });
    void this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    this.#liveSince = null;
    this.#close();
    this.#set({ phase: 'idle' });
  }

  /** Another camera or microphone in the running broadcast. */
  async replace(kind: 'audio' | 'video', track: MediaStreamTrack): Promise<void> {
    if (kind === 'audio') this.#tracks.audio = track;
    else this.#tracks.video = track;
    await (kind === 'audio' ? this.#audioSender : this.#videoSender)?.replaceTrack(track);
  }

  async #connect(): Promise<void> {
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    this.#peer = peer;
    peer.onconnectionstatechange = () => {
      if (peer === this.#peer) this.#connectionChanged(peer.connectionState);
    };
    try {
      this.#addTracks(peer);
      const offer = await peer.createOffer();
      const { answer, iceServers } = await this.#post(offer.sdp ?? '');
      if (peer !== this.#peer) return;
      useIceServers(peer, iceServers);
      // Only now: candidates are gathered from here on, and TURN servers must be known.
      await peer.setLocalDescription(offer);
      await peer.setRemoteDescription({ type: 'answer', sdp: answer });
      this.#looking = setInterval(() => void this.#look(peer), LOOK_EVERY_MS);
    } catch (error) {
      if (peer !== this.#peer) return;
      const problem = error instanceof Refused ? error.problem : { status: 0, title: 'The server could not be reached', detail: String(error) };
      if (final(problem.status) || (problem.status !== 0 && this.#liveSince === null)) this.#fail(problem);
      else this.#again(problem.detail === '' ? problem.title : problem.detail);
    }
  }

  #addTracks(peer: RTCPeerConnection): void {
    const { audio, video } = this.#tracks;
    const stream = new MediaStream(audio === null ? [video] : [audio, video]);
    this.#audioSender = audio === null ? null : peer.addTransceiver(audio, { direction: 'sendonly', streams: [stream] }).sender;
    video.contentHint = this.#options.screen ? 'detail' : 'motion';
    const transceiver = peer.addTransceiver(video, {
      direction: 'sendonly',
      streams: [stream],
      sendEncodings: encodings(this.#options.quality),
    });
    const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
    if (codecs.length > 0) transceiver.setCodecPreferences(preferCodec(codecs, this.#options.codec));
    this.#videoSender = transceiver.sender;
  }

  async #post(sdp: string): Promise<{ answer: string; iceServers: RTCIceServer[] }> {
    const authorization = { Authorization: `Bearer ${this.#options.key}` };
    const response = await fetch(this.#options.url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp', ...authorization },
      body: sdp,
      signal: AbortSignal.timeout(POST_TIMEOUT_MS),
    });
    if (response.status !== 201) throw new Refused(await problemOf(response));
    const location = response.headers.get('Location');
    this.#resource = location === null ? null : new URL(location, response.url).href;
    const answer = await response.text();
    this.#session = this.#resource === null ? null : new IceSession(this.#resource, response.headers.get('ETag'), answer, authorization);
    // Stopped in the meantime: the session that was just made must not stay.
    if (this.#stopped) void this.#release();
    return { answer, iceServers: iceServersFrom(response.headers.get('Link')) };
  }

  /** Looks for another way to the server; if none is found in time, the connection is made anew. */
  async #restartIce(peer: RTCPeerConnection): Promise<void> {
    try {
      const offer = await peer.createOffer({ iceRestart: true });
      const answer = await this.#session?.restart(offer.sdp ?? '', AbortSignal.timeout(DISCONNECTED_MAX_MS));
      if (answer === undefined || peer !== this.#peer) return;
      await peer.setLocalDescription(offer);
      await peer.setRemoteDescription({ type: 'answer', sdp: answer });
    } catch (error) {
      console.warn('whip: ICE restart:', error);
    }
  }

  #connectionChanged(state: RTCPeerConnectionState): void {
    if (state === 'connected') {
      clearTimeout(this.#grace);
      this.#attempt = 0;
      this.#liveSince ??= Date.now();
      this.#set({ phase: 'live', since: this.#liveSince, figures: null });
    } else if (state === 'disconnected') {
      clearTimeout(this.#grace);
      this.#grace = setTimeout(() => this.#again('The connection was interrupted.'), DISCONNECTED_MAX_MS);
      if (this.#peer !== null) void this.#restartIce(this.#peer);
    } else if (state === 'failed') {
      this.#again(this.#liveSince === null ? 'The media connection could not be made: the network may block UDP and TCP to the server.' : 'The connection was lost.');
    }
  }

  #again(why: string): void {
    if (this.#stopped) return;
    this.#close();
    const wait = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    this.#set({ phase: 'reconnecting', attempt: this.#attempt, why });
    this.#retry = setTimeout(() => void this.#connect(), wait);
  }

  #fail(problem: Problem): void {
    this.#stopped = true;
    this.#liveSince = null;
    this.#close();
    this.#set({ phase: 'error', problem });
  }

  #close(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#grace);
    clearInterval(this.#looking);
    this.#before = null;
    const peer = this.#peer;
    this.#peer = null;
    // The DELETE first: a closed peer ends the session by itself, and there would be nothing left to delete.
    void this.#release().finally(() => peer?.close());
  }

  /** DELETE, also from a page that is going away. */
  async #release(): Promise<void> {
    if (this.#resource === null) return;
    const resource = this.#resource;
    this.#resource = null;
    this.#session = null;
    const headers = { Authorization: `Bearer ${this.#options.key}` };
    await fetch(resource, { method: 'DELETE', headers, keepalive: true, signal: AbortSignal.timeout(DELETE_TIMEOUT_MS) }).catch(() => undefined);
  }

  async #look(peer: RTCPeerConnection): Promise<void> {
    const report = await peer.getStats();
    if (peer !== this.#peer || this.#state.phase !== 'live') return;
    let video: RTCOutboundRtpStreamStats | null = null;
    let bytes = 0;
    let roundTripMs: number | null = null;
    let lossPercent: number | null = null;
    let codec: string | null = null;
    const all = [...(report.values() as Iterable<RTCStats>)];
    for (const stats of all) {
      if (stats.type === 'outbound-rtp') {
        const outbound = stats as RTCOutboundRtpStreamStats;
        bytes += outbound.bytesSent ?? 0;
        if (outbound.kind === 'video') video = outbound;
      } else if (stats.type === 'candidate-pair') {
        const pair = stats as RTCIceCandidatePairStats;
        if (pair.nominated && pair.currentRoundTripTime !== undefined) roundTripMs = pair.currentRoundTripTime * 1000;
      } else if (stats.type === 'remote-inbound-rtp') {
        const remote = stats as RTCStats & { kind?: string; fractionLost?: number };
        if (remote.kind === 'video' && remote.fractionLost !== undefined) lossPercent = remote.fractionLost * 100;
      }
    }
    if (video === null) return;
    const codecId = video.codecId;
    const found = all.find((stats) => stats.id === codecId) as (RTCStats & { mimeType?: string }) | undefined;
    codec = found?.mimeType?.replace('video/', '') ?? null;
    const now: Counters = { at: performance.now(), bytes };
    const before = this.#before ?? now;
    this.#before = now;
    const limited = video.qualityLimitationReason;
    const figures: Figures = {
      bitrateBps: now.at > before.at ? ((now.bytes - before.bytes) * 8000) / (now.at - before.at) : 0,
      framesPerSecond: video.framesPerSecond ?? 0,
      width: video.frameWidth ?? 0,
      height: video.frameHeight ?? 0,
      roundTripMs,
      lossPercent,
      codec,
      limitedBy: limited === 'cpu' || limited === 'bandwidth' ? limited : null,
    };
    this.#set({ ...this.#state, figures });
  }

  #set(state: PublishState): void {
    this.#state = state;
    this.#changed(state);
  }
}

/** The server's problem document, or what can be said without one. */
export async function problemOf(response: Response): Promise<Problem> {
  const fallback: Problem = { status: response.status, title: `The server refused (${response.status})`, detail: '' };
  try {
    const body: unknown = await response.json();
    if (typeof body !== 'object' || body === null) return fallback;
    const { title, detail } = body as { title?: unknown; detail?: unknown };
    return {
      status: response.status,
      title: typeof title === 'string' ? title : fallback.title,
      detail: typeof detail === 'string' ? detail : '',
    };
  } catch {
    return fallback;
  }
}
