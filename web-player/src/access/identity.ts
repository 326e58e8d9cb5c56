import { Refused, ask } from '../api/ask';
import { isFields, text } from '../api/fields';
import { renewAfterMs } from './grant';

/** An account, as it is shown. */
export interface Account {
  readonly login: string;
  readonly display: string;
}

/** Who is signed in on this page (a cookie that scripts cannot read says it to the API), and the token that says it to the gateway. */
export class Identity {
  #asked: Promise<{ account: Account; token: string } | null> | null = null;
  #askedAt = 0;

  /** Null for guests, and while the API does not answer. */
  async account(): Promise<Account | null> {
    return (await this.#ask())?.account ?? null;
  }

  /** For `hello`; null for guests. */
  async token(): Promise<string | null> {
    const known = await this.#ask();
    if (known === null || performance.now() - this.#askedAt < renewAfterMs(known.token)) return known?.token ?? null;
    this.forget();
    return (await this.#ask())?.token ?? null;
  }

  /** What is known may be wrong by now: it is asked for anew. */
  forget(): void {
    this.#asked = null;
  }

  #ask(): Promise<{ account: Account; token: string } | null> {
    if (this.#asked === null) {
      this.#askedAt = performance.now();
      // Whatever goes wrong is no reason to keep somebody from watching as a guest.
      this.#asked = signedInHere() ? find().catch(() => null) : Promise.resolve(null);
    }
    return this.#asked;
  }
}

/** Another page of ours reads it to hear of a sign-in (`storage` event). */
export const SIGNED_IN_KEY = 'swiftwater.signedIn';

/** Notes that this browser has a session, or has none any more: guests are spared a question that is answered by 401. */
export function noteSignedIn(signedIn: boolean): void {
  try {
    if (signedIn) localStorage.setItem(SIGNED_IN_KEY, '1');
    else localStorage.removeItem(SIGNED_IN_KEY);
  } catch {
    // Without storage it is asked every time.
  }
}

function signedInHere(): boolean {
  try {
    return localStorage.getItem(SIGNED_IN_KEY) !== null;
  } catch {
    return true;
  }
}

async function find(): Promise<{ account: Account; token: string } | null> {
  const body = await ask('GET', '/api/v1/me').catch((error: unknown) => {
    if (error instanceof Refused && error.status === 401) noteSignedIn(false);
    throw error;
  });
  const account = isFields(body.account) ? body.account : {};
  const [login, token] = [text(account.login), text(body.gatewayToken)];
  if (login === null || token === null) return null;
  return { account: { login, display: text(account.displayName) || login }, token };
}
