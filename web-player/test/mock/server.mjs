// A stand-in for the server: the pages can be developed and looked at without it.
//
//   node test/mock/server.mjs [--port 0] [--scenario live|offline|ended|away|bframes|udp|refused|busy] [--hls DIR]
//
// It serves `dist`, the two API documents, the gateway with a chat, and (with --hls) a directory with `master.m3u8`.
// WebRTC needs a real server; here `rtc.play` is answered as the scenario says, so that every other state can be seen.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';

const DIST = fileURLToPath(new URL('../../dist/', import.meta.url));
const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml',
  '.m3u8': 'application/vnd.apple.mpegurl', '.m4s': 'video/mp4', '.mp4': 'video/mp4', '.ts': 'video/mp2t',
};

/** Starts the stand-in; `scenario` can be changed while it runs, `push` sends a frame to everybody. */
export async function startMock({ port = 0, scenario = 'live', hls = null, answer = null } = {}) {
  const state = { scenario, hls, answer, seq: 100, sockets: new Set(), answered: [] };
  const http = createServer((request, response) => void serve(state, request, response));
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'live.v1.json' });
  http.on('upgrade', (request, socket, head) => {
    if (state.scenario === 'refused') {
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => gateway(state, ws));
  });
  await new Promise((done) => http.listen(port, '127.0.0.1', done));
  const push = (frame) => state.sockets.forEach((ws) => ws.send(JSON.stringify(frame)));
  return {
    state,
    push,
    url: `http://127.0.0.1:${http.address().port}`,
    stop: () => {
      state.sockets.forEach((ws) => ws.terminate());
      http.closeAllConnections();
      return new Promise((done) => http.close(done));
    },
  };
}

const STREAMS = () => ({
  items: [
    { channel: 'demo', id: 'st_1', startedAt: Date.now() - 754_000, transport: 'rtmp', viewers: 3, video: { codec: 'h264', width: 1280, height: 720 }, notices: [] },
    { channel: 'riverbank', id: 'st_2', startedAt: Date.now() - 5_154_000, transport: 'whip', viewers: 1284, video: { codec: 'h264', width: 1920, height: 1080 }, notices: ['The encoder uses B-frames: set B-frames to 0 for the lowest delay.'] },
    { channel: 'a-rather-long-channel-name-for-a-phone', id: 'st_3', startedAt: Date.now() - 31_000, transport: 'rtmp', viewers: 1, video: null, notices: [] },
  ],
});

async function serve(state, request, response) {
  const url = new URL(request.url, 'http://mock');
  const json = (body) => response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
  const problem = (status, title, detail) =>
    response.writeHead(status, { 'Content-Type': 'application/problem+json' }).end(JSON.stringify({ type: 'about:blank', title, status, detail }));
  if (url.pathname === '/api/v1/streams') return json(state.scenario === 'offline' ? { items: [] } : STREAMS());
  if (url.pathname === '/api/v1/info') {
    return json({ rtmpUrl: 'rtmp://stream.example.org:1935/live', whipUrl: 'https://stream.example.org/whip', demoChannel: 'demo', version: '0.1.0' });
  }
  if (url.pathname.startsWith('/whip')) {
    if (request.headers.authorization !== 'Bearer good') return problem(401, 'Unknown stream key', 'No channel has this stream key.');
    return problem(409, 'Already live', 'Somebody is already live on this channel.');
  }
  if (url.pathname.startsWith('/hls/')) {
    const rest = url.pathname.split('/').slice(3).join('/');
    return state.hls === null ? problem(404, 'Not live', 'Nobody is live.') : file(response, state.hls, rest);
  }
  const asset = /^\/(assets\/|wave\.svg)/.test(url.pathname);
  return file(response, DIST, asset ? url.pathname : 'index.html');
}

async function file(response, root, path) {
  const whole = join(root, normalize(`/${path}`));
  try {
    const body = await readFile(whole);
    response.writeHead(200, { 'Content-Type': TYPES[extname(whole)] ?? 'application/octet-stream', 'Cache-Control': 'no-store' }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}

function gateway(state, ws) {
  const send = (frame) => ws.send(JSON.stringify(frame));
  let me = { id: 'g1', login: 'guest-417', display: 'Guest 417' };
  const recent = [];
  state.sockets.add(ws);
  ws.on('close', () => state.sockets.delete(ws));
  ws.on('message', (data) => {
    for (const line of String(data).split('\n').filter(Boolean)) {
      const frame = JSON.parse(line);
      const { id, ch } = frame;
      if (frame.type === 'hello') {
        if (frame.name) me = { ...me, display: frame.name };
        send({ type: 'welcome', session: 's_1', resumed: false, user: me, heartbeatMs: 25_000, serverTime: Date.now(), limits: { msgs: 20, windowMs: 5_000, textMax: 500 } });
      } else if (frame.type === 'join') {
        const offline = state.scenario === 'offline' || ch === 'home';
        const history = ch === 'home' ? [] : talk(ch);
        send({
          type: 'joined', re: id, ch, epoch: 'k1', seq: state.seq, recovered: false, history, viewers: offline ? 0 : 1284,
          live: offline ? null : { stream: 'st_1', startedAt: Date.now() - 754_000, title: 'Down the river, slowly', hls: `/hls/${ch.slice(7)}/master.m3u8` },
        });
      } else if (frame.type === 'rtc.play') {
        void play(state, send, frame);
      } else if (frame.type === 'message') {
        const now = Date.now();
        while (recent.length > 0 && recent[0] <= now - 5_000) recent.shift();
        if (recent.length >= 20 || state.scenario === 'busy') {
          send({ type: 'slowmode', waitMs: recent.length === 0 ? 4_000 : 5_000 - (now - recent[0]), re: id, ch });
          continue;
        }
        recent.push(now);
        const seq = ++state.seq;
        send({ type: 'ack', re: id, id: `m${seq}`, seq });
        const message = { type: 'message', id: `m${seq}`, ch, seq, ts: now, user: me, text: frame.text, nonce: frame.nonce };
        state.sockets.forEach((socket) => socket.send(JSON.stringify(message)));
      } else if (frame.type === 'name') {
        me = { ...me, display: frame.name };
        send({ type: 'ack', re: id });
      } else if (id !== undefined && !frame.type.startsWith('rtc.')) {
        send({ type: 'error', re: id, error: { code: 'unknown_type', message: frame.type, retryable: false } });
      }
    }
  });
}

async function play(state, send, frame) {
  const { id, ch } = frame;
  const url = `/hls/${ch.slice(7)}/master.m3u8`;
  if (state.answer !== null) {
    send({ type: 'rtc.answer', re: id, pc: 'p1', sdp: await state.answer(frame.sdp), iceServers: [] });
    return;
  }
  switch (state.scenario) {
    case 'offline':
      send({ type: 'error', re: id, error: { code: 'no_publisher', message: 'Nobody is live.', retryable: true } });
      break;
    case 'bframes':
      send({ type: 'rtc.fallback', re: id, reason: 'b_frames', url });
      break;
    default:
      send({ type: 'rtc.answer', re: id, pc: 'p1', sdp: swallow(frame.sdp), iceServers: [] });
  }
}

/** An answer whose port swallows everything: ICE never connects, as where UDP is blocked. */
function swallow(offer) {
  const lines = ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1', 'a=ice-lite'];
  const sections = offer.split(/\r?\n(?=m=)/).slice(1);
  for (const section of sections) {
    const [kind] = section.slice(2).split(' ');
    const codec = kind === 'audio' ? /a=rtpmap:(\d+) opus/.exec(section) : /a=rtpmap:(\d+) VP8/.exec(section);
    const name = kind === 'audio' ? 'opus/48000/2' : 'VP8/90000';
    const mid = /a=mid:(\S+)/.exec(section)[1];
    lines.push(
      `m=${kind} 9 UDP/TLS/RTP/SAVPF ${codec[1]}`, 'c=IN IP4 0.0.0.0', `a=mid:${mid}`, 'a=sendonly', 'a=rtcp-mux', `a=rtpmap:${codec[1]} ${name}`,
      'a=ice-ufrag:mockmock', 'a=ice-pwd:mockmockmockmockmockmockmock', 'a=setup:passive',
      `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}`,
      'a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host', 'a=end-of-candidates',
    );
  }
  return `${lines.join('\r\n')}\r\n`;
}

function talk(ch) {
  const said = [
    ['mira', 'Good evening from the east bank'],
    ['oskar', 'the light is wonderful today'],
    ['Ana2', 'How late is this? I wave and I see myself almost at once'],
    ['tomo', 'badge says 0.2 s, that is quicker than my phone call'],
    ['mira', 'A longer message, to see how lines wrap when somebody has much to tell about the river, the boats on it, and the heron that has been standing there for twenty minutes without moving: https://example.org/a/very/long/address/that/must/not/widen/the/column'],
    ['lea', '🐦🐦🐦'],
    ['oskar', '<b>not bold</b> & not a tag'],
  ];
  return said.map(([login, text], index) => ({
    type: 'message', id: `h${index}`, ch, seq: index + 1, ts: Date.now() - (said.length - index) * 20_000, text,
    user: { id: `u_${login}`, login, display: login, badges: login === 'mira' ? [{ set: 'moderator', title: 'Mod' }] : [] },
  }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name, otherwise) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? otherwise : process.argv[at + 1];
  };
  const mock = await startMock({ port: Number(option('port', '8080')), scenario: option('scenario', 'live'), hls: option('hls', null) });
  console.log(mock.url);
}
