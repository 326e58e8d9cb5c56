// A headless Chromium that talks to loopback only.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { EAR } from './ear.mjs';
import { probe } from './probe.mjs';
import { studio } from './studio.mjs';

const FLAGS = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--allow-loopback-in-peer-connection', '--autoplay-policy=no-user-gesture-required',
  // Without a camera permission Chromium hides its addresses behind mDNS names, which needs multicast.
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--use-fake-device-for-media-stream=fps=30', '--use-fake-ui-for-media-stream',
  // A background tab of a headless browser must not slow its timers down.
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
];

/**
 * Runs `act(context)` with a fresh browser and ends it. `input.flags` are added, `input.chromium` is its path. `input.hears`: its
 * pages hear beeps, by a module that their policy would not let in.
 */
export async function withChromium(input, act) {
  const profile = mkdtempSync(join(tmpdir(), 'swiftwater-chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: input.chromium ?? process.env.SWIFTWATER_TEST_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [...FLAGS, ...(input.flags ?? [])],
    viewport: input.viewport ?? { width: 1280, height: 800 },
    colorScheme: input.dark ? 'dark' : 'light',
    ignoreHTTPSErrors: true,
    bypassCSP: input.hears ?? false,
    permissions: ['camera', 'microphone'],
  });
  try {
    await context.addInitScript(probe, input.hears ? EAR : null);
    await context.addInitScript(studio);
    return await act(context);
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

/** The script's argument: one JSON object. */
export const input = JSON.parse(process.argv[2] ?? '{}');

/** Prints the result as the last line, for the Rust side. */
export const report = (result) => process.stdout.write(`${JSON.stringify(result)}\n`);
