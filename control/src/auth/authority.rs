//! The one door for authorisation.

mod rotation;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use media::ChannelName;
use serde::Serialize;
use serde_json::Value;
use tracing::{debug, warn};

use super::attempts::{Attempts, network_of};
use super::grant::{Grant, Permission};
use super::secrets::Secrets;
use super::stream_key::{KEY_BYTES_MAX, StreamKey};
use super::token::{Audience, GatewayClaims, PlayClaims, Signer, TokenError};
use crate::db::{Channel, Database, KeyOwner, User, Visibility};
use crate::seldom::Seldom;
use crate::{ChannelConfig, clock};

pub use rotation::GrantKey;

/// Wrong keys of one network in one [`KEY_WINDOW`]. A person who mistypes a key needs a handful; an encoder that retries a
/// wrong key every few seconds stays near it.
const KEY_FAILURES_MAX: u32 = 20;

/// Wrong keys are counted anew after this long.
const KEY_WINDOW: Duration = Duration::from_secs(60);

/// The longest that a grant to watch may last: what it allows is not looked up again meanwhile.
pub const GRANT_SECONDS_MAX: i64 = 24 * 60 * 60;

/// How long a token for the gateway lasts: long enough to connect, and to come back.
const GATEWAY_SECONDS: i64 = 600;

/// Why a request was refused. The texts go to the user: they say what to do and name no secret.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// No key was sent.
    #[error("a stream key is needed: paste the key of your channel into the encoder")]
    KeyMissing,
    /// The key belongs to no Channel.
    #[error("unknown stream key: check it for missing or extra characters, or ask for a new one")]
    KeyUnknown,
    /// The key belongs to another Channel than the one in the URL.
    #[error("this stream key is not of channel {channel}")]
    OtherChannel {
        /// The Channel in the URL.
        channel: ChannelName,
    },
    /// There is no such Channel.
    #[error("there is no channel {channel}")]
    NoChannel {
        /// The Channel asked for.
        channel: ChannelName,
    },
    /// The Channel is not for everybody, and no grant was shown.
    #[error("channel {channel} is for those with a grant ({}): sign in, or ask whoever sent you here", visibility.as_str())]
    GrantNeeded {
        /// The Channel asked for.
        channel: ChannelName,
        /// For whom it is.
        visibility: Visibility,
    },
    /// A grant was shown that does not open the Channel.
    #[error("{0}")]
    GrantInvalid(TokenError),
    /// The grant is for another Channel, or was made void.
    #[error("this grant does not open channel {channel} any more: ask for a new one")]
    GrantVoid {
        /// The Channel asked for.
        channel: ChannelName,
    },
    /// Too many wrong keys came from this network.
    #[error("too many wrong stream keys from your network: try again in {seconds} s")]
    TooMany {
        /// When.
        seconds: u64,
    },
    /// The database does not answer.
    #[error("the server cannot look this up at the moment: try again in a minute")]
    Unavailable,
}

/// An account, as a token for the gateway names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `usr_…`
    pub id: String,
    /// Lower case.
    pub login: String,
    /// As others see it.
    pub name: String,
    /// When the token was made, in unix seconds: what ended the account's sessions later ended this too.
    pub since: i64,
}

/// What is asked.
#[derive(Debug)]
pub enum Request<'a> {
    /// May the holder of `key` publish, on `channel` if the URL named one?
    Publish {
        /// The key.
        key: &'a StreamKey,
        /// The Channel in the URL.
        channel: Option<&'a ChannelName>,
        /// From where.
        remote: IpAddr,
    },
    /// May the holder of `token` watch `channel`?
    Play {
        /// The Channel.
        channel: &'a ChannelName,
        /// A grant, if one was shown.
        token: Option<&'a str>,
    },
}

/// What an authority has counted.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Stream keys looked up in the database.
    pub keys_looked_up: u64,
    /// Wrong stream keys.
    pub keys_unknown: u64,
    /// Publishers refused because their network had shown too many wrong keys.
    pub keys_limited: u64,
    /// Requests to watch that were granted.
    pub plays_granted: u64,
    /// Requests to watch that were refused for want of a good grant.
    pub plays_denied: u64,
    /// Channels in memory.
    pub channels: u64,
    /// Keys by which grants are good.
    pub grant_keys: u64,
}

#[derive(Debug, Default)]
struct Counters {
    keys_looked_up: AtomicU64,
    keys_unknown: AtomicU64,
    keys_limited: AtomicU64,
    plays_granted: AtomicU64,
    plays_denied: AtomicU64,
}

/// Turns stream keys and wishes to watch into [`Grant`]s.
///
/// Channels are kept in memory, so that no viewer costs a query; a stream key costs one.
pub struct Authority {
    secrets: Secrets,
    signer: Signer,
    database: Option<Database>,
    /// Keys of the configuration, by fingerprint.
    keys: HashMap<String, ChannelName>,
    /// Channels of the configuration, and their titles.
    configured: HashMap<ChannelName, String>,
    channels: RwLock<Arc<HashMap<ChannelName, Arc<Channel>>>>,
    revision: AtomicI64,
    keys_revision: AtomicI64,
    wrong_keys: Attempts<IpAddr>,
    forgeries: Seldom,
    counters: Counters,
}

impl Authority {
    /// Knows the configured Channels and their keys, and no others. The keys are kept as fingerprints only.
    pub fn new(channels: &[ChannelConfig]) -> Self {
        Self::build(channels, None, Secrets::random())
    }

    /// Knows the Channels and keys of the database as well; those of the configuration get rows there.
    ///
    /// # Errors
    /// If a configured name is somebody's channel, or the engine fails.
    pub async fn with_database(
        channels: &[ChannelConfig],
        database: Database,
        secrets: Secrets,
    ) -> Result<Self, crate::db::Error> {
        for channel in channels {
            let (name, title, rewind) = (channel.name.as_str(), &channel.title, channel.rewind());
            database.import_channel(name, title, rewind, clock::unix_ms()).await?;
        }
        let authority = Self::build(channels, Some(database), secrets);
        authority.refresh().await?;
        Ok(authority)
    }

    fn build(channels: &[ChannelConfig], database: Option<Database>, secrets: Secrets) -> Self {
        let mut keys = HashMap::new();
        for channel in channels {
            for key in &channel.keys {
                keys.insert(StreamKey::new(key.clone()).fingerprint(&secrets), channel.name.clone());
            }
        }
        let configured: HashMap<_, _> =
            channels.iter().map(|it| (it.name.clone(), it.title.clone())).collect();
        let of_file = |it: &ChannelConfig| {
            let channel = Channel {
                id: String::new(),
                owner_id: None,
                name: it.name.to_string(),
                title: it.title.clone(),
                visibility: Visibility::Public,
                grant_epoch: 0,
                rewind: it.rewind(),
                created_at: 0,
            };
            (it.name.clone(), Arc::new(channel))
        };
        let known = channels.iter().map(of_file).collect();
        Self {
            signer: Signer::new(&secrets),
            secrets,
            database,
            keys,
            configured,
            channels: RwLock::new(Arc::new(known)),
            revision: AtomicI64::new(-1),
            keys_revision: AtomicI64::new(-1),
            wrong_keys: Attempts::new(KEY_FAILURES_MAX, KEY_WINDOW),
            forgeries: Seldom::default(),
            counters: Counters::default(),
        }
    }

    /// Reads the Channels and the keys of grants again if any has changed: one small query. Call it about once a second, and after a change of
    /// one's own.
    ///
    /// # Errors
    /// If the engine fails; what is known stays.
    pub async fn refresh(&self) -> Result<(), crate::db::Error> {
        let Some(database) = &self.database else { return Ok(()) };
        let (revision, keys) = database.revisions().await?;
        if self.keys_revision.load(Ordering::Acquire) != keys {
            self.read_grant_keys(database).await?;
            self.keys_revision.store(keys, Ordering::Release);
        }
        if self.revision.load(Ordering::Acquire) == revision {
            return Ok(());
        }
        let mut known = HashMap::new();
        for channel in database.all_channels().await? {
            let Ok(name) = ChannelName::parse(&channel.name) else { continue };
            // A row of a configuration that names it no more.
            if channel.owner_id.is_some() || self.configured.contains_key(&name) {
                known.insert(name, Arc::new(channel));
            }
        }
        *self.channels.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        self.revision.store(revision, Ordering::Release);
        Ok(())
    }

    /// Decides.
    ///
    /// # Errors
    /// [`Denied`] says what the streamer or the viewer must change.
    pub async fn authorize(&self, request: Request<'_>) -> Result<Grant, Denied> {
        match request {
            Request::Publish { key, channel, remote } => self.publish(key, channel, remote).await,
            Request::Play { channel, token } => self.play(channel, token),
        }
    }

    async fn publish(
        &self,
        key: &StreamKey,
        channel: Option<&ChannelName>,
        remote: IpAddr,
    ) -> Result<Grant, Denied> {
        if key.expose().is_empty() {
            return Err(Denied::KeyMissing);
        }
        let network = network_of(remote);
        if let Some(wait) = network.and_then(|network| self.wrong_keys.wait(&network, clock::now())) {
            self.counters.keys_limited.fetch_add(1, Ordering::Relaxed);
            return Err(Denied::TooMany { seconds: wait.as_secs() + 1 });
        }
        let owner = if key.expose().len() > KEY_BYTES_MAX { None } else { self.owner(key).await? };
        let Some(owner) = owner else {
            self.counters.keys_unknown.fetch_add(1, Ordering::Relaxed);
            if let Some(network) = network {
                self.wrong_keys.note(network, clock::now());
            }
            return Err(Denied::KeyUnknown);
        };
        let name = ChannelName::parse(&owner.channel).map_err(|_| Denied::KeyUnknown)?;
        match channel {
            Some(named) if *named != name => Err(Denied::OtherChannel { channel: named.clone() }),
            _ => Ok(Grant {
                channel: name,
                permission: Permission::Publish,
                channel_id: Some(owner.channel_id).filter(|id| !id.is_empty()),
                key_id: Some(owner.key_id).filter(|id| !id.is_empty()),
                subject: None,
                expires: None,
                public: false,
            }),
        }
    }

    async fn owner(&self, key: &StreamKey) -> Result<Option<KeyOwner>, Denied> {
        let fingerprint = key.fingerprint(&self.secrets);
        if let Some(name) = self.keys.get(&fingerprint) {
            let channel_id = self.channel(name).map(|channel| channel.id.clone()).unwrap_or_default();
            return Ok(Some(KeyOwner { key_id: String::new(), channel_id, channel: name.to_string() }));
        }
        let Some(database) = &self.database else { return Ok(None) };
        self.counters.keys_looked_up.fetch_add(1, Ordering::Relaxed);
        database.key_owner(&fingerprint, clock::unix_ms()).await.map_err(|error| {
            warn!(%error, "a stream key could not be looked up");
            Denied::Unavailable
        })
    }

    fn play(&self, channel: &ChannelName, token: Option<&str>) -> Result<Grant, Denied> {
        let result = self.decide_play(channel, token);
        let counter = match &result {
            Ok(_) => &self.counters.plays_granted,
            Err(_) => &self.counters.plays_denied,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Err(denied) = &result {
            debug!(%channel, reason = %denied, "a viewer is refused");
        }
        if let Err(Denied::GrantInvalid(why)) = &result {
            self.note_forgery(*why, "grant to watch");
        }
        result
    }

    /// Tells operators of a token that nobody comes by honestly. One that is too old is everyday life.
    fn note_forgery(&self, why: TokenError, kind: &str) {
        if why != TokenError::Expired && self.forgeries.may(clock::now()) {
            let denied = self.counters.plays_denied.load(Ordering::Relaxed);
            warn!(kind, reason = %why, plays_denied = denied, "a token was shown that is not good");
        }
    }

    fn decide_play(&self, name: &ChannelName, token: Option<&str>) -> Result<Grant, Denied> {
        let channel = self.channel(name).ok_or_else(|| Denied::NoChannel { channel: name.clone() })?;
        let mut grant = Grant {
            channel: name.clone(),
            permission: Permission::Play,
            channel_id: Some(channel.id.clone()).filter(|id| !id.is_empty()),
            key_id: None,
            subject: None,
            expires: None,
            public: true,
        };
        let visibility = channel.visibility;
        if !visibility.needs_grant() {
            return Ok(grant);
        }
        let token = token.ok_or_else(|| Denied::GrantNeeded { channel: name.clone(), visibility })?;
        let (claims, expires) = self
            .signer
            .verify::<PlayClaims>(token, Audience::Play, clock::unix_ms() / 1000)
            .map_err(Denied::GrantInvalid)?;
        if claims.ch != channel.name || claims.cid != channel.id || claims.ep != channel.grant_epoch {
            return Err(Denied::GrantVoid { channel: name.clone() });
        }
        grant.subject = Some(claims.sub);
        grant.expires = Some(expires);
        grant.public = false;
        Ok(grant)
    }

    /// Makes a grant to watch a Channel, good for `seconds`; with its expiry in unix seconds. Whoever calls it has
    /// decided that `subject` may.
    pub fn sign_play(&self, channel: &Channel, subject: &str, seconds: i64) -> (String, i64) {
        let now = clock::unix_ms() / 1000;
        let expires = now + seconds.clamp(1, GRANT_SECONDS_MAX);
        let claims = PlayClaims {
            sub: subject.to_owned(),
            ch: channel.name.clone(),
            cid: channel.id.clone(),
            ep: channel.grant_epoch,
        };
        (self.signer.sign(Audience::Play, claims, now, expires), expires)
    }

    /// Makes a token by which the gateway knows an account; with its expiry in unix seconds.
    pub fn sign_gateway(&self, user: &User) -> (String, i64) {
        let now = clock::unix_ms() / 1000;
        let claims = GatewayClaims {
            sub: user.id.clone(),
            login: user.login.clone(),
            name: user.display_name.clone(),
        };
        (self.signer.sign(Audience::Gateway, claims, now, now + GATEWAY_SECONDS), now + GATEWAY_SECONDS)
    }

    /// Whose token for the gateway this is.
    ///
    /// # Errors
    /// If it is none of ours, or too old.
    pub fn identify(&self, token: &str) -> Result<Identity, TokenError> {
        let now = clock::unix_ms() / 1000;
        let read = self.signer.verify::<GatewayClaims>(token, Audience::Gateway, now);
        let (claims, expires) = read.inspect_err(|why| self.note_forgery(*why, "gateway"))?;
        let GatewayClaims { sub, login, name } = claims;
        Ok(Identity { id: sub, login, name, since: expires - GATEWAY_SECONDS })
    }

    /// The public keys by which grants are checked.
    pub fn jwks(&self) -> Value {
        self.signer.jwks(clock::unix_ms())
    }

    /// A Channel, as it was at the last [`Authority::refresh`].
    pub fn channel(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        self.known().get(name).cloned()
    }

    /// Whether the configuration names the Channel, so that only the file can change it.
    pub fn is_configured(&self, name: &ChannelName) -> bool {
        self.configured.contains_key(name)
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            keys_looked_up: get(&self.counters.keys_looked_up),
            keys_unknown: get(&self.counters.keys_unknown),
            keys_limited: get(&self.counters.keys_limited),
            plays_granted: get(&self.counters.plays_granted),
            plays_denied: get(&self.counters.plays_denied),
            channels: self.known().len() as u64,
            grant_keys: self.grant_keys().len() as u64,
        }
    }

    fn known(&self) -> Arc<HashMap<ChannelName, Arc<Channel>>> {
        Arc::clone(&self.channels.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("channels", &self.known().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
