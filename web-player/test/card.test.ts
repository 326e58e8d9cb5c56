import { expect, it } from 'vitest';
import { doorOf } from '../src/access/grant';
import { wayBack } from '../src/app/route';
import { cardFor } from '../src/element/card';
import { INITIAL, phase, reduce } from '../src/player/state';
import type { PlayerEvent, PlayerState } from '../src/player/state';

const START = { type: 'start', preference: 'auto', webrtc: true } as const;
const LIVE: PlayerEvent = { type: 'live', stream: { id: 's1', startedAt: 1, title: null }, preference: 'auto', webrtc: true };
const FOLLOW: PlayerEvent = { type: 'denied', door: doorOf(403, 'followers') };

function run(...events: PlayerEvent[]): PlayerState {
  return events.reduce((state, event, index) => reduce(state, event, index * 100), INITIAL);
}

it.each([
  [401, 'followers', 'For followers', ['Sign in']],
  [403, 'followers', 'For followers', ['Follow']],
  [401, 'subscribers', 'For subscribers', ['Sign in', 'Look again']],
  [403, 'subscribers', 'For subscribers', ['Look again']],
  [403, 'signed', 'By invitation', ['Sign in']],
] as const)('%i for %s: %s, with a button that helps', (status, visibility, title, buttons) => {
  const card = cardFor(run({ type: 'path', event: START }, { type: 'denied', door: doorOf(status, visibility) }));
  expect([card?.title, card?.buttons.map((button) => button.label)]).toEqual([title, buttons]);
});

it('nothing plays behind a closed door, also when the stream begins; it plays as soon as the door opens', () => {
  const closed = run({ type: 'path', event: START }, FOLLOW, LIVE);
  expect([phase(closed), closed.path.active]).toEqual(['denied', false]);
  const open = reduce(closed, { type: 'admitted', start: START }, 500);
  expect([phase(open), open.path.webrtc.state]).toEqual(['connecting', 'connecting']);
});

it('while it is asked why, the card says that it connects', () => {
  expect(cardFor(run({ type: 'path', event: START }, { type: 'denied', door: 'asking' }))?.title).toBe('Connecting…');
});

it('a door that opens to a channel that is offline starts nothing', () => {
  const offline = run({ type: 'path', event: START }, { type: 'notLive' }, FOLLOW, { type: 'admitted', start: START });
  expect([phase(offline), offline.path.active]).toEqual(['offline', false]);
});

it.each([
  ['?then=%2Fana', '/ana'],
  ['?then=%2Fana%3Fvia%3Dhls', '/ana?via=hls'],
  ['?then=%2F%2Fevil.test', null],
  ['?then=%2F%5Cevil.test', null],
  ['?then=https%3A%2F%2Fevil.test', null],
  ['?then=javascript%3Aalert(1)', null],
  ['', null],
])('the way back of %s', (search, way) => {
  expect(wayBack(search)).toBe(way);
});
