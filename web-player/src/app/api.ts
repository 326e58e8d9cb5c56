/** `GET /api/v1/info` and `GET /api/v1/streams`, checked where they enter. */

import { isFields, number, text } from '../api/fields';
import type { Fields } from '../api/fields';

export interface Info {
  readonly rtmpUrl: string;
  readonly whipUrl: string;
  readonly demoChannel: string | null;
  readonly version: string;
}

export interface LiveStream {
  readonly channel: string;
  readonly id: string;
  readonly startedAt: number | null;
  readonly transport: string | null;
  readonly viewers: number | null;
  readonly video: { readonly codec: string | null; readonly width: number; readonly height: number } | null;
  readonly notices: readonly string[];
}

async function get(path: string): Promise<Fields> {
  const response = await fetch(path, { headers: { Accept: 'application/json' } });
  if (!response.ok) throw new Error(`${path} was answered by ${response.status}`);
  const body: unknown = await response.json();
  if (!isFields(body)) throw new Error(`${path} is not an object`);
  return body;
}

export async function fetchInfo(): Promise<Info> {
  const { hostname, origin } = location;
  const body = await get('/api/v1/info').catch((): Fields => ({}));
  return {
    rtmpUrl: text(body.rtmpUrl) ?? `rtmp://${hostname}:1935/live`,
    whipUrl: text(body.whipUrl) ?? `${origin}/whip`,
    demoChannel: text(body.demoChannel),
    version: text(body.version) ?? '',
  };
}

export async function fetchStreams(): Promise<LiveStream[]> {
  const body = await get('/api/v1/streams?limit=100');
  const streams = (Array.isArray(body.items) ? body.items : []).flatMap((value: unknown) => {
    const stream = liveStream(value);
    return stream === null ? [] : [stream];
  });
  // One Stream per Channel: the newest, where an ended one is still listed.
  return [...new Map(streams.map((stream) => [stream.channel, stream])).values()];
}

export function liveStream(value: unknown): LiveStream | null {
  if (!isFields(value) || value.state === 'ended') return null;
  const channel = text(value.channel);
  if (channel === null) return null;
  const video = isFields(value.video) ? value.video : null;
  return {
    channel,
    id: text(value.id) ?? channel,
    startedAt: number(value.startedAt),
    transport: text(value.transport),
    viewers: number(value.viewers),
    video: video === null ? null : { codec: text(video.codec), width: number(video.width) ?? 0, height: number(video.height) ?? 0 },
    notices: unique((Array.isArray(value.notices) ? value.notices : []).flatMap((notice: unknown) => {
      const words = text(notice) ?? (isFields(notice) ? (text(notice.message) ?? text(notice.text)) : null);
      return words === null ? [] : [words];
    })),
  };
}

/** Several Layers may give the same advice. */
function unique(words: string[]): string[] {
  return [...new Set(words)];
}
