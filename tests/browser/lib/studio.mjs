// Runs inside the page: a camera and a microphone whose pictures and sounds can be recognised. Defines window.studio.

/** Installed by addInitScript; must not refer to anything outside of itself. Needs window.probe. */
export function studio() {
  let microphone;

  const crc8 = (bytes) => bytes.reduce((crc, byte) => {
    let c = crc ^ byte;
    for (let bit = 0; bit < 8; bit += 1) c = c & 0x80 ? ((c << 1) ^ 0x07) & 0xff : (c << 1) & 0xff;
    return c;
  }, 0);

  /**
   * A picture with the strip and a moving bar; a bed of 440 Hz with a beep at each whole second of the strip's clock.
   * The strip is drawn three times as high as its readers need: it stays readable at a quarter of the size.
   * `busy`: with fields that change in each picture, so that an encoder needs all the bits that it may have.
   */
  async function start({ width = 1280, height = 720, fps = 30, busy = false } = {}) {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width, height });
    const pen = canvas.getContext('2d');
    const audio = new AudioContext({ sampleRate: 48000 });
    await audio.resume();
    microphone = audio;
    const sink = audio.createMediaStreamDestination();
    const bed = new OscillatorNode(audio, { frequency: 440 });
    const bedGain = new GainNode(audio, { gain: 0.05 });
    bed.connect(bedGain).connect(sink);
    bed.start();
    const cell = width / 80;
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
      pen.fillRect((counter * 8) % width, height / 5, width / 20, (height * 7) / 10);
      for (let field = 0; busy && field < 240; field += 1) {
        pen.fillStyle = `hsl(${Math.random() * 360} 60% ${20 + Math.random() * 60}%)`;
        pen.fillRect((field % 20) * (width / 20), (height * (3 + Math.floor(field / 20))) / 15, width / 40, height / 30);
      }
      bytes.forEach((byte, i) => {
        for (let bit = 0; bit < 8; bit += 1) {
          pen.fillStyle = byte & (0x80 >> bit) ? '#fff' : '#000';
          pen.fillRect((i * 8 + bit) * cell, 0, cell, (height * 3) / 40);
        }
      });
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
    setInterval(draw, 1000 / fps);
    return new MediaStream([...canvas.captureStream(fps).getVideoTracks(), ...sink.stream.getAudioTracks()]);
  }

  /** Three Layers, each half of the next, as large as `bitrates` says: lowest first, as browsers want them. */
  const LAYERS = (bitrates) => bitrates.map((maxBitrate, i) => ({
    rid: 'lmh'[i + 3 - bitrates.length], maxBitrate, scaleResolutionDownBy: 2 ** (bitrates.length - 1 - i), active: true,
  }));

  /** Offers a stream, sent from `peer`, with one video codec. Options: { codec, bitrates }. */
  function offer(peer, stream, { codec, bitrates }) {
    const video = peer.addTransceiver(stream.getVideoTracks()[0], {
      direction: 'sendonly', streams: [stream], ...(bitrates ? { sendEncodings: LAYERS(bitrates) } : {}),
    });
    peer.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
    if (bitrates) {
      // Layers of the size that they are told to have, also on a busy machine.
      const parameters = video.sender.getParameters();
      parameters.degradationPreference = 'maintain-resolution';
      video.sender.setParameters(parameters);
    }
    const known = RTCRtpSender.getCapabilities('video').codecs;
    video.setCodecPreferences(known.filter((it) => [`video/${codec}`, 'video/rtx'].includes(it.mimeType)));
    return video;
  }

  /**
   * Publishes by WHIP; resolves when the connection stands. Options: { url, key, codec, bitrates, port }; `port`: of a line of
   * the harness, which is then the only way to the server.
   */
  async function publish(stream, options) {
    const peer = new RTCPeerConnection();
    const video = offer(peer, stream, options);
    await peer.setLocalDescription(await peer.createOffer());
    const response = await fetch(options.url, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', authorization: `Bearer ${options.key}` },
      body: peer.localDescription.sdp,
    });
    if (response.status !== 201) throw new Error(`WHIP ${response.status}: ${await response.text()}`);
    const said = await response.text();
    const answer = options.port ? probe.throughLink(said, options.port) : said;
    await peer.setRemoteDescription({ type: 'answer', sdp: answer });
    const resource = new URL(response.headers.get('location'), options.url).href;
    await new Promise((resolve, reject) => {
      const look = () => {
        if (peer.connectionState === 'connected') resolve();
        if (peer.connectionState === 'failed') reject(new Error('the publisher did not connect'));
      };
      peer.onconnectionstatechange = look;
      look();
    });
    const end = async () => (await fetch(resource, {
      method: 'DELETE', headers: { authorization: `Bearer ${options.key}` },
    })).status;
    return { peer, video, answer, end };
  }

  /** A control: the same stream over a connection inside the page. What is seen there is the browser's and the machine's. */
  async function mirror(stream, options) {
    const [here, there] = [new RTCPeerConnection(), new RTCPeerConnection()];
    here.onicecandidate = (event) => event.candidate && there.addIceCandidate(event.candidate);
    there.onicecandidate = (event) => event.candidate && here.addIceCandidate(event.candidate);
    const video = document.createElement('video');
    Object.assign(video, { autoplay: true, muted: false });
    video.style.width = '320px';
    document.body.append(video);
    there.ontrack = (event) => { [video.srcObject] = event.streams; };
    offer(here, stream, options);
    const first = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    await here.setLocalDescription(await here.createOffer());
    await there.setRemoteDescription(here.localDescription);
    await there.setLocalDescription(await there.createAnswer());
    await here.setRemoteDescription(there.localDescription);
    await first;
    return { peer: there, video };
  }

  /**
   * Watches from now on whether the microphone keeps up with the wall clock, each second by its least delay. What it returns tells
   * by how many milliseconds it fell behind at most: sound that was never made, because the machine was busy with something else.
   */
  function watchLosses() {
    const seconds = [];
    const look = () => {
      const lag = probe.wall() - 1000 * microphone.currentTime;
      const second = Math.floor(microphone.currentTime);
      seconds[second] = Math.min(seconds[second] ?? Infinity, lag);
    };
    setInterval(look, 50);
    return () => {
      const lags = seconds.filter((lag) => lag !== undefined);
      return Math.max(...lags) - Math.min(...lags);
    };
  }

  window.studio = { start, publish, mirror, watchLosses };
}
