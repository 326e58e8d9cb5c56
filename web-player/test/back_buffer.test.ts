import Hls from 'hls.js';
import { expect, it } from 'vitest';
import { keepBackBufferShort } from '../src/player/source/back_buffer';

const { Events } = Hls;
type Listener = (event: string, data: unknown) => void;

/** What is heard of hls.js and asked of it, and a video that has played from `start` to `at`. */
function stage(start: number, at: number) {
  const listeners = new Map<string, Listener[]>();
  const thrown: unknown[] = [];
  const hls = {
    on: (event: string, listener: Listener) => listeners.set(event, [...(listeners.get(event) ?? []), listener]),
    trigger: (event: string, data: unknown) => thrown.push([event, data]),
  };
  const video = { currentTime: at, buffered: { length: 1, start: () => start, end: () => at + 1 } };
  keepBackBufferShort(hls as unknown as Hls, Events, video as unknown as HTMLVideoElement);
  const say = (event: string, type: string) => listeners.get(event)?.forEach((it) => { it(event, { frag: { type } }); });
  return { say, thrown, video };
}

it('throws away what was played long ago once nothing is on its way', () => {
  const { say, thrown } = stage(0, 50);
  say(Events.FRAG_LOADING, 'main');
  say(Events.FRAG_LOADING, 'audio');
  say(Events.FRAG_BUFFERED, 'main');
  expect(thrown).toEqual([]);
  say(Events.FRAG_BUFFERED, 'audio');
  expect(thrown).toEqual([[Events.BUFFER_FLUSHING, { startOffset: 0, endOffset: 40, type: null }]]);
});

it('does not wait for what failed', () => {
  const { say, thrown } = stage(0, 50);
  say(Events.FRAG_LOADING, 'audio');
  say(Events.ERROR, 'audio');
  say(Events.FRAG_BUFFERED, 'main');
  expect(thrown).toHaveLength(1);
});

it('leaves what was played just now', () => {
  const { say, thrown } = stage(0, 30);
  say(Events.FRAG_BUFFERED, 'main');
  expect(thrown).toEqual([]);
});
