// A channel that is offline, on our page: its last broadcast plays there, with a bar; the channel goes live meanwhile, and so does the
// page. Input: { origin, channel, rtmp, screenshots, viewport, dark }. `rtmp`: where to publish, with the key.

import { spawn } from 'node:child_process';
import { input, report, withChromium } from './lib/chromium.mjs';

/** The player is where `accept` (run in the page) wants it. */
const until = (page, accept, timeout = 40_000) => page.waitForFunction(accept, null, { timeout });

/** Place and pictures of what plays, for a second and a half. */
const look = (page) => page.evaluate(async () => {
  const now = () => ({ at: __swiftwater.video.currentTime, frames: __swiftwater.framesDecoded });
  const before = now();
  await probe.sleep(1500);
  const after = now();
  return { mode: __swiftwater.mode, state: __swiftwater.state, at: before.at, ran: after.at - before.at, frames: after.frames - before.frames };
});

/** A small stream that is live until it is killed. */
const publish = (url) => spawn('ffmpeg', [
  '-hide_banner', '-nostdin', '-loglevel', 'fatal', '-re', '-f', 'lavfi', '-i', 'testsrc2=size=320x180:rate=25',
  '-re', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=44100', '-c:v', 'libx264', '-pix_fmt', 'yuv420p', '-preset', 'ultrafast',
  '-tune', 'zerolatency', '-g', '25', '-b:v', '400k', '-threads', '1', '-c:a', 'aac', '-b:a', '64k', '-f', 'flv', url,
], { stdio: 'ignore' });

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const shoot = async (step) => {
    if (!input.screenshots) return;
    await page.mouse.move(300, 300 + Math.random() * 9);
    await page.screenshot({ path: `${input.screenshots}/last-${step}.png` });
  };
  await page.goto(`${input.origin}/${input.channel}`);
  const button = page.getByRole('button', { name: 'Watch the last broadcast' });
  await button.waitFor();
  const card = await page.locator('swiftwater-player').getByText(/^Last broadcast/).textContent();
  await shoot('1-offline');
  await button.click();
  await until(page, () => __swiftwater.mode === 'recording' && __swiftwater.state === 'playing');
  const begun = await look(page);
  await shoot('2-recording');
  const bar = page.getByRole('slider', { name: 'Seek' });
  await bar.focus();
  await page.keyboard.press('ArrowRight');
  await until(page, () => !__swiftwater.video.seeking);
  const on = await look(page);
  const said = await bar.getAttribute('aria-valuetext');
  await page.keyboard.press('End');
  await page.getByRole('heading', { name: 'The end' }).waitFor();
  await shoot('3-the-end');
  await page.getByRole('button', { name: 'Play again' }).click();
  await until(page, () => __swiftwater.state === 'playing' && __swiftwater.video.currentTime < 3);
  const again = await look(page);
  // In the middle of it the channel goes live.
  const encoder = publish(input.rtmp);
  process.on('exit', () => encoder.kill());
  await until(page, () => __swiftwater.mode === 'webrtc' && __swiftwater.state === 'playing', 90_000);
  const live = await look(page);
  // Who picks a recording while it is live stays with it, and comes back by the button.
  await page.getByRole('region', { name: 'Past broadcasts' }).getByRole('button').last().click();
  await until(page, () => __swiftwater.mode === 'recording' && __swiftwater.state === 'playing');
  const picked = await look(page);
  await shoot('4-picked');
  await page.mouse.move(200, 200);
  await page.getByRole('button', { name: 'Back to live (End)' }).click();
  await until(page, () => __swiftwater.mode === 'webrtc' && __swiftwater.state === 'playing');
  await shoot('5-live');
  const back = await look(page);
  encoder.kill();
  return { card, begun, on, said, again, live, picked, back, errors };
}));
