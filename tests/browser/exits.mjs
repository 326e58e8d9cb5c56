// Chromium publishes by WHIP until the server is gone; no page watches.
// Input: { origin, channel, key, codec, port, mirror }; `port`: of a line of the harness, if there is one; `mirror`: where the same
// picture and sound are published besides. Output: { lostMs }, how much sound the page's machine was too slow to make.

import { input, report, withChromium } from './lib/chromium.mjs';

// `hears`, for the policy that it lifts: a page may publish to another origin than its own.
report(await withChromium({ ...input, hears: true }, async (context) => {
  const page = await context.newPage();
  await page.goto(`${input.origin}/healthz`);
  await page.evaluate(async ({ origin, channel, key, codec, port, mirror }) => {
    const stream = await studio.start();
    window.lost = studio.watchLosses();
    const targets = [{ url: `${origin}/whip/${channel}`, port }, ...(mirror ? [{ url: `${mirror}/whip/${channel}` }] : [])];
    window.publishers = [];
    for (const target of targets) window.publishers.push(await studio.publish(stream, { ...target, key, codec }));
  }, input);
  for (let there = true; there;) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    there = await fetch(`${input.origin}/healthz`).then((response) => response.ok, () => false);
  }
  return { lostMs: await page.evaluate(() => window.lost()) };
}));
