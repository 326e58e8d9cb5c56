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
    return {
      sdp: await response.text(),
      serverDelayMs: 0,
      close: () => {
        if (location === null) return;
        // `keepalive`: the page may be gone before the request is.
        void fetch(new URL(location, response.url), { method: 'DELETE', keepalive: true }).catch(() => undefined);
      },
    };
  };
}
