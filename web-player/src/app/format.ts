/** `1:02:03`, or `4:05` below an hour. */
export function duration(ms: number): string {
  const all = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(all / 3600);
  const minutes = Math.floor((all % 3600) / 60);
  const seconds = String(all % 60).padStart(2, '0');
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${seconds}` : `${minutes}:${seconds}`;
}

export function viewers(count: number): string {
  return `${count.toLocaleString()} ${count === 1 ? 'viewer' : 'viewers'}`;
}

/** `25 Nov 2026, 20:15`, by the clock of whoever looks. */
export function day(at: number): string {
  return new Date(at).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
}

/** `1.2 GB`. */
export function size(bytes: number): string {
  const [unit, length] = bytes >= 1e9 ? ['GB', 1e9] : ['MB', 1e6];
  const count = bytes / Number(length);
  return `${count.toFixed(count < 10 ? 1 : 0)} ${unit}`;
}
