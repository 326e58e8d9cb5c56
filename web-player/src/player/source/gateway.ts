import { GatewayError } from '../../gateway/client';
import type { GatewayClient } from '../../gateway/client';
import type { Pass } from '../../access/pass';
import { Handled, Unknown } from './peer';
import type { Negotiate } from './peer';

/** The API has this long to say whether a grant is needed; then we try without. */
export const PASS_BY_MS = 1_500;

/** What the server may answer to `rtc.play` instead of an answer. */
export interface PlayRefusals {
  fallback(reason: string, url: string | null): void;
  noPublisher(): void;
  /** There is no such channel. */
  noChannel(): void;
  gatewayLost(): void;
  /** Not with this grant, or not without one. */
  refused(used: string | null, words: string): void;
  /** The id under which the server speaks of this peer in `rtc.state` and `rtc.fallback`. */
  opened(pc: string): void;
}

/** Negotiates over the gateway's `rtc.play`. Waits for the gateway to be open and for the pass, then asks once. */
export function negotiateByGateway(gateway: GatewayClient, pass: Pass, refusals: PlayRefusals): Negotiate {
  return async (sdp, signal) => {
    await whenOpen(gateway, signal);
    await pass.settled(PASS_BY_MS);
    const { token } = pass;
    const ch = `stream:${pass.channel}`;
    const frame = await gateway.request({ type: 'rtc.play', ch, sdp, ...(token === null ? {} : { token }) }).catch((error: unknown) => {
      if (error instanceof GatewayError) refuse(error, token, refusals);
      throw error;
    });
    if (frame.type === 'rtc.fallback') {
      refusals.fallback(frame.reason, frame.url);
      throw new Handled('the server sends this viewer to HLS');
    }
    if (frame.type !== 'rtc.answer') throw new Error(`rtc.play was answered by ${frame.type}`);
    if (!signal.aborted) refusals.opened(frame.pc);
    const { pc } = frame;
    return {
      sdp: frame.sdp,
      iceServers: frame.iceServers,
      serverDelayMs: frame.serverDelayMs ?? 0,
      restart: async (offer, restarting) => {
        // Where the network changed, the socket of before is dead too, and its session is taken up by the next.
        await whenOpen(gateway, restarting);
        const renewed = await gateway.request({ type: 'rtc.restart', pc, sdp: offer }).catch((error: unknown) => {
          throw error instanceof GatewayError && !error.retryable ? new Unknown(error.message) : error;
        });
        if (renewed.type !== 'rtc.answer') throw new Error(`rtc.restart was answered by ${renewed.type}`);
        return { sdp: renewed.sdp, iceServers: renewed.iceServers };
      },
      close: () => gateway.send({ type: 'rtc.close', pc }),
    };
  };
}

function refuse(error: GatewayError, used: string | null, refusals: PlayRefusals): void {
  switch (error.code) {
    case 'grant_needed':
    case 'forbidden':
      refusals.refused(used, error.message);
      break;
    case 'no_publisher':
      refusals.noPublisher();
      break;
    case 'not_found':
      refusals.noChannel();
      break;
    case 'disconnected':
    case 'timeout':
      refusals.gatewayLost();
      break;
    case 'codec_mismatch':
      refusals.fallback('codec', null);
      break;
    case 'use_fallback':
      refusals.fallback('server', null);
      break;
    case 'capacity':
    case 'overloaded':
      refusals.fallback('busy', null);
      break;
    default:
      return;
  }
  throw new Handled(error.message);
}

function whenOpen(gateway: GatewayClient, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let cancel: (() => void) | null = null;
    const done = (settle: () => void): void => {
      // `onStatus` calls back at once, before `cancel` is known.
      queueMicrotask(() => cancel?.());
      settle();
    };
    signal.addEventListener('abort', () => done(() => reject(new Handled('left'))), { once: true });
    cancel = gateway.onStatus((status) => {
      if (status.state === 'open') done(resolve);
    });
  });
}
