// How far sound is from its picture, and how late a newcomer is against an old viewer.
// Input: { origin, channel, seconds, hls, key, codec, size, port, control }. With `key` the page's own camera is published by WHIP, by a
// line of the harness at `port` if there is one; else somebody else publishes; `size` is { width, height }. `hls`: watch our page
// by HLS for so many seconds instead. `control`: the page sends its camera to itself, with nothing of ours between.

import { input, report, withChromium } from './lib/chromium.mjs';
import { playingVideo, unmute } from './lib/watch_page.mjs';

/** Runs in the page: what was seen and heard, and when, from `began` on. */
const look = async ([video, seconds, began, peer]) => {
  const eye = probe.watch(video);
  const ear = probe.listen(video);
  const buffer = peer ? probe.waits(peer) : null;
  await probe.sleep(1000 * seconds);
  const [samples, sound] = [eye.stop(), ear.stop()];
  buffer?.stop();
  const offsets = probe.offsets(samples, sound.onsets).map((it) => ({
    second: (it.at - began) / 1000, ms: it.ms, heldMs: buffer?.heldMs(it.at) ?? null,
  }));
  return { ...probe.summarise(samples), offsets };
};

report(await withChromium({ ...input, hears: true }, async (context) => {
  if (input.control) {
    const page = await context.newPage();
    await page.goto(`${input.origin}/healthz`);
    const own = await page.evaluateHandle(async ({ size, codec }) => {
      const { video } = await studio.mirror(await studio.start(size), { codec });
      window.began = probe.wall();
      return video;
    }, input);
    return { control: await page.evaluate(look, [own, input.seconds, await page.evaluate(() => window.began)]) };
  }
  if (input.key) {
    const page = await context.newPage();
    await page.goto(`${input.origin}/healthz`);
    await page.evaluate(async ({ origin, channel, key, codec, size, port }) => {
      window.publisher = await studio.publish(await studio.start(size), { url: `${origin}/whip/${channel}`, key, codec, port });
    }, input);
  }
  const viewer = await context.newPage();
  if (input.hls) {
    await viewer.goto(`${input.origin}/${input.channel}?via=hls`);
    const video = await playingVideo(viewer, 60_000);
    const began = await viewer.evaluate(() => probe.wall());
    await unmute(viewer);
    return { hls: await viewer.evaluate(look, [video, input.seconds, began]) };
  }
  await viewer.goto(`${input.origin}/healthz`);
  const old = await viewer.evaluateHandle(async ({ origin, channel }) => {
    window.view = await probe.whep(`${origin}/whep/${channel}`);
    window.began = await window.view.first;
    return window.view.video;
  }, input);
  const began = await viewer.evaluate(() => window.began);
  const peer = await viewer.evaluateHandle(() => window.view.peer);
  const webrtc = await viewer.evaluate(look, [old, input.seconds, began, peer]);
  webrtc.stats = await viewer.evaluate(() => probe.stats(window.view.peer));
  const join = await viewer.evaluate(async ({ origin, channel }) => {
    const fresh = await probe.whep(`${origin}/whep/${channel}`);
    const first = await fresh.first;
    await probe.sleep(2000);
    const eyes = [window.view.video, fresh.video].map((it) => probe.watch(it));
    await probe.sleep(4000);
    const [old, late] = eyes.map((it) => {
      const { latencyMedianMs, presentedPerSecond } = probe.summarise(it.stop());
      return { latencyMedianMs, presentedPerSecond };
    });
    return {
      firstFrameMs: first - fresh.posted, old, fresh: late, apartMs: late.latencyMedianMs - old.latencyMedianMs,
      stats: [await probe.stats(window.view.peer), await probe.stats(fresh.peer)],
    };
  }, input);
  return { webrtc, join };
}));
