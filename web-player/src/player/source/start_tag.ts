import type Hls from 'hls.js';
import type { HlsConfig, LoaderCallbacks, LoaderConfiguration, LoaderContext, PlaylistLoaderContext } from 'hls.js';

/** The multivariant playlist with the wish to begin so many milliseconds before its end (EXT-X-START, section 4.4.2.2). */
export function withStart(playlist: string, behindMs: number): string {
  return `${playlist.trimEnd()}\n#EXT-X-START:TIME-OFFSET=${(-behindMs / 1000).toFixed(3)},PRECISE=YES\n`;
}

/**
 * A loader of playlists that lets hls.js begin in the past. Its own setting for that is a place on a line whose zero is known only
 * when the first playlist is there, and by then it has begun at the present.
 *
 * `behind` says how far back when the playlist has come.
 */
export function beginningIn(Engine: typeof Hls, behind: () => number): NonNullable<HlsConfig['pLoader']> {
  return class extends Engine.DefaultConfig.loader {
    override load(context: LoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<LoaderContext>): void {
      if ((context as PlaylistLoaderContext).type !== 'manifest') {
        super.load(context, config, callbacks);
        return;
      }
      const onSuccess: typeof callbacks.onSuccess = (response, ...rest) => {
        if (typeof response.data === 'string') response.data = withStart(response.data, behind());
        callbacks.onSuccess(response, ...rest);
      };
      super.load(context, config, { ...callbacks, onSuccess });
    }
  } as unknown as NonNullable<HlsConfig['pLoader']>;
}
