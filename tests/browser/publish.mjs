// Chromium publishes by WHIP, another page of it views by WHEP and by the watch page.
// Input: { origin, channel, key, codec: 'H264' | 'VP8' | 'VP9' | 'AV1', seconds, lateReports }.

import { input, report, withChromium } from './lib/chromium.mjs';

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  await page.goto(`${input.origin}/healthz`);
  await page.evaluate(async ({ origin, channel, key, codec }) => {
    // A picture with the strip, a moving bar and a flash; a bed of 440 Hz with a beep in each whole second.
    const width = 1280;
    const height = 720;
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width, height });
    const pen = canvas.getContext('2d');
    const audio = new AudioContext({ sampleRate: 48000 });
    await audio.resume();
    const sink = audio.createMediaStreamDestination();
    const bed = new OscillatorNode(audio, { frequency: 440 });
    const bedGain = new GainNode(audio, { gain: 0.05 });
    bed.connect(bedGain).connect(sink);
    bed.start();
    const crc8 = (bytes) => bytes.reduce((crc, byte) => {
      let c = crc ^ byte;
      for (let bit = 0; bit < 8; bit += 1) c = c & 0x80 ? ((c << 1) ^ 0x07) & 0xff : (c << 1) & 0xff;
      return c;
    }, 0);
    let counter = 0;
    let lastBeep = 0;
    const draw = () => {
      const now = probe.wall();
      const clock = Math.floor(now) % 2 ** 40;
      const body = [counter >> 16, counter >> 8, counter, clock / 2 ** 32, clock / 2 ** 24, clock / 2 ** 16, clock / 2 ** 8, clock]
        .map((it) => Math.floor(it) & 0xff);
      const bytes = [0b10110010, ...body, crc8(body)];
      pen.fillStyle = '#25405f';
      pen.fillRect(0, 0, width, height);
      pen.fillStyle = '#7fd1c7';
      pen.fillRect((counter * 8) % width, 100, 60, 500);
      bytes.forEach((byte, i) => {
        for (let bit = 0; bit < 8; bit += 1) {
          pen.fillStyle = byte & (0x80 >> bit) ? '#fff' : '#000';
          pen.fillRect((i * 8 + bit) * 16, 0, 16, 18);
        }
      });
      pen.fillStyle = now % 1000 < 100 ? '#fff' : '#000';
      pen.fillRect((width * 39) / 64, (height * 12) / 45, (height * 5) / 45, (height * 5) / 45);
      counter += 1;
      // The beep is scheduled ahead of its second, on the audio clock.
      const nextSecond = Math.ceil(now / 1000) * 1000;
      if (nextSecond - now < 300 && nextSecond !== lastBeep) {
        lastBeep = nextSecond;
        const at = audio.currentTime + (nextSecond - probe.wall()) / 1000;
        const beep = new OscillatorNode(audio, { frequency: 1000 });
        const gain = new GainNode(audio, { gain: 0.5 });
        beep.connect(gain).connect(sink);
        beep.start(at);
        beep.stop(at + 0.1);
      }
    };
    setInterval(draw, 1000 / 30);
    const stream = new MediaStream([...canvas.captureStream(30).getVideoTracks(), ...sink.stream.getAudioTracks()]);
    const peer = new RTCPeerConnection();
    const video = peer.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly', streams: [stream] });
    peer.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
    const wanted = RTCRtpSender.getCapabilities('video').codecs.filter((it) => it.mimeType === `video/${codec}`);
    const repair = RTCRtpSender.getCapabilities('video').codecs.filter((it) => it.mimeType === 'video/rtx');
    video.setCodecPreferences([...wanted, ...repair]);
    await peer.setLocalDescription(await peer.createOffer());
    const response = await fetch(`${origin}/whip/${channel}`, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', authorization: `Bearer ${key}` },
      body: peer.localDescription.sdp,
    });
    if (response.status !== 201) throw new Error(`WHIP ${response.status}: ${await response.text()}`);
    await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    window.publisher = { peer, resource: new URL(response.headers.get('location'), location.href).href };
    await new Promise((resolve, reject) => {
      const look = () => {
        if (peer.connectionState === 'connected') resolve();
        if (peer.connectionState === 'failed') reject(new Error('the publisher did not connect'));
      };
      peer.onconnectionstatechange = look;
      look();
    });
  }, input);

  const viewer = await context.newPage();
  await viewer.goto(`${input.origin}/healthz`);
  const webrtc = await viewer.evaluate(async ({ origin, channel, seconds }) => {
    const view = await probe.whep(`${origin}/whep/${channel}`);
    await view.first;
    const eye = probe.watch(view.video);
    const ear = probe.listen(view.video);
    const began = probe.wall();
    await probe.sleep(1000 * seconds);
    const samples = eye.stop();
    const sound = ear.stop();
    const offsets = probe.offsets(samples, sound.onsets).map((it) => ({ second: (it.at - began) / 1000, ms: it.ms }));
    return { ...probe.summarise(samples), sound, offsets, stats: await probe.stats(view.peer) };
  }, input);

  let hls = null;
  if (input.hls) {
    const watcher = await context.newPage();
    await watcher.goto(`${input.origin}/healthz`);
    await watcher.addScriptTag({ path: input.hls });
    hls = await watcher.evaluate(async ({ origin, channel, seconds }) => {
      const video = document.createElement('video');
      video.style.width = '640px';
      document.body.append(video);
      const engine = new Hls({ lowLatencyMode: true });
      const errors = [];
      engine.on(Hls.Events.ERROR, (_, data) => errors.push(`${data.details}${data.fatal ? ' (fatal)' : ''}`));
      engine.loadSource(`${origin}/hls/${channel}/master.m3u8`);
      engine.attachMedia(video);
      const first = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
      await video.play().catch(() => {});
      await first;
      const eye = probe.watch(video);
      const ear = probe.listen(video);
      const began = probe.wall();
      await probe.sleep(1000 * seconds);
      const samples = eye.stop();
      const sound = ear.stop();
      const offsets = probe.offsets(samples, sound.onsets).map((it) => ({ second: (it.at - began) / 1000, ms: it.ms }));
      return { ...probe.summarise(samples), sound, offsets, errors };
    }, input);
  }
  const removed = await page.evaluate(async (key) => {
    const response = await fetch(window.publisher.resource, { method: 'DELETE', headers: { authorization: `Bearer ${key}` } });
    return response.status;
  }, input.key);
  return { webrtc, hls, deleteStatus: removed };
}));
