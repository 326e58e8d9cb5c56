// Chromium publishes three Layers by WHIP; a plain viewer watches through a line of the harness whose capacity changes
// meanwhile. Input: { origin, channel, key, codec, stretch, within, port, valve, thin, wide }. `valve`: where to POST the bits per
// second that the line carries from now on. Wide, thin and wide again it takes `stretch` seconds at least, and `within` at most
// until the picture is as high as it should be then. Tells when each picture was shown, how high it was, its counter and its clock.

import { input, report, withChromium } from './lib/chromium.mjs';

/** Rows of the largest Layer. */
const WHOLE = 720;

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
  const joinMs = await viewer.evaluate(async ({ origin, channel, port }) => {
    window.view = await probe.whep(`${origin}/whep/${channel}`, { port });
    const first = await window.view.first;
    window.eye = probe.watch(window.view.video);
    return first - window.view.posted;
  }, input);
  /** Whether the picture got there is for the reader of the pictures to say. */
  const look = (small) => viewer.evaluate(async ({ stretch, within, small, whole }) => {
    const began = probe.wall();
    const took = (seconds) => probe.wall() > began + 1000 * seconds;
    const there = () => ((window.eye.samples.at(-1)?.height ?? 0) < whole) === small;
    while (!took(stretch) || !(there() || took(within))) await probe.sleep(50);
    await probe.sleep(4000);
  }, { ...input, small, whole: WHOLE });
  const steps = [];
  const carry = async (bps) => {
    await fetch(`${input.valve}/${bps}`, { method: 'POST' });
    steps.push(Date.now());
  };
  await look(false);
  await carry(input.thin);
  await look(true);
  await carry(input.wide);
  await look(false);
  const seen = await viewer.evaluate(async () => {
    const samples = window.eye.stop();
    return {
      ...probe.summarise(samples), stats: await probe.stats(window.view.peer),
      frames: samples.map((it) => [it.at, it.height, it.counter, it.clockMs]),
    };
  });
  return { joinMs, steps, ...seen };
}));
