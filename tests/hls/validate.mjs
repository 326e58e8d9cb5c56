// Reads playlists from stdin, one after the other (each begins with #EXTM3U), and judges them with hls-parser in
// strict mode, and by two rules that it misses. Prints what is wrong and exits with 1, or prints how many were
// right.
//
//   cd <a directory with hls-parser 0.16.1 in node_modules> && node <path>/validate.mjs < playlists
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';

const require = createRequire(join(process.cwd(), 'package.json'));
const HLS = require('hls-parser');
HLS.setOptions({ strictMode: true });

const playlists = readFileSync(0, 'utf8')
  .split(/^(?=#EXTM3U$)/m)
  .filter((text) => text.trim() !== '');

/** What hls-parser does not look at. */
function missed(text, playlist) {
  if (playlist.isMasterPlaylist) return playlist.variants.length === 0 ? ['no variant'] : [];
  const faults = [];
  if (!/^#EXT-X-MEDIA-SEQUENCE:\d+$/m.test(text)) faults.push('no EXT-X-MEDIA-SEQUENCE');
  const control = playlist.lowLatencyCompatibility;
  if (playlist.partTargetDuration !== undefined && !(control?.partHoldBack >= 3 * playlist.partTargetDuration - 1e-6)) {
    faults.push(`PART-HOLD-BACK ${control?.partHoldBack} is under 3 x ${playlist.partTargetDuration}`);
  }
  return faults;
}

/** hls-parser wants version 8 for EXT-X-GAP; section 8 of the draft has no such rule. */
function parse(text) {
  const gap = /^#EXT-X-GAP$/m.test(text);
  return HLS.parse(gap ? text.replace(/^#EXT-X-VERSION:6$/m, '#EXT-X-VERSION:8') : text);
}

let wrong = 0;
playlists.forEach((text, index) => {
  let faults;
  try {
    faults = missed(text, parse(text));
  } catch (error) {
    faults = [error.message];
  }
  if (faults.length > 0) {
    wrong += 1;
    console.error(`playlist ${index}: ${faults.join('; ')}\n${text}`);
  }
});
if (playlists.length === 0) {
  console.error('no playlist on stdin');
  wrong = 1;
}
if (wrong > 0) process.exit(1);
console.log(`${playlists.length} playlists, nothing found`);
