/** Accounts, channels and stream keys over `/api/v1`, checked where they enter. The session is a cookie that scripts cannot read. */

import { isOpen, visibilityOf } from '../access/grant';
import { noteSignedIn } from '../access/identity';
import { Refused, ask } from '../api/ask';
import { isFields, list, number, text } from '../api/fields';
import type { Fields } from '../api/fields';

export interface Channel {
  readonly name: string;
  readonly visibility: string;
  readonly live: boolean;
  /** The configuration file names it: its keys stand there. */
  readonly configured: boolean;
}

export interface StreamKey {
  readonly id: string;
  readonly name: string;
  /** Its last characters. */
  readonly hint: string;
  readonly lastUsedAt: number | null;
}

export interface Doors {
  /** There is no account yet: the first one is made with the token in the server's log. */
  readonly setupNeeded: boolean;
  readonly signUp: 'open' | 'invite' | 'closed';
}

export async function fetchDoors(): Promise<Doors> {
  const body = await ask('GET', '/api/v1/setup');
  const signUp = text(body.signUp);
  return { setupNeeded: body.needed === true, signUp: signUp === 'open' || signUp === 'invite' ? signUp : 'closed' };
}

/** The login of who is signed in, or null. */
export async function fetchLogin(): Promise<string | null> {
  try {
    const body = await ask('GET', '/api/v1/me');
    noteSignedIn(true);
    return isFields(body.account) ? text(body.account.login) : null;
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 401) throw error;
    noteSignedIn(false);
    return null;
  }
}

export const setUp = (token: string, login: string, password: string): Promise<Fields> =>
  ask('POST', '/api/v1/setup', { token, login, password });

export const signUp = (login: string, password: string, invite: string): Promise<Fields> =>
  ask('POST', '/api/v1/users', { login, password, ...(invite === '' ? {} : { invite }) });

export const signIn = (login: string, password: string): Promise<Fields> => ask('POST', '/api/v1/session', { login, password });

export const signOut = (): Promise<Fields> => ask('DELETE', '/api/v1/session');

export async function fetchChannels(): Promise<Channel[]> {
  const body = await ask('GET', '/api/v1/channels');
  return list(body.items).flatMap((it) => {
    const name = text(it.name);
    return name === null ? [] : [{ name, visibility: text(it.visibility) ?? 'public', live: it.live === true, configured: it.configured === true }];
  });
}

export const makeChannel = (name: string): Promise<Fields> => ask('POST', '/api/v1/channels', { name });

export const setVisibility = (channel: string, visibility: string): Promise<Fields> =>
  ask('PATCH', `/api/v1/channels/${encodeURIComponent(channel)}`, { visibility });

export async function fetchKeys(channel: string): Promise<StreamKey[]> {
  const body = await ask('GET', keysOf(channel));
  return list(body.items).flatMap((it) => {
    const id = text(it.id);
    return id === null ? [] : [{ id, name: text(it.name) ?? '', hint: text(it.hint) ?? '', lastUsedAt: number(it.lastUsedAt) }];
  });
}

/** The new key itself: it is shown this once. */
export async function makeKey(channel: string): Promise<string> {
  const body = await ask('POST', keysOf(channel), {});
  return text(body.secret) ?? '';
}

export const revokeKey = (channel: string, id: string): Promise<Fields> => ask('DELETE', `${keysOf(channel)}/${encodeURIComponent(id)}`);

/** Lists of followed channels have no end in sight; who follows more than this is told of the first ones. */
const FOLLOWS_MAX = 2_000;

/** Whether the one who is signed in follows the channel. */
export async function follows(channel: string): Promise<boolean> {
  let cursor: string | null = '';
  for (let seen = 0; cursor !== null && seen < FOLLOWS_MAX; seen += 100) {
    const after = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const body: Fields = await ask('GET', `/api/v1/me/follows?limit=100${after}`);
    if (Array.isArray(body.items) && body.items.includes(channel)) return true;
    cursor = text(body.next);
  }
  return false;
}

export const follow = (channel: string): Promise<Fields> => ask('PUT', followOf(channel), { notify: true });

export const unfollow = (channel: string): Promise<Fields> => ask('DELETE', followOf(channel));

/** A grant for oneself; null for a channel that needs none. */
export async function grantFor({ name, visibility }: Channel): Promise<string | null> {
  if (isOpen(visibilityOf(visibility))) return null;
  return text((await ask('POST', `/api/v1/channels/${encodeURIComponent(name)}/grants`, {})).token);
}

function followOf(channel: string): string {
  return `/api/v1/channels/${encodeURIComponent(channel)}/follow`;
}

function keysOf(channel: string): string {
  return `/api/v1/channels/${encodeURIComponent(channel)}/keys`;
}
