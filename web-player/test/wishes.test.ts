import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Screen } from './fake/screen';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const LAYERS = [
  { rid: 'q', height: 180, bitrate: null, active: true },
  { rid: 'f', height: 720, bitrate: null, active: true },
];

/** A picture that plays by WebRTC and has two Layers. */
async function playing(): Promise<Screen> {
  const screen = new Screen();
  screen.answer = { type: 'rtc.answer', re: 1, pc: 'p1', sdp: 'answer', iceServers: [], serverDelayMs: 0 };
  await screen.peer.open();
  screen.peer.events.ice('connected');
  screen.run(1_000, { webrtc: 100 });
  screen.say({ type: 'rtc.layers', pc: 'p1', layers: LAYERS, current: 'f', audioOnly: null });
  screen.sent.length = 0;
  return screen;
}

it('the picture is asked for again where whoever looks again was back before the line was', async () => {
  const screen = await playing();
  screen.hide(true);
  screen.run(6_000);
  expect(screen.sent).toEqual([{ type: 'rtc.pause', pc: 'p1', kind: 'video' }]);
  screen.connect('down');
  screen.hide(false);
  screen.connect('open');
  expect(screen.sent.slice(1)).toEqual([
    { type: 'rtc.resume', pc: 'p1', kind: 'video' },
    { type: 'rtc.layer', pc: 'p1', rid: 'auto' },
  ]);
});

it('a quality that was chosen while the line was down is asked for, and a page that nobody looks at stays without a picture', async () => {
  const screen = await playing();
  screen.connect('down');
  screen.player.choose(180);
  screen.hide(true);
  screen.run(6_000);
  screen.connect('open');
  expect(screen.sent).toEqual([
    { type: 'rtc.pause', pc: 'p1', kind: 'video' },
    { type: 'rtc.layer', pc: 'p1', rid: 'q' },
  ]);
});

it('nothing is asked of a peer that the server does not know yet', () => {
  const screen = new Screen();
  screen.connect('down');
  screen.connect('open');
  expect(screen.sent).toEqual([]);
});
