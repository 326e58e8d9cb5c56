import { beforeEach, describe, expect, it } from 'vitest';
import { backoffMs } from '../src/gateway/backoff';
import { GatewayClient } from '../src/gateway/client';
import { ServerClock } from '../src/gateway/clock';
import type { Environment, Socket } from '../src/gateway/environment';
import { decodeMessage } from '../src/gateway/protocol';
import type { ServerFrame } from '../src/gateway/protocol';

interface Timer {
  at: number;
  then: () => void;
}

/** A world with one client, its sockets, and time that the test moves. */
class World implements Environment {
  time = 1_000_000;
  sockets: FakeSocket[] = [];
  #timers = new Set<Timer>();

  connect = (url: string, protocol: string): Socket => {
    const socket = new FakeSocket(url, protocol);
    this.sockets.push(socket);
    return socket;
  };
  now = (): number => this.time;
  random = (): number => 0.5;
  after = (ms: number, then: () => void): (() => void) => {
    const timer = { at: this.time + ms, then };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.time = next.at;
      next.then();
    }
    this.time = end;
  }

  get socket(): FakeSocket {
    const last = this.sockets.at(-1);
    if (last === undefined) throw new Error('no socket was opened');
    return last;
  }
}

class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  sent: Record<string, unknown>[] = [];
  closed: number | null = null;

  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {}

  send(data: string): void {
    this.sent.push(JSON.parse(data) as Record<string, unknown>);
  }
  close(code = 1005): void {
    this.closed = code;
  }
  push(...frames: object[]): void {
    this.onmessage?.({ data: frames.map((frame) => JSON.stringify(frame)).join('\n') });
  }
  types(): unknown[] {
    return this.sent.map((frame) => frame.type);
  }
  last(type: string): Record<string, unknown> {
    const found = this.sent.findLast((frame) => frame.type === type);
    if (found === undefined) throw new Error(`no ${type} was sent`);
    return found;
  }
}

const USER = { id: 'g1', login: 'guest', display: 'Guest' };
const CH = 'stream:ana';
const message = (seq: number): object => ({ type: 'message', id: `m${seq}`, ch: CH, seq, ts: 1, user: USER, text: `t${seq}` });

let world: World;
let client: GatewayClient;
let seen: ServerFrame[];

beforeEach(() => {
  world = new World();
  client = new GatewayClient('ws://x/api/v1/ws?v=1', { name: 'Ana', environment: world });
  seen = [];
  client.onFrame((frame) => seen.push(frame));
});

function welcome(extra: object = {}): void {
  world.socket.onopen?.();
  world.socket.push({ type: 'welcome', session: 's1', user: USER, heartbeatMs: 25_000, serverTime: world.time, ...extra });
}

const texts = (): string[] => seen.flatMap((frame) => (frame.type === 'message' ? [frame.text] : []));

describe('opening', () => {
  it('says hello first, joins after the welcome', () => {
    client.join(CH, 50);
    client.start();
    expect(world.socket.protocol).toBe('live.v1.json');
    world.socket.onopen?.();
    expect(world.socket.types()).toEqual(['hello']);
    expect(world.socket.sent[0]).toMatchObject({ v: 1, name: 'Ana' });
    welcome();
    expect(world.socket.last('join')).toMatchObject({ ch: CH, history: 50 });
    expect(client.status.state).toBe('open');
  });

  it('gives up on a server that never welcomes, and tries again', () => {
    client.start();
    world.pass(6_000);
    expect(client.status).toMatchObject({ state: 'down', failures: 1 });
    world.pass(500);
    expect(world.sockets).toHaveLength(2);
  });
});

describe('requests', () => {
  it('are answered by id, whatever comes between', async () => {
    client.start();
    welcome();
    const first = client.request({ type: 'message', ch: CH, text: 'a', nonce: '1' });
    const second = client.request({ type: 'message', ch: CH, text: 'b', nonce: '2' });
    const [a, b] = world.socket.sent.slice(-2);
    world.socket.push({ type: 'slowmode', waitMs: 1840, re: b?.id, ch: CH }, { type: 'ack', re: a?.id, id: 'x', seq: 4 });
    expect(await first).toMatchObject({ type: 'ack', id: 'x' });
    expect(await second).toMatchObject({ type: 'slowmode', waitMs: 1840 });
  });

  it('reject with the protocol’s code', async () => {
    client.start();
    welcome();
    const play = client.request({ type: 'rtc.play', ch: CH, sdp: 'v=0' });
    world.socket.push({ type: 'error', re: world.socket.last('rtc.play').id, error: { code: 'no_publisher', message: 'x', retryable: true } });
    await expect(play).rejects.toMatchObject({ code: 'no_publisher', retryable: true });
  });

  it('do not wait for ever, and not beyond their connection', async () => {
    client.start();
    welcome();
    const slow = client.request({ type: 'rtc.play', ch: CH, sdp: 'v=0' });
    world.pass(8_000);
    await expect(slow).rejects.toMatchObject({ code: 'timeout' });
    const cut = client.request({ type: 'rtc.play', ch: CH, sdp: 'v=0' });
    world.socket.onclose?.({ code: 1006, reason: '' });
    await expect(cut).rejects.toMatchObject({ code: 'disconnected' });
    await expect(client.request({ type: 'leave', ch: CH })).rejects.toMatchObject({ code: 'disconnected' });
  });
});

describe('rooms', () => {
  beforeEach(() => {
    client.join(CH, 50);
    client.start();
    welcome();
  });
  const joined = (extra: object): object => ({ type: 'joined', re: world.socket.last('join').id, ch: CH, epoch: 'k', seq: 0, recovered: false, live: null, ...extra });

  it('hand over history, then each push once', () => {
    world.socket.push(joined({ seq: 2, history: [message(1), { ...message(2), ch: undefined }] }), message(2), message(3), message(3));
    expect(texts()).toEqual(['t1', 't2', 't3']);
  });

  it('go on after a cut where they were', () => {
    world.socket.push(joined({ seq: 2, history: [message(1), message(2)] }), message(3));
    world.socket.onclose?.({ code: 1006, reason: '' });
    world.pass(300);
    welcome();
    expect(world.socket.sent[0]).toMatchObject({ type: 'hello', resume: { session: 's1' } });
    expect(world.socket.last('join')).toMatchObject({ since: { epoch: 'k', seq: 3 } });
    world.socket.push(joined({ seq: 5, recovered: true, history: [message(4), message(5)] }), message(6));
    expect(texts()).toEqual(['t1', 't2', 't3', 't4', 't5', 't6']);
  });

  it('start over when the epoch is another: small numbers are new again', () => {
    world.socket.push(joined({ seq: 900, history: [message(900)] }));
    world.socket.onclose?.({ code: 4010, reason: '' });
    world.pass(300);
    welcome();
    world.socket.push(joined({ epoch: 'k2', seq: 1, history: [message(1)] }), message(2));
    expect(texts()).toEqual(['t900', 't1', 't2']);
  });

  it('let a gap pass', () => {
    world.socket.push(joined({ seq: 1 }), { type: 'gap', ch: CH, from: 2, to: 9, reason: 'slow_consumer' }, message(9), message(10));
    expect(texts()).toEqual(['t10']);
    expect(seen.some((frame) => frame.type === 'gap')).toBe(true);
  });

  it('are left for good', () => {
    client.leave(CH);
    world.socket.push(message(1));
    expect(texts()).toEqual([]);
    expect(world.socket.last('leave')).toMatchObject({ ch: CH });
  });
});

describe('the line', () => {
  it('answers pings and learns the clock', () => {
    client.start();
    welcome({ serverTime: world.time + 5_000 });
    expect(client.clock.offsetMs).toBe(5_000);
    world.socket.push({ type: 'ping', t: 123 });
    expect(world.socket.sent.at(-1)).toEqual({ type: 'pong', t: 123 });
  });

  it('counts as dead after heartbeat + 10 s of silence, and not while anything comes', () => {
    client.start();
    welcome();
    world.pass(34_000);
    world.socket.push({ type: 'ping', t: 1 });
    world.pass(34_000);
    expect(client.status.state).toBe('open');
    world.pass(2_000);
    expect(client.status.state).toBe('connecting');
    expect(world.sockets[0]?.closed).not.toBeNull();
  });

  it.each([
    [1006, true],
    [4000, true],
    [4008, true],
    [4010, true],
    [4499, true],
    [4500, false],
    [4503, false],
    [4999, false],
  ])('close code %i: comes back %s', (code, back) => {
    client.start();
    welcome();
    world.socket.onclose?.({ code, reason: '' });
    expect(client.status).toMatchObject({ state: 'down' });
    world.pass(120_000);
    expect(world.sockets.length > 1).toBe(back);
  });

  it('moves when the server says so', () => {
    client.start();
    welcome();
    world.socket.push({ type: 'reconnect', url: 'ws://other/api/v1/ws?v=1', inMs: 700 });
    world.pass(699);
    expect(world.sockets).toHaveLength(1);
    world.pass(1);
    expect(world.socket.url).toBe('ws://other/api/v1/ws?v=1');
  });

  it('stays closed after stop', () => {
    client.start();
    welcome();
    client.stop();
    world.pass(120_000);
    expect(world.sockets).toHaveLength(1);
  });
});

describe('another name', () => {
  it('is asked for on the running session', async () => {
    client.start();
    welcome();
    client.rename('Bo');
    world.socket.push({ type: 'ack', re: world.socket.last('name').id });
    await Promise.resolve();
    expect(client.status).toMatchObject({ state: 'open', user: { display: 'Bo' } });
  });

  it('takes a new session where the server cannot rename', async () => {
    client.start();
    welcome();
    client.rename('Bo');
    world.socket.push({ type: 'error', re: world.socket.last('name').id, error: { code: 'unknown_type' } });
    await Promise.resolve();
    await Promise.resolve();
    world.pass(0);
    world.socket.onopen?.();
    expect(world.socket.sent[0]).toMatchObject({ type: 'hello', name: 'Bo' });
    expect(world.socket.sent[0]).not.toHaveProperty('resume');
  });
});

describe('backoff', () => {
  it('doubles its bound from 0.5 s to 30 s and uses all of it', () => {
    expect([0, 1, 2, 5, 6, 60].map((attempt) => backoffMs(attempt, 1))).toEqual([500, 1_000, 2_000, 16_000, 30_000, 30_000]);
    expect(backoffMs(3, 0)).toBe(0);
  });
});

describe('the server clock', () => {
  it('trusts the fastest sample and half of the shortest round trip', () => {
    const clock = new ServerClock();
    // Truth: the server is 1000 ahead; ways of 20, 300 and 5 ms.
    clock.sample(10_020 + 1_000, 10_040, 10_000);
    clock.sample(20_000 + 1_000, 20_300);
    clock.sample(30_000 + 1_000, 30_020);
    expect(clock.offsetMs).toBe(1_000);
    expect(clock.now(50_000)).toBe(51_000);
  });

  it('is our own until it is known', () => {
    expect(new ServerClock().offsetMs).toBeNull();
    expect(new ServerClock().now(5)).toBe(5);
  });
});

describe('decoding', () => {
  it.each([
    ['not json', ''],
    ['null', 'null'],
    ['an array', '[]'],
    ['no type', '{}'],
    ['an unknown type', '{"type":"hype","level":3}'],
    ['a message without text', '{"type":"message","id":"x"}'],
    ['an answer without sdp', '{"type":"rtc.answer","re":1}'],
    ['an unknown rtc state', '{"type":"rtc.state","pc":"p","state":"odd"}'],
  ])('passes over %s', (_what, line) => {
    expect(decodeMessage(line)).toEqual([]);
  });

  it('keeps good lines beside bad ones', () => {
    expect(decodeMessage('{"type":"ping","t":1}\n{oops\n\n{"type":"clear","ch":"c"}').map((frame) => frame.type)).toEqual(['ping', 'clear']);
  });

  it('takes numbers and strings as peer ids, and channels by name or object', () => {
    expect(decodeMessage('{"type":"rtc.state","pc":7,"state":"active"}')[0]).toMatchObject({ pc: '7', ch: null });
    expect(decodeMessage('{"type":"stream.online","channel":{"name":"ana"},"stream":"s"}')[0]).toMatchObject({ channel: 'ana' });
    expect(decodeMessage('{"type":"stream.offline","ch":"stream:ana"}')[0]).toMatchObject({ channel: 'ana' });
  });
});

describe('a channel that is not for everybody', () => {
  const refuse = (code: string): void =>
    world.socket.push({ type: 'error', re: world.socket.last('join').id, error: { code, message: 'no', retryable: false } });

  it('is joined with the grant that there is then, and tells when it does not do', async () => {
    let token: string | null = null;
    const refused: (string | null)[] = [];
    client.join(CH, 50, { token: () => token, refused: (used) => refused.push(used), missing: () => refused.push('missing') });
    client.start();
    welcome();
    expect(world.socket.last('join').token).toBeUndefined();
    refuse('grant_needed');
    await Promise.resolve();
    token = 'grant';
    client.rejoin(CH);
    expect(world.socket.last('join').token).toBe('grant');
    refuse('forbidden');
    await Promise.resolve();
    refuse('conflict');
    await Promise.resolve();
    expect(refused).toEqual([null, 'grant']);
  });

  it('may not be there at all, and is asked for again', async () => {
    let missing = 0;
    client.join(CH, 50, { token: () => null, refused: () => undefined, missing: () => (missing += 1) });
    client.start();
    welcome();
    refuse('not_found');
    await Promise.resolve();
    expect(missing).toBe(1);
    client.rejoin(CH);
    expect(world.socket.types().filter((type) => type === 'join')).toHaveLength(2);
  });
});

describe('somebody who is signed in', () => {
  /** Promises of a microtask or two. */
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 8; turn += 1) await Promise.resolve();
  };
  let tokens: (string | null)[];
  let forgotten: number;
  const speaker = {
    token: () => Promise.resolve(tokens[0] ?? null),
    forget: () => {
      forgotten += 1;
      tokens.shift();
    },
  };

  beforeEach(() => {
    [tokens, forgotten] = [['first', 'second'], 0];
    client = new GatewayClient('ws://x/api/v1/ws?v=1', { speaker, environment: world });
  });

  it('says so with hello, and again with a new token when the old one is not taken', async () => {
    client.start();
    world.socket.onopen?.();
    await settle();
    expect(world.socket.last('hello').token).toBe('first');
    world.socket.onclose?.({ code: 4004, reason: 'bad_token' });
    expect(forgotten).toBe(1);
    world.pass(500);
    world.socket.onopen?.();
    await settle();
    expect(world.socket.last('hello').token).toBe('second');
  });

  it('is a guest where the API does not answer in time', async () => {
    speaker.token = () => new Promise(() => undefined);
    client.start();
    world.socket.onopen?.();
    world.pass(2_500);
    await settle();
    expect(world.socket.last('hello').token).toBeUndefined();
    speaker.token = () => Promise.resolve(tokens[0] ?? null);
  });

  it('keeps the session when the account changes on another page', async () => {
    client.start();
    world.socket.onopen?.();
    await settle();
    world.socket.push({ type: 'welcome', session: 's1', user: USER, heartbeatMs: 25_000, serverTime: world.time });
    client.reintroduce();
    world.pass(1);
    world.socket.onopen?.();
    await settle();
    expect(world.socket.last('hello')).toMatchObject({ token: 'second', resume: { session: 's1' } });
  });
});
