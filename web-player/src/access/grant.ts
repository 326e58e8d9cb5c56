/**
 * Grants: signed tokens that open a channel which is not for everybody. Pure: what can be read off a token, and where it
 * stands in an address. Whether it is good, the server alone knows.
 */

import { isFields, number } from '../api/fields';

/** Who a channel is for. Another word of a newer server is treated like `signed`. */
export type Visibility = 'public' | 'unlisted' | 'followers' | 'subscribers' | 'signed';

/** Why a viewer does not get in, and so what would help. */
export interface Door {
  /** `link`: the channel's owner gives out links. `forbidden`: nothing that this page knows of helps. */
  readonly kind: 'sign_in' | 'follow' | 'subscribe' | 'link' | 'forbidden';
  readonly visibility: Visibility;
  /** The server's own words, for `forbidden`. */
  readonly words: string | null;
}

/** A token is renewed when so much of its life is over: what is left covers an API that is busy for a while. */
const RENEW_AFTER = 2 / 3;
/** What a token lasts that does not say. */
const LIFETIME_DEFAULT_MS = 600_000;
/** Tokens of seconds (tests, mostly) are not asked for more often than this. */
const RENEW_MIN_MS = 1_000;

export function visibilityOf(word: unknown): Visibility {
  return word === 'public' || word === 'unlisted' || word === 'followers' || word === 'subscribers' ? word : 'signed';
}

/** Everybody may watch, without a grant. */
export function isOpen(visibility: Visibility): boolean {
  return visibility === 'public' || visibility === 'unlisted';
}

/** How long after it was made a token should be replaced. By its own two times (RFC 7519): our clock may be wrong. */
export function renewAfterMs(token: string): number {
  const lifetime = lifetimeMs(token) ?? LIFETIME_DEFAULT_MS;
  return Math.max(RENEW_MIN_MS, lifetime * RENEW_AFTER);
}

function lifetimeMs(token: string): number | null {
  try {
    const claims: unknown = JSON.parse(atob((token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/')));
    if (!isFields(claims)) return null;
    const [from, to] = [number(claims.iat), number(claims.exp)];
    return from === null || to === null || to <= from ? null : (to - from) * 1000;
  } catch {
    return null;
  }
}

/** The place of a grant in an address: `/hls/t/{grant}/…`, `/vod/t/{grant}/…`. A channel may be called `t`; no name has two dots. */
const PLACE = /\/(hls|vod)\/(?:t\/[\w-]+\.[\w-]+\.[\w-]*\/)?/;

/** An address below `/hls/` or `/vod/` with this grant in it instead of the one that it had, if any. */
export function openedBy(url: string, token: string | null): string {
  return url.replace(PLACE, (_place, root: string) => (token === null ? `/${root}/` : `/${root}/t/${token}/`));
}

/** What keeps somebody out whom the API gave no grant. `status`: 401 where nobody is signed in, 403 where the account does not do. */
export function doorOf(status: number, visibility: Visibility): Door {
  const door = (kind: Door['kind']): Door => ({ kind, visibility, words: null });
  if (visibility === 'followers') return door(status === 401 ? 'sign_in' : 'follow');
  if (visibility === 'subscribers') return door(status === 401 ? 'sign_in' : 'subscribe');
  return door('link');
}
