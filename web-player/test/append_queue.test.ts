import Hls from 'hls.js';
import { expect, it } from 'vitest';
import { mendAppendQueue } from '../src/player/source/append_queue';

type Controller = typeof Hls.DefaultConfig.bufferController;

/** The queue as it would be: what is at its head, and which buffers went on. */
class Fake {
  stepped: string[] = [];
  heads: Record<string, string> = { audio: 'append-audio', video: 'async-blocker' };
  currentOp(type: string) {
    const label = this.heads[type];
    return label === undefined ? null : { label };
  }
  stepOperationQueue(types: string[]) {
    this.stepped.push(...types);
  }
}

it('lets only those buffers go on whose work does not end by itself', () => {
  const Mended = mendAppendQueue(Fake as unknown as Controller) as unknown as typeof Fake;
  const queue = new Mended();
  queue.stepOperationQueue(['audio', 'video', 'audiovideo']);
  expect(queue.stepped).toEqual(['video', 'audiovideo']);
  queue.heads = { audio: 'block-audio', video: 'remove' };
  queue.stepOperationQueue(['audio', 'video']);
  expect(queue.stepped).toEqual(['video', 'audiovideo', 'audio']);
});

it('finds what it mends in the hls.js that is installed', () => {
  const prototype: unknown = Hls.DefaultConfig.bufferController?.prototype;
  expect(prototype).toHaveProperty('currentOp');
  expect(prototype).toHaveProperty('stepOperationQueue');
});
