import { isFields, text } from './fields';
import type { Fields } from './fields';

/** What the server says no to, in its own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    words: string,
  ) {
    super(words);
  }
}

/** Asks the API of our own server; the session's cookie goes along by itself. Throws `Refused`, or what `fetch` throws. */
export async function ask(method: string, path: string, body?: object): Promise<Fields> {
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
