import { Refused, ask } from './ask';
import { isFields, list, number, text } from './fields';

/** What a Stream has left, as far as it can be played. */
export interface Recording {
  readonly id: string;
  readonly startedAt: number;
  readonly endedAt: number | null;
  readonly durationMs: number;
  readonly bytes: number;
  readonly hls: string;
  /** Null while it is made. */
  readonly mp4: string | null;
}

/** The newest recordings of a channel that can be played. `grant` opens a channel that is not for everybody. */
export async function fetchRecordings(channel: string, grant: string | null, limit: number): Promise<Recording[]> {
  const response = await fetch(`/api/v1/recordings?channel=${encodeURIComponent(channel)}&limit=${limit}`, {
    headers: { Accept: 'application/json', ...(grant === null ? {} : { Authorization: `Bearer ${grant}` }) },
  });
  // A server that records nothing has no such list.
  if (response.status === 404) return [];
  if (!response.ok) throw new Refused(response.status, `The server answered ${response.status}.`);
  const body: unknown = await response.json();
  return recordingsOf(isFields(body) ? body.items : []);
}

export function recordingsOf(value: unknown): Recording[] {
  return list(value).flatMap((it) => {
    const [id, hls, startedAt, durationMs] = [text(it.id), text(it.hls), number(it.startedAt), number(it.durationMs)];
    if (id === null || hls === null || startedAt === null || durationMs === null || durationMs <= 0) return [];
    return [{ id, hls, startedAt, durationMs, endedAt: number(it.endedAt), bytes: number(it.bytes) ?? 0, mp4: text(it.mp4) }];
  });
}

export const removeRecording = (id: string): Promise<unknown> => ask('DELETE', `/api/v1/recordings/${encodeURIComponent(id)}`);
