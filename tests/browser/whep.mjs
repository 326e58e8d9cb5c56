// A plain WHEP viewer in Chromium: how fast it joins, what it sees and hears.
// Input: { origin, channel, seconds, joins, port, frames, afterStepBack }. `port`: of a line of the harness that it watches through;
// `frames`: also tell when each picture was shown and how high it was; `afterStepBack`: look until so many pictures
// have come after the first one whose counter is lower than that before it, `seconds` at most.

import { input, report, withChromium } from './lib/chromium.mjs';

/** Of a join that took longer the browser's own figures are told. */
const SLOW_MS = 400;

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  await page.goto(`${input.origin}/healthz`);
  return page.evaluate(async ({ origin, channel, seconds, joins, port, frames, afterStepBack, SLOW_MS }) => {
    const url = `${origin}/whep/${channel}`;
    const joinMs = [];
    const slow = [];
    for (let i = 0; i < (joins ?? 0); i += 1) {
      const viewer = await probe.whep(url, { port });
      joinMs.push((await viewer.first) - viewer.posted);
      if (joinMs.at(-1) > SLOW_MS) {
        slow.push({ join: i, ms: joinMs.at(-1), connectedMs: viewer.connected - viewer.posted, ...await probe.stats(viewer.peer) });
      }
      viewer.peer.close();
      viewer.video.remove();
      await fetch(viewer.resource, { method: 'DELETE' });
    }
    if (!seconds) return { joinMs, slow };
    const viewer = await probe.whep(url, { port });
    const first = await viewer.first;
    const eye = probe.watch(viewer.video);
    const ear = probe.listen(viewer.video);
    const until = probe.wall() + 1000 * seconds;
    if (!afterStepBack) await probe.sleep(1000 * seconds);
    while (afterStepBack && probe.wall() < until) {
      const good = eye.samples.filter((it) => it.counter !== null);
      const back = good.findIndex((it, i) => i > 0 && it.counter < good[i - 1].counter);
      if (back >= 0 && good.length - back >= afterStepBack) break;
      await probe.sleep(100);
    }
    const samples = eye.stop();
    const sound = ear.stop();
    const stats = await probe.stats(viewer.peer);
    const removed = await fetch(viewer.resource, { method: 'DELETE' });
    viewer.peer.close();
    return {
      joinMs, firstFrameMs: first - viewer.posted, ...probe.summarise(samples), sound,
      frames: frames ? samples.map((it) => [it.at, it.height, it.counter]) : null,
      stats, answer: viewer.answer, deleteStatus: removed.status,
    };
  }, { ...input, SLOW_MS });
}));
