// Chromium publishes three Layers by WHIP; hls.js on a page of somebody else goes through their variants.
// Input: { origin, channel, key, codec }. Tells the multivariant playlist, and for each level what was seen of it.

import { input, report, withChromium } from './lib/chromium.mjs';
import { page } from './lib/players.mjs';

/** Pictures in 6 s of 15 per second that are no still. */
const MOVES = 30;

const master = `${input.origin}/hls/${input.channel}/master.m3u8`;
const served = await page('hls.js');

/** The multivariant playlist with all three; the last one read if they do not come within 40 s. */
async function variants() {
  const until = Date.now() + 40_000;
  for (;;) {
    const text = await fetch(master).then((answer) => answer.text());
    if ((text.match(/#EXT-X-STREAM-INF/g) ?? []).length >= 3 || Date.now() > until) return text;
    await new Promise((done) => setTimeout(done, 200));
  }
}

/** What a person would look at when a level does not come. */
async function situation(publisher, viewer) {
  const player = await viewer.evaluate(() => ({
    height: document.querySelector('video').videoHeight, time: document.querySelector('video').currentTime,
    level: engine.currentLevel, loading: engine.loadLevel, next: engine.nextLevel, faults: window.faults,
    levels: engine.levels.map((it) => it.url[0]),
  }));
  const layers = await publisher.evaluate(async () => [...(await window.publisher.peer.getStats()).values()]
    .filter((it) => it.type === 'outbound-rtp' && it.kind === 'video')
    .map(({ rid, active, frameHeight, framesPerSecond, keyFramesEncoded, qualityLimitationReason }) => (
      { rid, active, frameHeight, framesPerSecond, keyFramesEncoded, qualityLimitationReason })));
  const playlists = [];
  for (const level of player.levels) playlists.push(`${level}\n${await fetch(level).then((answer) => answer.text())}`);
  return JSON.stringify({ player, layers }, null, 1) + playlists.join('\n');
}

try {
  report(await withChromium(input, async (context) => {
    const publisher = await context.newPage();
    await publisher.goto(`${input.origin}/healthz`);
    await publisher.evaluate(async ({ origin, channel, key, codec }) => {
      const options = { url: `${origin}/whip/${channel}`, key, codec, bitrates: [150_000, 400_000, 1_500_000] };
      window.publisher = await studio.publish(await studio.start({ fps: 15 }), options);
    }, input);
    const text = await variants();
    const viewer = await context.newPage();
    await viewer.goto(served.url);
    await viewer.evaluate((url) => begin('hls.js', url, { startLevel: 0 }), master);
    const levels = await viewer.evaluate(() => window.engine.levels.map((level) => level.height));
    const seen = [];
    for (const [level, height] of levels.entries()) {
      const began = Date.now();
      await viewer.evaluate((level) => { window.engine.nextLevel = level; }, level);
      await viewer.waitForFunction((height) => document.querySelector('video').videoHeight === height, height, { timeout: 60_000 })
        .catch(async (error) => { throw new Error(`${height} lines: ${error.message}\n${await situation(publisher, viewer)}`); });
      // hls.js shows nothing between the switch and the next keyframe, and steps over that hole after some seconds.
      let looked;
      for (let turn = 0; turn < 3 && !(looked?.stamped > MOVES); turn += 1) looked = await viewer.evaluate(() => look(6));
      if (looked.stamped <= MOVES) throw new Error(`${height} lines stand still\n${JSON.stringify(looked)}\n${await situation(publisher, viewer)}`);
      seen.push({ height, ms: Date.now() - began, ...looked });
    }
    return { text, seen };
  }));
} finally {
  served.close();
}
