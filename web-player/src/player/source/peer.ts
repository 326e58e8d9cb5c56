import { useIceServers } from '../../ice/servers';
import { rates } from '../figures';
import type { Counters, Figures } from '../figures';
import { fromCapture, fromParts, fromPlayout, smooth } from '../latency';
import type { ReceiverSample } from '../latency';
import { makeVideo } from './source';
import type { Source, SourceEvents } from './source';

const ABS_CAPTURE_TIME = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';
/** How often the receiver's statistics are read. */
const LOOK_EVERY_MS = 500;

export interface Answer {
  readonly sdp: string;
  /** STUN and TURN servers that the server names. */
  readonly iceServers: RTCIceServer[];
  /** The server's own share of the delay, where it says so. */
  readonly serverDelayMs: number;
  /** Brings the offer of an ICE restart to the server; resolves with what it answers. */
  restart(offer: string, signal: AbortSignal): Promise<Pick<Answer, 'sdp' | 'iceServers'>>;
  /** Tells the server that we leave. */
  close(): void;
}

/** Brings an offer to the server and its answer back: over the gateway, or by WHEP. */
export type Negotiate = (offer: string, signal: AbortSignal) => Promise<Answer>;

/** The header-extension control of WebRTC Extensions, which the DOM library does not know yet. */
interface HeaderExtension {
  uri: string;
  direction: RTCRtpTransceiverDirection;
}
interface Negotiable {
  getHeaderExtensionsToNegotiate?(): HeaderExtension[];
  setHeaderExtensionsToNegotiate?(extensions: HeaderExtension[]): void;
}

/** What the statistics hold beyond the DOM library's types. */
interface InboundVideo extends RTCInboundRtpStreamStats {
  estimatedPlayoutTimestamp?: number;
}
interface FrameMetadata {
  captureTime?: number;
  expectedDisplayTime: number;
}

/** One receiving WebRTC peer connection with its `<video>`. */
export class PeerSource implements Source {
  readonly via = 'webrtc';
  readonly video = makeVideo();
  #peer: RTCPeerConnection;
  #events: SourceEvents;
  #serverNow: () => number | null;
  #abort = new AbortController();
  #answer: Answer | null = null;
  #restarting = false;
  #timer: ReturnType<typeof setInterval>;
  #framesDecoded = 0;
  /** When frames were found last, and for how long it was looked for more in vain since. */
  #foundAt = 0;
  #vainMs = 0;
  #before: ReceiverSample | null = null;
  #captureLatency: { ms: number; at: number } | null = null;
  #latency: number | null = null;
  #counters: Counters | null = null;
  #figures: Figures | null = null;
  #closed = false;

  constructor(negotiate: Negotiate, events: SourceEvents, serverNow: () => number | null) {
    this.#events = events;
    this.#serverNow = serverNow;
    this.#peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    const stream = new MediaStream();
    this.#peer.ontrack = (event) => {
      stream.addTrack(event.track);
      if (this.video.srcObject === null) this.video.srcObject = stream;
    };
    this.#peer.onconnectionstatechange = () => this.#connectionChanged();
    this.#peer.oniceconnectionstatechange = () => {
      const state = this.#peer.iceConnectionState;
      if (state === 'connected' || state === 'completed') events.ice('connected');
    };
    this.#watchFrames();
    this.#timer = setInterval(() => void this.#look(), LOOK_EVERY_MS);
    void this.#open(negotiate);
  }

  framesDecoded(): number {
    return this.#framesDecoded;
  }

  figures(): Figures | null {
    return this.#figures;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort();
    clearInterval(this.#timer);
    this.#peer.onconnectionstatechange = this.#peer.oniceconnectionstatechange = this.#peer.ontrack = null;
    this.#answer?.close();
    this.#peer.close();
  }

  /**
   * Looks for another way to the server (ICE restart). What plays goes on meanwhile, and if nothing comes of it the player
   * makes another peer; only a server that does not know this one any more is a reason to do so at once.
   */
  async restartIce(): Promise<void> {
    if (this.#closed || this.#answer === null || this.#restarting) return;
    this.#restarting = true;
    try {
      const offer = await this.#peer.createOffer({ iceRestart: true });
      offer.sdp = withStereo(offer.sdp ?? '');
      const { sdp, iceServers } = await this.#answer.restart(offer.sdp, this.#abort.signal);
      if (this.#closed) return;
      useIceServers(this.#peer, iceServers);
      await this.#peer.setLocalDescription(offer);
      await this.#peer.setRemoteDescription({ type: 'answer', sdp });
    } catch (error) {
      if (this.#closed || error instanceof Handled) return;
      console.warn('webrtc: ICE restart:', error);
      if (error instanceof Unknown) this.#events.lost();
    } finally {
      this.#restarting = false;
    }
  }

  async #open(negotiate: Negotiate): Promise<void> {
    try {
      this.#peer.addTransceiver('audio', { direction: 'recvonly' });
      askForCaptureTime(this.#peer.addTransceiver('video', { direction: 'recvonly' }));
      const offer = await this.#peer.createOffer();
      offer.sdp = withStereo(offer.sdp ?? '');
      const answer = await negotiate(offer.sdp, this.#abort.signal);
      if (this.#closed) {
        answer.close();
        return;
      }
      this.#answer = answer;
      useIceServers(this.#peer, answer.iceServers);
      // Only now, for candidates are gathered from here on and TURN servers must be known. The server finds us by our checks
      // (peer-reflexive): nothing would be gained by telling it candidates.
      await this.#peer.setLocalDescription(offer);
      await this.#peer.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
      this.#watchTransport();
    } catch (error) {
      if (this.#closed || error instanceof Handled) return;
      console.warn('webrtc:', error);
      this.#events.lost();
    }
  }

  #connectionChanged(): void {
    const state = this.#peer.connectionState;
    if (state === 'disconnected' || state === 'failed') this.#events.ice(state);
    if (state === 'closed') this.#events.lost();
  }

  /** The server's goodbye (DTLS close_notify) shows only on the transport. */
  #watchTransport(): void {
    const transport = this.#peer.getTransceivers()[0]?.receiver.transport;
    if (transport === null || transport === undefined) return;
    transport.onstatechange = () => {
      if (!this.#closed && (transport.state === 'closed' || transport.state === 'failed')) this.#events.lost();
    };
  }

  /** The first frame, at once; and capture times, where the browser has them. */
  #watchFrames(): void {
    const shown = (_now: number, metadata: FrameMetadata): void => {
      if (this.#closed) return;
      const late = fromCapture(metadata.captureTime, metadata.expectedDisplayTime);
      this.#captureLatency = late === null ? null : { ms: late, at: metadata.expectedDisplayTime };
      if (this.#framesDecoded === 0) this.#found(1);
      this.video.requestVideoFrameCallback(shown);
    };
    if ('requestVideoFrameCallback' in this.video) this.video.requestVideoFrameCallback(shown);
  }

  async #look(): Promise<void> {
    const report = await this.#peer.getStats();
    if (this.#closed) return;
    let roundTripTime: number | null = null;
    let inbound: InboundVideo | null = null;
    let sound: RTCInboundRtpStreamStats | null = null;
    const codecs = new Map<string, string>();
    for (const stats of report.values() as Iterable<RTCStats>) {
      if (stats.type === 'candidate-pair') {
        const pair = stats as RTCIceCandidatePairStats;
        if (pair.nominated && pair.currentRoundTripTime !== undefined) roundTripTime = pair.currentRoundTripTime;
      }
      if (stats.type === 'codec') codecs.set(stats.id, (stats as RTCStats & { mimeType?: string }).mimeType ?? '');
      if (stats.type === 'inbound-rtp') {
        if ((stats as InboundVideo).kind === 'video') inbound = stats as InboundVideo;
        else sound = stats as RTCInboundRtpStreamStats;
      }
    }
    this.#figure(inbound, sound, roundTripTime, codecs);
    if (inbound === null) return;
    const decoded = inbound.framesDecoded ?? 0;
    if (decoded > this.#framesDecoded) this.#found(decoded);
    else this.#vainMs = performance.now() - this.#foundAt;
    this.#measure({
      jitterBufferDelay: inbound.jitterBufferDelay ?? 0,
      jitterBufferEmittedCount: inbound.jitterBufferEmittedCount ?? 0,
      roundTripTime,
      estimatedPlayoutTimestamp: inbound.estimatedPlayoutTimestamp ?? null,
    });
  }

  /** A busy page looks late, and then finds all that came meanwhile: that is no gap. */
  #found(decoded: number): void {
    this.#framesDecoded = decoded;
    this.#events.frame(this.#vainMs + LOOK_EVERY_MS);
    this.#foundAt = performance.now();
    this.#vainMs = 0;
  }

  #figure(
    inbound: InboundVideo | null,
    sound: RTCInboundRtpStreamStats | null,
    roundTripTime: number | null,
    codecs: ReadonlyMap<string, string>,
  ): void {
    const both = (of: (stats: RTCInboundRtpStreamStats) => number | undefined): number =>
      (inbound === null ? 0 : (of(inbound) ?? 0)) + (sound === null ? 0 : (of(sound) ?? 0));
    const counters: Counters = {
      at: performance.now(),
      bytes: both((it) => it.bytesReceived),
      packets: both((it) => it.packetsReceived),
      lost: both((it) => it.packetsLost),
      frames: inbound?.framesDecoded ?? 0,
      jitterBufferDelayS: inbound?.jitterBufferDelay ?? 0,
      jitterBufferEmitted: inbound?.jitterBufferEmittedCount ?? 0,
    };
    const codec = (id: string | undefined): string | null => codecs.get(id ?? '')?.split('/')[1] ?? null;
    const names = [codec(inbound?.codecId), codec(sound?.codecId)].filter((name) => name !== null);
    this.#figures = {
      ...rates(this.#counters, counters),
      codec: names.length === 0 ? null : names.join(' + '),
      width: inbound?.frameWidth ?? null,
      height: inbound?.frameHeight ?? null,
      roundTripMs: roundTripTime === null ? null : roundTripTime * 1000,
      jitterMs: inbound?.jitter === undefined ? null : inbound.jitter * 1000,
      framesDropped: inbound?.framesDropped ?? null,
    };
    this.#counters = counters;
  }

  /** The best measurement that this browser and this server allow. */
  #measure(sample: ReceiverSample): void {
    const capture = this.#captureLatency;
    const latency =
      (capture !== null && performance.now() - capture.at < 2 * LOOK_EVERY_MS ? capture.ms : null) ??
      fromPlayout(sample.estimatedPlayoutTimestamp, this.#serverNow()) ??
      fromParts(this.#before, sample, this.#answer?.serverDelayMs ?? 0);
    this.#before = sample;
    if (latency === null) return;
    this.#latency = smooth(this.#latency, latency);
    this.#events.latency(this.#latency);
  }
}

/** Thrown by a `Negotiate` that has already told the player what happened. */
export class Handled extends Error {}

/** Thrown by `Answer.restart` when the server does not know this connection any more. */
export class Unknown extends Error {}

/** Browsers negotiate abs-capture-time only when the page asks for it. */
function askForCaptureTime(transceiver: RTCRtpTransceiver): void {
  const negotiable: Negotiable = transceiver as Negotiable;
  const extensions = negotiable.getHeaderExtensionsToNegotiate?.();
  if (extensions === undefined || negotiable.setHeaderExtensionsToNegotiate === undefined) return;
  negotiable.setHeaderExtensionsToNegotiate(
    extensions.map((extension) => (extension.uri === ABS_CAPTURE_TIME ? { ...extension, direction: 'sendrecv' } : extension)),
  );
}

/** Chromium plays Opus in mono unless the receiver's own description asks for stereo. */
function withStereo(sdp: string): string {
  return sdp.replace(/a=fmtp:(\d+) (minptime=10;useinbandfec=1)(?!.*stereo)/g, 'a=fmtp:$1 $2;stereo=1');
}
