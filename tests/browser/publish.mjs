// Chromium publishes by WHIP, another page of it views by WHEP and by the watch page.
// Input: { origin, channel, key, codec: 'H264' | 'VP8' | 'VP9' | 'AV1', seconds, lateReports }.

import { input, report, withChromium } from './lib/chromium.mjs';

report(await withChromium(input, async (context) => {
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

  let hls = null;
  if (input.hls) {
    const watcher = await context.newPage();
    await watcher.goto(`${input.origin}/healthz`);
    await watcher.addScriptTag({ path: input.hls });
    hls = await watcher.evaluate(async ({ origin, channel, seconds }) => {
      const video = document.createElement('video');
      video.style.width = '640px';
      document.body.append(video);
      const engine = new Hls({ lowLatencyMode: true });
      const errors = [];
      engine.on(Hls.Events.ERROR, (_, data) => errors.push(`${data.details}${data.fatal ? ' (fatal)' : ''}`));
      engine.loadSource(`${origin}/hls/${channel}/master.m3u8`);
      engine.attachMedia(video);
      const first = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
      await video.play().catch(() => {});
      await first;
      const eye = probe.watch(video);
      const ear = probe.listen(video);
      const began = probe.wall();
      await probe.sleep(1000 * seconds);
      const samples = eye.stop();
      const sound = ear.stop();
      const offsets = probe.offsets(samples, sound.onsets).map((it) => ({ second: (it.at - began) / 1000, ms: it.ms }));
      return { ...probe.summarise(samples), sound, offsets, errors };
    }, input);
  }
  const removed = await page.evaluate(() => window.publisher.end());
  return { webrtc, hls, deleteStatus: removed };
}));
