export type Route = { page: 'home' } | { page: 'live' } | { page: 'watch'; channel: string } | { page: 'missing' };

/** The server serves this shell for `/`, `/live` and `/{channel}`; what is shown is decided here. */
export function routeOf(path: string): Route {
  const parts = path.split('/').filter((part) => part !== '');
  const first = parts[0];
  if (first === undefined) return { page: 'home' };
  if (parts.length > 1) return { page: 'missing' };
  if (first === 'live') return { page: 'live' };
  try {
    // The server knows names in lower case only.
    return { page: 'watch', channel: decodeURIComponent(first).toLowerCase() };
  } catch {
    return { page: 'missing' };
  }
}
