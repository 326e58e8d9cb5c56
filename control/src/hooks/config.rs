//! `[hooks]`: whom to ask, and how long to wait.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

/// Encoders wait 6 s for admission and OBS gives up a WHIP request after 8: the answer must come before.
const TIMEOUT_MS_MAX: u64 = 5000;

/// Longer, and somebody whose right was taken away would watch on through new connections for minutes.
const CACHE_MS_MAX: u64 = 60_000;

/// Longer, and a backend that is back would not be asked for a minute.
const BREAKER_OPEN_MS_MAX: u64 = 60_000;

/// Each is an open connection to the backend.
const IN_FLIGHT_MAX: usize = 1024;

/// Each is asked in turn: five are five times the wait.
const URLS_MAX: usize = 4;

/// Settings of the gate hooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Asked before somebody publishes. All of them must allow it.
    pub on_publish: Vec<HookUrl>,
    /// Told when a publisher has left.
    pub on_unpublish: Vec<HookUrl>,
    /// Asked before somebody watches. All of them must allow it.
    pub on_play: Vec<HookUrl>,
    /// Told when a viewer has left.
    pub on_stop: Vec<HookUrl>,
    /// Who knows the stream keys.
    pub keys: Keys,
    /// How long a decision may take, all URLs together.
    pub timeout_ms: u64,
    /// Whether everybody may come in while the backend does not answer.
    pub fail_open: bool,
    /// How long a viewer who was let in need not be asked for again.
    pub cache_ms: u64,
    /// Questions at a time. Who comes later waits, within `timeout_ms`.
    pub in_flight_max: usize,
    /// After so many questions in a row without a clear answer it is not asked for a while; 0: it is always asked.
    pub breaker_failures: u32,
    /// How long it is not asked then. After that one question tries it.
    pub breaker_open_ms: u64,
}

/// Who knows the stream keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// This server: a key must be one of its own, and the backend may refuse besides.
    #[default]
    Server,
    /// The backend: a key that this server does not know is its to judge.
    Backend,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            on_publish: Vec::new(),
            on_unpublish: Vec::new(),
            on_play: Vec::new(),
            on_stop: Vec::new(),
            keys: Keys::Server,
            timeout_ms: 3000,
            fail_open: false,
            cache_ms: 10_000,
            in_flight_max: 64,
            breaker_failures: 5,
            breaker_open_ms: 5000,
        }
    }
}

impl Config {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// A sentence with the setting and what to change.
    pub fn validate(&self) -> Result<(), String> {
        for (name, urls) in [
            ("on_publish", &self.on_publish),
            ("on_unpublish", &self.on_unpublish),
            ("on_play", &self.on_play),
            ("on_stop", &self.on_stop),
        ] {
            if urls.len() > URLS_MAX {
                return Err(format!("{name} has {} URLs: at most {URLS_MAX}", urls.len()));
            }
        }
        if !(1..=TIMEOUT_MS_MAX).contains(&self.timeout_ms) {
            return Err(format!("timeout_ms must be 1 to {TIMEOUT_MS_MAX}: encoders wait no longer"));
        }
        if self.cache_ms > CACHE_MS_MAX {
            return Err(format!("cache_ms must be at most {CACHE_MS_MAX}"));
        }
        if !(1..=IN_FLIGHT_MAX).contains(&self.in_flight_max) {
            return Err(format!("in_flight_max must be 1 to {IN_FLIGHT_MAX}"));
        }
        if !(1..=BREAKER_OPEN_MS_MAX).contains(&self.breaker_open_ms) {
            return Err(format!("breaker_open_ms must be 1 to {BREAKER_OPEN_MS_MAX}"));
        }
        if self.keys == Keys::Backend && self.on_publish.is_empty() {
            return Err("keys = \"backend\" needs on_publish: nobody else would check them".to_owned());
        }
        if self.keys == Keys::Backend && self.fail_open {
            return Err(
                "keys = \"backend\" with fail_open = true would let anybody publish while the backend is \
                        away: choose one"
                    .to_owned(),
            );
        }
        Ok(())
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(super) fn cache(&self) -> Duration {
        Duration::from_millis(self.cache_ms)
    }
}

/// Where a backend listens. Its query and its password are shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl(Url);

impl HookUrl {
    /// Takes `http` and `https` URLs.
    ///
    /// # Errors
    /// A sentence with the URL and what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{text}: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(format!("{text}: a hook is an http:// or https:// URL"));
        }
        Ok(Self(url))
    }

    /// Host and port.
    pub fn address(&self) -> (String, u16) {
        let host = self.0.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (host.to_owned(), self.0.port_or_known_default().unwrap_or(80))
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

/// Without what may be secret: user, password, query, fragment.
impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())?;
        if self.0.query().is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HookUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HookUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_no_secret() {
        let url = HookUrl::parse("https://me:pass@api.example:8443/hooks/start?secret=abc#x").expect("a URL");
        assert_eq!(format!("{url:?}"), "https://api.example:8443/hooks/start?…");
        for text in ["ftp://a/b", "api:8000", "/hooks", "file:///etc/passwd"] {
            assert!(HookUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        Config::default().validate().expect("the defaults work");
        let url = HookUrl::parse("http://api:8000/").expect("a URL");
        let with = |change: fn(&mut Config)| {
            let mut config = Config { on_publish: vec![url.clone()], ..Config::default() };
            change(&mut config);
            config.validate()
        };
        with(|_| {}).expect("works");
        with(|it| it.keys = Keys::Backend).expect("works");
        for (change, word) in [
            ((|it| it.timeout_ms = 0) as fn(&mut Config), "timeout_ms"),
            (|it| it.timeout_ms = 5001, "timeout_ms"),
            (|it| it.cache_ms = 60_001, "cache_ms"),
            (|it| it.in_flight_max = 0, "in_flight_max"),
            (|it| it.breaker_open_ms = 0, "breaker_open_ms"),
            (|it| it.on_publish = vec![it.on_publish[0].clone(); 5], "on_publish"),
            (|it| (it.keys, it.on_publish) = (Keys::Backend, Vec::new()), "on_publish"),
            (|it| (it.keys, it.fail_open) = (Keys::Backend, true), "fail_open"),
        ] {
            let why = with(change).expect_err(word);
            assert!(why.contains(word), "{why}");
        }
    }
}
