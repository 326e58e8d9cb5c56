/**
 * Whether a picture that comes by WebRTC may have the screen. Pure: the time is passed in, in milliseconds.
 *
 * Where nothing moves on the screen, its first frame has it at once. Where HLS plays, WebRTC has to earn it by a steady
 * picture: on a path that lets a frame through now and then, each would take the screen and freeze there. Whoever earned it is
 * on probation, and who loses it again waits longer each time, as routes that flap do (RFC 2439).
 */

/** Frames further apart than this do not make one movement. They are looked for twice a second: one look may be in vain. */
export const RUN_GAP_MS = 1_200;
/**
 * A picture that moves for this long without a gap is steady. Longer than what a jitter buffer and a burst of repaired
 * packets can show by themselves; shorter than anybody minds a delay of seconds for.
 */
export const STEADY_FOR_MS = 3_000;
/** A peer that does not get so far in this time is given up: two streams on a bad path make it worse. */
export const PROVE_BY_MS = 120_000;
/** What goes well for so long needs no probation, and the relapses of before are forgotten. */
export const GOOD_FOR_MS = 300_000;
/** Stalls without a steady picture in between: one may be the source's. */
const STALLS_MAX = 1;

export interface Trust {
  /** Its frames have the screen at once. */
  readonly held: boolean;
  /** Since when the picture moves without a gap. */
  readonly runSince: number;
  /** Stalls since it was last steady. */
  readonly stalls: number;
  /** When it took the screen that HLS had, until that is long ago. */
  readonly takenAt: number | null;
  /** How often it lost a screen that it had earned. */
  readonly relapses: number;
}

export const UNTRIED: Trust = { held: false, runSince: 0, stalls: 0, takenAt: null, relapses: 0 };

/** Another peer begins: what the one before it earned does not count. `held`: there will be nothing else to show. */
export function anew(trust: Trust, held: boolean, now: number): Trust {
  return { ...trust, held, runSince: now, stalls: 0 };
}

/** A frame came so long after the one before it, or after the last moment at which nobody expected one. */
export function withFrame(trust: Trust, gapMs: number, now: number): Trust {
  const runSince = gapMs > RUN_GAP_MS ? now : trust.runSince;
  const held = trust.held || now - runSince >= STEADY_FOR_MS;
  const good = held && trust.takenAt !== null && now - trust.takenAt >= GOOD_FOR_MS;
  return { ...trust, runSince, held, stalls: held ? 0 : trust.stalls, ...(good ? { takenAt: null, relapses: 0 } : {}) };
}

export function withStall(trust: Trust): Trust {
  return { ...trust, held: false, stalls: trust.stalls + 1 };
}

/** Its steady picture takes the screen from HLS. */
export function withScreen(trust: Trust, now: number): Trust {
  return { ...trust, takenAt: now };
}

/** HLS had to take the screen back, or no steady picture came. */
export function withRelapse(trust: Trust): Trust {
  return { ...trust, held: false, takenAt: null, relapses: trust.relapses + 1 };
}

export function onProbation({ takenAt }: Trust, now: number): boolean {
  return takenAt !== null && now - takenAt < GOOD_FOR_MS;
}

/** Whether HLS should be at hand when it stalls. */
export function isShaky(trust: Trust, now: number): boolean {
  return trust.stalls > STALLS_MAX || onProbation(trust, now);
}
