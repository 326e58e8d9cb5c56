import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cardFor } from '../src/element/card';
import { GatewayError } from '../src/gateway/client';
import { NO_CHANNEL_MS } from '../src/player/inquiry';
import { phase } from '../src/player/state';
import { CHANNEL, Screen } from './fake/screen';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const joined = (live: object | null): object => ({ type: 'joined', ch: `stream:${CHANNEL}`, viewers: 1, live });
const LIVE = { stream: 's2', startedAt: 1, title: null };

describe('a channel that does not exist', () => {
  it('is said to be missing, whichever question the gateway answers so, and no peer is made anew', async () => {
    const screens = [new Screen(), new Screen()] as const;
    screens[0].admission?.missing();
    screens[1].answer = new GatewayError('not_found', 'there is no channel ana', false);
    await screens[1].peer.open();
    for (const screen of screens) {
      expect([phase(screen.player.state), screen.peer.closed]).toEqual(['missing', true]);
      screen.run(20_000);
      expect(screen.peers).toHaveLength(1);
      screen.player.stop();
    }
  });

  it('has a card with a way on', () => {
    const screen = new Screen();
    screen.admission?.missing();
    const card = cardFor(screen.player.state, 0);
    expect([card?.title, card?.busy, card?.buttons.map(({ act }) => act)]).toEqual(['There is no such channel', false, ['home']]);
  });

  it('is asked for again, not by everybody at once, until it is there', () => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(0);
    const screen = new Screen();
    screen.admission?.missing();
    screen.run(NO_CHANNEL_MS);
    expect(screen.rejoined).toBe(1);
    random.mockReturnValue(1);
    screen.admission?.missing();
    screen.run(NO_CHANNEL_MS * 1.5 - 100);
    expect(screen.rejoined).toBe(1);
    screen.run(100);
    expect(screen.rejoined).toBe(2);
    screen.say(joined(null));
    screen.run(10 * NO_CHANNEL_MS);
    expect([phase(screen.player.state), screen.rejoined]).toEqual(['offline', 2]);
  });

  it('plays as soon as it is made and on the air', () => {
    const screen = new Screen();
    screen.admission?.missing();
    screen.say(joined(LIVE));
    expect([phase(screen.player.state), screen.peers.length]).toEqual(['connecting', 2]);
  });

  it('is not asked for by a page that is left', () => {
    const screen = new Screen();
    screen.admission?.missing();
    screen.player.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('by WHEP, where nobody tells', () => {
  /** A page whose server answers each POST with the next of these, and then always with the last. */
  function whep(...answers: Response[]): Screen {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    vi.stubGlobal('fetch', async (url: string) => {
      if (!url.startsWith('/whep/')) return new Response('', { status: 404 });
      const [next] = answers.length > 1 ? answers.splice(0, 1) : answers;
      return next?.clone();
    });
    return new Screen({ whep: true });
  }
  const offline = (): Response => new Response('', { status: 409, headers: { 'Retry-After': '4' } });
  const missing = (): Response => new Response('', { status: 404 });

  it('a stream is asked for as often as the server says, behind the card, and plays when it has begun', async () => {
    const screen = whep(offline(), offline(), new Response('answer', { status: 201 }));
    await screen.peer.open();
    expect([phase(screen.player.state), screen.peer.closed]).toEqual(['offline', true]);
    screen.run(4_900);
    expect(screen.peers).toHaveLength(1);
    screen.run(100);
    expect([phase(screen.player.state), screen.peers.length]).toEqual(['offline', 2]);
    await screen.peer.open();
    screen.run(5_000);
    await screen.peer.open();
    expect([phase(screen.player.state), screen.peers.length]).toEqual(['connecting', 3]);
    screen.peer.events.ice('connected');
    screen.run(20_000, { webrtc: 100 });
    expect([phase(screen.player.state), screen.peers.length]).toEqual(['playing', 3]);
  });

  it('the next stream starts by itself after one has ended', async () => {
    const screen = whep(new Response('answer', { status: 201 }), offline());
    await screen.peer.open();
    screen.peer.events.ice('connected');
    screen.run(1_000, { webrtc: 100 });
    screen.peer.events.lost();
    await screen.peer.open();
    expect(phase(screen.player.state)).toBe('ended');
    screen.run(5_000);
    expect([phase(screen.player.state), screen.peers.length]).toEqual(['ended', 3]);
  });

  it('a channel that does not exist is asked for twice a minute, by chance a little less', async () => {
    const screen = whep(missing(), offline());
    await screen.peer.open();
    expect(phase(screen.player.state)).toBe('missing');
    screen.run(NO_CHANNEL_MS * 1.25);
    expect(screen.peers).toHaveLength(2);
    await screen.peer.open();
    expect(phase(screen.player.state)).toBe('offline');
  });

  it('a recording is not interrupted, and when it is closed the stream is asked for again', async () => {
    const screen = whep(offline());
    await screen.peer.open();
    const recording = { id: 'r1', startedAt: 0, endedAt: 1, durationMs: 1_000, bytes: 1, hls: '/vod/r1/master.m3u8', mp4: null };
    screen.player.playRecording(recording);
    screen.run(60_000);
    expect([screen.peers.length, screen.playlist.closed]).toEqual([1, false]);
    screen.player.goToPresent();
    screen.run(5_000);
    expect(screen.peers).toHaveLength(2);
  });

  it('nothing is asked after the page was left', async () => {
    const screen = whep(offline());
    await screen.peer.open();
    screen.player.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});
