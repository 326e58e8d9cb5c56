/**
 * The server's clock, seen from here.
 *
 * A server time that arrives now was written at most a round trip ago. One-way samples (a ping's `t`) bound the
 * offset from below: the sample that travelled fastest is the best one. Round trips (hello → welcome) say how fast
 * the fastest can be. The answer is the best lower bound plus half of the shortest round trip.
 */
export class ServerClock {
  #bound: number | null = null;
  #shortestTrip = Number.POSITIVE_INFINITY;

  /** `server` was read at `receivedAt`; `sentAt` is when we asked, if we asked. Unix milliseconds of either clock. */
  sample(server: number, receivedAt: number, sentAt: number | null = null): void {
    if (sentAt !== null) this.#shortestTrip = Math.min(this.#shortestTrip, Math.max(0, receivedAt - sentAt));
    const bound = server - receivedAt;
    this.#bound = this.#bound === null ? bound : Math.max(this.#bound, bound);
  }

  /** What to add to our clock to get the server's; null before the first sample. */
  get offsetMs(): number | null {
    if (this.#bound === null) return null;
    return this.#bound + (Number.isFinite(this.#shortestTrip) ? this.#shortestTrip / 2 : 0);
  }

  /** The server's unix time now, or our own while we know nothing better. */
  now(local: number): number {
    return local + (this.offsetMs ?? 0);
  }
}
