import { afterEach, expect, it, vi } from 'vitest';
import type { Pass } from '../src/access/pass';
import { Handled } from '../src/player/source/peer';
import { negotiateByWhep } from '../src/player/source/whep';

afterEach(() => {
  vi.unstubAllGlobals();
});

/** What the player hears when the server answers so. */
async function answered(response: Response): Promise<{ heard: string[]; error: unknown; asked: unknown[][] }> {
  const [heard, asked]: [string[], unknown[][]] = [[], []];
  vi.stubGlobal('fetch', async (...request: unknown[]) => {
    asked.push(request);
    return response;
  });
  const pass = { channel: 'ana', token: 't1', settled: async () => undefined } as unknown as Pass;
  const negotiate = negotiateByWhep(pass, {
    noPublisher: (againMs) => heard.push(`noPublisher ${againMs}`),
    noChannel: () => heard.push('noChannel'),
    found: () => heard.push('found'),
    refused: (used, words) => heard.push(`refused ${used}: ${words}`),
    fallback: (reason) => heard.push(`fallback ${reason}`),
  });
  const error: unknown = await negotiate('offer', new AbortController().signal).then(() => null, (reason: unknown) => reason);
  return { heard, error, asked };
}

it('a server without room is no peer that was lost: it is asked once, and HLS plays', async () => {
  const { heard, error, asked } = await answered(new Response('', { status: 503 }));
  expect([heard, asked.length]).toEqual([['found', 'fallback busy'], 1]);
  expect(error).toBeInstanceOf(Handled);
});

it('a viewer who is not let in hears why', async () => {
  const { heard, error } = await answered(new Response('{"detail":"for followers"}', { status: 403 }));
  expect(heard).toEqual(['refused t1: for followers']);
  expect(error).toBeInstanceOf(Handled);
});

it.each([
  [{}, 5_000],
  [{ 'Retry-After': '7' }, 7_000],
  [{ 'Retry-After': '86400' }, 300_000],
  [{ 'Retry-After': '-1' }, 5_000],
  [{ 'Retry-After': 'Thu, 26 Nov 2026 17:00:00 GMT' }, 5_000],
])('nobody is live: ask again, %j', async (headers, againMs) => {
  const { heard, error } = await answered(new Response('', { status: 409, headers }));
  expect(heard).toEqual([`noPublisher ${againMs}`]);
  expect(error).not.toBeInstanceOf(Handled);
});

it('there is no such channel', async () => {
  expect((await answered(new Response('', { status: 404 }))).heard).toEqual(['noChannel']);
});

it('there is a picture', async () => {
  expect((await answered(new Response('answer', { status: 201 }))).heard).toEqual(['found']);
});

it('shows its grant', async () => {
  const { asked } = await answered(new Response('', { status: 500 }));
  expect(asked[0]).toMatchObject(['/whep/ana', { method: 'POST', headers: { Authorization: 'Bearer t1' }, body: 'offer' }]);
});
