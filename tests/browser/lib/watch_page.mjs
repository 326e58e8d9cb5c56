// Our own watch page: the picture that a viewer sees there.

/** The video that is playing and visible: the player may warm a second one up behind it. */
export function playingVideo(page, timeout = 20000) {
  return page.waitForFunction(() => {
    const roots = [document, ...[...document.querySelectorAll('*')].map((it) => it.shadowRoot).filter(Boolean)];
    const videos = roots.flatMap((root) => [...root.querySelectorAll('video')]);
    return videos.find((it) => it.videoWidth > 0 && !it.paused && it.currentTime > 0
      && getComputedStyle(it).display !== 'none' && getComputedStyle(it).visibility !== 'hidden'
      && getComputedStyle(it).opacity !== '0' && it.getBoundingClientRect().width > 50) ?? false;
  }, null, { timeout, polling: 20 });
}

/**
 * The video that is playing by `mode` ('webrtc', 'hls'). An attempt by WebRTC that is late is not wrong: the player shows HLS meanwhile, and
 * WebRTC takes the screen with a steady picture. Rejects with what the player thought if that does not come.
 */
export async function playingBy(page, mode, timeout = 40_000) {
  const plays = (mode) => window.__swiftwater?.mode === mode && window.__swiftwater.state === 'playing';
  await page.waitForFunction(plays, mode, { timeout, polling: 20 }).catch(async () => {
    const { path, liveness, gateway } = await page.evaluate(() => window.__swiftwater?.full ?? {});
    throw new Error(`does not play by ${mode}: ${JSON.stringify({ path, liveness, gateway })}`);
  });
  return playingVideo(page);
}

/** As a viewer would: tap to unmute. */
export function unmute(page) {
  return page.getByText('Tap to unmute').first().click({ timeout: 2000 }).catch(() => {});
}
