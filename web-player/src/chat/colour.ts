/** Hues that keep 4.5 : 1 on both backgrounds with the lightness that the style sheet gives them. */
const HUES = [8, 32, 85, 140, 165, 190, 215, 250, 285, 325] as const;

/** A steady hue for a name, so that people can be told apart at a glance. */
export function hueOf(name: string): number {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return HUES[hash % HUES.length] ?? 190;
}
