// Chromium publishes three Layers by WHIP; our watch page views them: by choice from its menu, one after the other, and
// then on its own again. At the end the page is hidden for a while and looked at again.
// Input: { origin, channel, key, codec, screenshots }. `screenshots`: a directory for pictures of the page.

import { join } from 'node:path';
import { input, report, withChromium } from './lib/chromium.mjs';

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  await page.goto(`${input.origin}/healthz`);
  await page.evaluate(async ({ origin, channel, key, codec }) => {
    const options = { url: `${origin}/whip/${channel}`, key, codec, bitrates: [150_000, 400_000, 1_500_000] };
    window.publisher = await studio.publish(await studio.start({ fps: 15 }), options);
  }, input);

  const viewer = await context.newPage();
  const errors = [];
  viewer.on('pageerror', (error) => errors.push(String(error)));
  await viewer.goto(`${input.origin}/${input.channel}`);
  const player = viewer.locator('swiftwater-player');
  const height = () => viewer.evaluate(() => window.__swiftwater?.video?.videoHeight ?? 0);
  /** Waits for something in the page; says what the player thought if it does not come. */
  const until = (what, look, argument) => viewer.waitForFunction(look, argument, { timeout: 60_000, polling: 50 }).catch(async () => {
    const { path, layers, liveness, gateway } = await viewer.evaluate(() => window.__swiftwater?.full ?? {});
    throw new Error(`not seen: ${what}; ${JSON.stringify({ path, layers, liveness, gateway })}`);
  });
  const showing = (wanted) => until(`${wanted} rows`, (wanted) => window.__swiftwater?.video?.videoHeight === wanted, wanted);
  // The picture, and all Layers from the encoder.
  await until('three layers', () => {
    const player = window.__swiftwater;
    const layers = player?.full.layers?.layers ?? [];
    return player?.mode === 'webrtc' && player.video !== null && layers.length === 3 && layers.every((it) => it.active);
  });

  const shot = async (name) => {
    if (input.screenshots) await viewer.screenshot({ path: join(input.screenshots, `${name}.png`) });
  };
  const choose = async (label) => {
    await viewer.keyboard.press('q');
    const item = player.getByRole('menuitemradio', { name: label, exact: true });
    await item.waitFor();
    await shot(`menu-${label}`);
    await item.click();
  };
  await viewer.evaluate(() => {
    window.eye = probe.watch(window.__swiftwater.video);
    // Each step back, in pictures. One that cannot be read says nothing.
    window.stepsBack = (samples) => samples.map((it) => it.counter).filter((it) => it !== null)
      .flatMap((it, i, all) => (i > 0 && it < all[i - 1] ? [all[i - 1] - it] : []));
  });
  const chosen = [];
  for (const wanted of [180, 360, 720]) {
    const began = Date.now();
    await choose(`${wanted}p`);
    await showing(wanted);
    chosen.push({ wanted, ms: Date.now() - began });
    await until('pictures of it', (wanted) => window.eye.samples.filter((it) => it.height === wanted).length >= 10, wanted);
  }
  await shot('chosen');
  // The choice outlives the page, as long as the tab.
  await choose('360p');
  await showing(360);
  const seen = await viewer.evaluate(() => {
    const samples = window.eye.stop();
    const heights = [...new Set(samples.map((it) => it.height))].sort((a, b) => a - b);
    const stamped = Object.fromEntries(heights.map((height) => {
      const at = samples.filter((it) => it.height === height);
      return [height, at.filter((it) => it.counter !== null).length / at.length];
    }));
    return { ...probe.summarise(samples), heights, stamped, stepsBack: stepsBack(samples) };
  });
  await viewer.reload();
  await showing(360);
  const remembered = await height();
  await choose('Auto');
  await showing(720);

  const look = () => viewer.evaluate(() => window.__swiftwater.framesDecoded);
  const hide = (hidden) => viewer.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await hide(true);
  // A page that is hidden for five seconds asks for no more pictures; those on their way still come.
  await viewer.evaluate(async () => {
    const hidden = probe.wall();
    let [shown, since] = [window.__swiftwater.framesDecoded, hidden];
    while (probe.wall() < Math.max(hidden + 5000, since) + 1500 && probe.wall() < hidden + 30_000) {
      await probe.sleep(50);
      const { framesDecoded } = window.__swiftwater;
      if (framesDecoded !== shown) [shown, since] = [framesDecoded, probe.wall()];
    }
  });
  const before = await look();
  await viewer.evaluate(() => probe.sleep(3000));
  const hiddenFrames = (await look()) - before;
  const mode = await viewer.evaluate(() => window.__swiftwater.state);
  await hide(false);
  const back = Date.now();
  await until('the picture again', (before) => window.__swiftwater.framesDecoded > before + 5, before + hiddenFrames);
  const backMs = Date.now() - back;
  await shot('back');
  return { ...seen, chosen, remembered, hiddenFrames, mode, backMs, restarts: await viewer.evaluate(() => window.__swiftwater.full.path.webrtc.attempt), errors };
}));
