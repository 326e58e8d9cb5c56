import { describe, expect, it } from 'vitest';
import { HLS_RESTART_AFTER_STALL_MS, HLS_STALL_MS } from '../src/player/by_hls';
import { BACK_AFTER_MS, ICE_RESTART_EVERY_MS, RESTARTS_MAX, RESTART_AFTER_DISCONNECT_MS, RESTART_AFTER_STALL_MS, RETRY_PLAYED_WEBRTC_MS, RETRY_SOON_WEBRTC_MS, RETRY_WEBRTC_MS } from '../src/player/by_webrtc';
import { FRAME_BY_MS, GIVE_UP_AFTER_MS, ICE_BY_MS, IDLE, STALL_MS, WARM_HLS_AFTER_MS, nextDeadline, step } from '../src/player/path';
import { GOOD_FOR_MS, PROVE_BY_MS, STEADY_FOR_MS } from '../src/player/trust';
import type { Path, PathEvent, Preference } from '../src/player/path';

/** A path in fake time: `at` runs every deadline on the way to `ms`, as the player's timer would. */
class Rig {
  path: Path = IDLE;
  now = 0;
  screens = new Set<string>();

  constructor(preference: Preference = 'auto', webrtc = true) {
    this.send({ type: 'start', preference, webrtc });
  }

  send(event: PathEvent): this {
    this.path = step(this.path, event, this.now);
    return this;
  }

  at(ms: number): this {
    for (let rounds = 0; rounds < 1_000; rounds += 1) {
      const deadline = nextDeadline(this.path);
      if (deadline === null || deadline > ms) break;
      this.now = Math.max(this.now, deadline);
      const before = this.path;
      this.send({ type: 'tick' });
      if (this.path === before) throw new Error(`a deadline at ${deadline} that changes nothing would spin the timer`);
    }
    this.now = ms;
    return this;
  }

  /** Frames every 100 ms until `ms`. */
  frames(ms: number, via: 'webrtc' | 'hls' = 'webrtc'): this {
    while (this.now + 100 <= ms) this.at(this.now + 100).send({ type: 'frame', via });
    return this.at(ms);
  }

  /** Frames of HLS every 100 ms until `ms`, and of WebRTC every `everyMs`. */
  both(ms: number, everyMs = 100): this {
    for (let nextAt = this.now + everyMs; this.now + 100 <= ms; ) {
      this.frames(this.now + 100, 'hls');
      if (this.now >= nextAt) {
        this.send({ type: 'frame', via: 'webrtc' });
        nextAt += everyMs;
      }
      this.screens.add(this.path.shown);
    }
    return this.at(ms);
  }

  /** What has had the screen since this was asked last. */
  seen(): string[] {
    const seen = [...this.screens];
    this.screens.clear();
    return seen;
  }
}

describe('a clean network', () => {
  it('plays by WebRTC and never loads HLS', () => {
    const rig = new Rig().at(80).send({ type: 'ice', state: 'connected' }).at(300).send({ type: 'frame', via: 'webrtc' }).frames(60_000);
    expect(rig.path).toMatchObject({ shown: 'webrtc', reason: null });
    expect(rig.path.hls.attempt).toBe(0);
    expect(rig.path.webrtc.attempt).toBe(1);
  });

  it('drops a warmed HLS when the first WebRTC frame comes late', () => {
    const rig = new Rig().at(WARM_HLS_AFTER_MS);
    expect(rig.path.hls.state).toBe('warming');
    rig.at(2_000).send({ type: 'ice', state: 'connected' }).at(2_200).send({ type: 'frame', via: 'webrtc' });
    expect(rig.path).toMatchObject({ shown: 'webrtc', reason: null });
    expect(rig.path.hls.state).toBe('off');
  });
});

describe('blocked UDP', () => {
  it('shows HLS as soon as it has a frame, and says why at the deadline', () => {
    const rig = new Rig().at(WARM_HLS_AFTER_MS);
    expect(rig.path.shown).toBe('none');
    rig.at(2_300).send({ type: 'frame', via: 'hls' });
    expect(rig.path).toMatchObject({ shown: 'hls', reason: null });
    rig.at(ICE_BY_MS);
    expect(rig.path).toMatchObject({ shown: 'hls', reason: 'udp_blocked' });
    expect(rig.path.webrtc.state).toBe('connecting');
    rig.frames(GIVE_UP_AFTER_MS, 'hls');
    expect(rig.path).toMatchObject({ shown: 'hls', reason: 'udp_blocked', webrtc: { state: 'off', attempt: 1 } });
  });

  it('is not what a slow device has: its picture takes the screen, however late', () => {
    const rig = new Rig().at(2_300).send({ type: 'frame', via: 'hls' }).frames(7_000, 'hls').send({ type: 'ice', state: 'connected' });
    rig.frames(9_000, 'hls').both(9_000 + STEADY_FOR_MS);
    expect(rig.path).toMatchObject({ shown: 'hls', webrtc: { attempt: 1 }, hls: { state: 'playing' } });
    rig.both(9_200 + STEADY_FOR_MS);
    expect(rig.path).toMatchObject({ shown: 'webrtc', reason: null, webrtc: { attempt: 1 }, hls: { state: 'off' } });
  });

  it('is forgotten by nobody who goes back in time while the first attempt is late', () => {
    const rig = new Rig().at(2_300).send({ type: 'frame', via: 'hls' }).frames(5_000, 'hls').send({ type: 'rewind' }).frames(20_000, 'hls');
    expect(rig.path).toMatchObject({ shown: 'hls', webrtc: { state: 'off', attempt: 1 } });
    rig.send({ type: 'present' }).frames(20_200, 'hls');
    expect(rig.path).toMatchObject({ shown: 'hls', webrtc: { state: 'connecting', attempt: 2 } });
    rig.both(rig.now + 200 + STEADY_FOR_MS);
    expect(rig.path).toMatchObject({ shown: 'webrtc', reason: null });
  });

  it('with WebRTC chosen: the same attempt goes on, and the next follows soon', () => {
    const rig = new Rig('webrtc').at(ICE_BY_MS);
    expect(rig.path).toMatchObject({ shown: 'none', reason: 'udp_blocked', hls: { attempt: 0 }, webrtc: { state: 'connecting', attempt: 1 } });
    rig.at(GIVE_UP_AFTER_MS + 5_000);
    expect(rig.path).toMatchObject({ hls: { attempt: 0 }, webrtc: { state: 'connecting', attempt: 2 } });
  });

  it('does not wait for its deadline when ICE fails before', () => {
    const rig = new Rig().at(700).send({ type: 'ice', state: 'failed' });
    expect(rig.path.reason).toBe('udp_blocked');
    expect(rig.path.hls.state).toBe('warming');
  });

  it('tries WebRTC again after a while, then less often, hidden behind the playing HLS', () => {
    const rig = new Rig().at(2_000).send({ type: 'frame', via: 'hls' });
    for (const [attempt, wait] of [RETRY_SOON_WEBRTC_MS, 3 * RETRY_SOON_WEBRTC_MS, 9 * RETRY_SOON_WEBRTC_MS, RETRY_WEBRTC_MS, RETRY_WEBRTC_MS].entries()) {
      rig.frames(rig.now + GIVE_UP_AFTER_MS, 'hls');
      expect(rig.path).toMatchObject({ shown: 'hls', webrtc: { state: 'off', attempt: attempt + 1 } });
      expect(rig.path.webrtc.retryAt).toBe(rig.path.webrtc.since + GIVE_UP_AFTER_MS + wait);
      rig.frames(rig.path.webrtc.retryAt ?? 0, 'hls');
      expect(rig.path).toMatchObject({ shown: 'hls', webrtc: { state: 'connecting', attempt: attempt + 2 } });
    }
    rig.both(rig.now + 200 + STEADY_FOR_MS);
    expect(rig.path).toMatchObject({ shown: 'webrtc', reason: null, webrtc: { failures: 0 } });
  });
});

it('gives up on an ICE connection that brings no frame', () => {
  const rig = new Rig().at(100).send({ type: 'ice', state: 'connected' }).at(WARM_HLS_AFTER_MS + 100);
  expect(rig.path.hls.state).toBe('off');
  rig.at(FRAME_BY_MS - 1);
  expect(rig.path.hls.state).toBe('warming');
  rig.at(FRAME_BY_MS);
  expect(rig.path).toMatchObject({ reason: 'no_frame', webrtc: { state: 'connected' } });
  rig.at(GIVE_UP_AFTER_MS);
  expect(rig.path).toMatchObject({ reason: 'no_frame', webrtc: { state: 'off' } });
});

it.each(['b_frames', 'codec', 'server'] as const)('goes to HLS at once when the server says %s', (reason) => {
  const rig = new Rig().at(50).send({ type: 'fallback', reason, url: '/hls/x/master.m3u8' });
  expect(rig.path).toMatchObject({ reason, hlsUrl: '/hls/x/master.m3u8' });
  expect(rig.path.hls.state).toBe('warming');
  expect(rig.path.webrtc.state).toBe('off');
});

it('asks a server that had no room again after half a minute', () => {
  const rig = new Rig().at(50).send({ type: 'fallback', reason: 'busy', url: null }).at(900).send({ type: 'frame', via: 'hls' });
  rig.frames(50 + RETRY_SOON_WEBRTC_MS, 'hls');
  expect(rig.path).toMatchObject({ shown: 'hls', reason: 'busy', webrtc: { state: 'connecting', attempt: 2 } });
});

it('lets those who were sent away together come again one after the other', () => {
  const waits = [0, 0.5, 0.99].map((spread) => {
    const rig = new Rig().send({ type: 'start', preference: 'auto', webrtc: true, spread });
    rig.at(50).send({ type: 'fallback', reason: 'busy', url: null });
    return (rig.path.webrtc.retryAt ?? 0) - 50;
  });
  expect(waits.map((ms) => ms / RETRY_SOON_WEBRTC_MS)).toEqual([1, 1.25, expect.closeTo(1.495, 5)]);
});

it('keeps the WebRTC picture on screen until HLS has a frame when the server sends a playing viewer away', () => {
  const rig = new Rig().at(200).send({ type: 'frame', via: 'webrtc' }).send({ type: 'fallback', reason: 'b_frames', url: null });
  expect(rig.path.shown).toBe('webrtc');
  expect(rig.at(900).send({ type: 'frame', via: 'hls' }).path.shown).toBe('hls');
});

describe('the gateway', () => {
  it('refused: HLS at once; back: WebRTC again', () => {
    const rig = new Rig().at(30).send({ type: 'gatewayLost' });
    expect(rig.path).toMatchObject({ reason: 'no_gateway' });
    rig.at(1_000).send({ type: 'frame', via: 'hls' }).at(4_000).send({ type: 'gatewayBack' });
    expect(rig.path.webrtc).toMatchObject({ state: 'connecting', attempt: 2 });
    expect(rig.path.shown).toBe('hls');
  });

  it('lost while WebRTC plays: nothing happens to the picture', () => {
    const rig = new Rig().at(200).send({ type: 'frame', via: 'webrtc' });
    const before = rig.path;
    expect(rig.send({ type: 'gatewayLost' }).path).toBe(before);
  });
});

describe('stalls', () => {
  const playing = (): Rig => new Rig().at(200).send({ type: 'frame', via: 'webrtc' });

  it('says so after two seconds, makes a new peer after the grace, keeps the picture', () => {
    const rig = playing().at(200 + STALL_MS);
    expect(rig.path.webrtc.state).toBe('stalled');
    rig.at(200 + STALL_MS + RESTART_AFTER_STALL_MS);
    expect(rig.path.webrtc).toMatchObject({ state: 'connecting', attempt: 2 });
    expect(rig.path.shown).toBe('webrtc');
  });

  it('restarts ICE at once when it is interrupted, makes a new peer soon, but not when it comes back', () => {
    const gone = playing().at(1_000).send({ type: 'ice', state: 'disconnected' });
    expect(gone.path.webrtc).toMatchObject({ attempt: 1, iceRestarts: 1, state: 'stalled' });
    gone.at(1_000 + RESTART_AFTER_DISCONNECT_MS);
    expect(gone.path.webrtc.attempt).toBe(2);
    const back = playing().at(1_000).send({ type: 'ice', state: 'disconnected' }).at(1_400).send({ type: 'ice', state: 'connected' }).at(5_000);
    expect(back.path.webrtc).toMatchObject({ attempt: 1, iceRestarts: 1 });
  });

  it('restarts ICE when the network changes, once per change, and goes on playing', () => {
    const rig = playing().at(1_000);
    for (let event = 0; event < 5; event += 1) rig.send({ type: 'networkChanged' });
    expect(rig.path.webrtc).toMatchObject({ state: 'playing', attempt: 1, iceRestarts: 1 });
    rig.frames(1_000 + ICE_RESTART_EVERY_MS).send({ type: 'networkChanged' });
    expect(rig.path.webrtc).toMatchObject({ state: 'playing', attempt: 1, iceRestarts: 2 });
  });

  it('tries WebRTC again when the network changes while HLS plays, and leaves one that connects alone', () => {
    const rig = new Rig().at(700).send({ type: 'ice', state: 'failed' }).at(2_000).send({ type: 'frame', via: 'hls' });
    rig.send({ type: 'networkChanged' }).send({ type: 'networkChanged' });
    expect(rig.path.webrtc).toMatchObject({ state: 'connecting', attempt: 2, iceRestarts: 0 });
  });

  it('are nobody’s fault while the encoder is away, also with the last frames still coming', () => {
    const rig = playing().send({ type: 'away', away: true }).frames(1_500).at(5_000).frames(7_000).at(11_000);
    expect(rig.path.awaySince).toBe(200);
    expect(rig.path.webrtc.attempt).toBe(1);
    rig.send({ type: 'away', away: false });
    expect(rig.path.webrtc.state).toBe('stalled');
    rig.send({ type: 'frame', via: 'webrtc' });
    expect(rig.path.webrtc).toMatchObject({ state: 'playing', attempt: 1 });
  });

  it('a picture that keeps moving says that the encoder is back, if the server’s word got lost', () => {
    const rig = playing().send({ type: 'away', away: true }).at(5_000).frames(5_000 + BACK_AFTER_MS);
    expect(rig.path.awaySince).toBe(200);
    rig.frames(5_300 + BACK_AFTER_MS);
    expect(rig.path.awaySince).toBeNull();
  });

  it('a stall that turns out to be the encoder’s is forgiven', () => {
    const rig = playing().at(200 + STALL_MS);
    expect(rig.path.webrtc.state).toBe('stalled');
    rig.send({ type: 'away', away: true }).at(20_000);
    expect(rig.path.webrtc.attempt).toBe(1);
    rig.send({ type: 'away', away: false }).at(20_000 + RESTART_AFTER_STALL_MS);
    expect(rig.path.webrtc.attempt).toBe(2);
  });

  it('gives a viewer who joined while the encoder was away time after it is back', () => {
    const rig = new Rig().at(50).send({ type: 'ice', state: 'connected' }).send({ type: 'away', away: true }).at(9_000);
    expect(rig.path.reason).toBeNull();
    rig.send({ type: 'away', away: false }).at(9_500);
    expect(rig.path.webrtc).toMatchObject({ state: 'connected', attempt: 1 });
  });

  it('end on HLS when peers keep dying', () => {
    const rig = playing();
    for (let death = 0; death <= RESTARTS_MAX; death += 1) {
      rig.at(rig.now + 1_000).send({ type: 'frame', via: 'webrtc' }).send({ type: 'peerLost' });
    }
    expect(rig.path).toMatchObject({ reason: 'unstable' });
    expect(rig.path.hls.state).toBe('warming');
    rig.send({ type: 'frame', via: 'hls' }).frames(rig.now + RETRY_PLAYED_WEBRTC_MS, 'hls');
    expect(rig.path.webrtc.state).toBe('connecting');
  });

  it('do not add up over an hour', () => {
    const rig = playing();
    for (let death = 0; death < 10; death += 1) {
      rig.frames(rig.now + 61_000).send({ type: 'peerLost' }).at(rig.now + 300).send({ type: 'frame', via: 'webrtc' });
    }
    expect(rig.path).toMatchObject({ shown: 'webrtc', reason: null });
  });
});

it('does not take a hidden or paused page for a stalled one', () => {
  const rig = new Rig().at(200).send({ type: 'frame', via: 'webrtc' });
  for (let second = 1; second < 100; second += 1) rig.at(second * 1_000).send({ type: 'excused' });
  expect(rig.path.webrtc).toMatchObject({ state: 'playing', attempt: 1 });
});

describe('HLS that does not play either', () => {
  it('is tried again with growing waits, and WebRTC soon too', () => {
    const rig = new Rig('auto', true).at(10).send({ type: 'gatewayLost' }).at(100).send({ type: 'hlsFailed' });
    expect(rig.path.hls).toMatchObject({ state: 'waiting', failures: 1, retryAt: 1_100 });
    rig.at(1_100);
    expect(rig.path.hls).toMatchObject({ state: 'warming', attempt: 2 });
    rig.send({ type: 'hlsFailed' });
    expect(rig.path.hls.retryAt).toBe(3_100);
    rig.at(5_100);
    expect(rig.path.webrtc.attempt).toBe(2);
  });
});

it('opens HLS anew when it hangs, but not while the encoder is away', () => {
  const rig = new Rig('hls').at(800).send({ type: 'frame', via: 'hls' }).at(800 + HLS_STALL_MS);
  expect(rig.path.hls).toMatchObject({ state: 'stalled', attempt: 1 });
  rig.at(rig.now + HLS_RESTART_AFTER_STALL_MS);
  expect(rig.path.hls).toMatchObject({ state: 'waiting', failures: 1 });
  rig.at(rig.now + 1_000);
  expect(rig.path.hls).toMatchObject({ state: 'warming', attempt: 2 });
  expect(rig.path.shown).toBe('hls');
  rig.send({ type: 'frame', via: 'hls' }).send({ type: 'away', away: true }).at(rig.now + 60_000);
  expect(rig.path.hls.attempt).toBe(2);
});

describe('preferences', () => {
  it('hls never opens WebRTC', () => {
    const rig = new Rig('hls').at(600_000).send({ type: 'tryWebrtc' });
    expect(rig.path).toMatchObject({ reason: 'chosen' });
    expect(rig.path.webrtc.attempt).toBe(0);
  });

  it('webrtc never opens HLS', () => {
    const rig = new Rig('webrtc').at(60_000);
    expect(rig.path.hls.attempt).toBe(0);
    expect(rig.path.webrtc.attempt).toBeGreaterThan(3);
  });

  it('without RTCPeerConnection HLS starts at once', () => {
    expect(new Rig('auto', false).path).toMatchObject({ reason: 'no_webrtc', hls: { state: 'warming' } });
  });
});

it('forgets everything but its counts when it stops', () => {
  const rig = new Rig().at(2_000).send({ type: 'frame', via: 'hls' }).send({ type: 'stop' });
  expect(rig.path).toEqual({ ...IDLE, webrtc: { ...IDLE.webrtc, attempt: 1 }, hls: { ...IDLE.hls, attempt: 1 } });
  expect(nextDeadline(rig.path)).toBeNull();
});

describe('going back in time', () => {
  const playing = (): Rig => new Rig().at(80).send({ type: 'ice', state: 'connected' }).at(300).frames(2_000);
  const back = (): Rig => playing().send({ type: 'rewind' }).frames(3_000).send({ type: 'frame', via: 'hls' });

  it('shows the present until HLS has the past, and then needs no WebRTC', () => {
    const rig = playing().send({ type: 'rewind' }).frames(3_000);
    expect(rig.path).toMatchObject({ shown: 'webrtc', rewound: true, hls: { state: 'warming' } });
    rig.send({ type: 'frame', via: 'hls' });
    expect(rig.path).toMatchObject({ shown: 'hls', reason: null, webrtc: { state: 'off' } });
  });

  it('stays there, whatever would bring WebRTC back', () => {
    const rig = back().frames(400_000, 'hls').send({ type: 'tryWebrtc' }).send({ type: 'networkChanged' }).send({ type: 'gatewayBack' });
    expect(rig.path).toMatchObject({ shown: 'hls', webrtc: { state: 'off', attempt: 1 } });
  });

  it('returns to WebRTC, and shows the past until there is a picture of the present', () => {
    const rig = back().frames(9_000, 'hls').send({ type: 'present' });
    expect(rig.path).toMatchObject({ shown: 'hls', rewound: false, webrtc: { state: 'connecting', attempt: 2 } });
    rig.at(9_300).send({ type: 'frame', via: 'webrtc' });
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'off' } });
  });

  it('that was given up before HLS came leaves WebRTC alone', () => {
    const rig = playing().send({ type: 'rewind' }).frames(2_500).send({ type: 'present' });
    expect(rig.path).toMatchObject({ shown: 'webrtc', rewound: false, webrtc: { attempt: 1 }, hls: { state: 'off' } });
  });

  it('stays with HLS where HLS was the way before, and tries WebRTC at the time that was set', () => {
    const rig = new Rig().at(ICE_BY_MS).send({ type: 'frame', via: 'hls' }).frames(15_000, 'hls').send({ type: 'rewind' }).frames(400_000, 'hls');
    expect(rig.path.webrtc.attempt).toBe(1);
    rig.send({ type: 'present' });
    expect(rig.path).toMatchObject({ shown: 'hls', reason: 'udp_blocked', webrtc: { state: 'off' } });
    rig.at(rig.now + 1);
    expect(rig.path.webrtc.attempt).toBe(2);
  });

  it('where HLS does not play leads back to the WebRTC that does', () => {
    const rig = playing().send({ type: 'rewind' }).send({ type: 'hlsFailed' }).frames(4_000).send({ type: 'hlsFailed' });
    expect(rig.path).toMatchObject({ shown: 'webrtc', rewound: false, hls: { state: 'off' } });
  });

  it('is not disturbed when the encoder drops', () => {
    const rig = back().send({ type: 'away', away: true }).frames(20_000, 'hls');
    expect(rig.path).toMatchObject({ shown: 'hls', hls: { state: 'playing' } });
  });
});

describe('a path that lets a frame through now and then', () => {
  /** HLS plays, and WebRTC is late. */
  const late = (): Rig => new Rig().at(2_300).send({ type: 'frame', via: 'hls' }).frames(5_000, 'hls').send({ type: 'ice', state: 'connected' });
  /** WebRTC has taken the screen from HLS. */
  const taken = (): Rig => {
    const rig = late();
    return rig.both(rig.now + 200 + STEADY_FOR_MS);
  };
  /** WebRTC stops, and HLS comes as soon as it is asked. */
  const relapse = (rig: Rig): Rig => {
    rig.at(rig.now + STALL_MS);
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'warming' } });
    return rig.at(rig.now + 1_500).send({ type: 'frame', via: 'hls' });
  };

  it.each([1_300, 2_000, 2_900, 6_000])('leaves the screen to HLS for as long as it lasts: a frame each %i ms', (everyMs) => {
    const rig = late().both(65_000, everyMs);
    expect(rig.seen()).toEqual(['hls']);
    expect(rig.path).toMatchObject({ shown: 'hls', reason: 'unstable', hls: { state: 'playing', attempt: 1 }, webrtc: { attempt: 1 } });
    rig.both(65_000 + STEADY_FOR_MS + 1_000);
    expect(rig.path).toMatchObject({ shown: 'webrtc', reason: null, hls: { state: 'off' }, webrtc: { attempt: 1 } });
  });

  it('is another than one whose pictures are looked for twice a second', () => {
    expect(late().both(5_000 + STEADY_FOR_MS + 1_000, 500).path).toMatchObject({ shown: 'webrtc', hls: { state: 'off' } });
  });

  it('is another than one whose pictures a busy page finds late', () => {
    const rig = late();
    for (let look = 0; look < 4; look += 1) rig.frames(rig.now + 1_800, 'hls').send({ type: 'frame', via: 'webrtc', gapMs: 500 });
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'off' } });
  });

  it('has HLS take the screen back at a gap that is no stall', () => {
    const rig = late().at(5_000 + HLS_STALL_MS).send({ type: 'frame', via: 'webrtc' }).at(9_000).send({ type: 'frame', via: 'hls' });
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'playing' } });
    rig.frames(9_800, 'hls').send({ type: 'frame', via: 'webrtc' });
    expect(rig.path).toMatchObject({ shown: 'hls', reason: 'unstable', webrtc: { state: 'playing', attempt: 1 } });
  });

  it('is tried for a while only, and then less and less often', () => {
    const rig = late();
    for (const wait of [RETRY_PLAYED_WEBRTC_MS, 2 * RETRY_PLAYED_WEBRTC_MS, 4 * RETRY_PLAYED_WEBRTC_MS, RETRY_WEBRTC_MS, RETRY_WEBRTC_MS]) {
      rig.both(rig.path.webrtc.since + PROVE_BY_MS, 2_000);
      expect(rig.path).toMatchObject({ shown: 'hls', reason: 'unstable', webrtc: { state: 'off' } });
      expect(rig.path.webrtc.retryAt).toBe(rig.path.webrtc.since + PROVE_BY_MS + wait);
      rig.frames(rig.path.webrtc.retryAt ?? 0, 'hls');
    }
    expect(rig.seen()).toEqual(['hls']);
  });

  it('that falls silent is given up, not asked for peer after peer', () => {
    const rig = late().both(12_000, 2_000).frames(12_000 + STALL_MS + RESTART_AFTER_STALL_MS, 'hls');
    expect(rig.path).toMatchObject({ shown: 'hls', reason: 'unstable', webrtc: { state: 'off', attempt: 1 } });
  });

  it('gives what moves the screen while HLS stands, and HLS has it back at the first gap', () => {
    const rig = late().at(5_000 + HLS_STALL_MS);
    expect(rig.path).toMatchObject({ shown: 'hls', hls: { state: 'stalled' } });
    rig.send({ type: 'frame', via: 'webrtc' });
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'stalled', attempt: 1 } });
    rig.at(rig.now + 900).send({ type: 'frame', via: 'hls' });
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'playing' } });
    rig.frames(rig.now + STALL_MS, 'hls');
    expect(rig.path).toMatchObject({ shown: 'hls', reason: 'unstable', hls: { attempt: 1 } });
    rig.both(rig.now + STEADY_FOR_MS + 200);
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'off' } });
  });

  it('after WebRTC had the screen brings HLS at once, and WebRTC later after each relapse', () => {
    const rig = taken();
    for (const wait of [RETRY_PLAYED_WEBRTC_MS, 2 * RETRY_PLAYED_WEBRTC_MS, 4 * RETRY_PLAYED_WEBRTC_MS, RETRY_WEBRTC_MS, RETRY_WEBRTC_MS]) {
      expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'off' } });
      relapse(rig);
      expect(rig.path).toMatchObject({ shown: 'hls', reason: 'unstable', webrtc: { state: 'off' } });
      expect(rig.path.webrtc.retryAt).toBe(rig.now + wait);
      rig.frames(rig.path.webrtc.retryAt ?? 0, 'hls').both(rig.now + STEADY_FOR_MS + 200);
    }
  });

  it('does not lead all its viewers back in the same second', () => {
    const rig = taken();
    rig.path = { ...rig.path, spread: 0.5 };
    expect(relapse(rig).path.webrtc.retryAt).toBe(rig.now + 1.25 * RETRY_PLAYED_WEBRTC_MS);
  });

  it('is not another network because its figures change', () => {
    const rig = relapse(taken()).send({ type: 'networkChanged' });
    expect(rig.path.webrtc).toMatchObject({ state: 'off', attempt: 1 });
    expect(rig.send({ type: 'tryWebrtc' }).path.webrtc).toMatchObject({ state: 'connecting', attempt: 2 });
  });

  it('that is good for long is trusted as at first', () => {
    const rig = relapse(taken());
    rig.frames(rig.path.webrtc.retryAt ?? 0, 'hls').both(rig.now + STEADY_FOR_MS + 200).frames(rig.now + GOOD_FOR_MS + 200);
    expect(rig.path.webrtc.trust).toMatchObject({ held: true, takenAt: null, relapses: 0 });
    rig.at(rig.now + STALL_MS + 1_000);
    expect(rig.path).toMatchObject({ shown: 'webrtc', webrtc: { state: 'stalled' }, hls: { state: 'off' } });
  });

  it('keeps a picture that stood for a moment, if it goes on before HLS has one', () => {
    const rig = taken();
    const { attempt } = rig.path.hls;
    rig.at(rig.now + STALL_MS).frames(rig.now + 1_000).both(rig.now + STEADY_FOR_MS);
    expect(rig.seen().filter((shown) => shown === 'webrtc')).toEqual(['webrtc']);
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'off', attempt: attempt + 1 }, webrtc: { attempt: 1, trust: { relapses: 0 } } });
  });

  it('from the first second on: HLS comes at the second stall, and takes the screen at a gap', () => {
    const rig = new Rig().at(200).send({ type: 'frame', via: 'webrtc' }).frames(1_000).at(1_000 + STALL_MS);
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'off' } });
    rig.at(rig.now + 500).send({ type: 'frame', via: 'webrtc' }).at(rig.now + STALL_MS);
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'warming' } });
    rig.at(rig.now + 1_500).both(70_000, 2_500);
    expect(rig.path).toMatchObject({ shown: 'hls', reason: 'unstable', hls: { attempt: 1 }, webrtc: { attempt: 1 } });
    rig.both(74_000);
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'off' } });
  });

  it('is not what a source with two hiccups is', () => {
    const rig = new Rig().at(200).frames(10_000).at(12_500).frames(20_000).at(22_500).frames(30_000);
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { attempt: 0 }, webrtc: { attempt: 1 } });
  });

  it('is not what a hidden page is: nobody looks, and nothing is proven', () => {
    const rig = late();
    for (let second = 6; second < 40; second += 1) rig.frames(second * 1_000, 'hls').send({ type: 'excused' });
    rig.send({ type: 'frame', via: 'webrtc' });
    expect(rig.path).toMatchObject({ shown: 'hls' });
  });

  it('waits for an encoder that is away', () => {
    const rig = late().both(7_000).send({ type: 'away', away: true }).at(300_000).send({ type: 'away', away: false });
    expect(rig.path).toMatchObject({ shown: 'hls', webrtc: { state: 'stalled', attempt: 1 } });
    rig.at(rig.now + 300).send({ type: 'frame', via: 'webrtc' });
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'stalled' } });
    rig.both(rig.now + STEADY_FOR_MS + 200);
    expect(rig.path).toMatchObject({ shown: 'webrtc', hls: { state: 'off', attempt: 1 } });
  });
});
