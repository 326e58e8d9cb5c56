// Chromium for the browser tests: the distribution's own binary, headless, by playwright-core.
import { chromium } from 'playwright-core';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';

const QUIET = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
/** WebRTC over 127.0.0.1: loopback candidates, without mDNS names that nobody resolves on a lone `lo`. */
const LOOPBACK = ['--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns'];
/** Background pages keep their timers: several viewers share one machine. */
const AWAKE = ['--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'];
const FAKE_MEDIA = ['--use-fake-device-for-media-stream=fps=30', '--use-fake-ui-for-media-stream'];
const AUTOPLAY = ['--autoplay-policy=no-user-gesture-required'];
/** One of the two ways of the tests to block UDP; the other is an answer whose port swallows everything. */
const NO_UDP = ['--webrtc-ip-handling-policy=disable_non_proxied_udp', '--force-webrtc-ip-handling-policy=disable_non_proxied_udp'];

/**
 * Starts a browser of its own with a fresh profile.
 * @param {{ fakeMedia?: boolean, videoFile?: string, audioFile?: string, autoplay?: boolean, blockUdp?: boolean, args?: string[],
 *           viewport?: { width: number, height: number }, colorScheme?: 'light' | 'dark', insecureTls?: boolean }} [options]
 *   `videoFile`: .y4m or .mjpeg as the camera; `audioFile`: .wav as the microphone.
 * @returns {Promise<{ context: import('playwright-core').BrowserContext, close: () => Promise<void> }>}
 */
export async function launch(options = {}) {
  const profile = await mkdtemp(join(tmpdir(), 'swiftwater-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: EXECUTABLE,
    headless: true,
    viewport: options.viewport ?? { width: 1280, height: 760 },
    colorScheme: options.colorScheme ?? 'light',
    ignoreHTTPSErrors: options.insecureTls ?? false,
    args: [
      ...QUIET, ...LOOPBACK, ...AWAKE,
      ...(options.fakeMedia === false ? [] : FAKE_MEDIA),
      ...(options.videoFile === undefined ? [] : [`--use-file-for-fake-video-capture=${options.videoFile}`]),
      ...(options.audioFile === undefined ? [] : [`--use-file-for-fake-audio-capture=${options.audioFile}`]),
      ...(options.autoplay === false ? [] : AUTOPLAY),
      ...(options.blockUdp === true ? NO_UDP : []),
      ...(options.args ?? []),
    ],
  });
  return {
    context,
    close: async () => {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/** Opens a page and keeps what goes wrong on it in `page.errors`. */
export async function open(context, url) {
  const page = await context.newPage();
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') page.errors.push(message.text());
  });
  await page.goto(url);
  return page;
}

/** What the player says of itself (`window.__swiftwater`), as plain values; null before it exists. */
export function playerState(page) {
  return page.evaluate(() => {
    const player = window.__swiftwater;
    if (!player) return null;
    const { mode, reason, latencyMs, framesDecoded, state } = player;
    return { mode, reason, latencyMs, framesDecoded, state };
  });
}

/**
 * Waits until `accept(state)` holds; resolves with the state and the milliseconds that it took, rejects with the last state seen.
 * @param {import('playwright-core').Page} page
 * @param {(state: NonNullable<Awaited<ReturnType<typeof playerState>>>) => boolean} accept
 */
export async function waitForPlayer(page, accept, timeoutMs = 15_000) {
  const start = performance.now();
  let state = null;
  while (performance.now() - start < timeoutMs) {
    state = await playerState(page);
    if (state !== null && accept(state)) return { state, ms: performance.now() - start };
    await page.waitForTimeout(50);
  }
  throw new Error(`the player did not get there in ${timeoutMs} ms; last seen: ${JSON.stringify(state)}`);
}

/** Loudness of what the page plays, over `ms`: root mean square, 0 is silence. The picture must be unmuted for it. */
export function audioLevel(page, ms = 1_000) {
  return page.evaluate(async (duration) => {
    const video = window.__swiftwater ? window.__swiftwater.video : document.querySelector('video');
    const stream = video.srcObject ?? video.captureStream();
    const context = new AudioContext();
    await context.resume();
    const analyser = context.createAnalyser();
    analyser.fftSize = 2048;
    context.createMediaStreamSource(new MediaStream(stream.getAudioTracks())).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let sum = 0;
    let count = 0;
    const end = performance.now() + duration;
    while (performance.now() < end) {
      await new Promise((done) => setTimeout(done, 40));
      analyser.getFloatTimeDomainData(samples);
      for (const sample of samples) sum += sample * sample;
      count += samples.length;
    }
    await context.close();
    return Math.sqrt(sum / count);
  }, ms);
}
