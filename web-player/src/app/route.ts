export type Route = { page: 'home' } | { page: 'live' } | { page: 'account' } | { page: 'watch'; channel: string } | { page: 'missing' };

/** The server serves this shell for `/`, `/live`, `/account`, `/setup` and `/{channel}`; what is shown is decided here. */
export function routeOf(path: string): Route {
  const parts = path.split('/').filter((part) => part !== '');
  const first = parts[0];
  if (first === undefined) return { page: 'home' };
  if (parts.length > 1) return { page: 'missing' };
  if (first === 'live') return { page: 'live' };
  // The server's log names the second one, until the first account is made.
  if (first === 'account' || first === 'setup') return { page: 'account' };
  try {
    const name = decodeURIComponent(first);
    // The server knows names in lower case only, and none but these: it would not say that there is no such channel.
    return /^[\w-]{1,40}$/.test(name) ? { page: 'watch', channel: name.toLowerCase() } : { page: 'missing' };
  } catch {
    return { page: 'missing' };
  }
}

/** Where somebody wanted to go before they signed in (`?then=`): a page of ours, never another site's. */
export function wayBack(search: string): string | null {
  const then = new URLSearchParams(search).get('then');
  return then !== null && /^\/[\w%~.-]*(\?[^#]*)?$/.test(then) ? then : null;
}
