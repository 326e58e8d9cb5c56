//! One TCP connection: moves bytes between the socket, the [`Session`] and the [`Publication`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::StreamState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::counters::Stats;
use super::credentials::Credentials;
use super::publication::{Outcome, Publication};
use super::session::{Code, Event, Session};
use super::timeline::Mends;
use crate::clock::now;
use crate::request::{Admission, Attempt, Rejection, Transport};
use crate::{Error, notice::Notices};

/// From the first byte to `publish`. Encoders need four round trips; a stranger gets no more.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence after which an encoder counts as gone. TCP alone would notice after many minutes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the peer may take to read our few answers.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often time-outs and take-overs are looked for.
const TICK: Duration = Duration::from_millis(500);

/// Bytes read at once. A keyframe of 200 KiB takes a handful of reads; a thousand idle connections 32 MiB.
const READ_BYTES: usize = 32 << 10;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) admission: Admission,
    pub(super) counters: Arc<Stats>,
    pub(super) notices: Notices,
}

/// Why a connection ended.
enum End {
    /// The peer closed it.
    Closed,
    /// We said so and closed it: the last answer is flushed.
    Refused,
    /// A newer publisher has the Stream.
    Replaced,
    /// The Stream was ended from outside: its key was revoked, or a moderator said so.
    Ended,
    /// Nothing came in time.
    Timeout,
    /// The server stops.
    Shutdown,
}

pub(super) struct Connection {
    socket: TcpStream,
    remote: SocketAddr,
    session: Session,
    publication: Option<Publication>,
    /// Why it may not publish, whoever it is.
    refusal: Option<&'static str>,
    shared: Arc<Shared>,
    started: Instant,
    last_read: Instant,
    ever_published: bool,
    counted: Mends,
}

impl Connection {
    /// With a `refusal` it hears that as soon as it wants to publish.
    pub(super) fn new(
        socket: TcpStream,
        remote: SocketAddr,
        refusal: Option<&'static str>,
        shared: Arc<Shared>,
    ) -> Self {
        let started = now();
        Self {
            socket,
            remote,
            session: Session::new(),
            publication: None,
            refusal,
            shared,
            started,
            last_read: started,
            ever_published: false,
            counted: Mends::default(),
        }
    }

    /// Serves it to its end. Dropping the publication begins the grace window of its Stream.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let ended = self.serve(shutdown).await;
        self.count_mends();
        let counters = &self.shared.counters;
        let why = match &ended {
            Ok(End::Closed) => "closed by the encoder",
            Ok(End::Refused) => "refused",
            Ok(End::Replaced) => {
                counters.replaced.bump();
                "replaced by a newer publisher"
            }
            Ok(End::Ended) => "its stream was ended",
            Ok(End::Timeout) => {
                counters.timeouts.bump();
                "silent for too long"
            }
            Ok(End::Shutdown) => "server stops",
            Err(Error::Io(_)) => "connection lost",
            Err(error) => {
                counters.protocol_errors.bump();
                let remote = self.remote;
                self.shared.notices.warn(now(), || {
                    tracing::warn!(peer = %remote, %error, "RTMP connection broke the protocol");
                });
                "protocol error"
            }
        };
        if let Some(publication) = self.publication.take() {
            let stream = publication.writer().stream();
            info!(channel = %stream.channel(), stream = %stream.id(), peer = %self.remote, why, "RTMP publisher left");
        } else {
            debug!(peer = %self.remote, why, "RTMP connection ended");
        }
    }

    async fn serve(&mut self, shutdown: CancellationToken) -> Result<End, Error> {
        let mut buffer = vec![0; READ_BYTES];
        let mut tick = tokio::time::interval(TICK);
        loop {
            let read = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(End::Shutdown),
                read = self.socket.read(&mut buffer) => read?,
                _ = tick.tick() => {
                    if let Some(end) = self.handle_tick() {
                        return Ok(end);
                    }
                    continue;
                }
            };
            if read == 0 {
                return Ok(End::Closed);
            }
            self.last_read = now();
            self.shared.counters.bytes.add(read as u64);
            let mut input = &buffer[..read];
            let end = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(End::Shutdown),
                end = self.handle_input(&mut input) => end,
            };
            // A refusal goes out before the connection ends, whatever the reason.
            self.flush().await?;
            match end {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(self.close_gently(end).await),
                Err(error) => {
                    self.close_gently(End::Refused).await;
                    return Err(error);
                }
            }
        }
    }

    fn handle_tick(&mut self) -> Option<End> {
        self.count_mends();
        if let Some(end) = self.cut() {
            return Some(end);
        }
        let now = now();
        let late = if self.ever_published {
            now.saturating_duration_since(self.last_read) >= IDLE_TIMEOUT
        } else {
            now.saturating_duration_since(self.started) >= PUBLISH_TIMEOUT
        };
        late.then_some(End::Timeout)
    }

    /// Why this publisher may not go on.
    fn cut(&self) -> Option<End> {
        let writer = self.publication.as_ref()?.writer();
        match writer.stream().state() {
            _ if writer.replaced() => Some(End::Replaced),
            StreamState::Ended => Some(End::Ended),
            StreamState::Live | StreamState::Reconnecting => None,
        }
    }

    async fn handle_input(&mut self, input: &mut &[u8]) -> Result<Option<End>, Error> {
        loop {
            let event = match self.session.handle_input(input) {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(None),
                Err(Error::Unsupported(text)) => return self.refuse(Code::BadName, &text).map(Some),
                Err(error) => return Err(error),
            };
            let counters = Arc::clone(&self.shared.counters);
            // Two publishers must not write one Track, not even for the length of a tick.
            if let Some(end) = self.cut() {
                return Ok(Some(end));
            }
            let arrival = self.last_read;
            let (outcome, frames) = match (event, &mut self.publication) {
                (Event::Publish(_), _) if self.refusal.is_some() => {
                    return self.refuse(Code::Denied, self.refusal.unwrap_or_default()).map(Some);
                }
                (Event::Publish(credentials), _) => {
                    if let Some(end) = self.ask(credentials).await? {
                        return Ok(Some(end));
                    }
                    continue;
                }
                (Event::PlayRefused, _) => return Ok(Some(End::Refused)),
                (Event::Unpublished, publication) => {
                    if let Some(publication) = publication.take() {
                        let stream = publication.writer().stream();
                        info!(channel = %stream.channel(), stream = %stream.id(), peer = %self.remote, "RTMP publisher stopped");
                    }
                    continue;
                }
                (Event::Metadata { frame_rate, encoder }, Some(publication)) => {
                    debug!(peer = %self.remote, frame_rate, encoder, "RTMP metadata");
                    publication.handle_metadata(frame_rate);
                    continue;
                }
                (Event::Audio { timestamp, body }, Some(publication)) => {
                    (publication.handle_audio(timestamp, body, arrival), &counters.audio_frames)
                }
                (Event::Video { timestamp, body }, Some(publication)) => {
                    (publication.handle_video(timestamp, body, arrival), &counters.video_frames)
                }
                // Media without a publication: what was on its way when it ended.
                (_, None) => (Ok(Outcome::Dropped), &counters.frames_dropped),
            };
            match outcome {
                Ok(Outcome::Written) => frames.bump(),
                Ok(Outcome::Dropped) => counters.frames_dropped.bump(),
                Ok(Outcome::Nothing) => {}
                Err(Error::Unsupported(text)) => return self.refuse(Code::Denied, &text).map(Some),
                Err(Error::Media(error)) => {
                    let text = format!("The encoder's configuration cannot be used: {error}");
                    return self.refuse(Code::Denied, &text).map(Some);
                }
                // One broken message; the next one may be whole.
                Err(Error::Message { .. }) => counters.frames_dropped.bump(),
                Err(error) => return Err(error),
            }
        }
    }

    async fn ask(&mut self, credentials: Credentials) -> Result<Option<End>, Error> {
        let Credentials { channel, key, params, written } = credentials;
        let encoder = self.session.encoder().map(str::to_owned);
        let (transport, remote) = (Transport::Rtmp, self.remote);
        let attempt = Attempt { channel, key, transport, remote, encoder, params, written };
        match self.shared.admission.ask(attempt).await {
            Ok(writer) => {
                let stream = writer.stream();
                // Admission has told the operator.
                debug!(
                    channel = %stream.channel(), stream = %stream.id(), peer = %self.remote,
                    encoder = self.session.encoder(), "RTMP publisher is live"
                );
                self.shared.counters.publications.bump();
                self.publication = Some(Publication::new(writer));
                self.counted = Mends::default();
                self.ever_published = true;
                self.session.accept()?;
                Ok(None)
            }
            Err(why) => {
                let code = match why {
                    Rejection::UnknownKey | Rejection::Busy => Code::BadName,
                    Rejection::Forbidden(_)
                    | Rejection::TooMany { .. }
                    | Rejection::Capacity
                    | Rejection::Unavailable => Code::Denied,
                };
                // Admission has told the operator.
                debug!(peer = %self.remote, reason = %why, "RTMP publisher refused by admission");
                self.shared.counters.rejections.bump();
                self.session.refuse(code, why.advice())?;
                Ok(Some(End::Refused))
            }
        }
    }

    fn refuse(&mut self, code: Code, text: &str) -> Result<End, Error> {
        self.shared.counters.rejections.bump();
        let (remote, encoder) = (self.remote, self.session.encoder());
        self.shared.notices.warn(now(), || {
            tracing::warn!(peer = %remote, encoder, reason = text, "RTMP publisher refused");
        });
        self.session.refuse(code, text)?;
        Ok(End::Refused)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        while let Some(bytes) = self.session.poll_output() {
            match tokio::time::timeout(WRITE_TIMEOUT, self.socket.write_all(&bytes)).await {
                Ok(written) => written?,
                Err(_) => return Err(Error::Io(std::io::ErrorKind::TimedOut.into())),
            }
        }
        Ok(())
    }

    /// Closes our direction and reads the rest of what the peer sends, for a moment: a socket closed with
    /// unread bytes is reset, and the reset would overtake the refusal that explains it.
    async fn close_gently(&mut self, end: End) -> End {
        const LINGER: Duration = Duration::from_secs(1);
        const LINGER_READS_MAX: usize = 256;
        let _ = self.socket.shutdown().await;
        let mut waste = [0; 4096];
        let _ = tokio::time::timeout(LINGER, async {
            for _ in 0..LINGER_READS_MAX {
                if !matches!(self.socket.read(&mut waste).await, Ok(1..)) {
                    break;
                }
            }
        })
        .await;
        end
    }

    fn count_mends(&mut self) {
        if let Some(publication) = &self.publication {
            let mends = publication.mends();
            self.shared.counters.add_mends(self.counted, mends);
            self.counted = mends;
        }
    }
}
