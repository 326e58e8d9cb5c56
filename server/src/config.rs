//! Configuration: defaults < file < environment < flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::http::Uri;
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};

/// Names that are pages or parts of the API, so that a channel of that name could not be watched.
pub(crate) const RESERVED_NAMES: [&str; 12] = [
    "account", "api", "assets", "healthz", "hls", "live", "metrics", "readyz", "setup", "vod", "whep", "whip",
];

/// Everything that can be set. The annotated `swiftwater.example.toml` is its manual.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Pages, API, gateway, WHIP, WHEP and HLS.
    pub http: Http,
    /// What the API tells.
    pub api: Api,
    /// Publishers of any protocol.
    pub publish: Publish,
    /// A backend that is asked who may come in.
    pub hooks: control::hooks::Config,
    /// Messages to those who want to hear of events.
    pub webhooks: control::hooks::WebhookConfig,
    /// RTMP ingest.
    pub rtmp: ingest::rtmp::Config,
    /// WebRTC.
    pub rtc: sfu::Config,
    /// Low-Latency HLS.
    pub hls: hls_packager::Config,
    /// Audio conversion.
    pub transcode: transcode::Config,
    /// Chat rooms.
    pub chat: chat::Config,
    /// What is kept on disk.
    pub data: Data,
    /// Where accounts, channels and keys are kept.
    pub database: Database,
    /// Accounts.
    pub accounts: control::account::Config,
    /// The log.
    pub log: Log,
    /// Channels and their stream keys. With none, one channel is made at the first start.
    pub channels: Vec<control::ChannelConfig>,
    /// Publish the built-in moving picture on the channel `demo`.
    pub demo: bool,
}

/// `[http]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port. `[::]` is IPv4 and IPv6.
    pub listen: SocketAddr,
    /// The URL under which the world sees this server, if a proxy stands before it.
    pub public_url: Option<String>,
    /// Most TCP connections of HTTP. One more is closed at once.
    pub connections_max: usize,
    /// Most of them of one address (IPv6: of one /64). One more is closed at once. Loopback does not count, and with
    /// `public_url` nobody does: all connections are the proxy's.
    pub connections_per_address_max: usize,
    /// HTTPS.
    pub tls: Tls,
    /// PEM file with the certificate chain, for `tls = "files"`.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key, for `tls = "files"`.
    pub private_key: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0u16; 8], 8080)),
            public_url: None,
            connections_max: 60_000,
            connections_per_address_max: 1000,
            tls: Tls::Off,
            certificate: None,
            private_key: None,
        }
    }
}

/// How HTTP is secured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// Plain HTTP: for localhost, or behind a proxy that does TLS.
    #[default]
    Off,
    /// A certificate made at the first start. Browsers warn once, then allow camera and microphone.
    SelfSigned,
    /// `certificate` and `private_key`.
    Files,
}

/// `[api]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// Tell everybody who is watching, with addresses. Otherwise those may ask who moderate the channel, and clients on
    /// this machine.
    pub expose_peers: bool,
    /// Requests that one address may make in a minute; 0 is any number.
    pub requests_per_minute: u32,
}

impl Default for Api {
    fn default() -> Self {
        Self { expose_peers: false, requests_per_minute: 600 }
    }
}

/// `[publish]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// How long a Stream waits for a publisher that left, in seconds.
    pub reconnect_grace_s: u64,
    /// Streams at a time. An encoder that comes back to its Stream always finds its place.
    pub publishers_max: usize,
}

impl Default for Publish {
    fn default() -> Self {
        Self { reconnect_grace_s: media::hub::RECONNECT_GRACE.as_secs(), publishers_max: 100 }
    }
}

/// Viewers of a Stream without a publisher look at a still picture: nobody does that for longer.
const RECONNECT_GRACE_S_MAX: u64 = 300;

/// `[data]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// Directory for everything that is kept.
    pub dir: PathBuf,
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: PathBuf::from("data") }
    }
}

/// `[database]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://…`, or `sqlite:FILE`. Without one: `swiftwater.db` in the data directory. Not shown in logs: it may hold
    /// a password.
    #[serde(serialize_with = "redacted")]
    pub url: Option<SecretString>,
    /// The file with the secret under which keys are kept. Without one: `secret.key` in the data directory, made at the
    /// first start. Nodes with the same database need the same.
    pub secret_file: Option<PathBuf>,
}

fn redacted<S: Serializer>(url: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match url {
        Some(_) => serializer.serialize_some("[redacted]"),
        None => serializer.serialize_none(),
    }
}

/// `[log]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// What is logged, for example `info` or `info,sfu=debug`.
    pub filter: String,
    /// How it is written.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why a configuration cannot be used. The text names the source and the key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The named file is not there.
    #[error("no configuration file {}: check the path, or start without --config", .0.display())]
    NoFile(PathBuf),
    /// A value has the wrong type, or a key is unknown.
    #[error("configuration: {0}")]
    Figment(Box<figment::Error>),
    /// A value is out of bounds or does not fit another.
    #[error("configuration: [{section}] {why}")]
    Invalid {
        /// The section.
        section: &'static str,
        /// What to change.
        why: String,
    },
}

impl Config {
    /// Reads the file (if any) and the environment (`SWIFTWATER__SECTION__KEY`) over the defaults.
    ///
    /// # Errors
    /// [`Error`] says which key of which source is wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, Error> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            if !file.exists() {
                return Err(Error::NoFile(file.to_owned()));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment
            .merge(Env::prefixed("SWIFTWATER__").split("__"))
            .extract()
            .map_err(|error| Error::Figment(Box::new(error)))
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the section and what to change.
    pub fn validate(&self) -> Result<(), Error> {
        if self.http.tls == Tls::Files && (self.http.certificate.is_none() || self.http.private_key.is_none())
        {
            let why = "tls = \"files\" needs certificate and private_key".to_owned();
            return Err(Error::Invalid { section: "http", why });
        }
        for (key, value) in [
            ("connections_max", self.http.connections_max),
            ("connections_per_address_max", self.http.connections_per_address_max),
        ] {
            if value == 0 {
                return Err(Error::Invalid {
                    section: "http",
                    why: format!("{key}: 0 would refuse everybody"),
                });
            }
        }
        if let Some(url) = self.http.public_url.as_deref().filter(|url| !is_base_url(url)) {
            let why = format!(
                "public_url = {url:?} is no URL: write it in full, as in \"https://live.example.org\""
            );
            return Err(Error::Invalid { section: "http", why });
        }
        if let Some(channel) = self.channels.iter().find(|it| RESERVED_NAMES.contains(&it.name.as_str())) {
            let why = format!("{} is an address of the server itself: choose another name", channel.name);
            return Err(Error::Invalid { section: "channels", why });
        }
        for channel in &self.channels {
            let server = self.hls.recording.reach();
            let reach = hls_packager::Reach {
                rewind_s: channel.rewind_s.unwrap_or(server.rewind_s),
                rewind_mib: channel.rewind_mib.map_or(server.rewind_mib, u64::from),
            };
            reach.validate().map_err(|why| {
                let why = format!("{}: {why}", channel.name);
                Error::Invalid { section: "channels", why }
            })?;
        }
        if self.publish.reconnect_grace_s > RECONNECT_GRACE_S_MAX {
            let why = format!("reconnect_grace_s must be at most {RECONNECT_GRACE_S_MAX}");
            return Err(Error::Invalid { section: "publish", why });
        }
        if self.publish.publishers_max == 0 {
            let why = "publishers_max: 0 would refuse everybody".to_owned();
            return Err(Error::Invalid { section: "publish", why });
        }
        self.hooks.validate().map_err(|why| Error::Invalid { section: "hooks", why })?;
        self.rtmp.validate().map_err(|why| Error::Invalid { section: "rtmp", why: why.to_string() })?;
        self.rtc.validate().map_err(|why| Error::Invalid { section: "rtc", why: why.to_string() })?;
        self.hls.validate().map_err(|why| Error::Invalid { section: "hls", why: why.to_string() })?;
        self.transcode
            .validate()
            .map_err(|why| Error::Invalid { section: "transcode", why: why.to_string() })?;
        self.accounts.validate().map_err(|why| Error::Invalid { section: "accounts", why })?;
        self.chat.validate().map_err(|why| Error::Invalid { section: "chat", why: why.to_string() })?;
        Ok(())
    }
}

/// Whether paths can be written behind it. Without its scheme `Location` headers would be relative to the page that asks,
/// and cookies would go over plain HTTP.
fn is_base_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        && uri.host().is_some_and(|host| !host.is_empty())
        && !url.contains(['?', '#'])
}

/// A variable of the environment that is not ours: those by which AWS tools find credentials.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_states_the_defaults() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../swiftwater.example.toml");
        let read: Config = Figment::from(Toml::file_exact(example)).extract().expect("the example is valid");
        assert_eq!(format!("{read:#?}"), format!("{:#?}", Config::default()));
        read.validate().expect("the defaults are valid");
    }

    #[test]
    fn a_channel_may_not_hide_a_page() {
        let read = |text: &str| Figment::from(Toml::string(text)).extract::<Config>().expect("readable");
        let error = read("[[channels]]\nname = \"live\"").validate().expect_err("/live is a page");
        assert!(error.to_string().contains("live"), "{error}");
        read("[[channels]]\nname = \"lively\"").validate().expect("free");
    }

    #[test]
    fn a_channel_may_say_how_far_back_its_viewers_go() {
        let read = |text: &str| {
            let text = format!("[[channels]]\nname = \"ana\"\n{text}");
            Figment::from(Toml::string(&text)).extract::<Config>().expect("readable")
        };
        read("rewind_s = 0").validate().expect("no way back");
        read("rewind_s = 86400\nrewind_mib = 20000").validate().expect("a day");
        for (text, key) in [("rewind_s = 86401", "rewind_s"), ("rewind_mib = 1", "rewind_mib")] {
            let error = read(text).validate().expect_err(text).to_string();
            assert!(error.contains("ana") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_public_url_is_one_to_which_paths_can_be_added() {
        let read = |url: &str| {
            let text = format!("[http]\npublic_url = {url:?}");
            Figment::from(Toml::string(&text)).extract::<Config>().expect("readable")
        };
        for url in [
            "https://live.example.org",
            "https://live.example.org/",
            "http://[::1]:8080",
            "http://live.example:8443/tv",
        ] {
            read(url).validate().expect(url);
        }
        for url in [
            "",
            "HTTPS://live.example.org",
            "live.example.org",
            "live.example.org:8080",
            "//live.example.org",
            "/live",
            "https://",
            "https://:443",
            "ftp://live.example.org",
            "https://live.example.org?a",
            "https://live.example.org/#a",
            "https://live example.org",
        ] {
            let error = read(url).validate().expect_err(url).to_string();
            assert!(error.contains("public_url") && error.contains("https://"), "{error}");
        }
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        for key in ["connections_max", "connections_per_address_max"] {
            let text = format!("[http]\n{key} = 0");
            let config: Config = Figment::from(Toml::string(&text)).extract().expect("readable");
            let error = config.validate().expect_err("nobody could come").to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = Figment::from(Toml::string("[http]\nlisten_on = \"x\""))
            .extract::<Config>()
            .expect_err("unknown");
        assert!(error.to_string().contains("listen_on"), "{error}");
    }
}
