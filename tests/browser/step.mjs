// Chromium publishes three Layers by WHIP; a plain viewer watches through a line of the harness whose capacity changes
// meanwhile. Input: { origin, channel, key, codec, seconds, port }. Tells when each picture was shown and how high it was.

import { input, report, withChromium } from './lib/chromium.mjs';

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  await page.goto(`${input.origin}/healthz`);
  await page.evaluate(async ({ origin, channel, key, codec }) => {
    const options = { url: `${origin}/whip/${channel}`, key, codec, bitrates: [150_000, 400_000, 1_500_000] };
    window.publisher = await studio.publish(await studio.start({ fps: 15, busy: true }), options);
    // Until all of them are sent.
    const sent = async () => [...(await window.publisher.peer.getStats()).values()]
      .filter((it) => it.type === 'outbound-rtp' && it.kind === 'video' && it.framesSent > 10).length;
    while (await sent() < 3) await probe.sleep(100);
  }, input);
  const viewer = await context.newPage();
  await viewer.goto(`${input.origin}/healthz`);
  return viewer.evaluate(async ({ origin, channel, seconds, port }) => {
    const view = await probe.whep(`${origin}/whep/${channel}`, { port });
    const first = await view.first;
    const eye = probe.watch(view.video);
    await probe.sleep(1000 * seconds);
    const samples = eye.stop();
    return {
      joinMs: first - view.posted, ...probe.summarise(samples), stats: await probe.stats(view.peer),
      frames: samples.map((it) => [it.at, it.height, it.counter === null ? 0 : 1]),
    };
  }, input);
}));
