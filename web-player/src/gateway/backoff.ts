/** Full-jitter backoff: a random wait below a bound that doubles, so that ten thousand clients do not return together. */
export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

export const RECONNECT: Backoff = { firstMs: 500, maxMs: 30_000 };

/** The wait before attempt number `attempt` (0 is the first repetition). `random` is in [0, 1). */
export function backoffMs(attempt: number, random: number, backoff: Backoff = RECONNECT): number {
  const bound = Math.min(backoff.maxMs, backoff.firstMs * 2 ** Math.min(attempt, 16));
  return Math.round(random * bound);
}
