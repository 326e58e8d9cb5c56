// A channel for followers on our page: a guest, somebody signed in, a follower; then a grant of seconds that is renewed while the
// picture plays by HLS. Input: { origin, channel, login, password, seconds, expectMode, screenshots, viewport,
// dark }. `flags` may take UDP away: then all of it plays by HLS, and `expectMode` says so.

import { input, report, withChromium } from './lib/chromium.mjs';
import { playingBy, playingVideo, unmute } from './lib/watch_page.mjs';

/** What the card in the middle of the picture says. */
const cardOf = (page, title) => page.getByRole('heading', { name: title });

/** What is seen in `seconds` once it plays by `mode`, and how the player says then that it plays. */
async function look(page, seconds, mode) {
  const video = await playingBy(page, mode);
  const seen = await page.evaluate(async ([video, seconds]) => {
    const eye = probe.watch(video);
    await probe.sleep(1000 * seconds);
    return probe.summarise(eye.stop());
  }, [video, seconds]);
  return { ...seen, mode: await page.evaluate(() => window.__swiftwater.mode) };
}

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const shoot = async (step) => {
    if (input.screenshots) await page.screenshot({ path: `${input.screenshots}/grants-${step}.png` });
  };
  const address = `${input.origin}/${input.channel}`;
  // A guest.
  await page.goto(address);
  await cardOf(page, 'For followers').waitFor();
  const guestMode = await page.evaluate(() => window.__swiftwater.mode);
  await shoot('1-guest');
  // Signs in on the way that the card shows, and is brought back.
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Login').fill(input.login);
  await page.getByLabel('Password').fill(input.password);
  await shoot('2-sign-in');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(address);
  await cardOf(page, 'For followers').waitFor();
  await page.getByText('Follow this channel').waitFor();
  await shoot('3-follow');
  // Follows: it plays at once.
  const pressed = Date.now();
  await page.locator('swiftwater-player').getByRole('button', { name: 'Follow' }).click();
  await playingVideo(page);
  const playsMs = Date.now() - pressed;
  await unmute(page);
  const followed = await look(page, input.seconds, input.expectMode);
  await page.getByRole('button', { name: 'Following' }).waitFor();
  await page.getByRole('textbox', { name: 'Message' }).fill('hello from me');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('log').getByText('hello from me').waitFor();
  const speaker = await page.getByRole('log').locator('b').first().textContent();
  await shoot('4-plays');
  // Grants of three seconds (the server takes ten more), by HLS. Where there is no UDP the page plays by HLS until now, with a
  // grant that is still good.
  await page.goto('about:blank');
  const tokens = new Set();
  await page.route('**/grants', (route) => route.continue({ postData: JSON.stringify({ seconds: 3 }) }));
  page.on('request', (request) => {
    const grant = /\/hls\/t\/([^/]+)\//.exec(request.url());
    if (grant) tokens.add(grant[1]);
  });
  await page.goto(`${address}?via=hls`);
  const renewed = await look(page, 22, 'hls');
  const [first] = tokens;
  const old = await page.evaluate((url) => fetch(url).then((response) => response.status), `/hls/t/${first}/${input.channel}/master.m3u8`);
  await shoot('5-hls');
  return { guestMode, playsMs, followed, speaker, renewed, tokens: tokens.size, old, errors };
}));
