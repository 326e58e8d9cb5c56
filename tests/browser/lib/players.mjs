// Players of others, on a page of their own: what a third party's page that plays our HLS would do.

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { probe } from './probe.mjs';

const require = createRequire(import.meta.url);
// The packages do not export their bundles by name.
const bundle = (name, file) => {
  const main = require.resolve(name);
  const root = main.slice(0, main.lastIndexOf(join('node_modules', name)) + join('node_modules', name).length);
  return join(root, file);
};

const BUNDLES = {
  'hls.js': ['hls.js', 'dist/hls.min.js'],
  shaka: ['shaka-player', 'dist/shaka-player.compiled.js'],
  'video.js': ['video.js', 'dist/video.min.js'],
  native: null,
};

/** Runs inside the page: starts a player; its errors are collected in `window.faults`. */
async function begin(player, url, settings) {
  const video = document.querySelector('video');
  window.faults = [];
  window.stalls = [];
  let began = false;
  video.addEventListener('playing', () => { began = true; });
  video.addEventListener('waiting', () => { if (began) window.stalls.push(Math.round(performance.now())); });
  const fault = (what) => { if (window.faults.length < 20) window.faults.push(String(what)); };
  if (player === 'hls.js') {
    const hls = new Hls({ lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.1, ...settings });
    window.engine = hls;
    hls.on(Hls.Events.ERROR, (_event, data) => fault(`${data.fatal ? 'fatal ' : ''}${data.details} ${data.error?.message ?? ''}`));
    hls.loadSource(url);
    hls.attachMedia(video);
  } else if (player === 'shaka') {
    shaka.polyfill.installAll();
    const engine = new shaka.Player();
    window.engine = engine;
    engine.addEventListener('error', (event) => fault(`shaka ${event.detail?.code}`));
    await engine.attach(video);
    engine.configure({ streaming: { lowLatencyMode: true }, ...settings });
    await engine.load(url);
  } else if (player === 'video.js') {
    const engine = videojs(video, { liveui: true, html5: { vhs: { overrideNative: true, ...settings } } });
    window.engine = engine;
    engine.on('error', () => fault(`video.js ${engine.error()?.code} ${engine.error()?.message}`));
    engine.src({ src: url, type: 'application/x-mpegURL' });
  } else {
    video.addEventListener('error', () => fault(`media error ${video.error?.code} ${video.error?.message}`));
    video.src = url;
  }
  // video.js moves the element; the others leave it.
  const element = () => document.querySelector('video');
  element().play().catch((error) => fault(error));
  const until = performance.now() + 30_000;
  while (performance.now() < until) {
    const at = element();
    if (at.videoWidth > 0 && !at.paused && at.currentTime > 0 && at.buffered.length > 0) {
      window.firstHad = at.buffered.start(0);
      return performance.now();
    }
    await probe.sleep(20);
  }
  throw new Error(`${player} does not play: ${JSON.stringify(window.faults)}, readyState ${element().readyState}`);
}

/** Runs inside the page: what is seen for so many seconds. */
async function look(seconds) {
  const video = document.querySelector('video');
  const eye = probe.watch(video);
  const stalled = window.stalls.length;
  const from = video.currentTime;
  await probe.sleep(1000 * seconds);
  const samples = eye.stop();
  const { buffered } = video;
  return {
    ...probe.summarise(samples),
    played: video.currentTime - from,
    at: video.currentTime,
    ranges: Array.from({ length: buffered.length }, (_, n) => [buffered.start(n), buffered.end(n)]),
    ahead: buffered.length > 0 ? buffered.end(buffered.length - 1) - video.currentTime : null,
    paused: video.paused,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    stalls: window.stalls.slice(stalled).length,
    faults: window.faults,
    target: window.engine?.targetLatency ?? null,
  };
}

/**
 * Runs inside the page: what is seen once the picture moves, at most so late, in the last of three looks at the latest. On a busy
 * machine a source, an encoder or a browser stands still for a second, and a player needs some to be over it.
 */
async function steady(seconds, latencyMax = Number.POSITIVE_INFINITY) {
  /** Pictures per second, of 30, that are no still. */
  const MOVES = 15;
  let seen;
  let looks = 0;
  while (looks < 3 && !(seen?.stamped > MOVES * seconds && seen.latencyMedianMs < latencyMax)) {
    seen = await look(seconds);
    looks += 1;
  }
  return { ...seen, looks };
}

/** Runs inside the page: hls.js goes at least `seconds` back, and to the end again. What is seen there, and how long each jump took. */
async function travel(seconds, latencyMax) {
  const video = document.querySelector('video');
  const to = async (time, latest) => {
    const began = performance.now();
    const there = new Promise((done) => video.addEventListener('seeked', done, { once: true }))
      .then(() => new Promise((done) => video.requestVideoFrameCallback(done)));
    video.currentTime = time;
    const arrived = await Promise.race([there.then(() => true), probe.sleep(30_000).then(() => false)]);
    const ms = performance.now() - began;
    const seen = await steady(4, latest);
    if (!arrived) throw new Error(`no picture at ${time}: ${JSON.stringify({ ...seen, readyState: video.readyState, seeking: video.seeking })}`);
    // Which frame it shows: a place counts from the beginning of a playlist, not from the clock.
    return { ms, ...seen };
  };
  // To before all that it ever had: what it still has would not be asked for again. (To bound that by `backBufferLength` makes hls.js
  // 1.7.4 stand now and then: docs/hls.md.)
  const from = video.currentTime;
  // Who goes back wants to stay there.
  window.engine.config.liveMaxLatencyDuration = undefined;
  const target = Math.max(0, Math.min(from - seconds, window.firstHad - 0.5));
  const rewound = { backMs: 1000 * (from - target), ...await to(target) };
  const returned = await to(window.engine.liveSyncPosition, latencyMax);
  return { rewound, returned };
}

/** Serves the page of `player` on a port of the kernel's choice; resolves with its address and how to end it. */
export async function page(player) {
  const files = BUNDLES[player];
  if (files === undefined) throw new Error(`no such player: ${player}`);
  const engine = files === null ? '' : readFileSync(bundle(...files), 'utf8');
  const html = `<!doctype html><meta charset="utf-8"><title>${player}</title>
<video muted autoplay playsinline style="width: 640px"></video>
<script src="/engine.js"></script><script>(${probe.toString()})(); ${begin.toString()} ${look.toString()} ${steady.toString()} ${travel.toString()}</script>`;
  const server = createServer((request, response) => {
    const script = request.url === '/engine.js';
    response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
    response.end(script ? engine : html);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
