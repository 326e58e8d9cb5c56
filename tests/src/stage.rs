//! The real server, booted in this process on ports of the kernel's choice.

use std::net::SocketAddr;
use std::time::Duration;

use media::ChannelName;
use server::{Config, Server};
use tempfile::TempDir;

/// The channel that every stage has.
pub const CHANNEL: &str = "stage";
/// Its stream key.
pub const KEY: &str = "live_stage_key";

/// Held by the one stage that runs.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A running server, its data in a temporary directory.
pub struct Stage {
    /// Real media runs by the clock: two stages on two cores would disturb each other's figures.
    _alone: tokio::sync::MutexGuard<'static, ()>,
    server: Option<Server>,
    http: SocketAddr,
    rtmp: SocketAddr,
    _data: TempDir,
}

impl Stage {
    /// Boots the server with the defaults, on loopback.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Boots the server with changed settings.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let alone = ALONE.lock().await;
        let data = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::default();
        config.http.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.rtmp.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.rtc.port = 0;
        config.rtc.announce = vec!["127.0.0.1".to_owned()];
        config.data.dir = data.path().to_owned();
        config.channels = vec![control::ChannelConfig {
            name: ChannelName::parse(CHANNEL).expect("valid"),
            title: "Stage".to_owned(),
            keys: vec![KEY.to_owned().into()],
        }];
        change(&mut config);
        let server = Server::start(config).await.expect("the server starts");
        Self { http: server.http(), rtmp: server.rtmp(), server: Some(server), _data: data, _alone: alone }
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
