/**
 * Which Layer of the picture a viewer gets: its wish, and what there is to choose from. Pure.
 *
 * A wish is a height, not the name of a Layer: names differ from encoder to encoder, and the wish outlives the Stream.
 */

/** One Layer, as the server tells of it. */
export interface Layer {
  readonly rid: string;
  readonly height: number | null;
  /** Bits per second. */
  readonly bitrate: number | null;
  /** False while the encoder leaves it out. */
  readonly active: boolean;
}

/** What there is, from the lowest to the highest, and what is sent. */
export interface Layers {
  readonly layers: readonly Layer[];
  readonly current: string | null;
  /** Why there is sound alone. */
  readonly audioOnly: 'choice' | 'bandwidth' | null;
}

/** `auto`, or the height of the picture that the viewer wants. */
export type Quality = 'auto' | number;

/** The Layer of a wish: the highest that is not higher, else the lowest; null for `auto`. */
export function layerFor(layers: readonly Layer[], wish: Quality): Layer | null {
  if (wish === 'auto') return null;
  const known = layers.filter((layer) => layer.height !== null);
  return known.findLast((layer) => (layer.height ?? 0) <= wish) ?? known[0] ?? null;
}

/** What `rtc.layer` asks for. */
export function ridFor(layers: readonly Layer[], wish: Quality): string {
  return layerFor(layers, wish)?.rid ?? 'auto';
}

export interface Option {
  readonly quality: Quality;
  readonly label: string;
  readonly checked: boolean;
}

/** The menu: `Auto` and each Layer with its height, the best first; empty where there is nothing to choose. */
export function options(layers: Layers | null, wish: Quality): Option[] {
  const heights = [...new Set((layers?.layers ?? []).map((layer) => layer.height).filter((height) => height !== null))];
  if (layers === null || heights.length < 2) return [];
  const chosen = layerFor(layers.layers, wish)?.height ?? null;
  const sent = layers.layers.find((layer) => layer.rid === layers.current)?.height ?? null;
  const auto: Option = {
    quality: 'auto',
    label: wish === 'auto' && sent !== null ? `Auto (${sent}p)` : 'Auto',
    checked: chosen === null,
  };
  const fixed = heights.reverse().map((height) => ({ quality: height, label: `${height}p`, checked: chosen === height }));
  return [auto, ...fixed];
}

const KEY = 'swiftwater.quality';

/** The wish of this session: as long as the tab. */
export function storedQuality(storage: Pick<Storage, 'getItem'>): Quality {
  const height = Number(storage.getItem(KEY));
  return Number.isInteger(height) && height > 0 ? height : 'auto';
}

export function storeQuality(storage: Pick<Storage, 'setItem' | 'removeItem'>, quality: Quality): void {
  if (quality === 'auto') storage.removeItem(KEY);
  else storage.setItem(KEY, String(quality));
}
