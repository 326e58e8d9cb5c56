import type { Door } from '../access/grant';
import type { Recording } from '../api/recordings';
import { phase } from '../player/state';
import type { PlayerState } from '../player/state';
import { clock } from '../player/timeline';

/** What a button of the card does. */
export type Act = 'sign_in' | 'follow' | 'look' | 'home' | 'watch_last' | 'watch_again' | 'leave_recording';

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

/** `now`: unix milliseconds of the server. */
export function cardFor(state: PlayerState, now: number): Card | null {
  const say = (title: string, text: string, busy: boolean): Card => ({ title, text, busy, buttons: [] });
  const unreachable = state.gateway === 'down' || state.gateway === 'refused';
  if (state.recording !== null) return recordingCard(state.recording, state.liveness === 'live' || state.liveness === 'away');
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
      return withLast('Not live right now', 'Leave this page open: the picture starts by itself as soon as the stream does.', state, now);
    case 'ended':
      return withLast('The stream has ended', 'Leave this page open: the next one starts by itself.', state, now);
    case 'missing':
      return { title: 'There is no such channel', text: 'Look at the address again. If the channel is made, its picture starts here by itself.', busy: false, buttons: [HOME] };
    case 'playing':
      if (state.layers?.audioOnly !== 'bandwidth') return null;
      return say('Sound only for now', 'The connection is too slow for the picture. It comes back by itself.', true);
    case 'paused':
      return null;
  }
}

/** What the channel has left is better than nothing. */
function withLast(title: string, text: string, state: PlayerState, now: number): Card {
  const last = state.recordings?.[0];
  if (last === undefined) return { title, text, busy: false, buttons: [] };
  const when = ago(now - (last.endedAt ?? last.startedAt + last.durationMs));
  const words = `Last broadcast ${when}, ${clock(last.durationMs)} long. The next one starts here by itself.`;
  return { title, text: words, busy: false, buttons: [{ act: 'watch_last', label: 'Watch the last broadcast' }] };
}

function recordingCard({ is, state }: { is: Recording; state: string }, live: boolean): Card | null {
  const leave: Button = { act: 'leave_recording', label: live ? 'Watch live' : 'Close' };
  switch (state) {
    case 'opening':
      return { title: 'Opening the recording…', text: clock(is.durationMs), busy: true, buttons: [] };
    case 'over':
      return { title: 'The end', text: '', busy: false, buttons: [{ act: 'watch_again', label: 'Play again' }, leave] };
    case 'failed':
      return { title: 'The recording does not play', text: 'It may have been removed.', busy: false, buttons: [{ act: 'watch_again', label: 'Try again' }, leave] };
    default:
      return null;
  }
}

const UNITS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [['year', 31_557_600_000], ['month', 2_629_800_000], ['day', 86_400_000], ['hour', 3_600_000], ['minute', 60_000]];

/** `3 hours ago`. */
export function ago(ms: number): string {
  const [unit, length] = UNITS.find(([, length]) => ms >= length) ?? ['minute', Number.POSITIVE_INFINITY];
  return ms < 60_000 ? 'a moment ago' : new Intl.RelativeTimeFormat('en').format(-Math.floor(ms / length), unit);
}

const SIGN_IN: Button = { act: 'sign_in', label: 'Sign in' };
const HOME: Button = { act: 'home', label: 'To the live channels' };
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
