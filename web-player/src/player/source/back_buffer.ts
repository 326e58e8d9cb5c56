import type Hls from 'hls.js';

/** How much of what was played stays, so that a step back shows at once. */
const KEPT_S = 10;
/** It is thrown away when there is so much of it: seldom, for each time is a chance to go wrong. */
const TOO_MUCH_S = 40;

/**
 * Throws away what was played long ago, at moments at which nothing is on its way. hls.js (1.7) has `backBufferLength` for
 * that, and throws away whenever the next segment is shown. Then it forgets the parts that it has of a segment of which one
 * is just being loaded, and at the segment's end, which the browser tells a microsecond too early, it waits for them for
 * ever: until they are no longer in the playlist, three seconds without a picture.
 */
export function keepBackBufferShort(hls: Hls, Events: typeof Hls.Events, video: HTMLVideoElement): void {
  const loading = new Set<string>();
  hls.on(Events.FRAG_LOADING, (_event, { frag }) => loading.add(frag.type));
  hls.on(Events.ERROR, (_event, data) => {
    if (data.frag !== undefined) loading.delete(data.frag.type);
  });
  hls.on(Events.FRAG_LOAD_EMERGENCY_ABORTED, (_event, { frag }) => loading.delete(frag.type));
  hls.on(Events.FRAG_BUFFERED, (_event, { frag }) => {
    loading.delete(frag.type);
    const { buffered, currentTime } = video;
    if (loading.size > 0 || buffered.length === 0 || currentTime - buffered.start(0) < TOO_MUCH_S) return;
    hls.trigger(Events.BUFFER_FLUSHING, { startOffset: 0, endOffset: currentTime - KEPT_S, type: null });
  });
}
