// A long look at one stream, for figures. In one page and one run:
// - a WHEP viewer for `seconds`; beside it, if `clip` is given, the same clip over a peer connection inside the
//   page, as a control: its gaps are the browser's and the machine's, not the server's;
// - then, if `join` is given, a second viewer: two seconds after it joined, how late is it against the first one?
// Input: { origin, channel, seconds, clip, join }.

import { readFileSync } from 'node:fs';
import { input, report, withChromium } from './lib/chromium.mjs';

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  if (input.clip) {
    const body = readFileSync(input.clip);
    await page.route('**/control.mp4', (route) => route.fulfill({ body, contentType: 'video/mp4' }));
  }
  await page.goto(`${input.origin}/healthz`);
  return page.evaluate(async ({ origin, channel, seconds, clip, join }) => {
    const url = `${origin}/whep/${channel}`;

    async function startControl() {
      const source = document.createElement('video');
      Object.assign(source, { src: `${origin}/control.mp4`, loop: true, muted: true });
      source.style.width = '320px';
      document.body.append(source);
      await source.play();
      const [here, there] = [new RTCPeerConnection(), new RTCPeerConnection()];
      here.onicecandidate = (event) => event.candidate && there.addIceCandidate(event.candidate);
      there.onicecandidate = (event) => event.candidate && here.addIceCandidate(event.candidate);
      const video = document.createElement('video');
      Object.assign(video, { autoplay: true, muted: true });
      video.style.width = '320px';
      document.body.append(video);
      there.ontrack = (event) => { video.srcObject = event.streams[0]; };
      const stream = source.captureStream();
      for (const track of stream.getVideoTracks()) {
        const transceiver = here.addTransceiver(track, { streams: [stream], sendEncodings: [{ maxBitrate: 2500000 }] });
        transceiver.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter((it) => it.mimeType === 'video/H264'));
      }
      await here.setLocalDescription(await here.createOffer());
      await there.setRemoteDescription(here.localDescription);
      await there.setLocalDescription(await there.createAnswer());
      await here.setRemoteDescription(there.localDescription);
      await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
      return video;
    }

    const control = clip ? probe.watch(await startControl()) : null;
    const viewer = await probe.whep(url);
    await viewer.first;
    const ear = probe.listen(viewer.video);
    const eye = probe.watch(viewer.video);
    await probe.sleep(1000 * seconds);
    const samples = eye.stop();
    const sound = ear.stop();
    const result = {
      viewer: probe.summarise(samples), stats: await probe.stats(viewer.peer),
      sound: { loudest: sound.loudest, mean: sound.mean },
      control: control ? probe.summarise(control.stop()) : null,
    };
    if (join) {
      const late = await probe.whep(url);
      const first = await late.first;
      await probe.sleep(2000);
      const [old, fresh] = [probe.watch(viewer.video), probe.watch(late.video)];
      await probe.sleep(4000);
      const [oldLatency, freshLatency] = [old, fresh].map((it) => probe.summarise(it.stop()).latencyMedianMs);
      result.join = { firstFrameMs: first - late.posted, oldLatency, freshLatency, apartMs: freshLatency - oldLatency };
    }
    return result;
  }, input);
}));
