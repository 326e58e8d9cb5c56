import { describe, expect, it } from 'vitest';
import { doorOf, openedBy, renewAfterMs, visibilityOf } from '../src/access/grant';
import { Pass } from '../src/access/pass';
import type { PassEnvironment } from '../src/access/pass';
import { Refused } from '../src/api/ask';
import type { Fields } from '../src/api/fields';

/** A token that lasts so many seconds, and tells itself apart by `sub`. */
function tokenOf(seconds: number, sub = 'bo'): string {
  return `aGVhZA.${btoa(JSON.stringify({ iat: 1_000, exp: 1_000 + seconds, sub })).replace(/=+$/, '')}.c2ln`;
}

describe('a grant in an address', () => {
  const [a, b] = [tokenOf(60, 'a'), tokenOf(60, 'b')];
  it.each([
    ['/hls/ana/master.m3u8', a, `/hls/t/${a}/ana/master.m3u8`],
    [`/hls/t/${a}/ana/master.m3u8`, b, `/hls/t/${b}/ana/master.m3u8`],
    [`/hls/t/${a}/ana/s1/video/p7.m4s?x=/hls/t`, null, '/hls/ana/s1/video/p7.m4s?x=/hls/t'],
    [`https://cdn.test/vod/t/${a}/s1/master.m3u8`, b, `https://cdn.test/vod/t/${b}/s1/master.m3u8`],
    // A channel called t.
    ['/hls/t/master.m3u8', a, `/hls/t/${a}/t/master.m3u8`],
    ['/hls/t/s1/video/index.m3u8', null, '/hls/t/s1/video/index.m3u8'],
    ['/elsewhere', a, '/elsewhere'],
  ])('%s', (url, token, opened) => {
    expect(openedBy(url, token)).toBe(opened);
  });
});

it('a grant is renewed when two thirds of its life are over, by its own two times', () => {
  expect(renewAfterMs(tokenOf(600))).toBe(400_000);
  expect(renewAfterMs(tokenOf(1))).toBe(1_000);
  for (const nonsense of ['', 'a.b.c', `x.${btoa('{"exp":5}')}.y`, tokenOf(-5)]) expect(renewAfterMs(nonsense)).toBe(400_000);
});

it.each([
  ['followers', 401, 'sign_in'],
  ['followers', 403, 'follow'],
  ['subscribers', 401, 'sign_in'],
  ['subscribers', 403, 'subscribe'],
  ['signed', 401, 'link'],
  ['signed', 403, 'link'],
  ['of a newer server', 403, 'link'],
])('what would open a channel for %s after %i: %s', (visibility, status, kind) => {
  expect(doorOf(status, visibilityOf(visibility)).kind).toBe(kind);
});

/** A server with one channel, and time that the test moves. */
class World implements PassEnvironment {
  visibility: string | null = 'followers';
  /** What `POST …/grants` says: a token, or a status. */
  grant: string | number = 401;
  down = false;
  looking = true;
  asked: string[] = [];
  #timers = new Set<{ at: number; then: () => void }>();
  #now = 0;

  ask = async (method: string, path: string): Promise<Fields> => {
    this.asked.push(`${method} ${path.replace('/api/v1/channels/', '')}`);
    if (this.down) throw new TypeError('failed to fetch');
    if (method === 'GET' && this.visibility === null) throw new Refused(404, 'no such channel');
    if (method === 'GET') return { visibility: this.visibility };
    if (method === 'PUT') return {};
    if (typeof this.grant === 'number') throw new Refused(this.grant, 'no');
    return { token: this.grant };
  };
  after = (ms: number, then: () => void): (() => void) => {
    const timer = { at: this.#now + ms, then };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };
  visible = (): boolean => this.looking;

  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#timers].filter((timer) => timer.at <= end).sort((x, y) => x.at - y.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = next.at;
      next.then();
      await settle();
    }
    this.#now = end;
  }
}

/** Lets promises run. */
const settle = (): Promise<void> => new Promise((done) => setTimeout(done, 0));

async function passOf(world: World, link: string | null = null): Promise<{ pass: Pass; seen: string[] }> {
  const pass = new Pass('ana', link, world);
  const seen: string[] = [];
  pass.onStatus((status) => seen.push(status.state === 'closed' ? status.door.kind : status.state));
  pass.start();
  await settle();
  return { pass, seen };
}

describe('a pass', () => {
  it('needs nothing for a channel that is open, or that a hook backend knows', async () => {
    const world = new World();
    for (const visibility of ['public', 'unlisted', null]) {
      world.visibility = visibility;
      const { pass } = await passOf(world);
      expect(pass.status).toEqual({ state: 'open', token: null });
    }
    expect(world.asked.filter((it) => it.startsWith('POST'))).toEqual([]);
  });

  it('says what is missing, looks again by itself, and opens when it may', async () => {
    const world = new World();
    const { pass, seen } = await passOf(world);
    world.grant = 403;
    await world.pass(10_000);
    world.grant = tokenOf(600);
    await world.pass(10_000);
    expect(seen).toEqual(['sign_in', 'follow', 'open']);
    expect(pass.token).toBe(world.grant);
  });

  it('does not look while nobody looks at the page, but at once when somebody does', async () => {
    const world = new World();
    const { pass } = await passOf(world);
    world.looking = false;
    const before = world.asked.length;
    await world.pass(60_000);
    expect(world.asked.length).toBe(before);
    pass.look();
    await settle();
    expect(world.asked.length).toBe(before + 2);
  });

  it('follows, and has a grant then', async () => {
    const world = new World();
    world.grant = 403;
    const { pass } = await passOf(world);
    world.grant = tokenOf(600);
    await pass.follow();
    expect(world.asked.slice(-3)).toEqual(['PUT ana/follow', 'GET ana', 'POST ana/grants']);
    expect(pass.token).toBe(world.grant);
  });

  it('renews before the end, and tells', async () => {
    const world = new World();
    world.grant = tokenOf(600, 'first');
    const { pass, seen } = await passOf(world);
    world.grant = tokenOf(600, 'second');
    await world.pass(399_999);
    expect(pass.token).toBe(tokenOf(600, 'first'));
    await world.pass(1);
    expect(pass.token).toBe(tokenOf(600, 'second'));
    expect(seen).toEqual(['open', 'open']);
  });

  it('keeps what it has while the API is down, and asks again', async () => {
    const world = new World();
    world.grant = tokenOf(600, 'first');
    const { pass } = await passOf(world);
    world.down = true;
    await world.pass(410_000);
    expect(pass.token).toBe(tokenOf(600, 'first'));
    world.down = false;
    world.grant = tokenOf(600, 'second');
    await world.pass(3_000);
    expect(pass.token).toBe(tokenOf(600, 'second'));
  });

  it('asks once for several who were refused, and not at all if another grant is there already', async () => {
    const world = new World();
    world.grant = tokenOf(600, 'first');
    const { pass } = await passOf(world);
    world.asked = [];
    world.grant = tokenOf(600, 'second');
    const old = tokenOf(600, 'first');
    const both = await Promise.all([pass.renew(old), pass.renew(old)]);
    expect(both.map((it) => it.state === 'open' && it.token)).toEqual([world.grant, world.grant]);
    await pass.renew(old);
    expect(world.asked).toEqual(['GET ana', 'POST ana/grants']);
  });

  it('uses a link as long as it works, and then what the account may', async () => {
    const world = new World();
    const link = tokenOf(60, 'link');
    const { pass, seen } = await passOf(world, link);
    expect([pass.token, world.asked]).toEqual([link, []]);
    // The account gets no grant: the link stays.
    await world.pass(59_000);
    expect(pass.token).toBe(link);
    expect(await pass.renew(link)).toMatchObject({ state: 'closed', door: { kind: 'sign_in' } });
    expect(seen).toEqual(['open', 'sign_in']);
  });

  it('is settled when it knows, and late in any case', async () => {
    const world = new World();
    const pass = new Pass('ana', null, { ...world, ask: () => new Promise(() => undefined), after: world.after, visible: () => true });
    pass.start();
    let settled = false;
    void pass.settled(1_500).then(() => (settled = true));
    await world.pass(1_499);
    expect(settled).toBe(false);
    await world.pass(1);
    await settle();
    expect(settled).toBe(true);
  });
});
