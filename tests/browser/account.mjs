// The first account, a channel and its key, made on our page; then the key is told, so that the test can publish with it.
// Input: { origin, token, channel, password, viewport, colorScheme, screenshots }. `screenshots`: a folder for pictures of each step.

import { input, report, withChromium } from './lib/chromium.mjs';

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const shoot = async (step) => {
    if (input.screenshots) await page.screenshot({ path: `${input.screenshots}/account-${step}.png`, fullPage: true });
  };
  await page.goto(`${input.origin}/setup`);
  await page.getByRole('heading', { name: 'Make the first account' }).waitFor();
  const enter = async (token) => {
    await page.getByLabel('Token from the log').fill(token);
    await page.getByLabel('Login').fill('ana');
    await page.getByLabel('Password').fill(input.password);
    await page.getByRole('button', { name: 'Make the first account' }).click();
  };
  await enter(`${input.token}x`);
  const refused = await page.getByRole('alert').filter({ hasText: /./ }).first().textContent();
  await shoot('1-setup');
  await enter(input.token);
  await page.getByRole('heading', { name: 'Your channels' }).waitFor();
  await page.getByLabel('New channel').fill(input.channel);
  await page.getByRole('button', { name: 'Make it' }).click();
  const card = page.getByRole('region', { name: input.channel });
  await card.getByRole('button', { name: 'New stream key' }).click();
  const key = await card.getByLabel('Stream key, or bearer token', { exact: true }).inputValue();
  const server = await card.getByLabel('Server (OBS, RTMP)', { exact: true }).inputValue();
  await card.getByLabel('Who may watch').selectOption('unlisted');
  await shoot('2-key');
  await page.reload();
  await card.getByText('never used').waitFor();
  const shownAgain = await page.getByText(key).count();
  const visibility = await card.getByLabel('Who may watch').inputValue();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await shoot('3-sign-in');
  await page.getByLabel('Login').fill('ana');
  await page.getByLabel('Password').fill(input.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Your channels' }).waitFor();
  return { refused, key, server, shownAgain, visibility, errors };
}));
