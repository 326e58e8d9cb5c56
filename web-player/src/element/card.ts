import type { Door } from '../access/grant';
import { phase } from '../player/state';
import type { PlayerState } from '../player/state';

/** What a button of the card does. */
export type Act = 'sign_in' | 'follow' | 'look';

export interface Button {
  readonly act: Act;
  readonly label: string;
}

/** What the middle of the picture says when there is no moving picture. */
export interface Card {
  readonly title: string;
  readonly text: string;
  /** Something is being done about it: the wave flows. */
  readonly busy: boolean;
  /** The first is what helps most. */
  readonly buttons: readonly Button[];
}

export function cardFor(state: PlayerState): Card | null {
  const say = (title: string, text: string, busy: boolean): Card => ({ title, text, busy, buttons: [] });
  const unreachable = state.gateway === 'down' || state.gateway === 'refused';
  switch (phase(state)) {
    case 'denied':
      return state.door === null || state.door === 'asking' ? null : doorCard(state.door);
    case 'connecting':
      if (unreachable && state.path.hls.failures > 0) {
        return say('The server does not answer', 'Trying again; the picture starts by itself.', true);
      }
      return say('Connecting…', state.liveness === 'live' ? 'The picture is on its way.' : '', true);
    case 'reconnecting':
      return say('Reconnecting…', 'The connection was interrupted. The picture comes back by itself.', true);
    case 'away':
      return say('The streamer’s connection dropped', 'Waiting a moment for it to come back.', true);
    case 'offline':
      return say('Not live right now', 'Leave this page open: the picture starts by itself as soon as the stream does.', false);
    case 'ended':
      return say('The stream has ended', 'Leave this page open: the next one starts by itself.', false);
    case 'playing':
      if (state.layers?.audioOnly !== 'bandwidth') return null;
      return say('Sound only for now', 'The connection is too slow for the picture. It comes back by itself.', true);
    case 'paused':
      return null;
  }
}

const SIGN_IN: Button = { act: 'sign_in', label: 'Sign in' };
const LOOK: Button = { act: 'look', label: 'Look again' };

function doorCard(door: Door): Card {
  const say = (title: string, text: string, ...buttons: Button[]): Card => ({ title, text, busy: false, buttons });
  switch (door.kind) {
    case 'sign_in':
      return door.visibility === 'followers'
        ? say('For followers', 'Sign in to follow this channel and watch it.', SIGN_IN)
        : say('For subscribers', 'Sign in with the account that has subscribed.', SIGN_IN, LOOK);
    case 'follow':
      return say('For followers', 'Follow this channel, and the picture starts.', { act: 'follow', label: 'Follow' });
    case 'subscribe':
      return say('For subscribers', 'Subscribe with the streamer. The picture starts by itself once you have.', LOOK);
    case 'link':
      return say('By invitation', 'This channel opens with a link from the streamer: ask for one, and open it here.', SIGN_IN);
    case 'forbidden':
      return say('You are not let in', door.words || 'The server does not let you watch this channel.', LOOK);
  }
}
