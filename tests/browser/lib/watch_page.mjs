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

/** As a viewer would: tap to unmute. */
export function unmute(page) {
  return page.getByText('Tap to unmute').first().click({ timeout: 2000 }).catch(() => {});
}
