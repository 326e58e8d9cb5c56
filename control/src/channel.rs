//! Channels as the configuration file knows them.

use media::ChannelName;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One `[[channels]]` entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// Its name in URLs.
    #[serde(deserialize_with = "channel_name", serialize_with = "name")]
    pub name: ChannelName,
    /// What viewers read above the picture.
    #[serde(default)]
    pub title: String,
    /// Its stream keys; each of them may publish.
    #[serde(default, serialize_with = "redacted")]
    pub keys: Vec<SecretString>,
}

fn channel_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChannelName, D::Error> {
    let text = String::deserialize(deserializer)?;
    ChannelName::parse(&text).map_err(serde::de::Error::custom)
}

fn name<S: Serializer>(name: &ChannelName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

/// Says how many there are.
fn redacted<S: Serializer>(keys: &[SecretString], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(|_| "[redacted]"))
}
