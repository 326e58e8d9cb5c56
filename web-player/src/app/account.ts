/** Accounts, channels and stream keys over `/api/v1`, checked where they enter. The session is a cookie that scripts cannot read. */

import { isFields, number, text } from './api';
import type { Fields } from './api';

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

/** What the server says no to, in its own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    words: string,
  ) {
    super(words);
  }
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
    return isFields(body.account) ? text(body.account.login) : null;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return null;
    throw error;
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

function keysOf(channel: string): string {
  return `/api/v1/channels/${encodeURIComponent(channel)}/keys`;
}

function list(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isFields) : [];
}

async function ask(method: string, path: string, body?: object): Promise<Fields> {
  const response = await fetch(path, {
    method,
    headers: { Accept: 'application/json', ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const answer: unknown = response.status === 204 ? {} : await response.json().catch(() => ({}));
  const fields = isFields(answer) ? answer : {};
  if (!response.ok) throw new Refused(response.status, text(fields.detail) ?? text(fields.title) ?? `The server answered ${response.status}.`);
  return fields;
}
