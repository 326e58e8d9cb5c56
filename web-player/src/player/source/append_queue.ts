import type Hls from 'hls.js';

/** What hls.js keeps of a SourceBuffer's work, as far as it matters here. */
interface Operation {
  readonly label: string;
}

type BufferName = 'audio' | 'video' | 'audiovideo';

/** The part of hls.js's buffer controller that is mended. */
interface BufferController {
  currentOp(type: BufferName): Operation | null;
  stepOperationQueue(types: BufferName[]): void;
}

/** Ends with the buffer's own `updateend`, and with nothing else. */
function endsByItself(operation: Operation | null): boolean {
  return operation !== null && (operation.label.startsWith('append') || operation.label === 'remove');
}

/**
 * The buffer controller of hls.js (1.7), which after each fragment lets the queues of all buffers go on, also of one that
 * it did not stop. Between the end of an append and its `updateend` that takes the operation away too early; the next two
 * appends then run into each other ("still processing an 'appendBuffer'"), and a busy machine loses its picture.
 */
export function mendAppendQueue(original: typeof Hls.DefaultConfig.bufferController): typeof Hls.DefaultConfig.bufferController {
  if (original === undefined) return original;
  const Original = original as unknown as new (...given: unknown[]) => BufferController;
  class Mended extends Original {
    override stepOperationQueue(types: BufferName[]): void {
      super.stepOperationQueue(types.filter((type) => !endsByItself(this.currentOp(type))));
    }
  }
  return Mended as unknown as typeof original;
}
