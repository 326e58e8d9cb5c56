// Plays a recording in a bare <video>, as MP4 file and by Chromium's own HLS: from the start, then from two other places.
// Input: { origin, urls: [string] }. Output: per URL what was seen.

import { input, report, withChromium } from './lib/chromium.mjs';

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  await page.goto(`${input.origin}/healthz`);
  return page.evaluate(async (urls) => {
    const seen = [];
    for (const url of urls) {
      const video = document.createElement('video');
      video.src = url;
      document.body.append(video);
      const event = (name) => new Promise((resolve, reject) => {
        video.addEventListener(name, resolve, { once: true });
        video.addEventListener('error', () => reject(new Error(`${url}: ${video.error?.message}`)), { once: true });
      });
      await event('loadedmetadata');
      const places = [];
      const shown = () => video.getVideoPlaybackQuality().totalVideoFrames;
      for (const part of [0, 0.7, 0.3]) {
        const to = video.duration * part;
        if (part > 0) {
          const seeked = event('seeked');
          video.currentTime = to;
          await seeked;
        }
        await video.play();
        // A second of it, sound and picture, and up to three where the machine is slow to begin with pictures.
        const enough = shown() + 11;
        const plays = () => video.currentTime >= to + 1 && (shown() >= enough || video.currentTime >= to + 3);
        while (!plays() && !video.ended) await event('timeupdate');
        places.push({ to, at: video.currentTime, frames: shown(), sound: video.webkitAudioDecodedByteCount });
        video.pause();
      }
      seen.push({ url, duration: video.duration, width: video.videoWidth, places });
      video.remove();
    }
    return seen;
  }, input.urls);
}));
