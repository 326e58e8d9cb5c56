//! The composition root: the process, top to bottom.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_request};
use axum_server::Handle;
use control::hooks::{Gate, Webhooks};
use control::{Accounts, Authority, ChannelConfig, Database, Moderation, Secrets, StreamKey};
use hls_packager::{Bucket, Packager, Recordings};
use media::{ChannelName, Hub};
use secrecy::{ExposeSecret, SecretString};
use sfu::Sfu;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use transcode::Transcoder;

use crate::admission::Admission;
use crate::broadcasts::Broadcasts;
use crate::config::Config;
use crate::http::api::Api;
use crate::http::audience::{self, Audience};
use crate::http::connections::Connections;
use crate::http::health::Health;
use crate::http::limit::Limit;
use crate::http::patience;
use crate::http::v1::V1;
use crate::metrics::Metrics;
use crate::outcomes::Outcomes;
use crate::{admission, demo, first_run, http, lifecycle, node, tls};

/// Largest request body: an SDP offer is a few kilobytes; WHIP refuses above 64 KiB itself.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// How long open requests may take at the end. Long enough for a part in flight, short enough for Ctrl-C.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Why the server cannot start. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    /// The kept channels.
    #[error(transparent)]
    FirstRun(#[from] first_run::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] control::db::Error),
    /// The secret under which keys are kept.
    #[error(transparent)]
    Secrets(#[from] control::SecretsError),
    /// Accounts.
    #[error(transparent)]
    Accounts(#[from] control::account::Error),
    /// The node's name.
    #[error("cannot keep the node's name in the data directory: {0}")]
    Node(std::io::Error),
    /// HTTPS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The HTTP port.
    #[error(
        "cannot listen for HTTP on {address}: {source}. Is another server running? Use --http to choose another port"
    )]
    Http {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The RTMP port.
    #[error(transparent)]
    Rtmp(#[from] ingest::Error),
    /// The folder of recordings.
    #[error(
        "cannot record to {folder}: {source}. Set [hls.recording] dir to a folder that this user may write, or \
         enabled = false"
    )]
    Recording {
        /// Which folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// Webhooks.
    #[error(transparent)]
    Webhooks(#[from] control::hooks::WebhookError),
    /// Audio conversion.
    #[error(transparent)]
    Transcode(#[from] transcode::Error),
    /// The WebRTC port.
    #[error(transparent)]
    Rtc(#[from] sfu::Error),
}

/// A running server.
pub struct Server {
    hub: Arc<Hub>,
    sfu: Sfu,
    recordings: Option<Arc<Recordings>>,
    http: SocketAddr,
    rtmp: SocketAddr,
    tls: bool,
    channels: Vec<ChannelConfig>,
    database: Database,
    setup: Option<SecretString>,
    stopping: Arc<AtomicBool>,
    stop: CancellationToken,
    handle: Handle<SocketAddr>,
    tasks: TaskTracker,
}

impl Server {
    /// Starts everything, in the order in which media will flow. Port 0 means the kernel's choice.
    ///
    /// # Errors
    /// [`StartError`] if a port, a file or the configuration cannot be used. Nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.validate()?;

        // Who may do what.
        let mut channels = config.channels.clone();
        if channels.is_empty() {
            channels = first_run::channels(&config.data.dir)?;
        }
        let demo_key = config.demo.then(StreamKey::generate);
        if let (Some(key), Ok(name)) = (&demo_key, ChannelName::parse(demo::CHANNEL)) {
            let key = key.expose().to_owned().into();
            channels.retain(|channel| channel.name != name);
            let title = "Demo".to_owned();
            channels.push(ChannelConfig { name, title, keys: vec![key], rewind_s: None, rewind_mib: None });
        }
        let (database, secrets) = open(&config).await?;
        let authority = Authority::with_database(&channels, database.clone(), secrets.clone()).await?;
        let authority = Arc::new(authority);
        let webhooks = Webhooks::new(database.clone(), secrets.clone(), &config.webhooks)?;
        let accounts = Accounts::new(database.clone(), secrets, config.accounts.clone());
        let setup = accounts.offer_setup().await?;

        // The bus, and everything that reads it.
        let hub = Hub::new(Duration::from_secs(config.publish.reconnect_grace_s));
        let node_id = node::id(&config.data.dir).map_err(StartError::Node)?;
        let broadcasts = Broadcasts::start(
            database.clone(),
            Arc::clone(&authority),
            Arc::clone(&hub),
            Arc::clone(&webhooks),
            node_id,
        )
        .await?;
        let sfu = Sfu::start(config.rtc.clone())?;
        let recordings = recordings(&config)?;
        let packager = match &recordings {
            Some(recordings) => Packager::recording(config.hls.clone(), Arc::clone(recordings)),
            None => Packager::new(config.hls.clone()),
        };
        let transcoder = Transcoder::new(config.transcode.clone())?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(lifecycle::run(
            Arc::clone(&hub),
            hub.subscribe(),
            Arc::clone(&packager),
            Arc::clone(&transcoder),
            Arc::clone(&authority),
            tasks.clone(),
            stop.clone(),
        ));
        if let Some(recordings) = &recordings {
            tasks.spawn(Arc::clone(recordings).upload(stop.clone()));
        }
        tasks.spawn(Arc::clone(&webhooks).run(stop.clone()));

        // The way in: every publisher passes admission.
        let (requests, admissions) = mpsc::channel(admission::REQUESTS_MAX);
        let publishers_refused = Arc::new(AtomicU64::new(0));
        let draining = Arc::new(AtomicBool::new(false));
        let gate = Gate::new(config.hooks.clone(), tasks.clone())
            .map_err(|why| crate::config::Error::Invalid { section: "hooks", why })?;
        tasks.spawn(Arc::clone(&gate).run(stop.clone()));
        let admission = Arc::new(Admission {
            authority: Arc::clone(&authority),
            broadcasts: Arc::clone(&broadcasts),
            hub: Arc::clone(&hub),
            gate: Arc::clone(&gate),
            publishers_max: config.publish.publishers_max,
            draining: Arc::clone(&draining),
            refused: Arc::clone(&publishers_refused),
            turn: tokio::sync::Mutex::default(),
            visits: Mutex::default(),
        });
        tasks.spawn(Arc::clone(&admission).follow(stop.clone()));
        tasks.spawn(admission.run(admissions, tasks.clone()));
        let rtmp = ingest::rtmp::Listener::bind(config.rtmp.clone()).await?;
        let rtmp_address = rtmp.local_addr();
        let rtmp_stats = rtmp.stats();
        tasks.spawn(rtmp.run(requests.clone(), stop.clone()));

        // Chat and signaling, one gateway.
        let chat = chat::Service::new(config.chat.clone());
        let moderation = Moderation::new(database.clone());
        let gateway = signaling::Gateway::new(signaling::GatewayParts {
            hub: Arc::clone(&hub),
            sfu: sfu.clone(),
            chat: Arc::clone(&chat),
            authority: Arc::clone(&authority),
            gate: Arc::clone(&gate),
            moderation: Arc::clone(&moderation),
        });
        tasks.spawn(Arc::clone(&gateway).run(stop.clone()));
        tasks.spawn(Arc::clone(&broadcasts).run(Arc::clone(&gateway), tasks.clone(), stop.clone()));
        if let Some(recordings) = recordings.clone() {
            let outcomes = Outcomes {
                recordings,
                authority: Arc::clone(&authority),
                webhooks: Arc::clone(&webhooks),
                gateway: Arc::clone(&gateway),
            };
            tasks.spawn(outcomes.run(stop.clone()));
        }

        // HTTP carries the rest.
        let tls = tls::load(&config.http, &config.data.dir).await?;
        let secured = tls.is_some();
        let stopping = Arc::new(AtomicBool::new(false));
        let public_url: Option<Arc<str>> =
            config.http.public_url.as_deref().map(|url| url.trim_end_matches('/').into());
        let v1 = Arc::new(V1 {
            accounts,
            authority: Arc::clone(&authority),
            broadcasts: Arc::clone(&broadcasts),
            webhooks: Arc::clone(&webhooks),
            moderation,
            hub: Arc::clone(&hub),
            sfu: sfu.clone(),
            secure: secured || public_url.as_deref().is_some_and(|url| url.starts_with("https://")),
            draining: Arc::clone(&draining),
            reach: config.hls.recording.reach(),
        });
        let limit = Limit::new(config.api.requests_per_minute);
        let api = Api {
            hub: Arc::clone(&hub),
            sfu: sfu.clone(),
            packager: Arc::clone(&packager),
            rtmp_port: rtmp_address.port(),
            public_url: public_url.clone(),
            tls: tls.is_some(),
            demo: config.demo,
            expose_peers: config.api.expose_peers,
            v1: Arc::clone(&v1),
        };
        let whip =
            Arc::new(ingest::whip::Whip::new(requests, sfu.clone(), public_url.clone()).secure(secured));
        let whep =
            signaling::whep::Whep::new(Arc::clone(&hub), sfu.clone(), Arc::clone(&authority), public_url);
        let whep = Arc::new(whep.secure(secured).gated(Arc::clone(&gate)));
        let proxied = config.http.public_url.is_some();
        // Behind a proxy all of them are the proxy's.
        let per_address_max = config.http.connections_per_address_max;
        let per_address_max = (!proxied).then_some(per_address_max);
        let connections = Connections::new(config.http.connections_max, per_address_max);
        let metrics = Metrics {
            http: Arc::clone(&connections),
            hub: Arc::clone(&hub),
            publishers_refused,
            accounts: Arc::clone(&v1.accounts),
            authority: Arc::clone(&authority),
            broadcasts,
            database: database.clone(),
            api: Arc::clone(&limit),
            hooks: Arc::clone(&gate),
            webhooks,
            sfu: sfu.clone(),
            packager: Arc::clone(&packager),
            recordings: recordings.clone(),
            transcoder,
            rtmp: rtmp_stats,
            gateway: Arc::clone(&gateway),
            whip: Arc::clone(&whip),
            whep: Arc::clone(&whep),
        };
        let recorded = recordings.as_ref().map_or_else(Router::new, |recordings| {
            let vod = hls_packager::vod_routes(Arc::clone(recordings));
            http::guard::vod(Arc::clone(&authority), Arc::clone(recordings), gate.knows_keys(), vod)
        });
        let shelf = http::recordings::Shelf {
            v1: Arc::clone(&v1),
            recordings: recordings.clone(),
            unknown_is_open: gate.knows_keys(),
            operator: http::operator::Operator { proxied, exposed: false },
        };
        let health =
            Health { stopping: Arc::clone(&stopping), draining, database: database.clone(), metrics };
        let mut hls = hls_packager::routes(packager);
        if gate.minds_viewers() {
            let audience = Audience::new(gate, Arc::clone(&hub));
            tasks.spawn(Arc::clone(&audience).run(stop.clone()));
            hls = hls.layer(from_fn_with_state(audience, audience::let_in));
        }
        let routes = Router::new()
            .merge(http::v1::routes(v1, api, shelf, limit))
            .merge(http::health::routes(health))
            .merge(ingest::whip::routes(whip))
            .merge(signaling::whep::routes(whep))
            .merge(signaling::routes(gateway))
            .merge(http::guard::hls(authority, hls))
            .merge(recorded)
            .fallback(http::player::pages)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
        let routes =
            if proxied { routes.layer(map_request(http::forwarded::client_of_proxy)) } else { routes };
        let handle = Handle::new();
        let listener = listen(config.http.listen)?;
        let service = routes.into_make_service_with_connect_info::<SocketAddr>();
        let serving = handle.clone();
        let first_byte = patience::FirstByte { connections, stop: stop.clone() };
        tasks.spawn(async move {
            let result = match tls {
                Some(tls) => match axum_server::from_tcp_rustls(listener, tls) {
                    Ok(mut server) => {
                        patience::limit(server.http_builder());
                        let server = server.map(|tls| tls.acceptor(first_byte));
                        server.handle(serving).serve(service).await
                    }
                    Err(error) => Err(error),
                },
                None => match axum_server::from_tcp(listener) {
                    Ok(mut server) => {
                        patience::limit(server.http_builder());
                        server.acceptor(first_byte).handle(serving).serve(service).await
                    }
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = result {
                warn!(%error, "HTTP stopped");
            }
        });
        let http = handle.listening().await.unwrap_or(config.http.listen);

        // A picture for those who have no encoder yet, through the same RTMP port as everybody's.
        if let Some(key) = demo_key {
            let url = format!("rtmp://{}/live", loopback(rtmp_address));
            let options =
                demo::Options { url, key: key.expose().to_owned().into(), ..demo::Options::default() };
            let shutdown = stop.clone();
            tasks.spawn(async move {
                if let Err(error) = demo::run(options, shutdown).await {
                    warn!(%error, "the demo stopped");
                }
            });
        }

        Ok(Self {
            hub,
            sfu,
            recordings,
            http,
            rtmp: rtmp_address,
            tls: secured,
            channels,
            database,
            setup,
            stopping,
            stop,
            handle,
            tasks,
        })
    }

    /// Where HTTP listens.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where RTMP listens.
    pub fn rtmp(&self) -> SocketAddr {
        self.rtmp
    }

    /// The UDP port of WebRTC.
    pub fn rtc_port(&self) -> u16 {
        self.sfu.port()
    }

    /// The live Streams, for tests that look inside.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The SFU, for tests that look inside.
    pub fn sfu(&self) -> &Sfu {
        &self.sfu
    }

    /// The token by which the first account is made, if there is none yet.
    pub fn setup_token(&self) -> Option<&SecretString> {
        self.setup.as_ref()
    }

    /// The database, for tests that look inside.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// What a person at the terminal wants to know.
    pub fn greeting(&self) -> Vec<String> {
        let scheme = if self.tls { "https" } else { "http" };
        let base = format!("{scheme}://localhost:{}", self.http.port());
        let mut lines = vec![format!("open {base}/")];
        for channel in &self.channels {
            if channel.name.as_str() == demo::CHANNEL {
                lines.push(format!("demo: {base}/{}", channel.name));
            } else {
                lines.push(format!("channel {}: watch {base}/{}", channel.name, channel.name));
                // On a terminal, to its owner, once: without it nobody could go live at the first start.
                for key in &channel.keys {
                    lines.push(format!(
                        "  OBS server rtmp://localhost:{}/live, stream key {}",
                        self.rtmp.port(),
                        key.expose_secret()
                    ));
                }
            }
        }
        if let Some(token) = &self.setup {
            // Once, to whoever reads the log of the server: that is the operator.
            lines.push(format!(
                "no account yet: make the first one at {base}/setup with the token {}",
                token.expose_secret()
            ));
        }
        lines
    }

    /// Stops gracefully: not ready, publishers and viewers are ended, open requests finish, threads join.
    pub async fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop.cancel();
        self.hub.end_all();
        self.handle.graceful_shutdown(Some(STOP_GRACE));
        self.tasks.close();
        if tokio::time::timeout(STOP_GRACE * 2, self.tasks.wait()).await.is_err() {
            warn!("some tasks did not end in time");
        }
        if let Some(recordings) = self.recordings {
            // Recorders write what they have; a disk that stands still does not keep the process.
            let closed = tokio::task::spawn_blocking(move || recordings.close());
            if tokio::time::timeout(STOP_GRACE, closed).await.is_err() {
                warn!("recordings are not complete; they are repaired at the next start");
            }
        }
        self.sfu.stop();
        self.database.close().await;
    }
}

/// Opens the recordings, and the bucket where they are kept besides, if there are to be any.
fn recordings(config: &Config) -> Result<Option<Arc<Recordings>>, StartError> {
    let settings = &config.hls.recording;
    if !settings.enabled {
        return Ok(None);
    }
    let folder = settings.dir.clone().unwrap_or_else(|| config.data.dir.join("recordings"));
    let bucket = Bucket::open(&config.hls.s3, &crate::config::variable)
        .map_err(|why| crate::config::Error::Invalid { section: "hls", why: why.to_string() })?;
    Recordings::open(settings.clone(), &folder, bucket)
        .map(Some)
        .map_err(|source| StartError::Recording { folder: folder.display().to_string(), source })
}

/// The database and the secret under which keys are kept in it.
pub(crate) async fn open(config: &Config) -> Result<(Database, Secrets), StartError> {
    let secret_file = config.database.secret_file.clone();
    let secrets = Secrets::load(&secret_file.unwrap_or_else(|| config.data.dir.join("secret.key")))?;
    let url = config.database.url.as_ref().map(ExposeSecret::expose_secret);
    Ok((Database::open(url, &config.data.dir).await?, secrets))
}

/// Binds the HTTP port; where the kernel has no IPv6, `[::]` becomes `0.0.0.0`.
fn listen(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let bind = |address: SocketAddr| {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    match bind(address) {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            bind(SocketAddr::from(([0, 0, 0, 0], address.port())))
        }
        result => result,
    }
    .map_err(|source| StartError::Http { address, source })
}

/// The address under which this very machine reaches a listener.
fn loopback(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        other => other,
    }
}
