// A headless Firefox as distributions have it: playwright wants a build of its own, WebDriver BiDi does not.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

/** Nothing goes out, and videos play without a click. */
const PREFERENCES = {
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  'app.update.enabled': false,
  'app.normandy.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'datareporting.healthreport.uploadEnabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'http://127.0.0.1:1',
  'toolkit.telemetry.server': 'http://127.0.0.1:1',
};

/** Runs `act(browser)` with a fresh Firefox and ends it. */
export async function withFirefox(input, act) {
  const profile = mkdtempSync(join(tmpdir(), 'swiftwater-firefox-'));
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: input.firefox ?? process.env.SWIFTWATER_TEST_FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    userDataDir: profile,
    extraPrefsFirefox: PREFERENCES,
    timeout: 60_000,
    protocolTimeout: 1_000 * (120 + (input.seconds ?? 10)),
  });
  try {
    return await act(browser);
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
}
