//! The one door for authorisation.

use std::collections::HashMap;

use media::ChannelName;
use rand::RngCore;

use super::grant::{Grant, Permission};
use super::stream_key::{KEY_BYTES_MAX, StreamKey};
use crate::ChannelConfig;

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
}

/// Turns stream keys and wishes to watch into [`Grant`]s.
pub struct Authority {
    pepper: [u8; 32],
    channels: HashMap<ChannelName, String>,
    /// Keys by fingerprint: a look-up tells nothing by its time, since an attacker cannot choose the HMAC.
    keys: HashMap<[u8; 32], ChannelName>,
}

impl Authority {
    /// Knows the configured Channels and their keys. The keys are kept as fingerprints only.
    pub fn new(channels: &[ChannelConfig]) -> Self {
        let mut pepper = [0u8; 32];
        rand::rng().fill_bytes(&mut pepper);
        let mut keys = HashMap::new();
        for channel in channels {
            for key in &channel.keys {
                keys.insert(StreamKey::new(key.clone()).fingerprint(&pepper), channel.name.clone());
            }
        }
        let channels = channels.iter().map(|it| (it.name.clone(), it.title.clone())).collect();
        Self { pepper, channels, keys }
    }

    /// May the holder of `key` publish, on `channel` if the URL named one?
    ///
    /// # Errors
    /// [`Denied`] says what the streamer must change.
    pub fn publish(&self, key: &StreamKey, channel: Option<&ChannelName>) -> Result<Grant, Denied> {
        if key.expose().is_empty() {
            return Err(Denied::KeyMissing);
        }
        if key.expose().len() > KEY_BYTES_MAX {
            return Err(Denied::KeyUnknown);
        }
        let owned = self.keys.get(&key.fingerprint(&self.pepper)).ok_or(Denied::KeyUnknown)?;
        match channel {
            Some(named) if named != owned => Err(Denied::OtherChannel { channel: named.clone() }),
            _ => Ok(Grant { channel: owned.clone(), permission: Permission::Publish }),
        }
    }

    /// May somebody watch `channel`? Every configured Channel is public.
    ///
    /// # Errors
    /// [`Denied::NoChannel`] if it is not configured.
    pub fn play(&self, channel: &ChannelName) -> Result<Grant, Denied> {
        if !self.channels.contains_key(channel) {
            return Err(Denied::NoChannel { channel: channel.clone() });
        }
        Ok(Grant { channel: channel.clone(), permission: Permission::Play })
    }

    /// The configured Channels and their titles, in no order.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelName, &str)> {
        self.channels.iter().map(|(name, title)| (name, title.as_str()))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("channels", &self.channels.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str, key: &str) -> ChannelConfig {
        ChannelConfig {
            name: ChannelName::parse(name).expect("valid"),
            title: String::new(),
            keys: vec![key.to_owned().into()],
        }
    }

    #[test]
    fn a_key_opens_its_own_channel_only() {
        let authority = Authority::new(&[channel("ana", "k1"), channel("bo", "k2")]);
        let name = |name: &str| ChannelName::parse(name).expect("valid");
        let publish = |key: &str, channel: Option<&str>| {
            authority
                .publish(&StreamKey::new(key.to_owned().into()), channel.map(name).as_ref())
                .map(|grant| grant.channel.to_string())
        };
        assert_eq!(publish("k1", None), Ok("ana".into()));
        assert_eq!(publish("k2", Some("bo")), Ok("bo".into()));
        assert_eq!(publish("k2", Some("ana")), Err(Denied::OtherChannel { channel: name("ana") }));
        assert_eq!(publish("k3", None), Err(Denied::KeyUnknown));
        assert_eq!(publish("", None), Err(Denied::KeyMissing));
        assert_eq!(publish(&"k".repeat(10_000), None), Err(Denied::KeyUnknown));
        assert!(authority.play(&name("ana")).is_ok());
        assert_eq!(authority.play(&name("eve")), Err(Denied::NoChannel { channel: name("eve") }));
    }
}
