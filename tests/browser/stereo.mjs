// Chromium publishes a tone on the left and another on the right by WHIP; a second page hears them by WHEP.
// Input: { origin, channel, key, seconds }.

import { input, report, withChromium } from './lib/chromium.mjs';

report(await withChromium(input, async (context) => {
  const page = await context.newPage();
  await page.goto(`${input.origin}/healthz`);
  await page.evaluate(async ({ origin, channel, key }) => {
    const audio = new AudioContext({ sampleRate: 48000 });
    await audio.resume();
    const sink = audio.createMediaStreamDestination();
    const both = new ChannelMergerNode(audio, { numberOfInputs: 2 });
    [440, 1000].forEach((frequency, side) => {
      const tone = new OscillatorNode(audio, { frequency });
      const gain = new GainNode(audio, { gain: 0.3 });
      tone.connect(gain).connect(both, 0, side);
      tone.start();
    });
    both.connect(sink);
    const peer = new RTCPeerConnection();
    peer.addTransceiver(sink.stream.getAudioTracks()[0], { direction: 'sendonly', streams: [sink.stream] });
    await peer.setLocalDescription(await peer.createOffer());
    const response = await fetch(`${origin}/whip/${channel}`, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', authorization: `Bearer ${key}` },
      body: peer.localDescription.sdp,
    });
    if (response.status !== 201) throw new Error(`WHIP ${response.status}: ${await response.text()}`);
    await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    window.publisher = { peer, audio };
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
  return viewer.evaluate(async ({ origin, channel, seconds }) => {
    const view = await probe.whep(`${origin}/whep/${channel}`, { stereo: true });
    const audio = new AudioContext({ sampleRate: 48000 });
    await audio.resume();
    const track = view.peer.getReceivers().find((it) => it.track.kind === 'audio').track;
    const split = new ChannelSplitterNode(audio, { numberOfOutputs: 2 });
    audio.createMediaStreamSource(new MediaStream([track])).connect(split);
    const ears = [0, 1].map((side) => {
      const ear = new AnalyserNode(audio, { fftSize: 4096 });
      split.connect(ear, side);
      return ear;
    });
    const wave = new Float32Array(4096);
    /** Amplitude of a tone (Goertzel). */
    const tone = (frequency) => {
      const k = 2 * Math.cos((2 * Math.PI * frequency) / audio.sampleRate);
      let a = 0;
      let b = 0;
      for (const value of wave) { const c = value + k * a - b; b = a; a = c; }
      return (2 * Math.sqrt(Math.max(0, a * a + b * b - k * a * b))) / wave.length;
    };
    const heard = [[], []];
    for (let i = 0; i < seconds * 10; i += 1) {
      await probe.sleep(100);
      ears.forEach((ear, side) => {
        ear.getFloatTimeDomainData(wave);
        heard[side].push({ low: tone(440), high: tone(1000) });
      });
    }
    // The middle of what was heard: the beginning is silence.
    const middle = (list, name) => list.map((it) => it[name]).sort((x, y) => x - y)[Math.floor(list.length / 2)];
    const [left, right] = heard.map((list) => ({ low: middle(list, 'low'), high: middle(list, 'high') }));
    return { left, right, answer: view.answer };
  }, input);
}));
