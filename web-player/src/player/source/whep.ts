import { IceRefused, IceSession } from '../../ice/fragment';
import { iceServersFrom } from '../../ice/servers';
import { Unknown } from './peer';
import type { Negotiate } from './peer';

/** Negotiates by WHEP, for pages without the gateway (an embed, a test): one POST, one DELETE. */
export function negotiateByWhep(url: string, refusals: { noPublisher(): void }): Negotiate {
  return async (sdp, signal) => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp' },
      body: sdp,
      signal,
    });
    if (response.status === 404 || response.status === 409) refusals.noPublisher();
    if (response.status !== 201) throw new Error(`WHEP POST was answered by ${response.status}`);
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
