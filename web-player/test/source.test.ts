/// <reference types="node" />
import { readFileSync, readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { levelOf } from '../src/publish/level';
import { preferCodec, problemOf } from '../src/publish/whip';
import { routeOf } from '../src/app/route';
import { duration } from '../src/app/format';

const SOURCES = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((path) => /\.(ts|svelte)$/.test(path));

it('has no `any`, and puts no foreign text into HTML', () => {
  for (const path of SOURCES) {
    const code = readFileSync(`src/${path}`, 'utf8');
    expect(code, path).not.toMatch(/(:|as|<|extends)\s*any\b|@ts-(ignore|nocheck|expect-error)|\{@html/);
    // The element's own constants are the only HTML that is made from strings.
    if (!path.startsWith('element/')) expect(code, path).not.toMatch(/innerHTML|insertAdjacentHTML/);
  }
});

it('asks nobody but its own server', () => {
  for (const path of SOURCES) {
    const hosts = readFileSync(`src/${path}`, 'utf8').match(/(?:https?|wss?):\/\/[a-z0-9.-]+/gi) ?? [];
    expect(hosts.filter((host) => !host.startsWith('http://www.w3.org') && !host.startsWith('http://www.webrtc.org')), path).toEqual([]);
  }
});

it.each([
  ['/', { page: 'home' }],
  ['/live', { page: 'live' }],
  ['/ana', { page: 'watch', channel: 'ana' }],
  ['/Ana/', { page: 'watch', channel: 'ana' }],
  ['/%C3%A9', { page: 'missing' }],
  ['/a/b', { page: 'missing' }],
  ['/%', { page: 'missing' }],
  ['/no.name', { page: 'missing' }],
  ['/two%20words', { page: 'missing' }],
  [`/${'a'.repeat(41)}`, { page: 'missing' }],
  ['/d%65mo-2_x', { page: 'watch', channel: 'demo-2_x' }],
])('routes %s', (path, route) => {
  expect(routeOf(path)).toEqual(route);
});

it('writes durations', () => {
  expect([0, 65_000, 3_723_000, -5].map(duration)).toEqual(['0:00', '1:05', '1:02:03', '0:00']);
});

it('offers the chosen codec alone, packetization-mode 1 before 0, with its repair formats; all without it', () => {
  const codec = (mimeType: string, sdpFmtpLine?: string): RTCRtpCodec => ({ mimeType, clockRate: 90_000, ...(sdpFmtpLine === undefined ? {} : { sdpFmtpLine }) });
  const codecs = [codec('video/VP8'), codec('video/rtx'), codec('video/H264', 'packetization-mode=0'), codec('video/H264', 'packetization-mode=1')];
  const names = (list: RTCRtpCodec[]): string[] => list.map(({ mimeType, sdpFmtpLine }) => `${mimeType} ${sdpFmtpLine ?? ''}`.trim());
  expect(names(preferCodec(codecs, 'H264'))).toEqual(['video/H264 packetization-mode=1', 'video/H264 packetization-mode=0', 'video/rtx']);
  expect(names(preferCodec(codecs, 'VP8'))).toEqual(['video/VP8', 'video/rtx']);
  expect(names(preferCodec(codecs.slice(1), 'VP8'))).toHaveLength(3);
});

it('reads problem documents, and lives without', async () => {
  const problem = new Response(JSON.stringify({ title: 'Unknown stream key', detail: 'No channel has it.' }), { status: 401 });
  expect(await problemOf(problem)).toEqual({ status: 401, title: 'Unknown stream key', detail: 'No channel has it.' });
  expect(await problemOf(new Response('<h1>Bad gateway</h1>', { status: 502 }))).toEqual({ status: 502, title: 'The server refused (502)', detail: '' });
});

it('measures loudness on a decibel scale', () => {
  expect(levelOf(0)).toBe(0);
  expect(levelOf(1)).toBe(1);
  expect(levelOf(0.001)).toBeCloseTo(0);
  expect(levelOf(Math.sqrt(0.001))).toBeCloseTo(0.5);
});
