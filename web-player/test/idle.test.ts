import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Idle } from '../src/element/idle';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A picture that plays, with its bar. */
function rig() {
  const attributes = new Set<string>();
  const dataset: DOMStringMap = { phase: 'playing' };
  const host = Object.assign(new EventTarget(), {
    dataset,
    hasAttribute: (name: string) => attributes.has(name),
    toggleAttribute: (name: string, on = !attributes.has(name)) => {
      if (on) attributes.add(name);
      else attributes.delete(name);
      return on;
    },
  });
  const bar = Object.assign(new EventTarget(), { focused: null as object | null, querySelector: () => bar.focused });
  new Idle(host as unknown as HTMLElement, bar as unknown as HTMLElement);
  const pressed: string[] = [];
  for (const type of ['touchstart', 'mousedown', 'click']) bar.addEventListener(type, () => pressed.push(type));
  const send = (target: EventTarget, type: string, with_: object): boolean => target.dispatchEvent(Object.assign(new Event(type, { cancelable: true }), with_));
  return {
    dataset,
    bar,
    pressed,
    idle: () => attributes.has('data-idle'),
    /** A press that begins somewhere on the picture, and whose end the browser finds on the bar. */
    press: (pointerType: string) => {
      send(host, 'pointerdown', { pointerType });
      return ['mousedown', 'click'].map((type) => send(bar, type, { detail: 1 }));
    },
    down: (pointerType: string) => send(host, 'pointerdown', { pointerType }),
    send,
  };
}

/** As `rig`, and its controls have hidden since somebody moved. */
function hidden() {
  const it = rig();
  it.down('touch');
  vi.advanceTimersByTime(2_500);
  expect(it.idle()).toBe(true);
  return it;
}

it('the tap that brings the controls back presses none of them; the next does', () => {
  const { press, pressed, idle } = hidden();
  expect(press('touch')).toEqual([false, false]);
  expect([pressed, idle()]).toEqual([[], false]);
  press('touch');
  expect(pressed).toEqual(['mousedown', 'click']);
});

it('a slider does not begin to follow the finger that brought it back', () => {
  const { bar, down, pressed, send } = hidden();
  down('touch');
  send(bar, 'touchstart', {});
  expect(pressed).toEqual([]);
});

it('a mouse presses what it rests on, and a keyboard its button after a tap elsewhere', () => {
  const { bar, down, press, pressed, send } = hidden();
  press('mouse');
  expect(pressed).toEqual(['mousedown', 'click']);
  vi.advanceTimersByTime(2_500);
  down('touch');
  send(bar, 'click', { detail: 0 });
  expect(pressed).toEqual(['mousedown', 'click', 'click']);
});

it.each(['paused', 'reconnecting'])('controls that stay in sight (%s) take the first tap', (phase) => {
  const { dataset, press, pressed } = hidden();
  dataset.phase = phase;
  press('touch');
  expect(pressed).toEqual(['mousedown', 'click']);
});

it('so do those that a keyboard keeps in sight', () => {
  const { bar, press, pressed } = hidden();
  bar.focused = {};
  press('touch');
  expect(pressed).toEqual(['mousedown', 'click']);
});

it('the sheet hides the bar from fingers, and from nothing else', () => {
  const { dataset, down } = rig();
  down('touch');
  expect(dataset.pointer).toBe('touch');
  down('mouse');
  expect(dataset.pointer).toBe('mouse');
  const css = readFileSync(new URL('../src/element/element.css', import.meta.url), 'utf8');
  expect(css).toContain(":host([data-idle][data-phase='playing'][data-pointer='touch']) .bar { pointer-events: none; }");
  expect(css).toContain(":host([data-idle][data-phase='playing']) .bar:focus-within:has(:focus-visible) { opacity: 1; pointer-events: auto; }");
});
