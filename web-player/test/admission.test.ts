import { describe, expect, it } from 'vitest';
import type { PassStatus } from '../src/access/pass';
import type { GatewayClient } from '../src/gateway/client';
import { Admission } from '../src/player/admission';
import { INITIAL, reduce } from '../src/player/state';
import type { PlayerState } from '../src/player/state';

const CLOSED: PassStatus = { state: 'closed', door: { kind: 'follow', visibility: 'followers', words: '' } };
const open = (token: string): PassStatus => ({ state: 'open', token });

/** A channel whose pass says, one after the other, what the test has laid out. */
function rig(...answers: PassStatus[]) {
  let state: PlayerState = INITIAL;
  let ask: Parameters<GatewayClient['join']>[2];
  const rejoined: string[] = [];
  const renewed: (string | null)[] = [];
  let looks = 0;
  const pass = {
    channel: 'ana',
    token: 't0',
    status: { state: 'asking' } as PassStatus,
    look: () => (looks += 1),
    renew: async (used: string | null) => {
      renewed.push(used);
      pass.status = answers.shift() ?? pass.status;
      return pass.status;
    },
  };
  const admission = new Admission({
    pass,
    gateway: { join: (_ch, _history, options) => (ask = options), rejoin: (ch) => rejoined.push(ch) },
    state: () => state,
    tell: (event) => (state = reduce(state, event, 0)),
    begin: () => ({ type: 'start', preference: 'auto', webrtc: true }),
    missing: () => undefined,
  });
  return { admission, pass, rejoined, renewed, looks: () => looks, state: () => state, ask: () => ask };
}

describe('a grant that the server does not take', () => {
  it('is renewed, and the picture begins with the next', async () => {
    const { admission, renewed, state } = rig(open('t1'));
    await admission.refused('t0', 'expired');
    expect(renewed).toEqual(['t0']);
    expect(state()).toMatchObject({ door: null, path: { active: true, webrtc: { state: 'connecting' } } });
  });

  it('shows the door that the API names', async () => {
    const { admission, state } = rig(CLOSED);
    await admission.refused('t0', '');
    expect(state()).toMatchObject({ door: { kind: 'follow' }, path: { active: false } });
  });

  it('means this viewer when it is refused again and again, unless there was a picture', async () => {
    const { admission, state } = rig(open('t1'), open('t2'), open('t3'), open('t4'));
    await admission.refused('t0', '');
    await admission.refused('t1', '');
    admission.watched();
    await admission.refused('t2', '');
    await admission.refused('t3', '');
    expect(state().door).toBeNull();
    await admission.refused('t4', 'you are banned');
    expect(state().door).toEqual({ kind: 'forbidden', visibility: 'signed', words: 'you are banned' });
  });

  it('is asked about once, whoever refuses it meanwhile', async () => {
    const { admission, renewed } = rig(open('t1'));
    await Promise.all([admission.refused('t0', ''), admission.refused('t0', '')]);
    expect(renewed).toEqual(['t0']);
  });

  it('at the gateway has it join again with the next', async () => {
    const { admission, rejoined, ask } = rig(open('t1'));
    admission.join();
    ask()?.refused?.('t0', '');
    await Promise.resolve();
    await Promise.resolve();
    expect(rejoined).toEqual(['stream:ana']);
  });
});

describe('a door', () => {
  it('closes on nobody who watches already', () => {
    const { admission, state } = rig();
    admission.passChanged(CLOSED);
    expect(state().door).toMatchObject({ kind: 'follow' });
    admission.passChanged(open('t1'));
    expect(state()).toMatchObject({ door: null, path: { active: true } });
  });

  it('is tried again by hand: with the grant, or by looking whether there is one', () => {
    const { admission, pass, looks, state } = rig();
    admission.passChanged(CLOSED);
    admission.tryAgain();
    expect([looks(), state().path.active]).toEqual([1, false]);
    pass.status = open('t1');
    admission.tryAgain();
    expect([looks(), state().path.active]).toEqual([1, true]);
  });
});
