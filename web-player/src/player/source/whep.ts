import type { Pass } from '../../access/pass';
import { isFields, text } from '../../api/fields';
import { IceRefused, IceSession } from '../../ice/fragment';
import { iceServersFrom } from '../../ice/servers';
import { PASS_BY_MS } from './gateway';
import type { PlayRefusals } from './gateway';
import { Handled, Unknown } from './peer';
import type { Negotiate } from './peer';

/** When a server that does not say so may be asked again for a stream; and the most that it can ask for. */
const RETRY_AFTER_MS = 5_000;
const RETRY_AFTER_MAX_MS = 300_000;

/** What the server may answer instead of 201. Without a gateway nobody tells when that changes. */
export interface WhepRefusals extends Pick<PlayRefusals, 'noChannel' | 'refused' | 'fallback'> {
  /** Nobody is live; the server may be asked again after so long. */
  noPublisher(againMs: number): void;
  /** Somebody is. */
  found(): void;
}

/** Negotiates by WHEP, for pages without the gateway (an embed, a test): one POST, one DELETE. */
export function negotiateByWhep(pass: Pass, refusals: WhepRefusals): Negotiate {
  return async (sdp, signal) => {
    await pass.settled(PASS_BY_MS);
    const { token } = pass;
    const response = await fetch(`/whep/${encodeURIComponent(pass.channel)}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp', ...(token === null ? {} : { Authorization: `Bearer ${token}` }) },
      body: sdp,
      signal,
    });
    if (response.status === 401 || response.status === 403) {
      const problem: unknown = await response.json().catch(() => null);
      refusals.refused(token, (isFields(problem) ? text(problem.detail) : null) ?? '');
      throw new Handled('this viewer is not let in');
    }
    if (response.status === 404) refusals.noChannel();
    if (response.status === 409) refusals.noPublisher(againMs(response.headers.get('Retry-After')));
    if (response.status === 503) {
      refusals.found();
      refusals.fallback('busy', null);
      throw new Handled('the server has no room now');
    }
    if (response.status !== 201) throw new Error(`WHEP POST was answered by ${response.status}`);
    refusals.found();
    const location = response.headers.get('Location');
    const resource = location === null ? null : new URL(location, response.url).href;
    const answer = await response.text();
    const iceServers = iceServersFrom(response.headers.get('Link'));
    const session = resource === null ? null : new IceSession(resource, response.headers.get('ETag'), answer);
    return {
      sdp: answer,
      iceServers,
      serverDelayMs: 0,
      restart: async (offer, restarting) => {
        if (session === null) throw new Unknown('the server gave no session');
        const renewed = await session.restart(offer, restarting).catch((error: unknown) => {
          throw error instanceof IceRefused ? new Unknown(error.message) : error;
        });
        return { sdp: renewed, iceServers };
      },
      close: () => {
        if (resource === null) return;
        // `keepalive`: the page may be gone before the request is.
        void fetch(resource, { method: 'DELETE', keepalive: true }).catch(() => undefined);
      },
    };
  };
}

/** The wait that a header asks for, in seconds (RFC 9110, section 10.2.3; no server of ours writes a date). */
function againMs(header: string | null): number {
  const seconds = Number(header ?? '');
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, RETRY_AFTER_MAX_MS) : RETRY_AFTER_MS;
}
