// The recordings of one's own channel on the account page: one is downloaded, then removed. Input: { origin, channel, login, password,
// screenshots }. The channel is made one for followers first: the address of the file needs a grant then.

import { createReadStream } from 'node:fs';
import { input, report, withChromium } from './lib/chromium.mjs';

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('dialog', (dialog) => dialog.accept());
  await page.goto(`${input.origin}/account`);
  await page.getByLabel('Login').fill(input.login);
  await page.getByLabel('Password').fill(input.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  const card = page.getByRole('region', { name: input.channel });
  const changed = page.waitForResponse((response) => response.request().method() === 'PATCH');
  await card.getByLabel('Who may watch').selectOption('followers');
  await changed;
  await page.reload();
  await card.getByText('Recordings (1)').click();
  if (input.screenshots) await page.screenshot({ path: `${input.screenshots}/own-recordings.png`, fullPage: true });
  const begun = page.waitForEvent('download');
  await card.getByRole('link', { name: /^Download the recording/ }).click();
  const file = await begun;
  const opened = /\/vod\/t\/[^/]+\/[^/]+\/video\.mp4$/.test(file.url());
  let bytes = 0;
  let head = '';
  for await (const chunk of createReadStream(await file.path())) {
    if (bytes === 0) head = chunk.subarray(4, 8).toString('latin1');
    bytes += chunk.length;
  }
  await card.getByRole('button', { name: /^Remove the recording/ }).click();
  await card.getByText('Recordings (1)').waitFor({ state: 'detached' });
  return { opened, bytes, head, errors };
}));
