// Chromium publishes by WHIP, other pages of it view by WHEP and, by HLS, on the watch page.
// Input: { origin, channel, key, codec: 'H264' | 'VP8' | 'VP9' | 'AV1', seconds, hls }.

import { input, report, withChromium } from './lib/chromium.mjs';
import { playingVideo, unmute } from './lib/watch_page.mjs';

report(await withChromium({ ...input, hears: true }, async (context) => {
  const page = await context.newPage();
  await page.goto(`${input.origin}/healthz`);
  await page.evaluate(async ({ origin, channel, key, codec }) => {
    window.publisher = await studio.publish(await studio.start(), { url: `${origin}/whip/${channel}`, key, codec });
  }, input);

  const viewer = await context.newPage();
  await viewer.goto(`${input.origin}/healthz`);
  const webrtc = await viewer.evaluate(async ({ origin, channel, seconds }) => {
    const view = await probe.whep(`${origin}/whep/${channel}`);
    await view.first;
    const eye = probe.watch(view.video);
    const ear = probe.listen(view.video);
    const began = probe.wall();
    await probe.sleep(1000 * seconds);
    const samples = eye.stop();
    const sound = ear.stop();
    const offsets = probe.offsets(samples, sound.onsets).map((it) => ({ second: (it.at - began) / 1000, ms: it.ms }));
    return { ...probe.summarise(samples), sound, offsets, stats: await probe.stats(view.peer) };
  }, input);

  // One viewer at a time: each decodes on the machine that encodes.
  await viewer.close();
  let hls = null;
  if (input.hls) {
    const watcher = await context.newPage();
    const errors = [];
    watcher.on('pageerror', (error) => errors.push(String(error)));
    watcher.on('console', (message) => message.text().startsWith('hls:') && errors.push(message.text()));
    await watcher.goto(`${input.origin}/${input.channel}?via=hls`);
    const playing = await playingVideo(watcher);
    await unmute(watcher);
    hls = await watcher.evaluate(async ([video, seconds]) => {
      const eye = probe.watch(video);
      const ear = probe.listen(video);
      const began = probe.wall();
      const rates = [];
      video.addEventListener('ratechange', () => rates.push([(probe.wall() - began) / 1000, video.playbackRate]));
      await probe.sleep(1000 * seconds);
      const samples = eye.stop();
      const sound = ear.stop();
      const offsets = probe.offsets(samples, sound.onsets).map((it) => ({ second: (it.at - began) / 1000, ms: it.ms }));
      return { ...probe.summarise(samples), sound, offsets, rates };
    }, [playing, input.seconds]);
    hls.errors = errors;
  }
  const removed = await page.evaluate(() => window.publisher.end());
  return { webrtc, hls, deleteStatus: removed };
}));
