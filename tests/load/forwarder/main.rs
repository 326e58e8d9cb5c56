//! The same fan-out by the crate `webrtc` as it is meant to be used: a peer connection per viewer, a task that writes
//! every packet to its tracks. To compare with; nothing else of the server is in it.
//!
//! ```text
//! forwarder --trace FILE [--threads N]      WHEP at /whep, on a port of the kernel's choice, which it prints
//! ```
//! Its source is a trace of `load watch --trace`: packets of the same sizes at the same times.

mod trace;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::{Notify, broadcast};
use trace::{Packet, Trace};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCSessionDescription, Registry, register_default_interceptors,
};

/// Packets that a viewer may be behind: a keyframe and more. Beyond it the task skips, as the crate's own example.
const BEHIND_MAX: usize = 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What viewers watch.
struct Source {
    packets: broadcast::Sender<Packet>,
    next_ssrc: AtomicU32,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (trace, threads) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--trace", trace] => (trace, 1),
        ["--trace", trace, "--threads", threads] => (trace, threads.parse().expect("a number")),
        _ => panic!("usage: forwarder --trace FILE [--threads N]"),
    };
    let trace = Trace::read(&std::fs::read_to_string(trace).expect("a trace"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run(trace));
}

async fn run(trace: Trace) {
    let (packets, _) = broadcast::channel(BEHIND_MAX);
    let source = Arc::new(Source { packets: packets.clone(), next_ssrc: AtomicU32::new(1000) });
    let writing = trace.play(packets);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let _ = writeln!(std::io::stdout(), "{}", listener.local_addr().expect("bound").port());
    let routes = Router::new().route("/whep", post(watch)).with_state(source);
    tokio::select! {
        served = async { axum::serve(listener, routes).await } => served.expect("it serves"),
        () = writing => {}
    }
}

async fn watch(State(source): State<Arc<Source>>, offer: String) -> impl IntoResponse {
    match source.subscribe(offer).await {
        Ok(answer) => {
            let headers = [(header::CONTENT_TYPE, "application/sdp"), (header::LOCATION, "/whep")];
            (StatusCode::CREATED, headers, answer).into_response()
        }
        Err(failure) => (StatusCode::BAD_REQUEST, failure.to_string()).into_response(),
    }
}

/// Says when all candidates are known.
struct Gathering {
    complete: Arc<Notify>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Gathering {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.complete.notify_one();
        }
    }
}

impl Source {
    async fn subscribe(&self, offer: String) -> Result<String, Failure> {
        let complete = Arc::new(Notify::new());
        let mut engine = MediaEngine::default();
        engine.register_default_codecs()?;
        let registry = register_default_interceptors(Registry::new(), &mut engine)?;
        let connection: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_media_engine(engine)
                .with_interceptor_registry(registry)
                .with_handler(Arc::new(Gathering { complete: Arc::clone(&complete) }))
                .with_udp_addrs(vec!["127.0.0.1:0"])
                .build()
                .await?,
        );
        let audio = self.track(RtpCodecKind::Audio, MIME_TYPE_OPUS, 48_000, 2);
        let video = self.track(RtpCodecKind::Video, MIME_TYPE_VP8, 90_000, 0);
        for (track, _) in [&audio, &video] {
            connection.add_track(Arc::clone(track) as Arc<dyn TrackLocal>).await?;
        }
        connection.set_remote_description(RTCSessionDescription::offer(offer)?).await?;
        let answer = connection.create_answer(None).await?;
        connection.set_local_description(answer).await?;
        complete.notified().await;
        let answer = connection.local_description().await.ok_or("no local description")?;
        // It lives as long as this process: viewers of a measurement stay.
        tokio::spawn(forward(connection, self.packets.subscribe(), audio, video));
        Ok(answer.sdp)
    }

    fn track(&self, kind: RtpCodecKind, mime: &str, clock_rate: u32, channels: u16) -> Track {
        let ssrc = self.next_ssrc.fetch_add(1, Ordering::Relaxed);
        let codec = RTCRtpCodec { mime_type: mime.to_owned(), clock_rate, channels, ..Default::default() };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec,
            ..Default::default()
        };
        let name = format!("{kind:?}{ssrc}");
        let track = MediaStreamTrack::new("stream".to_owned(), name.clone(), name, kind, vec![encoding]);
        (Arc::new(TrackLocalStaticRTP::new(track)), ssrc)
    }
}

/// A track and its SSRC.
type Track = (Arc<TrackLocalStaticRTP>, u32);

/// Writes every packet to the tracks of one viewer.
async fn forward(
    _connection: Arc<dyn PeerConnection>,
    mut packets: broadcast::Receiver<Packet>,
    audio: Track,
    video: Track,
) {
    loop {
        let packet = match packets.recv().await {
            Ok(packet) => packet,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let (track, ssrc) = if packet.video { &video } else { &audio };
        let mut rtp = packet.rtp;
        rtp.header.ssrc = *ssrc;
        // Before the viewer is connected there is nobody to write to.
        let _not_yet = track.write_rtp(rtp).await;
    }
}
