import { describe, expect, it } from 'vitest';
import { layerFor, options, ridFor, storeQuality, storedQuality } from '../src/player/quality';
import type { Layer, Layers } from '../src/player/quality';

const layer = (rid: string, height: number | null): Layer => ({ rid, height, bitrate: null, active: true });
const THREE = [layer('2', 180), layer('1', 360), layer('0', 720)];
const seen = (layers: Layer[], current: string | null): Layers => ({ layers, current, audioOnly: null });

describe('the Layer of a wish', () => {
  it.each([
    ['auto', null],
    [720, '0'],
    [500, '1'],
    [360, '1'],
    [100, '2'],
    [1080, '0'],
  ] as const)('%s', (wish, rid) => expect(layerFor(THREE, wish)?.rid ?? null).toBe(rid));

  it('is auto where no height is known', () => expect(ridFor([layer('a', null), layer('b', null)], 360)).toBe('auto'));
});

describe('the menu', () => {
  it('has auto and each height, the best first', () => {
    expect(options(seen(THREE, '1'), 'auto')).toEqual([
      { quality: 'auto', label: 'Auto (360p)', checked: true },
      { quality: 720, label: '720p', checked: false },
      { quality: 360, label: '360p', checked: false },
      { quality: 180, label: '180p', checked: false },
    ]);
  });

  it('checks what the wish comes to in this stream', () => {
    const checked = options(seen(THREE, '1'), 480).filter((option) => option.checked);
    expect(checked.map((option) => option.label)).toEqual(['360p']);
    expect(options(seen(THREE, '1'), 480)[0]?.label).toBe('Auto');
  });

  it('is not there without a choice', () => {
    expect(options(null, 'auto')).toEqual([]);
    expect(options(seen([layer('a', 720)], 'a'), 'auto')).toEqual([]);
    expect(options(seen([layer('a', 720), layer('b', 720)], 'a'), 'auto')).toEqual([]);
  });
});

it('the wish lasts as long as the session', () => {
  const kept = new Map<string, string>();
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
  expect(storedQuality(storage)).toBe('auto');
  storeQuality(storage, 360);
  expect(storedQuality(storage)).toBe(360);
  storeQuality(storage, 'auto');
  expect(storedQuality(storage)).toBe('auto');
  kept.set('swiftwater.quality', 'huge');
  expect(storedQuality(storage)).toBe('auto');
});
