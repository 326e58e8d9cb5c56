// Our own watch page in Chromium: how it plays, how late, and what it says.
// Input: { origin, channel, seconds, flags, screenshot, viewport, dark, expectMode, swallow }.
// `expectMode`: look at the picture that comes by this way, once it has the screen; `playingMs` is that of the first one.
// `swallow`: rewrites the answer so that its candidates point at a port where nothing answers.

import { input, report, withChromium } from './lib/chromium.mjs';
import { playingBy, playingVideo, unmute } from './lib/watch_page.mjs';

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  if (input.swallow) {
    await page.addInitScript((port) => {
      const set = RTCPeerConnection.prototype.setRemoteDescription;
      RTCPeerConnection.prototype.setRemoteDescription = function swallow(description) {
        const sdp = description.sdp.replace(/^(a=candidate:\S+ \d+ \S+ \d+ \S+) \d+/gm, `$1 ${port}`);
        return set.call(this, { type: description.type, sdp });
      };
    }, input.swallow);
  }
  const opened = Date.now();
  await page.goto(`${input.origin}/${input.channel}`);
  const first = await playingVideo(page, input.timeout);
  const playingMs = Date.now() - opened;
  const playing = input.expectMode ? await playingBy(page, input.expectMode) : first;
  const expectedMs = Date.now() - opened;
  await unmute(page);
  const seen = await page.evaluate(async ([video, seconds]) => {
    const eye = probe.watch(video);
    const ear = probe.listen(video);
    await probe.sleep(1000 * seconds);
    return { ...probe.summarise(eye.stop()), sound: ear.stop() };
  }, [playing, input.seconds ?? 5]);
  const state = await page.evaluate(() => {
    const plain = window.__swiftwater ?? null;
    return plain && JSON.parse(JSON.stringify(plain));
  });
  const text = await page.evaluate(() => {
    const roots = [document.body, ...[...document.querySelectorAll('*')].map((it) => it.shadowRoot).filter(Boolean)];
    return roots.map((root) => root.innerText ?? root.textContent ?? '').join('\n');
  });
  if (input.screenshot) await page.screenshot({ path: input.screenshot });
  return { playingMs, expectedMs, ...seen, state, text, errors };
}));
