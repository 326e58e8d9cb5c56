//! The RTMP listener against real clients: `rml_rtmp`'s client session, ffmpeg, and strangers.
#![expect(clippy::disallowed_methods, reason = "tests read the clock and start tasks that end with them")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../tests/src/wait.rs"]
#[allow(unreachable_pub, reason = "of the crate of tests")]
mod wait;

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ingest::rtmp::{Config, Listener, Snapshot, Stats};
use ingest::{PublishRequest, Rejection, Transport};
use media::{
    ChannelName, Codec, CodecConfig, Frame, Hub, Kind, NtpTime, Publication, Rid, Stream, StreamState,
};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
};
use rml_rtmp::time::RtmpTimestamp;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const KEY: &str = "sk_test_0123456789";
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener on a port of the kernel's choice, and an admission that knows one key.
struct House {
    addr: SocketAddr,
    hub: Arc<Hub>,
    stats: Arc<Stats>,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    requests: mpsc::Receiver<(Option<ChannelName>, Option<String>, Option<String>)>,
}

impl House {
    async fn open() -> Self {
        let hub = Hub::new(Duration::from_secs(10));
        let (sender, mut asked) = mpsc::channel::<PublishRequest>(8);
        let (seen, requests) = mpsc::channel(64);
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
        let listener = Listener::bind(config).await.unwrap();
        let (addr, stats) = (listener.local_addr(), listener.stats());
        let shutdown = CancellationToken::new();
        let rooms = Arc::clone(&hub);
        let admission = tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                assert_eq!(request.transport, Transport::Rtmp);
                let about = (request.channel.clone(), request.encoder.clone(), request.params.clone());
                seen.send(about).await.unwrap();
                if request.key.expose_secret() != KEY {
                    request.reject(Rejection::UnknownKey);
                    continue;
                }
                let channel = ChannelName::parse("ana").unwrap();
                let publication = Publication { transport: "rtmp", ..Publication::default() };
                let wall = NtpTime::from_unix_micros(1_795_000_000_000_000);
                let writer = rooms.take_over(&channel, publication, Instant::now(), wall);
                request.accept(writer);
            }
        });
        let tasks = vec![admission, tokio::spawn(listener.run(sender, shutdown.clone()))];
        Self { addr, hub, stats, shutdown, tasks, requests }
    }

    fn url(&self, key: &str) -> String {
        format!("rtmp://{}/live/{key}", self.addr)
    }

    fn stream(&self) -> Arc<Stream> {
        self.hub.stream(&ChannelName::parse("ana").unwrap()).expect("a stream")
    }

    /// Waits until a number of the listener is what it should be.
    async fn until(&self, what: &str, condition: impl Fn(Snapshot) -> bool) {
        let seen = async || condition(self.stats.snapshot()).then_some(());
        wait::eventually(what, PATIENCE, seen).await;
    }

    /// Stops; nothing may be left open.
    async fn close(self) -> Snapshot {
        self.shutdown.cancel();
        for task in self.tasks {
            tokio::time::timeout(PATIENCE, task).await.expect("ends by itself").unwrap();
        }
        let stats = self.stats.snapshot();
        assert_eq!(stats.connections_accepted, stats.connections_ended);
        stats
    }
}

fn ffmpeg(seconds: u32, video: &[&str], url: &str) -> Command {
    encoder("ffmpeg", seconds, video, url)
}

/// An ffmpeg that knows Enhanced RTMP (6.1 or newer), which Debian 12 does not have; `bin/test` installs it.
#[expect(clippy::disallowed_methods, reason = "bin/test says by the environment what it installed")]
fn ffmpeg9() -> String {
    let installed =
        || format!("{}/.cache/swiftwater/ffmpeg9/bin/ffmpeg9", std::env::var("HOME").unwrap_or_default());
    std::env::var("SWIFTWATER_TEST_FFMPEG9").unwrap_or_else(|_| installed())
}

fn encoder(program: &str, seconds: u32, video: &[&str], url: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-re"])
        .args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"])
        .args(["-f", "lavfi", "-i", "sine=440:sample_rate=44100"])
        .args(["-t", &seconds.to_string(), "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast"])
        .args(video)
        .args(["-g", "30", "-c:a", "aac", "-f", "flv", url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// All frames of a kind until the Stream ends, read from its beginning.
async fn frames(stream: &Arc<Stream>, kind: Kind) -> Vec<Frame> {
    let mut tracks = stream.watch_tracks();
    let track = tracks
        .wait_for(|tracks| tracks.iter().any(|track| track.kind() == kind))
        .await
        .unwrap()
        .iter()
        .find(|track| track.kind() == kind)
        .cloned()
        .unwrap();
    let mut reader = track.read::<Frame>(&Rid::single());
    let mut all = Vec::new();
    while let Some(frame) = reader.next().await {
        all.push(frame);
    }
    assert_eq!(reader.lagged(), 0);
    all
}

async fn wait_for_stream(house: &House) -> Arc<Stream> {
    house.until("a publication", |stats| stats.publications > 0).await;
    house.stream()
}

#[tokio::test]
async fn ffmpeg_publishes_and_every_frame_arrives_in_even_steps() {
    let mut house = House::open().await;
    let child = ffmpeg(4, &["-bf", "0"], &house.url(&format!("{KEY}?a=b"))).spawn().unwrap();
    let stream = wait_for_stream(&house).await;
    let (channel, encoder, params) = house.requests.recv().await.unwrap();
    assert_eq!((channel, params.as_deref()), (None, Some("a=b")));
    assert!(encoder.unwrap().contains("Lavf"));
    let hub = Arc::clone(&house.hub);
    let watched = Arc::clone(&stream);
    let ended = tokio::spawn(async move {
        let mut state = watched.watch_state();
        state.wait_for(|state| *state == StreamState::Reconnecting).await.unwrap();
        hub.end_all();
    });
    let (video, audio) = tokio::join!(frames(&stream, Kind::Video), frames(&stream, Kind::Audio));
    ended.await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    assert_eq!(video.len(), 120);
    assert!(video[0].keyframe);
    assert_eq!(video.iter().filter(|frame| frame.keyframe).count(), 4);
    for pair in video.windows(2) {
        assert_eq!(pair[1].dts.ticks() - pair[0].dts.ticks(), 3000, "30 fps on 90 kHz");
        assert_eq!(pair[1].pts, pair[1].dts);
    }
    assert_eq!(video[0].config.size(), Some((320, 180)));
    for nals in video.iter().map(|frame| media::h264::LengthPrefixed::new(&frame.data, 4)) {
        for nal in nals {
            assert!(![7, 8, 9].contains(&(nal.unwrap()[0] & 0x1f)), "no parameter sets, no delimiters");
        }
    }
    let CodecConfig::Aac(config) = &*audio[1].config else { panic!("AAC") };
    assert_eq!((config.sample_rate, config.object_type), (44_100, 2));
    // The reader of audio begins at the live edge, and newer ffmpegs begin with half a second at once.
    assert!(audio.len() > 140, "{}", audio.len());
    for pair in audio.windows(2) {
        assert_eq!(pair[1].dts.ticks() - pair[0].dts.ticks(), 1024);
    }
    let stats = house.close().await;
    assert_eq!((stats.video_frames, stats.frames_dropped), (120, 0), "{stats:?}");
    assert!((172..=176).contains(&stats.audio_frames), "4 s of 44.1 kHz: {stats:?}");
    assert_eq!(stats.audio_reanchored + stats.video_reanchored + stats.time_jumps, 0, "{stats:?}");
}

#[tokio::test]
async fn b_frames_keep_their_order_and_their_distance() {
    let house = House::open().await;
    let video = ["-bf", "3", "-x264-params", "b-adapt=0:b-pyramid=2"];
    let child = ffmpeg(2, &video, &house.url(KEY)).spawn().unwrap();
    let stream = wait_for_stream(&house).await;
    let hub = Arc::clone(&house.hub);
    let (video, output) = tokio::join!(frames(&stream, Kind::Video), async {
        let output = child.wait_with_output().await.unwrap();
        house.until("the end", |stats| stats.connections_ended == 1).await;
        hub.end_all();
        output
    });
    assert!(output.status.success());
    assert_eq!(video.len(), 60);
    let mut shown: Vec<_> = video.iter().map(|frame| frame.pts.ticks()).collect();
    assert!(video.iter().any(|frame| frame.discardable), "B-frames that nobody refers to");
    assert!(shown.windows(2).any(|pair| pair[1] < pair[0]), "reordered");
    shown.sort_unstable();
    for pair in shown.windows(2) {
        assert_eq!(pair[1] - pair[0], 3000);
    }
    house.close().await;
}

#[tokio::test]
async fn an_unknown_key_is_refused_in_words_and_ffmpeg_fails() {
    let house = House::open().await;
    let output = ffmpeg(5, &[], &house.url("sk_wrong")).output().await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Unknown stream key"), "{said}");
    let stats = house.close().await;
    assert_eq!((stats.rejections, stats.publications, stats.protocol_errors), (1, 0, 0));
}

#[tokio::test]
async fn a_channel_and_key_in_the_url_and_an_unsupported_codec() {
    let mut house = House::open().await;
    let url = format!("rtmp://{}/live/ana?key={KEY}", house.addr);
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-re"])
        .args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-t", "10", "-c:v", "flv1"])
        .args(["-f", "flv", &url])
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    let (channel, _, params) = house.requests.recv().await.unwrap();
    assert_eq!((channel.as_ref().map(ChannelName::as_str), params), (Some("ana"), None));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Sorenson"), "{said}");
    assert!(said.contains("H.264"), "{said}");
    house.close().await;
}

/// By an ffmpeg that speaks enhanced RTMP.
#[tokio::test]
async fn hevc_by_enhanced_rtmp_is_refused_in_words() {
    let house = House::open().await;
    let output = encoder(&ffmpeg9(), 10, &["-c:v", "libx265"], &house.url(KEY)).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("HEVC (H.265) video is not supported yet"), "{said}");
    let stats = house.close().await;
    assert_eq!((stats.rejections, stats.protocol_errors), (1, 0), "{stats:?}");
}

#[tokio::test]
async fn an_encoder_that_comes_back_continues_the_stream_and_replaces_itself() {
    let house = House::open().await;
    let first = ffmpeg(30, &["-bf", "0"], &house.url(KEY)).spawn().unwrap();
    let stream = wait_for_stream(&house).await;
    house.until("media", |stats| stats.video_frames > 30).await;
    // The network cable: the first encoder does not know yet that it is gone.
    let second = ffmpeg(30, &["-bf", "0"], &house.url(KEY)).spawn().unwrap();
    house.until("the first one is thrown out", |stats| stats.replaced == 1).await;
    let before = house.stats.snapshot().video_frames;
    house.until("media of the second", |stats| stats.video_frames > before + 30).await;
    assert!(Arc::ptr_eq(&stream, &house.stream()));
    assert_eq!((stream.epoch(), stream.state()), (1, StreamState::Live));
    drop(first);
    drop(second);
    house.until("both have gone", |stats| stats.connections_ended == 2).await;
    assert_eq!(stream.state(), StreamState::Reconnecting);
    house.close().await;
}

/// A client by `rml_rtmp`, as the demo publisher is one.
struct Client {
    socket: TcpStream,
    session: ClientSession,
    events: Vec<ClientSessionEvent>,
}

impl Client {
    async fn connect(addr: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let mut handshake = Handshake::new(PeerType::Client);
        socket.write_all(&handshake.generate_outbound_p0_and_p1().unwrap()).await.unwrap();
        let mut buffer = [0; 4096];
        let rest = loop {
            let read = socket.read(&mut buffer).await.unwrap();
            assert!(read > 0);
            match handshake.process_bytes(&buffer[..read]).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    socket.write_all(&response_bytes).await.unwrap();
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    socket.write_all(&response_bytes).await.unwrap();
                    break remaining_bytes;
                }
            }
        };
        let (session, results) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        let mut client = Self { socket, session, events: Vec::new() };
        client.handle(results).await;
        let results = client.session.handle_input(&rest).unwrap();
        client.handle(results).await;
        client
    }

    async fn handle(&mut self, results: Vec<ClientSessionResult>) {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    self.socket.write_all(&packet.bytes).await.unwrap();
                }
                ClientSessionResult::RaisedEvent(event) => self.events.push(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }

    async fn send(&mut self, result: ClientSessionResult) {
        self.handle(vec![result]).await;
    }

    async fn until(&mut self, wanted: impl Fn(&ClientSessionEvent) -> bool) {
        let mut buffer = [0; 4096];
        while !self.events.iter().any(&wanted) {
            let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut buffer)).await.unwrap().unwrap();
            assert!(read > 0, "closed before the event came: {:?}", self.events);
            let results = self.session.handle_input(&buffer[..read]).unwrap();
            self.handle(results).await;
        }
    }

    async fn publish(addr: SocketAddr) -> Self {
        let mut client = Self::connect(addr).await;
        let request = client.session.request_connection("live".into()).unwrap();
        client.send(request).await;
        client.until(|event| matches!(event, ClientSessionEvent::ConnectionRequestAccepted)).await;
        let request = client.session.request_publishing(KEY.into(), PublishRequestType::Live).unwrap();
        client.send(request).await;
        client.until(|event| matches!(event, ClientSessionEvent::PublishRequestAccepted)).await;
        client
    }

    async fn audio(&mut self, timestamp: u32, body: Vec<u8>) {
        let message =
            self.session.publish_audio_data(body.into(), RtmpTimestamp::new(timestamp), false).unwrap();
        self.send(message).await;
    }
}

#[tokio::test]
async fn rml_rtmps_client_publishes_and_vanishes_in_the_middle_of_a_frame() {
    let house = House::open().await;
    let mut client = Client::publish(house.addr).await;
    // Longer than a chunk; AAC-LC, 48 kHz, stereo.
    client.audio(0, vec![0xaf, 0, 0x11, 0x90]).await;
    let stream = house.stream();
    for i in 0..10u32 {
        client.audio(i * 64 / 3, [&[0xaf, 1][..], &[i as u8; 500]].concat()).await;
    }
    house.until("ten frames", |stats| stats.audio_frames == 10).await;
    let track = stream.track(Codec::Aac).unwrap();
    assert_eq!(track.spec().timescale.hz(), 48_000);
    assert_eq!(stream.state(), StreamState::Live);
    // The header of a long message and a little of its body, then nothing more.
    client.socket.write_all(&[4, 0, 0, 0, 0, 0x40, 0, 8, 1, 0, 0, 0, 0xaf, 1]).await.unwrap();
    drop(client);
    house.until("the end", |stats| stats.connections_ended == 1).await;
    assert_eq!(stream.state(), StreamState::Reconnecting);
    let stats = house.close().await;
    assert_eq!((stats.audio_frames, stats.protocol_errors), (10, 0));
}

#[tokio::test]
async fn a_goodbye_leaves_the_stream_its_grace_and_allows_another_publish() {
    let house = House::open().await;
    let mut client = Client::publish(house.addr).await;
    let stream = house.stream();
    let results = client.session.stop_publishing().unwrap();
    client.handle(results).await;
    let mut state = stream.watch_state();
    tokio::time::timeout(PATIENCE, state.wait_for(|state| *state == StreamState::Reconnecting))
        .await
        .unwrap()
        .unwrap();
    let request = client.session.request_publishing(KEY.into(), PublishRequestType::Live).unwrap();
    client.events.clear();
    client.send(request).await;
    client.until(|event| matches!(event, ClientSessionEvent::PublishRequestAccepted)).await;
    assert_eq!(stream.state(), StreamState::Live);
    house.close().await;
}

/// Sends bytes and waits for the connection to be closed.
async fn stranger(addr: SocketAddr, bytes: &[u8], hang_up: bool) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let _ = socket.write_all(bytes).await;
    if hang_up {
        return;
    }
    let mut waste = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut waste)).await.expect("closed");
}

#[tokio::test]
async fn strangers_are_shown_the_door_and_nothing_is_left_of_them() {
    let house = House::open().await;
    let handshake = {
        let mut client = Handshake::new(PeerType::Client);
        client.generate_outbound_p0_and_p1().unwrap()
    };
    // A whole handshake (the second half echoes nothing, which is allowed), then garbage.
    let garbage: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 0xc0).collect();
    let shaken = [&handshake[..], &[0; 1536], &garbage].concat();
    let begun = Instant::now();
    stranger(house.addr, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", false).await;
    stranger(house.addr, &shaken, false).await;
    // A command before connect; a type 3 header out of nowhere.
    stranger(
        house.addr,
        &[&shaken[..3073], &[3, 0, 0, 0, 0, 0, 4, 20, 0, 0, 0, 0, 2, 0, 1, b'x']].concat(),
        false,
    )
    .await;
    assert!(begun.elapsed() < Duration::from_secs(8), "not by time-out");
    stranger(house.addr, &handshake[..700], true).await;
    stranger(house.addr, &[], true).await;
    house.until("all have gone", |stats| stats.connections_ended == 5).await;
    let stats = house.close().await;
    assert_eq!((stats.protocol_errors, stats.timeouts), (3, 0), "{stats:?}");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let (sender, _asked) = mpsc::channel(1);
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), connections_max: 1, ..Config::default() };
    let listener = Listener::bind(config).await.unwrap();
    let (addr, stats) = (listener.local_addr(), listener.stats());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(listener.run(sender, shutdown.clone()));
    let first = TcpStream::connect(addr).await.unwrap();
    stranger(addr, b"\x03", false).await;
    assert_eq!(stats.snapshot().connections_refused, 1);
    // The first one is still served: its handshake is answered.
    let mut first = first;
    first.write_all(&[3]).await.unwrap();
    let mut answer = [0; 1];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [3]);
    shutdown.cancel();
    task.await.unwrap();
}

/// Loopback has no limit, so this connects to another address of this machine, if it has one; nothing leaves it.
#[tokio::test]
async fn one_connection_too_many_of_an_address_hears_why() {
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // An address for documentation: the kernel only looks up by which of ours it would go.
    let own = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()).map(|own| own.ip());
    let Some(own) = own.ok().filter(|own| !own.is_loopback() && !own.is_unspecified()) else {
        return println!("not tested: this machine has no address beside loopback");
    };
    let (sender, _asked) = mpsc::channel(1);
    let listen = ([0, 0, 0, 0], 0).into();
    let config = Config { listen, connections_per_address_max: 1, ..Config::default() };
    let listener = Listener::bind(config).await.unwrap();
    let (port, stats) = (listener.local_addr().port(), listener.stats());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(listener.run(sender, shutdown.clone()));
    let mut first = TcpStream::connect((own, port)).await.unwrap();
    first.write_all(&[3]).await.unwrap();
    first.read_exact(&mut [0; 1]).await.unwrap();
    let output = ffmpeg(5, &[], &format!("rtmp://{own}:{port}/live/{KEY}")).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Too many RTMP connections from your address"), "{said}");
    assert_eq!(stats.snapshot().connections_refused_address, 1);
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn half_a_handshake_has_ten_seconds() {
    let house = House::open().await;
    let mut socket = TcpStream::connect(house.addr).await.unwrap();
    socket.write_all(&[3; 100]).await.unwrap();
    house.until("accepted", |stats| stats.connections_accepted == 1).await;
    let mut waste = Vec::new();
    let _ = socket.read_to_end(&mut waste).await;
    let stats = house.close().await;
    assert_eq!(stats.connections_ended, 1);
}
