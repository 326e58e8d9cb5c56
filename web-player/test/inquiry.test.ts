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
