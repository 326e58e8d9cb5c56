// A channel that opens by grants alone, on our page: shut to a guest and to a link that is not good, open to who has a good link
// (`?grant=…`), by the gateway, by WHEP and by HLS. `over`: the stream has ended, and what it has left plays to who has the link, and to
// somebody who is signed in and may. Input: { origin, channel, grant, over, login, password, screenshots }.

import { input, report, withChromium } from './lib/chromium.mjs';

/** How the player says that it plays, and how many pictures there are in a second and a half of it. */
async function look(page, mode) {
  await page.waitForFunction((mode) => __swiftwater.mode === mode && __swiftwater.state === 'playing', mode, { timeout: 40_000 });
  return page.evaluate(async () => {
    const before = __swiftwater.framesDecoded;
    await probe.sleep(1500);
    return { mode: __swiftwater.mode, frames: __swiftwater.framesDecoded - before };
  });
}

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  /** Addresses with the grant in them, and what WHEP answered. */
  let opened = [];
  page.on('response', (response) => {
    const path = new URL(response.url()).pathname;
    if (path.includes(`/t/${input.grant}/`) && response.ok()) opened.push(path.split('/')[1]);
    if (path.startsWith('/whep/') && response.request().method() === 'POST') opened.push(`whep ${response.status()}`);
  });
  const shoot = async (step) => {
    if (input.screenshots) await page.screenshot({ path: `${input.screenshots}/link-${step}.png` });
  };
  const visit = async (query) => {
    opened = [];
    await page.goto(`${input.origin}/${input.channel}${query}`);
  };
  const shut = async (query) => {
    await visit(query);
    await page.getByRole('heading', { name: 'By invitation' }).waitFor();
    return page.evaluate(() => __swiftwater.mode);
  };
  const plays = async (query, mode) => {
    await visit(query);
    const seen = await look(page, mode);
    return { ...seen, opened: [...new Set(opened)].sort() };
  };
  const last = async (query, step) => {
    await visit(query);
    await page.getByRole('button', { name: 'Watch the last broadcast' }).click();
    const seen = await look(page, 'recording');
    await shoot(step);
    return { ...seen, vod: /\/vod\/t\/[^/]+\//.test(await page.evaluate(() => performance.getEntriesByType('resource').map((it) => it.name).join(' '))) };
  };

  const guest = await shut('');
  await shoot(`${input.over ? 'over' : 'live'}-guest`);
  const [head, claims, signature] = input.grant.split('.');
  const forged = await shut(`?grant=${head}.${claims}.${signature.slice(0, 10)}AAAA${signature.slice(14)}`);
  if (!input.over) {
    const gateway = await plays(`?grant=${input.grant}`, 'webrtc');
    await shoot('live-gateway');
    const whep = await plays(`?grant=${input.grant}&via=whep`, 'webrtc');
    const hls = await plays(`?grant=${input.grant}&via=hls`, 'hls');
    return { guest, forged, gateway, whep, hls, errors };
  }
  const link = await last(`?grant=${input.grant}`, 'over-link');
  const signed = await context.request.post(`${input.origin}/api/v1/session`, { data: { login: input.login, password: input.password } });
  const owner = await last('', 'over-owner');
  return { guest, forged, link, signed: signed.status(), owner, errors };
}));
