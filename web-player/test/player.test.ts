import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GIVE_UP_AFTER_MS, ICE_BY_MS, STALL_MS } from '../src/player/path';
import { STEADY_FOR_MS } from '../src/player/trust';
import { Screen } from './fake/screen';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** HLS plays with sound, and the first attempt by WebRTC is late. */
function late(): Screen {
  const screen = new Screen().run(2_500);
  screen.playlist.events.frame();
  screen.player.setMuted(false);
  return screen.run(ICE_BY_MS, { hls: 500 });
}

describe('WebRTC that comes while HLS plays', () => {
  it('takes the screen and the sound with a steady picture, and then HLS is closed', () => {
    const screen = late();
    expect(screen.audible()).toEqual(['hls']);
    screen.run(STEADY_FOR_MS, { webrtc: 500, hls: 500 });
    expect([screen.audible(), screen.stages.length, screen.playlist.closed]).toEqual([['hls'], 1, false]);
    screen.run(1_000, { webrtc: 500, hls: 500 });
    expect(screen.audible()).toEqual(['webrtc']);
    expect(screen.stages.at(-1)).toBe(screen.peer.video);
    expect([screen.peers.length, screen.playlists.length, screen.playlist.closed, screen.playlist.fake.removed]).toEqual([1, 1, true, true]);
  });

  it('with a frame now and then leaves the screen alone for a minute, and takes it when it is good', () => {
    const screen = late().run(60_000, { webrtc: 2_000, hls: 500 });
    expect(screen.stages).toEqual([screen.playlist.video]);
    expect([screen.audible(), screen.peers.length, screen.playlists.length]).toEqual([['hls'], 1, 1]);
    screen.run(STEADY_FOR_MS + 1_000, { webrtc: 500, hls: 500 });
    expect(screen.stages.at(-1)).toBe(screen.peer.video);
  });

  it('and stops again gives screen and sound back, and is left alone for a while', () => {
    const screen = late().run(STEADY_FOR_MS + 1_000, { webrtc: 500, hls: 500 }).run(STALL_MS + 500);
    expect(screen.playlists).toHaveLength(2);
    screen.run(1_500);
    screen.playlist.events.frame();
    expect([screen.audible(), screen.peer.closed]).toEqual([['hls'], true]);
    screen.run(50_000, { hls: 500 });
    expect(screen.peers).toHaveLength(1);
    screen.run(45_000, { hls: 500 });
    expect(screen.peers).toHaveLength(2);
  });

  it('while HLS stands goes on beside it, and only one is heard whichever has the screen', () => {
    const screen = late().run(4_000).run(1_500, { webrtc: 500 });
    expect([screen.audible(), screen.playlist.closed]).toEqual([['webrtc'], false]);
    screen.run(2_500, { hls: 500 });
    expect([screen.audible(), screen.peer.closed]).toEqual([['hls'], false]);
    expect(screen.stages).toEqual([screen.playlist.video, screen.peer.video, screen.playlist.video]);
  });

  it('stays paused for a viewer who paused', () => {
    const screen = late();
    screen.playlist.fake.pause();
    screen.player.dispatch({ type: 'paused', paused: true });
    screen.run(STEADY_FOR_MS + 1_000, { webrtc: 500 });
    expect(screen.stages.at(-1)).toBe(screen.peer.video);
    expect(screen.peer.fake.paused).toBe(true);
  });
});

it('does not wake a viewer who paused fifty times a second, and what is due happens', () => {
  const screen = late();
  screen.playlist.fake.pause();
  screen.player.dispatch({ type: 'paused', paused: true });
  const timers = vi.spyOn(globalThis, 'setTimeout');
  screen.run(GIVE_UP_AFTER_MS);
  expect(screen.peer.closed).toBe(true);
  expect(screen.player.state.path).toMatchObject({ shown: 'hls', webrtc: { state: 'off' }, hls: { state: 'playing' } });
  expect(timers.mock.calls.length).toBeLessThan(40);
});

describe('going back in time', () => {
  it('while WebRTC is late ends that attempt, and the present brings another', () => {
    const screen = late();
    screen.player.seekBy(-60_000);
    expect(screen.playlist.asked).toEqual(['goTo -60000']);
    screen.run(5_000, { hls: 500 });
    expect([screen.peer.closed, screen.peers.length]).toEqual([true, 1]);
    screen.player.goToPresent();
    screen.run(200, { hls: 100 });
    expect([screen.peer.closed, screen.peers.length]).toEqual([false, 2]);
    expect(screen.audible()).toEqual(['hls']);
  });

  it('from WebRTC begins HLS in the past, and the present has the screen with its first frame', () => {
    const screen = new Screen().run(300);
    screen.peer.events.ice('connected');
    screen.peer.events.frame();
    screen.run(2_000, { webrtc: 500 });
    screen.player.seekBy(-60_000);
    expect((screen.playlist.options?.from ?? 0) - Date.now()).toBe(-60_000);
    screen.run(500, { webrtc: 500 });
    screen.playlist.events.frame();
    expect([screen.stages.at(-1), screen.peer.closed]).toEqual([screen.playlist.video, true]);
    screen.player.goToPresent();
    screen.run(300, { hls: 100 });
    screen.peer.events.frame();
    expect([screen.stages.at(-1), screen.peers.length, screen.playlist.closed]).toEqual([screen.peer.video, 2, true]);
  });
});

describe('a page that nobody looks at', () => {
  it('is not stalled by having no frames', () => {
    const screen = new Screen().run(300);
    screen.peer.events.frame();
    screen.run(1_000, { webrtc: 500 });
    screen.hide(true);
    screen.run(600_000);
    expect(screen.player.state.path.webrtc).toMatchObject({ state: 'playing', attempt: 1 });
    screen.hide(false);
    screen.run(STALL_MS + 500);
    expect(screen.player.state.path.webrtc.state).toBe('stalled');
  });

  it('does not lose HLS, nor let WebRTC prove itself unseen', () => {
    const screen = late();
    screen.hide(true);
    screen.run(60_000).run(100, { webrtc: 100 });
    expect(screen.player.state.path).toMatchObject({ shown: 'hls', hls: { state: 'playing', attempt: 1 } });
  });
});

it('leaves nothing behind when it stops', () => {
  const screen = late();
  screen.player.stop();
  expect([screen.peer.closed, screen.playlist.closed, vi.getTimerCount()]).toEqual([true, true, 0]);
});
