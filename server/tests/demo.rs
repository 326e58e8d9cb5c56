//! The demo against an RTMP server of another make.
#![expect(clippy::disallowed_methods, reason = "tests join their tasks and compare clocks")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media::{Codec, CodecConfig, Frame, Hub, Kind, NtpTime, Publication, Rid, Stream, StreamState};

use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{ServerSession, ServerSessionConfig, ServerSessionEvent, ServerSessionResult};
use server::demo::{self, Options, strip};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

/// What arrived: tag bodies in order, `true` for video.
#[derive(Default)]
struct Heard {
    key: String,
    app: String,
    tags: Vec<(bool, u32, Vec<u8>)>,
    finished: bool,
}

/// Serves one connection until `enough` video tags came, or it ended.
async fn serve(mut stream: TcpStream, enough: usize, shutdown: &CancellationToken) -> Heard {
    let mut heard = Heard::default();
    let mut buffer = vec![0; 1 << 16];
    let mut handshake = Handshake::new(PeerType::Server);
    let early = loop {
        let length = stream.read(&mut buffer).await.expect("reads");
        match handshake.process_bytes(&buffer[..length]).expect("a handshake") {
            HandshakeProcessResult::InProgress { response_bytes } => {
                stream.write_all(&response_bytes).await.expect("writes");
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                stream.write_all(&response_bytes).await.expect("writes");
                break remaining_bytes;
            }
        }
    };
    let (mut session, first) = ServerSession::new(ServerSessionConfig::new()).expect("a session");
    let mut results = first;
    results.extend(session.handle_input(&early).expect("RTMP"));
    loop {
        let mut next = Vec::new();
        for result in results {
            match result {
                ServerSessionResult::OutboundResponse(packet) => {
                    stream.write_all(&packet.bytes).await.expect("writes");
                }
                ServerSessionResult::RaisedEvent(event) => match event {
                    ServerSessionEvent::ConnectionRequested { request_id, app_name } => {
                        heard.app = app_name;
                        next.extend(session.accept_request(request_id).expect("accepts"));
                    }
                    ServerSessionEvent::PublishStreamRequested { request_id, stream_key, .. } => {
                        heard.key = stream_key;
                        next.extend(session.accept_request(request_id).expect("accepts"));
                    }
                    ServerSessionEvent::VideoDataReceived { data, timestamp, .. } => {
                        heard.tags.push((true, timestamp.value, data.to_vec()));
                    }
                    ServerSessionEvent::AudioDataReceived { data, timestamp, .. } => {
                        heard.tags.push((false, timestamp.value, data.to_vec()));
                    }
                    ServerSessionEvent::PublishStreamFinished { .. } => heard.finished = true,
                    _ => {}
                },
                ServerSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        results = next;
        if !results.is_empty() {
            continue;
        }
        if heard.tags.iter().filter(|(video, ..)| *video).count() >= enough {
            shutdown.cancel();
        }
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => results = session.handle_input(&buffer[..length]).expect("RTMP"),
            _ => return heard,
        }
    }
}

fn options(listener: &TcpListener) -> Options {
    let address = listener.local_addr().expect("bound");
    Options {
        url: format!("rtmp://{address}/live"),
        key: "secret".to_owned().into(),
        size: (320, 180),
        gop_seconds: 1,
        bitrate_bps: 400_000,
        ..Options::default()
    }
}

/// Decodes the pictures and reads their strips.
fn strips(heard: &Heard) -> Vec<(u32, u64)> {
    use openh264::formats::YUVSource as _;
    let mut decoder = openh264::decoder::Decoder::new().expect("decoder");
    let mut config = None;
    let mut read = Vec::new();
    for (_, _, body) in heard.tags.iter().filter(|(video, ..)| *video) {
        if body[1] == 0 {
            config = Some(media::h264::Config::from_avcc(&body[5..]).expect("avcC"));
            continue;
        }
        let mut stream = Vec::new();
        media::h264::write_annex_b(&body[5..], config.take().as_ref(), &mut stream);
        let picture = decoder.decode(&stream).expect("decodes").expect("a picture");
        read.push(strip::read(picture.y(), picture.strides().0, 320, 180).expect("a strip"));
    }
    read
}

#[tokio::test]
async fn publishes_pictures_that_say_when_they_were_made_and_says_goodbye() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let shutdown = CancellationToken::new();
    let demo = tokio::spawn(demo::run(options(&listener), shutdown.clone()));
    let (stream, _) = listener.accept().await.expect("accepts");
    let heard = tokio::time::timeout(PATIENCE, serve(stream, 40, &shutdown)).await.expect("in time");
    demo.await.expect("no panic").expect("ends well");

    assert_eq!((heard.app.as_str(), heard.key.as_str()), ("live", "secret"));
    assert!(heard.finished, "the server need not wait for it to come back");
    let read = strips(&heard);
    assert!(read.windows(2).all(|pair| pair[1].0 > pair[0].0), "each picture has its number");
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64 % (1 << 40);
    let (_, made) = *read.last().expect("pictures");
    assert!(now.wrapping_sub(made) < PATIENCE.as_millis() as u64, "{made} is just before {now}");
    let sound = heard.tags.iter().filter(|(video, ..)| !video).count();
    assert!(sound > 30, "{sound} AAC frames beside {} pictures", read.len());
}

#[tokio::test]
async fn comes_back_and_goes_on_counting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let shutdown = CancellationToken::new();
    let demo = tokio::spawn(demo::run(options(&listener), shutdown.clone()));
    let first = CancellationToken::new();
    let (stream, _) = listener.accept().await.expect("accepts");
    // The connection breaks once enough has come.
    let first = tokio::select! {
        _ = serve(stream, 5, &first) => panic!("the demo does not leave by itself"),
        () = first.cancelled() => 5,
    };
    let (stream, _) =
        tokio::time::timeout(PATIENCE, listener.accept()).await.expect("in time").expect("accepts");
    let heard = tokio::time::timeout(PATIENCE, serve(stream, 5, &shutdown)).await.expect("in time");
    demo.await.expect("no panic").expect("ends well");
    let (counter, _) = strips(&heard)[0];
    assert!(counter >= first - 1, "frame {counter} after a reconnect");
    assert_eq!(heard.tags.iter().find(|(video, ..)| *video).expect("video").2[..2], [0x17, 0], "new headers");
}

/// Our own RTMP port, without a server around it: every key is good.
async fn ingest(
    shutdown: &CancellationToken,
) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>, mpsc::Receiver<ingest::PublishRequest>) {
    let listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let config = ingest::rtmp::Config { listen, ..ingest::rtmp::Config::default() };
    let listener = ingest::rtmp::Listener::bind(config).await.expect("binds");
    let (requests, asked) = mpsc::channel(4);
    let address = listener.local_addr();
    (address, tokio::spawn(listener.run(requests, shutdown.clone())), asked)
}

async fn track(
    stream: &Stream,
    what: &str,
    find: impl Fn() -> Option<Arc<media::Track>>,
) -> Arc<media::Track> {
    let mut tracks = stream.watch_tracks();
    let found = async {
        loop {
            tracks.borrow_and_update();
            if let Some(track) = find() {
                return track;
            }
            tracks.changed().await.expect("the Stream lives");
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {what}"))
}

/// Picture by RTMP, sound by RTMP and through the transcoder: each by its own timestamps.
#[tokio::test]
async fn flash_and_beep_are_together_behind_rtmp_and_transcode() {
    use openh264::formats::YUVSource as _;
    let shutdown = CancellationToken::new();
    let (address, listening, mut asked) = ingest(&shutdown).await;
    let options = Options {
        url: format!("rtmp://{address}/live"),
        key: "secret".to_owned().into(),
        size: (320, 180),
        audio_rate: 44_100,
        ..Options::default()
    };
    let leave = CancellationToken::new();
    let demo = tokio::spawn(demo::run(options, leave.clone()));
    let request = tokio::time::timeout(PATIENCE, asked.recv()).await.expect("in time").expect("a request");
    let hub = Hub::new(Duration::from_secs(10));
    let channel = media::ChannelName::parse("demo").expect("a name");
    let wall = NtpTime::from_unix_micros(1);
    let now = std::time::Instant::now();
    let writer = hub.publish(&channel, Publication::default(), now, wall).expect("nobody else");
    let stream = Arc::clone(writer.stream());
    request.accept(writer);
    let transcoder = transcode::Transcoder::new(transcode::Config::default()).expect("starts");
    let attached = tokio::spawn(Arc::clone(&transcoder).attach(Arc::clone(&stream)));

    let video = track(&stream, "picture", || stream.source(Kind::Video)).await;
    let opus = track(&stream, "Opus", || stream.track(Codec::Opus)).await;
    let (mut pictures, mut sounds) =
        (video.read::<Frame>(&Rid::single()), opus.read::<Frame>(&Rid::single()));
    let mut video_decoder = openh264::decoder::Decoder::new().expect("decoder");
    let mut audio_decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).expect("decoder");
    let (left, top, side) = demo::scene::flash_square(320, 180);
    let (mut flash, mut beep): (Option<f64>, Option<f64>) = (None, None);
    let (mut dark, mut quiet) = (false, false);
    let watching = async {
        while flash.is_none() || beep.is_none() {
            tokio::select! {
                frame = pictures.next() => {
                    let frame = frame.expect("live");
                    let CodecConfig::H264(config) = &*frame.config else { panic!("{:?}", frame.config) };
                    let mut bits = Vec::new();
                    media::h264::write_annex_b(&frame.data, frame.keyframe.then_some(config), &mut bits);
                    let Ok(Some(picture)) = video_decoder.decode(&bits) else { continue };
                    let white = picture.y()[(top + side / 2) * picture.strides().0 + left + side / 2] > 180;
                    if white && dark {
                        flash.get_or_insert(frame.pts.as_secs_f64());
                    }
                    dark = !white;
                }
                frame = sounds.next() => {
                    let frame = frame.expect("live");
                    let mut samples = [0.0; 2 * 960];
                    audio_decoder.decode_float(&frame.data, &mut samples, false).expect("decodes");
                    let first = samples.iter().step_by(2).position(|sample| sample.abs() > 0.12);
                    if let Some(first) = first.filter(|_| quiet) {
                        beep.get_or_insert(frame.pts.as_secs_f64() + first as f64 / 48_000.0);
                    }
                    quiet = first.is_none();
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, watching).await.expect("a flash and a beep within a second or two");
    let late = (beep.expect("heard") - flash.expect("seen")) * 1000.0;
    // They may be of neighbouring seconds.
    let late = (late + 500.0).rem_euclid(1000.0) - 500.0;
    assert!(late.abs() < 12.0, "the beep is {late:.1} ms later than the flash");
    println!("the beep is {late:.1} ms later than the flash");

    // It says goodbye; the Stream waits for another one until the Hub ends it, and the transcoder with it.
    leave.cancel();
    demo.await.expect("no panic").expect("ends well");
    let mut state = stream.watch_state();
    let left = state.wait_for(|state| *state != StreamState::Live);
    tokio::time::timeout(PATIENCE, left).await.expect("in time").expect("the Stream lives");
    hub.end_all();
    tokio::time::timeout(PATIENCE, attached).await.expect("ends with the Stream").expect("no panic");
    shutdown.cancel();
    listening.await.expect("no panic");
}
