import { afterEach, describe, expect, it, vi } from 'vitest';
import { IceRefused, IceSession, fragmentOf, withFragment } from '../src/ice/fragment';
import { iceServersFrom } from '../src/ice/servers';

const sdp = (lines: string[]): string => lines.map((line) => `${line}\r\n`).join('');

const OFFER = sdp(['v=0', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=ice-ufrag:them', 'a=ice-pwd:theirs', 'a=mid:0', 'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=mid:1']);
const ANSWER = sdp([
  'v=0', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:0', 'a=ice-ufrag:old', 'a=ice-pwd:older', 'a=fingerprint:sha-256 AB',
  'a=candidate:1 1 udp 1 192.0.2.1 8189 typ host', 'a=candidate:2 1 udp 1 192.0.2.2 8189 typ host', 'a=end-of-candidates',
  'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=mid:1', 'a=ice-ufrag:old', 'a=ice-pwd:older',
]);
const FRAGMENT = sdp(['a=ice-lite', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:0', 'a=ice-ufrag:new', 'a=ice-pwd:newer', 'a=candidate:1 1 udp 1 192.0.2.9 8189 typ host', 'a=end-of-candidates']);

describe('ICE servers', () => {
  it('come from Link headers, with commas and other links between', () => {
    const link =
      '<turn:a.example:3478?transport=udp>; rel="ice-server"; username="17:p,1"; credential="a+b/c="; credential-type="password", ' +
      '<https://example.org/next>; rel="next", <stun:b.example>; rel="ice-server"';
    expect(iceServersFrom(link)).toEqual([
      { urls: 'turn:a.example:3478?transport=udp', username: '17:p,1', credential: 'a+b/c=' },
      { urls: 'stun:b.example' },
    ]);
    expect(iceServersFrom(null)).toEqual([]);
    expect(iceServersFrom('nonsense')).toEqual([]);
  });
});

describe('an ICE restart', () => {
  it('tells credentials and the section that they belong to', () => {
    expect(fragmentOf(OFFER)).toBe(sdp(['a=ice-ufrag:them', 'a=ice-pwd:theirs', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:0']));
  });

  it('changes the credentials and candidates of the answer, and nothing else', () => {
    const expected = ANSWER.replaceAll('ufrag:old', 'ufrag:new')
      .replaceAll('pwd:older', 'pwd:newer')
      .replace('a=candidate:1 1 udp 1 192.0.2.1 8189 typ host\r\na=candidate:2 1 udp 1 192.0.2.2 8189', 'a=candidate:1 1 udp 1 192.0.2.9 8189');
    expect(withFragment(ANSWER, FRAGMENT)).toBe(expected);
    expect(withFragment(ANSWER, '')).toBe(ANSWER);
  });

  afterEach(() => vi.unstubAllGlobals());

  it('goes by PATCH under the tag of the session of before', async () => {
    const asked: (RequestInit & { headers: Record<string, string> })[] = [];
    const answers = [new Response(FRAGMENT, { status: 200, headers: { ETag: '"new"' } }), new Response('', { status: 404 })];
    vi.stubGlobal('fetch', (_url: string, init: RequestInit & { headers: Record<string, string> }) => {
      asked.push(init);
      return Promise.resolve(answers.shift());
    });
    const session = new IceSession('http://server/whep/s/1', '"old"', ANSWER);
    const { signal } = new AbortController();
    expect(await session.restart(OFFER, signal)).toContain('a=ice-ufrag:new');
    await expect(session.restart(OFFER, signal)).rejects.toBeInstanceOf(IceRefused);
    expect(asked.map((init) => [init.method, init.headers['If-Match']])).toEqual([['PATCH', '"old"'], ['PATCH', '"new"']]);
    expect(asked[0]?.body).toBe(fragmentOf(OFFER));
  });
});
