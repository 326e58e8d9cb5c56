// Somebody else's player on somebody else's page plays our HLS.
// Input: { url, player: hls.js | shaka | video.js | native, browser: chromium | firefox, seconds, settle, settings, latencyMax, back }.
// `settle`: seconds from the first picture to the first look. `back`, of hls.js: then so many seconds back, and to the end again.

import { input, report, withChromium } from './lib/chromium.mjs';
import { withFirefox } from './lib/firefox.mjs';
import { page } from './lib/players.mjs';

/** `tab` is of playwright or of puppeteer: both can go to a page and evaluate in it. */
async function play(tab, served) {
  let seen = await start(tab, served);
  // One that gave up is loaded anew, once, as a person would do. What it said is told.
  if (seen.presented === 0) seen = { gaveUp: seen.faults, ...await start(tab, served) };
  const travelled = input.back ? await tab.evaluate(([seconds, latest]) => travel(seconds, latest), [input.back, input.latencyMax]) : {};
  return { ...seen, ...travelled };
}

/** Opens the page; what is seen once the player is steady. */
async function start(tab, served) {
  const opened = Date.now();
  await tab.goto(served.url);
  await tab.evaluate(([player, url, settings]) => begin(player, url, settings), [input.player, input.url, input.settings ?? {}]);
  const playingMs = Date.now() - opened;
  await new Promise((done) => setTimeout(done, 1000 * (input.settle ?? 0)));
  const seen = await tab.evaluate(([seconds, latest]) => steady(seconds, latest), [input.seconds ?? 8, input.latencyMax]);
  return { playingMs, ...seen };
}

const served = await page(input.player);
try {
  report(input.browser === 'firefox'
    ? await withFirefox(input, async (browser) => play(await browser.newPage(), served))
    : await withChromium(input, async (context) => play(await context.newPage(), served)));
} finally {
  served.close();
}
