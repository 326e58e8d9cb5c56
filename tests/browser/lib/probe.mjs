// Runs inside the page: looks at pixels and listens. Defines window.probe.

/** Installed by addInitScript; must not refer to anything outside of itself. `ear`: the text of ear.mjs, for pages that hear beeps. */
export function probe(ear) {
  const CELLS = 80;
  const SYNC = 0b10110010;

  function crc8(bytes) {
    let crc = 0;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : (crc << 1) & 0xff;
    }
    return crc;
  }

  const canvas = document.createElement('canvas');
  canvas.width = CELLS * 4;
  canvas.height = 4;
  const pen = canvas.getContext('2d', { willReadFrequently: true });

  /** Frame counter and wall clock out of the strip at the top; null where there is no valid strip. */
  function readStrip(source, width, height) {
    // At its own size the strip is at least 8 rows high; in a picture made smaller it is what is left of it.
    return readRows(source, width, Math.max(8, height / 40)) ?? readRows(source, width, height / 40);
  }

  function readRows(source, width, strip) {
    // The middle half of the strip: codecs blur its edge.
    pen.drawImage(source, 0, strip / 4, width, strip / 2, 0, 0, canvas.width, canvas.height);
    const pixels = pen.getImageData(0, 1, canvas.width, 2).data;
    const bytes = [];
    for (let byte = 0; byte < CELLS / 8; byte += 1) {
      let value = 0;
      for (let bit = 0; bit < 8; bit += 1) {
        const at = (byte * 8 + bit) * 4 + 1;
        let light = 0;
        for (const x of [at, at + 1]) for (const y of [0, 1]) light += pixels[(y * canvas.width + x) * 4 + 1];
        value = (value << 1) | (light / 4 > 127 ? 1 : 0);
      }
      bytes.push(value);
    }
    if (bytes[0] !== SYNC || crc8(bytes.slice(1, 9)) !== bytes[9]) return null;
    const counter = (bytes[1] << 16) | (bytes[2] << 8) | bytes[3];
    const clockMs = bytes.slice(4, 9).reduce((value, byte) => value * 256 + byte, 0);
    return { counter, clockMs };
  }

  const wall = () => performance.timeOrigin + performance.now();
  const CLOCK_MODULUS = 2 ** 40;

  /** Watches a video element: every presented frame. */
  function watch(video) {
    const samples = [];
    let running = true;
    const onFrame = (now, meta) => {
      if (!running) return;
      video.requestVideoFrameCallback(onFrame);
      const strip = readStrip(video, meta.width, meta.height);
      samples.push({
        // When the frame goes to the screen, on the wall clock.
        at: performance.timeOrigin + (meta.expectedDisplayTime ?? now),
        mediaTime: meta.mediaTime,
        presented: meta.presentedFrames,
        width: meta.width,
        height: meta.height,
        counter: strip?.counter ?? null,
        clockMs: strip?.clockMs ?? null,
      });
    };
    video.requestVideoFrameCallback(onFrame);
    return { samples, stop() { running = false; return samples; } };
  }

  /** Listens to a video element: loudness over time, and with an ear the onsets of the 1 kHz beep. */
  function listen(video) {
    const audio = new AudioContext();
    const node = video.srcObject
      ? audio.createMediaStreamSource(video.srcObject)
      : audio.createMediaElementSource(video);
    const level = audio.createAnalyser();
    level.fftSize = 512;
    node.connect(level);
    const wave = new Float32Array(level.fftSize);
    let loudest = 0;
    let energy = 0;
    let looks = 0;
    const onsets = [];
    if (ear) {
      const module = URL.createObjectURL(new Blob([ear], { type: 'text/javascript' }));
      audio.audioWorklet.addModule(module).then(() => {
        const heard = new AudioWorkletNode(audio, 'ear');
        heard.port.onmessage = ({ data }) => onsets.push(data);
        node.connect(heard);
      });
    }
    const timer = setInterval(() => {
      level.getFloatTimeDomainData(wave);
      let sum = 0;
      for (const value of wave) sum += value * value;
      const rms = Math.sqrt(sum / wave.length);
      loudest = Math.max(loudest, rms);
      energy += rms;
      looks += 1;
    }, 20);
    audio.resume();
    return {
      stop() {
        clearInterval(timer);
        audio.close();
        return { loudest, mean: looks ? energy / looks : 0, onsets };
      },
    };
  }

  /** Numbers out of samples: rates, gaps, order, latency. Latency: display time minus the clock in the picture. */
  function summarise(samples) {
    const good = samples.filter((it) => it.counter !== null);
    const counters = new Set(good.map((it) => it.counter));
    let backwards = 0;
    let gaps = 0;
    let longest = 0;
    for (let i = 1; i < samples.length; i += 1) {
      const gap = samples[i].at - samples[i - 1].at;
      longest = Math.max(longest, gap);
      if (gap > 200) gaps += 1;
    }
    for (let i = 1; i < good.length; i += 1) if (good[i].counter < good[i - 1].counter) backwards += 1;
    const late = lateness(samples).map((it) => it.ms).sort((x, y) => x - y);
    const quantile = (q) => (late.length ? late[Math.min(late.length - 1, Math.floor(q * late.length))] : null);
    const span = samples.length > 1 ? (samples.at(-1).at - samples[0].at) / 1000 : 0;
    // After the catch-up burst of a join, in which pictures come faster than they were made.
    const settled = good.filter((it) => it.at > samples[0].at + 3000);
    const settledSpan = settled.length > 1 ? (settled.at(-1).at - settled[0].at) / 1000 : 0;
    const counterSpan = settled.length > 1 ? settled.at(-1).counter - settled[0].counter : 0;
    // What the source's clock says that went by.
    const clockSpan = settled.length > 1 ? (settled.at(-1).clockMs - settled[0].clockMs) / 1000 : 0;
    return {
      presented: samples.length,
      stamped: good.length,
      distinct: counters.size,
      seconds: span,
      presentedPerSecond: span ? (samples.length - 1) / span : 0,
      counterPerSecond: settledSpan ? counterSpan / settledSpan : 0,
      sourcePerSecond: clockSpan ? counterSpan / clockSpan : 0,
      speed: settledSpan ? clockSpan / settledSpan : 0,
      backwards,
      gapsOver200ms: gaps,
      longestGapMs: longest,
      latencyMedianMs: quantile(0.5),
      latencyP95Ms: quantile(0.95),
      width: samples.at(-1)?.width ?? 0,
      height: samples.at(-1)?.height ?? 0,
    };
  }

  /**
   * Sound against picture, of a source that beeps at each whole second of the clock in its picture: for each beep, how much
   * later it is heard than the pictures around it are shown; positive = sound is late. Milliseconds.
   *
   * Against the pictures of most of a second, not against one: a picture stands for 33 ms.
   */
  function offsets(samples, onsets) {
    const pictures = lateness(samples);
    const found = [];
    for (const onset of onsets) {
      const near = pictures.filter((it) => Math.abs(it.at - onset) < 400).map((it) => it.ms).sort((x, y) => x - y);
      if (near.length < 5) continue;
      const seconds = onset - near[near.length >> 1];
      found.push({ at: onset, ms: seconds - 1000 * Math.round(seconds / 1000) });
    }
    return found;
  }

  /** How late each picture with a strip is shown, by the clock in it; the clock of a recording may be any time ago. */
  function lateness(samples) {
    return samples.filter((it) => it.counter !== null).map((it) => {
      const ms = (it.at % CLOCK_MODULUS) - it.clockMs;
      return { at: it.at, ms: ms < -CLOCK_MODULUS / 2 ? ms + CLOCK_MODULUS : ms };
    });
  }

  /** An answer whose only way to the server is a line of the harness, at `port`: no other address, and no TCP beside it. */
  function throughLink(answer, port) {
    return answer
      .replace(/^a=candidate:\S+ \d+ tcp .*\r\n/gim, '')
      .replace(/^(a=candidate:\S+ \d+ udp \d+ \S+) \d+/gim, `$1 ${port}`);
  }

  /** A plain WHEP viewer, without our player. Resolves when the answer is set. Options: { muted, port }. */
  async function whep(url, options = {}) {
    const started = wall();
    const peer = new RTCPeerConnection();
    const video = document.createElement('video');
    video.autoplay = true;
    video.muted = options.muted ?? false;
    video.playsInline = true;
    video.style.width = '640px';
    document.body.append(video);
    const stream = new MediaStream();
    peer.ontrack = (event) => { stream.addTrack(event.track); video.srcObject = stream; };
    peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    const viewer = { connected: null };
    peer.addEventListener('connectionstatechange', () => {
      if (peer.connectionState === 'connected') viewer.connected ??= wall();
    });
    const first = new Promise((resolve) => video.requestVideoFrameCallback((now) => resolve(performance.timeOrigin + now)));
    const offer = await peer.createOffer();
    // Chromium plays Opus in mono unless its own description asks for stereo.
    if (options.stereo) offer.sdp = offer.sdp.replace('useinbandfec=1', 'useinbandfec=1;stereo=1');
    await peer.setLocalDescription(offer);
    const posted = wall();
    const response = await fetch(url, {
      method: 'POST', headers: { 'content-type': 'application/sdp' }, body: peer.localDescription.sdp,
    });
    if (response.status !== 201) throw new Error(`WHEP ${response.status}: ${await response.text()}`);
    const answer = await response.text();
    const resource = new URL(response.headers.get('location'), url).href;
    await peer.setRemoteDescription({ type: 'answer', sdp: options.port ? throughLink(answer, options.port) : answer });
    return Object.assign(viewer, { peer, video, first, started, posted, answer, resource });
  }

  /** What getStats says of a receiving peer connection. */
  async function stats(peer) {
    const all = [...(await peer.getStats()).values()];
    const inbound = (kind) => all.find((it) => it.type === 'inbound-rtp' && it.kind === kind) ?? {};
    const transport = all.find((it) => it.type === 'transport') ?? {};
    const video = inbound('video');
    const audio = inbound('audio');
    const codec = all.find((it) => it.id === video.codecId) ?? {};
    return {
      srtp: transport.srtpCipher ?? null,
      codec: codec.mimeType ?? null,
      fmtp: codec.sdpFmtpLine ?? null,
      framesDecoded: video.framesDecoded ?? 0,
      framesDropped: video.framesDropped ?? 0,
      packetsReceived: video.packetsReceived ?? 0,
      packetsLost: (video.packetsLost ?? 0) + (audio.packetsLost ?? 0),
      nacks: video.nackCount ?? 0,
      plis: video.pliCount ?? 0,
      freezes: video.freezeCount ?? 0,
      audioPackets: audio.packetsReceived ?? 0,
      audioEnergy: audio.totalAudioEnergy ?? 0,
      concealed: audio.concealedSamples ?? 0,
      // When the browser believes that what it plays was captured: sound minus picture, by our sender reports.
      playoutSkewMs: video.estimatedPlayoutTimestamp && audio.estimatedPlayoutTimestamp
        ? audio.estimatedPlayoutTimestamp - video.estimatedPlayoutTimestamp : null,
      audioDelayMs: audio.jitterBufferEmittedCount
        ? (1000 * audio.jitterBufferDelay) / audio.jitterBufferEmittedCount : null,
      jitterBufferMs: video.jitterBufferEmittedCount
        ? (1000 * video.jitterBufferDelay) / video.jitterBufferEmittedCount : null,
    };
  }

  /** How late `listen` hears a beep of a local MediaStream: the audio path of the browser itself. */
  async function calibrate(beeps = 4) {
    const audio = new AudioContext();
    await audio.resume();
    const sink = audio.createMediaStreamDestination();
    const ear = listen({ srcObject: sink.stream });
    const planned = [];
    for (let i = 0; i < beeps; i += 1) {
      const at = audio.currentTime + 0.4 + i * 0.5;
      planned.push(wall() + (at - audio.currentTime) * 1000);
      const beep = new OscillatorNode(audio, { frequency: 1000 });
      const gain = new GainNode(audio, { gain: 0.5 });
      beep.connect(gain).connect(sink);
      beep.start(at);
      beep.stop(at + 0.1);
    }
    await sleep(600 + beeps * 500);
    const { onsets } = ear.stop();
    audio.close();
    const late = onsets.map((onset) => Math.min(...planned.map((it) => onset - it).filter((it) => it > -200)));
    return late.sort((x, y) => x - y)[Math.floor(late.length / 2)] ?? null;
  }

  /**
   * How much longer a peer holds sound back than it wants to, over time, by the browser's own figures.
   */
  function waits(peer) {
    const looks = [];
    const timer = setInterval(async () => {
      const found = [...(await peer.getStats()).values()].find((it) => it.type === 'inbound-rtp' && it.kind === 'audio');
      if (!found) return;
      const { jitterBufferDelay: delay, jitterBufferTargetDelay: wanted, jitterBufferEmittedCount: emitted } = found;
      looks.push({ at: wall(), delay, wanted, emitted });
    }, 100);
    return {
      stop: () => clearInterval(timer),
      /** Milliseconds, of the sound of 0.6 s around a time; null if nothing is known of it. */
      heldMs(at) {
        const near = looks.filter((it) => Math.abs(it.at - at) < 300);
        const [first, last] = [near[0], near.at(-1)];
        const count = near.length > 1 ? last.emitted - first.emitted : 0;
        return count > 0 ? (1000 * (last.delay - first.delay - (last.wanted - first.wanted))) / count : null;
      },
    };
  }

  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  window.probe = { throughLink, readStrip, watch, listen, waits, summarise, offsets, whep, stats, calibrate, sleep, wall };
}
