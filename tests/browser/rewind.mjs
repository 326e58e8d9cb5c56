// Back in time on our page: from WebRTC to HLS, and back to WebRTC. Input: { origin, channel, backSeconds, via, screenshots, viewport,
// dark }. Goes back by keys, then further by the bar, then to the present by its button.

import { input, report, withChromium } from './lib/chromium.mjs';
import { playingBy, playingVideo, unmute } from './lib/watch_page.mjs';

/** What is seen in `seconds`, and what the player says of itself; with `mode` once it plays so. */
async function look(page, seconds, mode) {
  const video = mode ? await playingBy(page, mode) : await playingVideo(page);
  const seen = await page.evaluate(async ([video, seconds]) => {
    const eye = probe.watch(video);
    await probe.sleep(1000 * seconds);
    return probe.summarise(eye.stop());
  }, [video, seconds]);
  return { ...seen, ...await page.evaluate(() => ({ mode: __swiftwater.mode, state: __swiftwater.state })) };
}

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const shoot = async (step) => {
    if (!input.screenshots) return;
    await page.mouse.move(300, 300 + Math.random() * 9);
    await page.screenshot({ path: `${input.screenshots}/rewind-${step}.png` });
  };
  await page.goto(`${input.origin}/${input.channel}${input.via ? `?via=${input.via}` : ''}`);
  const mode = input.via ?? 'webrtc';
  await playingVideo(page);
  await unmute(page);
  const before = await look(page, 4, mode);
  const bar = page.getByRole('slider', { name: 'Seek' });
  const wideEnough = (seconds) => page.waitForFunction((seconds) => (__swiftwater.full.timeline?.windowMs ?? 0) > 1000 * seconds, seconds, { timeout: 90_000 });
  await wideEnough(input.backSeconds + 15);
  const said = [await bar.getAttribute('aria-valuetext')];
  await shoot('1-live');
  // Keys, with the focus on nothing in particular: two of ten seconds, …
  const pressed = Date.now();
  for (let back = 0; back < input.backSeconds; back += 10) await page.keyboard.press('j');
  await page.waitForFunction(() => __swiftwater.mode === 'hls' && __swiftwater.state === 'playing');
  const backMs = Date.now() - pressed;
  const back = await look(page, 6);
  said.push(await bar.getAttribute('aria-valuetext'));
  await shoot('2-back');
  // … and one of five seconds on the bar.
  await bar.focus();
  await page.keyboard.press('ArrowLeft');
  await page.waitForFunction(() => !__swiftwater.video.seeking);
  const further = await look(page, 4);
  // Space belongs to the picture, and a pause keeps its place.
  await bar.blur();
  await page.keyboard.press(' ');
  await page.waitForFunction(() => __swiftwater.state === 'paused');
  await page.keyboard.press(' ');
  const resumed = await look(page, 3);
  await page.mouse.move(200, 200);
  const live = page.getByRole('button', { name: 'Back to live (End)' });
  const wished = Date.now();
  await live.click();
  await page.waitForFunction((mode) => __swiftwater.mode === mode && !__swiftwater.full.path.rewound && __swiftwater.full.path.webrtc.state !== 'connecting', mode);
  const presentMs = Date.now() - wished;
  // A jump of the picture by HLS takes its time.
  if (input.via) await page.waitForFunction(() => !__swiftwater.video.seeking);
  const present = await look(page, 5, mode);
  said.push(await bar.getAttribute('aria-valuetext'));
  await shoot('3-present');
  return { before, backMs, back, further, resumed, presentMs, present, said, errors };
}));
