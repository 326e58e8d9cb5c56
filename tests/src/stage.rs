//! The real server, booted in this process on ports of the kernel's choice.

use std::net::SocketAddr;
use std::time::Duration;

use media::ChannelName;
use server::{Config, Server};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The channel that every stage has.
pub const CHANNEL: &str = "stage";
/// Its stream key.
pub const KEY: &str = "live_stage_key";

/// Stages that share the machine. Each has an encoder beside it, which two cores must serve in real time; the
/// others wait for their turn.
const STAGES_MAX: u32 = 3;

static SEATS: Semaphore = Semaphore::const_new(STAGES_MAX as usize);

/// A running server, its data in a temporary directory.
pub struct Stage {
    server: Option<Server>,
    http: SocketAddr,
    rtmp: SocketAddr,
    _data: TempDir,
    /// Real media runs by the clock: stages that are measured must not disturb each other. Given up last.
    _seats: SemaphorePermit<'static>,
}

/// Held by a test that asks how fast, and has its server in a process of its own: no stage runs beside it.
pub async fn alone() -> tokio::sync::SemaphorePermit<'static> {
    SEATS.acquire_many(STAGES_MAX).await.expect("never closed")
}

impl Stage {
    /// Boots the server with the defaults, on loopback, when no other stage of this process runs.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Boots the server with changed settings, when no other stage of this process runs.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(STAGES_MAX, change).await
    }

    /// Boots the server beside a few others, and keeps its log: for tests that ask what happens, not how fast.
    pub async fn shared() -> Self {
        Self::shared_with(|_| {}).await
    }

    /// The same with changed settings.
    pub async fn shared_with(change: impl FnOnce(&mut Config)) -> Self {
        crate::log::capture();
        Self::start_on(1, change).await
    }

    async fn start_on(seats: u32, change: impl FnOnce(&mut Config)) -> Self {
        let seats = SEATS.acquire_many(seats).await.expect("never closed");
        let data = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::default();
        config.http.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.rtmp.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.rtc.port = 0;
        config.rtc.announce = vec!["127.0.0.1".to_owned()];
        // Beside a browser that encodes, a shard measures the machine, and would be right to refuse viewers. Tests of
        // shedding turn it on.
        config.rtc.overload_busy_percent = 0;
        config.data.dir = data.path().to_owned();
        config.channels = vec![control::ChannelConfig {
            name: ChannelName::parse(CHANNEL).expect("valid"),
            title: "Stage".to_owned(),
            keys: vec![KEY.to_owned().into()],
            rewind_s: None,
            rewind_mib: None,
        }];
        change(&mut config);
        let server = Server::start(config).await.expect("the server starts");
        Self { http: server.http(), rtmp: server.rtmp(), server: Some(server), _data: data, _seats: seats }
    }

    /// The server itself.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("not stopped")
    }

    /// `http://127.0.0.1:port` and a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Where to publish by RTMP, with the key.
    pub fn rtmp_url(&self) -> String {
        format!("rtmp://{}/live/{KEY}", self.rtmp)
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where the channel is watched by WHEP.
    pub fn whep_url(&self) -> String {
        self.url(&format!("/whep/{CHANNEL}"))
    }

    /// Where WebRTC listens.
    pub fn rtc_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.server().rtc_port()))
    }

    /// One number of `/metrics`.
    pub async fn metric(&self, name: &str) -> f64 {
        let text =
            reqwest::get(self.url("/metrics")).await.expect("HTTP answers").text().await.expect("text");
        let mut values = text.lines().filter_map(|line| line.split_once(' '));
        let value = values.find(|(known, _)| *known == name).and_then(|(_, value)| value.parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name} in {text}"))
    }

    /// Where RTMP listens.
    pub fn rtmp_address(&self) -> SocketAddr {
        self.rtmp
    }

    /// Waits until the channel is live and has all the given kinds of Track.
    pub async fn live(&self, kinds: &[media::Kind]) -> std::sync::Arc<media::Stream> {
        let channel = ChannelName::parse(CHANNEL).expect("valid");
        let mut events = self.server().hub().subscribe();
        let wait = async {
            let stream = loop {
                if let Some(stream) = self.server().hub().stream(&channel) {
                    break stream;
                }
                let _ = events.recv().await;
            };
            let mut tracks = stream.watch_tracks();
            while !kinds.iter().all(|kind| stream.source(*kind).is_some()) {
                tracks.changed().await.expect("the stream lives");
            }
            stream
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the channel goes live within 30 s")
    }

    /// Stops the server gracefully.
    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }
}

/// Where HTTP listens.
impl From<&Stage> for SocketAddr {
    fn from(stage: &Stage) -> Self {
        stage.http
    }
}
