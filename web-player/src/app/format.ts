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
