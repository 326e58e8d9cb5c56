/** One `<url>; name="value"; …` of a Link header (RFC 8288), as far as its parameters are quoted. */
const LINK = /<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*"[^"]*")*)/g;
const PARAMETER = /;\s*([\w-]+)\s*=\s*"([^"]*)"/g;

/** The STUN and TURN servers that a WHIP or WHEP endpoint names in its `Link` header (RFC 9725 section 4.6). */
export function iceServersFrom(link: string | null): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const [, url = '', parameters = ''] of (link ?? '').matchAll(LINK)) {
    const named = new Map([...parameters.matchAll(PARAMETER)].map(([, name = '', value = '']) => [name.toLowerCase(), value]));
    if (named.get('rel') !== 'ice-server') continue;
    const username = named.get('username');
    const credential = named.get('credential');
    servers.push({ urls: url, ...(username === undefined || credential === undefined ? {} : { username, credential }) });
  }
  return servers;
}

/** Tells a connection of the servers; nothing to tell changes nothing. */
export function useIceServers(peer: RTCPeerConnection, iceServers: RTCIceServer[]): void {
  if (iceServers.length > 0) peer.setConfiguration({ ...peer.getConfiguration(), iceServers });
}
