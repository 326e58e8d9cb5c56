import type { Pass, PassStatus } from '../access/pass';
import type { GatewayClient } from '../gateway/client';
import type { PathEvent } from './path';
import type { PlayerEvent, PlayerState } from './state';

/** The server that refuses a grant which the API has just made means this viewer, not the grant. */
const REFUSALS_MAX = 2;
/** Messages of the chat that are there when somebody comes. */
const HISTORY = 50;

export interface AdmissionOptions {
  /** The way into the channel that is played. */
  readonly pass: Pick<Pass, 'channel' | 'token' | 'status' | 'renew' | 'look'>;
  readonly gateway: Pick<GatewayClient, 'join' | 'rejoin'>;
  state(): PlayerState;
  tell(event: PlayerEvent): void;
  /** How it would begin now. */
  begin(): Extract<PathEvent, { type: 'start' }>;
  /** The gateway knows no such channel. */
  missing(): void;
}

/** Whether this viewer is let in, and what is done when the server says no. */
export class Admission {
  #options: AdmissionOptions;
  /** Grants refused since the last picture. */
  #refusals = 0;
  /** The gateway has not let us join. */
  #unjoined = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Joins the channel at the gateway: what happens there, and the chat. */
  join(): void {
    const { gateway, missing, pass } = this.#options;
    gateway.join(this.#room, HISTORY, {
      token: () => pass.token,
      missing,
      refused: (used, words) => {
        this.#unjoined = true;
        void this.refused(used, words);
      },
    });
  }

  /** Asks the gateway again to let us join. */
  rejoin(): void {
    this.#options.gateway.rejoin(this.#room);
  }

  /** There is a picture: what was refused before does not count. */
  watched(): void {
    this.#refusals = 0;
  }

  /** Whoever was not let in tries again. */
  tryAgain(): void {
    this.#refusals = 0;
    if (this.#options.pass.status.state === 'open') this.#admit();
    else this.#options.pass.look();
  }

  passChanged(status: PassStatus): void {
    const { door, path } = this.#options.state();
    if (status.state === 'open' && door !== 'asking') this.#admit();
    // Who watches already stays: the server says so itself when they have to go.
    if (status.state === 'closed' && path.shown === 'none') this.#options.tell({ type: 'denied', door: status.door });
  }

  /** The server did not let us in with this grant: the API may have another one, or say what is missing. */
  async refused(used: string | null, words: string): Promise<void> {
    const { pass, state, tell } = this.#options;
    if (state().door !== null) return;
    tell({ type: 'denied', door: 'asking' });
    const status = await pass.renew(used);
    if (state().door !== 'asking') return;
    this.#refusals += 1;
    if (status.state === 'closed') tell({ type: 'denied', door: status.door });
    else if (this.#refusals > REFUSALS_MAX) tell({ type: 'denied', door: { kind: 'forbidden', visibility: 'signed', words } });
    else if (status.state === 'open') this.#admit();
  }

  #admit(): void {
    const { state, tell, begin } = this.#options;
    if (state().door !== null) tell({ type: 'admitted', start: begin() });
    if (!this.#unjoined) return;
    this.#unjoined = false;
    this.rejoin();
  }

  get #room(): string {
    return `stream:${this.#options.pass.channel}`;
  }
}
