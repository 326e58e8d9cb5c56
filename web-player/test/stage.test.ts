import { describe, expect, it } from 'vitest';
import { Stage } from '../src/player/stage';
import { FakeVideo } from './fake/video';

const LOUD = { volume: 0.8, muted: false, paused: false };

function rig() {
  const log: string[] = [];
  const names = new Map<unknown, string>();
  const stage: Stage = new Stage({
    stage: (video, before) => log.push(`${names.get(video)} on stage, ${before === null ? 'none' : names.get(before)} removed`),
    freeze: (video) => log.push(`${names.get(video)} frozen`),
    wing: (video) => log.push(`${names.get(video)} in the wings`),
    tell: () => undefined,
    shown: () => stage.video,
  });
  const source = (name: string) => {
    const video = new FakeVideo();
    names.set(video, name);
    stage.adopt(video.element);
    return { fake: video, video: video.element, close: () => log.push(`${name} closed`) };
  };
  return { stage, source, log };
}

describe('sound', () => {
  it('is heard from the element on the screen only, while the other source goes on', () => {
    const { stage, source, log } = rig();
    const [hls, webrtc] = [source('hls'), source('webrtc')];
    stage.show(hls.video, LOUD);
    expect([hls.fake.muted, webrtc.fake.muted]).toEqual([false, true]);
    stage.show(webrtc.video, LOUD);
    expect([hls.fake.muted, webrtc.fake.muted]).toEqual([true, false]);
    stage.show(hls.video, LOUD);
    expect([hls.fake.muted, webrtc.fake.muted]).toEqual([false, true]);
    expect(hls.fake.volume).toBe(0.8);
    expect(log.slice(2)).toEqual([
      'hls on stage, none removed', 'webrtc on stage, none removed', 'hls in the wings', 'hls on stage, none removed', 'webrtc in the wings',
    ]);
  });
});

it('removes the element of a source that is closed once another has the screen, and keeps its picture until then', () => {
  const { stage, source, log } = rig();
  const [hls, webrtc] = [source('hls'), source('webrtc')];
  stage.show(hls.video, LOUD);
  stage.retire(hls);
  stage.show(webrtc.video, LOUD);
  expect(log.slice(3)).toEqual(['hls frozen', 'hls closed', 'webrtc on stage, hls removed']);
});

it('keeps a pause over a change of the source, and lets what leaves the screen go on', () => {
  const { stage, source } = rig();
  const [hls, webrtc] = [source('hls'), source('webrtc')];
  stage.show(hls.video, LOUD);
  hls.fake.pause();
  stage.show(webrtc.video, { ...LOUD, paused: true });
  expect([webrtc.fake.paused, hls.fake.paused]).toEqual([true, false]);
});
