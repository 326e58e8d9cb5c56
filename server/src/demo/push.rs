//! One RTMP publication: connect, shake hands, publish, send tags when they are due.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
    StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::studio::{Camera, Kind, Microphone, Tag};
use super::{Error, Options};

/// Longest wait for a connection, an answer or a write: a server that takes longer is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// When pictures are this late, some are left out: the machine was busy, live goes on.
const LATE_MAX: Duration = Duration::from_millis(250);

/// Bytes per chunk: an RTMP message of the demo is one to ten of them.
const CHUNK_BYTES: u32 = 8192;

/// Where to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    address: String,
    app: String,
}

impl Target {
    /// Reads `rtmp://host[:port]/app`.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let wrong = Error::Option { option: "url", why: "use rtmp://host[:port]/app" };
        let Some((host, app)) = url.strip_prefix("rtmp://").and_then(|rest| rest.split_once('/')) else {
            return Err(wrong);
        };
        let app = app.trim_matches('/');
        if host.is_empty() || app.is_empty() {
            return Err(wrong);
        }
        let behind_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
        let address = if behind_address.contains(':') { host.to_owned() } else { format!("{host}:1935") };
        Ok(Self { address, app: app.to_owned() })
    }
}

/// One publication.
pub(super) struct Publication {
    options: Options,
    counter: u32,
    published: bool,
}

impl Publication {
    pub(super) fn new(options: &Options, counter: u32) -> Self {
        Self { options: options.clone(), counter, published: false }
    }

    /// The number of the next picture, for the publication after this one.
    pub(super) fn counter(&self) -> u32 {
        self.counter
    }

    /// Whether the server took it.
    pub(super) fn published(&self) -> bool {
        self.published
    }

    /// Publishes until `shutdown` (`Ok`) or until something ends it.
    pub(super) async fn run(&mut self, shutdown: &CancellationToken) -> Result<(), Error> {
        let target = Target::parse(&self.options.url)?;
        let mut wire = tokio::select! {
            wire = Wire::publish(&target, self.options.key.expose_secret()) => wire?,
            () = shutdown.cancelled() => return Ok(()),
        };
        self.published = true;
        let (width, height) = self.options.size;
        wire.send_metadata(&self.options)?;
        info!(
            url = self.options.url,
            width,
            height,
            fps = self.options.fps,
            gop_seconds = self.options.gop_seconds,
            "demo publishes"
        );
        let (now, unix_micros) = both_clocks();
        let wait = until_picture(unix_micros, self.options.fps);
        let (start, start_unix_micros) = (now + Duration::from_micros(wait), unix_micros + wait);
        let camera = Camera::new(&self.options, start_unix_micros, self.counter)?;
        let mut microphone = Microphone::new(&self.options, start_unix_micros)?;
        // The camera is here, or away making a picture.
        let (mut camera, mut away) = (Some(camera), None);
        loop {
            let elapsed = start.elapsed();
            if let Some(camera) = camera.as_mut().filter(|camera| elapsed > camera.due() + LATE_MAX) {
                camera.skip_to(elapsed);
            }
            let picture_due = camera.as_ref().map(|camera| start + camera.due());
            let tags = tokio::select! {
                () = tokio::time::sleep_until(start + microphone.due()) => microphone.record(start.elapsed())?,
                () = tokio::time::sleep_until(picture_due.unwrap_or(start)), if picture_due.is_some() => {
                    away = camera.take().map(shoot);
                    continue;
                }
                made = async { Some(away.as_mut()?.await) }, if away.is_some() => {
                    let Some(made) = made else { continue };
                    let (back, tags) = made.map_err(|error: JoinError| Error::Ended {
                        why: format!("the picture could not be made: {error}"),
                    })??;
                    self.counter = back.counter();
                    (camera, away) = (Some(back), None);
                    tags
                }
                read = wire.read() => {
                    wire.watch(read?)?;
                    Vec::new()
                }
                () = shutdown.cancelled() => return wire.goodbye().await,
            };
            for tag in tags {
                wire.send_tag(tag)?;
            }
            wire.flush().await?;
        }
    }
}

/// Makes one picture away from the async workers: it takes milliseconds of computing, and sound must not wait for it.
fn shoot(mut camera: Camera) -> JoinHandle<Result<(Camera, Vec<Tag>), Error>> {
    tokio::task::spawn_blocking(move || {
        let (now, unix_micros) = both_clocks();
        let tags = camera.shoot(unix_micros / 1000, now.into_std())?;
        Ok((camera, tags))
    })
}

/// The same moment on the monotonic and on the wall clock.
#[expect(clippy::disallowed_methods, reason = "the demo's picture shows the wall clock and is paced by it")]
fn both_clocks() -> (Instant, u64) {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), u64::try_from(unix.as_micros()).unwrap_or(u64::MAX))
}

/// Microseconds until a picture is due, if one is due at each whole second of the wall clock: then the flash
/// begins with the beep, not up to a picture later.
fn until_picture(unix_micros: u64, fps: u32) -> u64 {
    let fraction = unix_micros % 1_000_000;
    let next = (fraction * u64::from(fps)).div_ceil(1_000_000);
    (next * 1_000_000 / u64::from(fps)).saturating_sub(fraction)
}

/// The connection: bytes to and from the RTMP session.
struct Wire {
    stream: TcpStream,
    address: String,
    session: ClientSession,
    outbound: Vec<u8>,
    events: VecDeque<ClientSessionEvent>,
    inbound: Box<[u8; 4096]>,
}

impl Wire {
    async fn connect(target: &Target) -> Result<Self, Error> {
        let address = target.address.clone();
        let failed = |source| Error::Connect { address: address.clone(), source };
        let connecting = timeout(PATIENCE, TcpStream::connect(&address)).await;
        let mut stream =
            connecting.map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
        // Pictures leave when they are made.
        stream.set_nodelay(true).map_err(failed)?;
        let early = timeout(PATIENCE, shake_hands(&mut stream, &address)).await;
        let early = early.map_err(|_| not_rtmp(&address, "no handshake within 10 s"))??;
        let mut config = ClientSessionConfig::new();
        config.flash_version = "FMLE/3.0 (compatible; Swiftwater demo)".to_owned();
        config.chunk_size = CHUNK_BYTES;
        config.tc_url = Some(format!("rtmp://{address}/{}", target.app));
        let (session, results) = ClientSession::new(config).map_err(|error| not_rtmp(&address, error))?;
        let (outbound, events) = (Vec::new(), VecDeque::new());
        let mut wire = Self { stream, address, session, outbound, events, inbound: Box::new([0; 4096]) };
        wire.take(results);
        wire.receive(&early)?;
        Ok(wire)
    }

    /// Connects and publishes.
    async fn publish(target: &Target, key: &str) -> Result<Self, Error> {
        let mut wire = Self::connect(target).await?;
        wire.request(target, key).await?;
        Ok(wire)
    }

    /// `connect`, `createStream`, `publish`.
    async fn request(&mut self, target: &Target, key: &str) -> Result<(), Error> {
        let connect = self.session.request_connection(target.app.clone());
        self.take([connect.map_err(|error| not_rtmp(&self.address, error))?]);
        let publishing = async {
            loop {
                self.flush().await?;
                let Some(event) = self.events.pop_front() else {
                    let length = self.read().await?;
                    self.watch_quietly(length)?;
                    continue;
                };
                match event {
                    ClientSessionEvent::ConnectionRequestAccepted => {
                        let publish =
                            self.session.request_publishing(key.to_owned(), PublishRequestType::Live);
                        self.take([publish.map_err(|error| not_rtmp(&self.address, error))?]);
                    }
                    ClientSessionEvent::ConnectionRequestRejected { description } => {
                        return Err(Error::Refused { code: description });
                    }
                    ClientSessionEvent::PublishRequestAccepted => return Ok(()),
                    other => refused(other)?,
                }
            }
        };
        let no_answer = || Error::Ended { why: "the server does not answer the publish request".to_owned() };
        timeout(PATIENCE, publishing).await.map_err(|_| no_answer())?
    }

    fn send_metadata(&mut self, options: &Options) -> Result<(), Error> {
        let mut metadata = StreamMetadata::new();
        metadata.video_width = Some(options.size.0 as u32);
        metadata.video_height = Some(options.size.1 as u32);
        // FLV's numbers for H.264 and AAC.
        metadata.video_codec_id = Some(7);
        metadata.audio_codec_id = Some(10);
        metadata.video_frame_rate = Some(options.fps as f32);
        metadata.video_bitrate_kbps = Some(options.bitrate_bps / 1000);
        metadata.audio_sample_rate = Some(options.audio_rate);
        metadata.audio_is_stereo = Some(true);
        metadata.encoder = Some("Swiftwater demo".to_owned());
        let sent = self.session.publish_metadata(&metadata);
        self.take([sent.map_err(|error| Error::Ended { why: error.to_string() })?]);
        Ok(())
    }

    fn send_tag(&mut self, tag: Tag) -> Result<(), Error> {
        let time = RtmpTimestamp::new(tag.millis);
        let sent = match tag.kind {
            Kind::Audio => self.session.publish_audio_data(tag.body, time, false),
            Kind::Video => self.session.publish_video_data(tag.body, time, false),
        };
        self.take([sent.map_err(|error| Error::Ended { why: error.to_string() })?]);
        Ok(())
    }

    /// Says that the publication is over, so that the server need not find out by itself.
    async fn goodbye(mut self) -> Result<(), Error> {
        if let Ok(results) = self.session.stop_publishing() {
            self.take(results);
        }
        // Best effort: we are leaving.
        let _ = self.flush().await;
        let _ = timeout(Duration::from_secs(1), self.stream.shutdown()).await;
        Ok(())
    }

    /// Waits for bytes. Cancel safe: they lie in `inbound` when it is ready.
    async fn read(&mut self) -> Result<usize, Error> {
        match self.stream.read(&mut self.inbound[..]).await {
            Ok(0) => Err(Error::Ended { why: "the server closed it".to_owned() }),
            Ok(length) => Ok(length),
            Err(error) => Err(Error::Ended { why: error.to_string() }),
        }
    }

    /// Handles what the server said while we publish.
    fn watch(&mut self, length: usize) -> Result<(), Error> {
        self.watch_quietly(length)?;
        while let Some(event) = self.events.pop_front() {
            refused(event)?;
        }
        Ok(())
    }

    fn watch_quietly(&mut self, length: usize) -> Result<(), Error> {
        let bytes = self.inbound[..length].to_vec();
        self.receive(&bytes)
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let results = self.session.handle_input(bytes).map_err(|error| not_rtmp(&self.address, error))?;
        self.take(results);
        Ok(())
    }

    /// Keeps what is to be sent and what happened, both in order: a later request is serialised after the
    /// chunk size that an earlier result announces.
    fn take(&mut self, results: impl IntoIterator<Item = ClientSessionResult>) {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => self.outbound.extend(packet.bytes),
                ClientSessionResult::RaisedEvent(event) => self.events.push_back(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.outbound.is_empty() {
            return Ok(());
        }
        let writing = timeout(PATIENCE, self.stream.write_all(&self.outbound)).await;
        let ended = |why: String| Error::Ended { why };
        writing
            .map_err(|_| ended("the server reads nothing for 10 s".to_owned()))?
            .map_err(|error| ended(error.to_string()))?;
        self.outbound.clear();
        Ok(())
    }
}

/// An `onStatus` that is an error ends the publication; anything else is no news.
fn refused(event: ClientSessionEvent) -> Result<(), Error> {
    let good = ["NetStream.Publish.Start", "NetConnection.Connect.Success", "NetStream.Data.Start"];
    match event {
        ClientSessionEvent::UnhandleableOnStatusCode { code } if !good.contains(&code.as_str()) => {
            Err(Error::Refused { code })
        }
        _ => Ok(()),
    }
}

/// Answers with the bytes that came behind the handshake.
async fn shake_hands(stream: &mut TcpStream, address: &str) -> Result<Vec<u8>, Error> {
    let mut handshake = Handshake::new(PeerType::Client);
    let broken = |error: std::io::Error| not_rtmp(address, error);
    let hello = handshake.generate_outbound_p0_and_p1().map_err(|error| not_rtmp(address, error))?;
    stream.write_all(&hello).await.map_err(broken)?;
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).await.map_err(broken)?;
        if length == 0 {
            return Err(not_rtmp(address, "it closed the connection"));
        }
        match handshake.process_bytes(&buffer[..length]).map_err(|error| not_rtmp(address, error))? {
            HandshakeProcessResult::InProgress { response_bytes } => {
                stream.write_all(&response_bytes).await.map_err(broken)?;
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                stream.write_all(&response_bytes).await.map_err(broken)?;
                return Ok(remaining_bytes);
            }
        }
    }
}

fn not_rtmp(address: &str, why: impl std::fmt::Display) -> Error {
    Error::NotRtmp { address: address.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_due_at_each_whole_second() {
        for fps in [1, 24, 25, 30, 60, 120] {
            for unix_micros in [0, 1, 333_333, 333_334, 999_999, 5_500_000] {
                let wait = until_picture(unix_micros, fps);
                assert!(wait <= 1_000_000 / u64::from(fps) + 1);
                let grid = (unix_micros + wait) % 1_000_000 * u64::from(fps);
                let off = (grid + 500_000) % 1_000_000;
                assert!(off.abs_diff(500_000) <= u64::from(fps), "{fps} fps at {unix_micros}: {off}");
            }
        }
    }

    #[test]
    fn urls_are_read() {
        for (url, address, app) in [
            ("rtmp://127.0.0.1/live", "127.0.0.1:1935", "live"),
            ("rtmp://host:1936/live/", "host:1936", "live"),
            ("rtmp://[::1]/a/b", "[::1]:1935", "a/b"),
            ("rtmp://[::1]:9/a", "[::1]:9", "a"),
        ] {
            let target = Target { address: address.to_owned(), app: app.to_owned() };
            assert_eq!(Target::parse(url).expect(url), target);
        }
        for url in ["", "host/live", "rtmp://host", "rtmp:///live", "rtmps://host/live"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
