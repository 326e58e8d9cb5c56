import { expect, it } from 'vitest';
import { decodeStrip, encodeStrip, fullClock, latencies, quantile, reorderings } from '../../tests/browser/lib/strip.mjs';

/** Paints a strip as the demo does; `spoil` may change single pixels. */
function paint(counter, clockMs, width, height, spoil = (value) => value) {
  const bits = encodeStrip(counter, clockMs);
  const rows = Math.ceil(Math.max(8, height / 40));
  const pixels = new Uint8ClampedArray(width * rows * 4);
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const luma = spoil(bits[Math.min(79, Math.floor((x * 80) / width))] === 1 ? 235 : 16, x, y);
      pixels.set([luma, luma, luma, 255], (y * width + x) * 4);
    }
  }
  return pixels;
}

it.each([
  [1280, 720],
  [1920, 1080],
  [640, 360],
  [320, 180],
  [854, 480],
])('reads what was painted at %i × %i', (width, height) => {
  const clock = 1_795_386_628_588 % 2 ** 40;
  for (const [counter, clockMs] of [[0, 0], [1, 1], [0xabcdef, clock], [2 ** 24 - 1, 2 ** 40 - 1]]) {
    expect(decodeStrip(paint(counter, clockMs, width, height), width, height)).toEqual({ ok: true, counter, clockMs });
  }
});

it('has the CRC of the contract (CRC-8, poly 0x07, init 0)', () => {
  // The check value of CRC-8/SMBUS over "123456789" cannot be had from 8 bytes; "12345678" has 0xC7 by the same table.
  const bytes = [...'12345678'].map((letter) => letter.charCodeAt(0));
  const counter = bytes.slice(0, 3).reduce((value, byte) => value * 256 + byte, 0);
  const clock = bytes.slice(3).reduce((value, byte) => value * 256 + byte, 0);
  const bits = encodeStrip(counter, clock);
  expect(Number.parseInt(bits.slice(72).join(''), 2)).toBe(crcBitByBit(bytes));
});

/** The textbook long division, to compare with. */
function crcBitByBit(bytes) {
  let rest = bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n) << 8n;
  for (let bit = BigInt(bytes.length * 8 + 7); bit >= 8n; bit -= 1n) {
    if ((rest >> bit) & 1n) rest ^= 0x107n << (bit - 8n);
  }
  return Number(rest);
}

it('survives compression noise and blurred edges', () => {
  const noise = (value, x) => (x % 16 < 3 ? 126 : value) + ((x * 7919) % 61) - 30;
  expect(decodeStrip(paint(4711, 99, 1280, 720, noise), 1280, 720)).toEqual({ ok: true, counter: 4711, clockMs: 99 });
});

it('says no to a picture without a strip and to a broken one', () => {
  expect(decodeStrip(new Uint8ClampedArray(1280 * 18 * 4), 1280, 720).ok).toBe(false);
  const flipped = paint(5, 5, 1280, 720, (value, x) => (x >= 30 * 16 && x < 31 * 16 ? 251 - value : value));
  expect(decodeStrip(flipped, 1280, 720).ok).toBe(false);
});

it('stands alone as text, as it is carried into pages', () => {
  const carried = new Function(`return (${decodeStrip.toString()})`)();
  expect(carried(paint(7, 8, 640, 360), 640, 360)).toEqual({ ok: true, counter: 7, clockMs: 8 });
});

it('completes the clock and sums up recordings', () => {
  const now = 1_795_386_628_588;
  expect(fullClock((now - 250) % 2 ** 40, now)).toBe(now - 250);
  const frames = [300, 100, 200].map((late, index) => ({ ok: true, counter: index, clockMs: (now - late) % 2 ** 40, atMs: now }));
  expect(latencies(frames)).toEqual([100, 200, 300]);
  expect(quantile([100, 200, 300], 0.5)).toBe(200);
  expect(reorderings([{ ok: true, counter: 1 }, { ok: true, counter: 3 }, { ok: true, counter: 2 }])).toBe(1);
});
