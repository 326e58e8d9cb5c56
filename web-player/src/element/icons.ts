/** The player's icons: 24 × 24, drawn with `currentColor`. Constants of ours; nothing from outside enters them. */
function icon(paths: string): string {
  return `<svg viewBox="0 0 24 24" aria-hidden="true" focusable="false">${paths}</svg>`;
}

const SPEAKER = '<path fill="currentColor" d="M4 9.5v5h3.4L12 18.6V5.4L7.4 9.5z"/>';
const line = (d: string): string =>
  `<path fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" d="${d}"/>`;

export const ICONS = {
  play: icon('<path fill="currentColor" d="M8 5.6v12.8a.8.8 0 0 0 1.2.7l10-6.4a.8.8 0 0 0 0-1.4l-10-6.4a.8.8 0 0 0-1.2.7z"/>'),
  pause: icon('<rect fill="currentColor" x="6.5" y="5" width="4" height="14" rx="1.2"/><rect fill="currentColor" x="13.5" y="5" width="4" height="14" rx="1.2"/>'),
  sound: icon(SPEAKER + line('M15.2 9.2a4 4 0 0 1 0 5.6M17.8 6.6a7.6 7.6 0 0 1 0 10.8')),
  muted: icon(SPEAKER + line('M15.5 9.7l4.6 4.6M20.1 9.7l-4.6 4.6')),
  theatre: icon(line('M3.5 7.5h17v9h-17zM15.5 7.5v9')),
  pip: icon(line('M3.5 6h17v12h-17z') + '<rect fill="currentColor" x="12" y="11.5" width="6.5" height="4.8" rx=".8"/>'),
  fullscreen: icon(line('M4.5 9V4.5H9M15 4.5h4.5V9M19.5 15v4.5H15M9 19.5H4.5V15')),
  stats: icon(line('M5 19.5v-6M12 19.5v-15M19 19.5v-9.5')),
  quality: icon(line('M4 7.5h9M17.5 7.5H20M4 16.5h2.5M11 16.5h9') + '<circle cx="15.2" cy="7.5" r="2.2" fill="none" stroke="currentColor" stroke-width="2"/><circle cx="8.8" cy="16.5" r="2.2" fill="none" stroke="currentColor" stroke-width="2"/>'),
  help: icon(line('M9.2 9.3a2.9 2.9 0 1 1 4.3 2.5c-1 .6-1.5 1.1-1.5 2.2') + '<circle cx="12" cy="17.4" r="1.2" fill="currentColor"/>'),
} as const;
