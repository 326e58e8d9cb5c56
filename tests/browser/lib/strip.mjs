// The machine-readable strip at the top of the demo's picture: which frame this is, and when it was made.
//
// 80 cells, each width/80 wide and max(8, height/40) high; luma 235 is 1, 16 is 0:
//     8 bits sync 10110010 · 24 bits frame counter · 40 bits unix milliseconds (mod 2^40) · 8 bits CRC-8 (poly 0x07)
// most significant bit first; the CRC runs over the 8 bytes of counter and clock.
//
// `decodeStrip` is pure and stands alone, so that it can be carried into a page as text.

export const CELLS = 80;

/**
 * Reads the strip from RGBA pixels of the picture's top (at least one cell high).
 * @param {Uint8ClampedArray | Uint8Array} pixels
 * @param {number} width  of the picture, in pixels
 * @param {number} height of the whole picture, not only of the part in `pixels`
 * @returns {{ ok: boolean, counter: number, clockMs: number }}
 */
export function decodeStrip(pixels, width, height) {
  const cells = 80;
  const cellWidth = width / cells;
  const cellHeight = Math.max(8, height / 40);
  const bits = [];
  for (let cell = 0; cell < cells; cell += 1) {
    // The middle third of the cell: scaling and compression blur its edges.
    const left = Math.round((cell + 1 / 3) * cellWidth);
    const right = Math.max(left + 1, Math.round((cell + 2 / 3) * cellWidth));
    const top = Math.round(cellHeight / 3);
    const bottom = Math.max(top + 1, Math.round((cellHeight * 2) / 3));
    let sum = 0;
    for (let y = top; y < bottom; y += 1) {
      for (let x = left; x < right; x += 1) {
        const at = (y * width + x) * 4;
        sum += 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
      }
    }
    bits.push(sum / ((right - left) * (bottom - top)) > 127 ? 1 : 0);
  }
  // Not by shifts: 40 bits do not fit into the 32 that they work on.
  const read = (from, count) => bits.slice(from, from + count).reduce((value, bit) => value * 2 + bit, 0);
  let crc = 0;
  for (let byte = 0; byte < 8; byte += 1) {
    crc ^= read(8 + byte * 8, 8);
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : (crc << 1) & 0xff;
  }
  const ok = read(0, 8) === 0b10110010 && crc === read(72, 8);
  return { ok, counter: read(8, 24), clockMs: read(32, 40) };
}

/** A clock of 40 bits as the full unix time that is nearest to `nowMs`. */
export function fullClock(clockMs, nowMs) {
  const span = 2 ** 40;
  const base = Math.floor(nowMs / span) * span;
  return [base - span + clockMs, base + clockMs, base + span + clockMs].reduce((best, time) =>
    Math.abs(time - nowMs) < Math.abs(best - nowMs) ? time : best,
  );
}

/** The picture of a strip, for tests of the decoder and for pages that draw one: 80 bits, most significant first. */
export function encodeStrip(counter, clockMs) {
  const bytes = [counter / 2 ** 16, counter / 2 ** 8, counter, clockMs / 2 ** 32, clockMs / 2 ** 24, clockMs / 2 ** 16, clockMs / 2 ** 8, clockMs].map(
    (value) => Math.floor(value) % 256,
  );
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : (crc << 1) & 0xff;
  }
  return [0b10110010, ...bytes, crc].flatMap((byte) => Array.from({ length: 8 }, (_, bit) => (byte >> (7 - bit)) & 1));
}

/** The video that a page plays: the player's own, or the first on the page. */
const FIND_VIDEO = `() => (window.__swiftwater ? window.__swiftwater.video : document.querySelector('video'))`;

/**
 * Reads the strip of the picture that is on screen now.
 * @param {import('playwright-core').Page} page
 * @returns {Promise<{ ok: boolean, counter: number, clockMs: number, nowMs: number } | null>} null without a picture
 */
export function readStrip(page) {
  return page.evaluate(`(() => {
    ${decodeStrip.toString()}
    const video = (${FIND_VIDEO})();
    if (!video || video.videoWidth === 0) return null;
    const width = video.videoWidth, height = video.videoHeight;
    const rows = Math.ceil(Math.max(8, height / 40));
    const canvas = new OffscreenCanvas(width, rows);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(video, 0, 0, width, rows, 0, 0, width, rows);
    const nowMs = Date.now();
    return { ...decodeStrip(context.getImageData(0, 0, width, rows).data, width, height), nowMs };
  })()`);
}

/**
 * Records every presented frame from now on (requestVideoFrameCallback), until `takeFrames`.
 * Follows the player when it changes its element (a fallback, a new peer). At most 20,000 frames are kept.
 * @param {import('playwright-core').Page} page
 */
export function recordFrames(page) {
  return page.evaluate(`(() => {
    ${decodeStrip.toString()}
    const frames = (window.__frames = []);
    const canvas = new OffscreenCanvas(1, 1);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const find = ${FIND_VIDEO};
    let watched = null;
    const shown = (video) => (now, metadata) => {
      if (window.__frames !== frames || video !== watched) return;
      const width = video.videoWidth, height = video.videoHeight;
      const rows = Math.ceil(Math.max(8, height / 40));
      if (canvas.width !== width || canvas.height !== rows) { canvas.width = width; canvas.height = rows; }
      context.drawImage(video, 0, 0, width, rows, 0, 0, width, rows);
      const atMs = performance.timeOrigin + metadata.expectedDisplayTime;
      if (frames.length < 20000) frames.push({
        ...decodeStrip(context.getImageData(0, 0, width, rows).data, width, height),
        presentedMs: performance.timeOrigin + metadata.presentationTime, atMs, presented: metadata.presentedFrames,
        mode: window.__swiftwater ? window.__swiftwater.mode : 'plain',
      });
      video.requestVideoFrameCallback(shown(video));
    };
    const attach = () => {
      if (window.__frames !== frames) return;
      const video = find();
      if (video && video !== watched) { watched = video; video.requestVideoFrameCallback(shown(video)); }
      setTimeout(attach, 50);
    };
    attach();
  })()`);
}

/**
 * Ends the recording and hands it over.
 * @param {import('playwright-core').Page} page
 * @returns {Promise<{ ok: boolean, counter: number, clockMs: number, presentedMs: number, atMs: number, presented: number, mode: string }[]>}
 */
export function takeFrames(page) {
  return page.evaluate(() => {
    const frames = window.__frames ?? [];
    window.__frames = null;
    return frames;
  });
}

/** Glass to glass of recorded frames, in milliseconds, sorted: from the burned-in clock to the display time. */
export function latencies(frames) {
  return frames
    .filter((frame) => frame.ok)
    .map((frame) => frame.atMs - fullClock(frame.clockMs, frame.atMs))
    .sort((a, b) => a - b);
}

/** A quantile of sorted numbers; NaN of none. */
export function quantile(sorted, q) {
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

/** Gaps over `ms` between neighbouring presented frames. */
export function gaps(frames, ms = 200) {
  return frames.slice(1).filter((frame, index) => frame.presentedMs - frames[index].presentedMs > ms).length;
}

/** How often a frame counter went backwards: pictures out of order. */
export function reorderings(frames) {
  const counters = frames.filter((frame) => frame.ok).map((frame) => frame.counter);
  return counters.slice(1).filter((counter, index) => counter < counters[index]).length;
}
