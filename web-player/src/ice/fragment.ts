/** The body by which WHIP and WHEP clients tell of a new ICE session (RFC 8840 section 9): credentials, and where they belong. */
export function fragmentOf(offer: string): string {
  const lines = offer.split(/\r?\n/);
  return ['a=ice-ufrag:', 'a=ice-pwd:', 'm=', 'a=mid:']
    .flatMap((prefix) => lines.find((line) => line.startsWith(prefix)) ?? [])
    .map((line) => `${line}\r\n`)
    .join('');
}

/** The answer of before with the credentials and candidates of a fragment: nothing else changes with an ICE restart. */
export function withFragment(answer: string, fragment: string): string {
  const fresh = fragment.split(/\r?\n/);
  const renewed = (prefix: string): string | undefined => fresh.find((line) => line.startsWith(prefix));
  const candidates = fresh.filter((line) => line.startsWith('a=candidate:'));
  let placed = candidates.length === 0;
  return answer
    .split(/\r?\n/)
    .flatMap((line) => {
      for (const prefix of ['a=ice-ufrag:', 'a=ice-pwd:']) if (line.startsWith(prefix)) return renewed(prefix) ?? line;
      if (candidates.length === 0 || !line.startsWith('a=candidate:')) return line;
      if (placed) return [];
      placed = true;
      return candidates;
    })
    .join('\r\n');
}

/** One ICE session after the other of a WHIP or WHEP resource. */
export class IceSession {
  #resource: string;
  #tag: string | null;
  #answer: string;
  #headers: Record<string, string>;

  constructor(resource: string, tag: string | null, answer: string, headers: Record<string, string> = {}) {
    this.#resource = resource;
    this.#tag = tag;
    this.#answer = answer;
    this.#headers = headers;
  }

  /** Brings the offer of an ICE restart to the server; resolves with the answer that it makes. */
  async restart(offer: string, signal: AbortSignal): Promise<string> {
    const response = await fetch(this.#resource, {
      method: 'PATCH',
      headers: { ...this.#headers, 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': this.#tag ?? '*' },
      body: fragmentOf(offer),
      signal,
    });
    if (response.status !== 200) throw new IceRefused(response.status);
    this.#tag = response.headers.get('ETag');
    this.#answer = withFragment(this.#answer, await response.text());
    return this.#answer;
  }
}

/** The server does not restart this connection. */
export class IceRefused extends Error {
  constructor(readonly status: number) {
    super(`an ICE restart was answered by ${status}`);
  }
}
