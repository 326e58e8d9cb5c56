//! Channels as the configuration file knows them.

use media::ChannelName;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

/// One `[[channels]]` entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// Its name in URLs.
    #[serde(deserialize_with = "channel_name")]
    pub name: ChannelName,
    /// What viewers read above the picture.
    #[serde(default)]
    pub title: String,
    /// Its stream keys; each of them may publish.
    #[serde(default)]
    pub keys: Vec<SecretString>,
}

fn channel_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChannelName, D::Error> {
    let text = String::deserialize(deserializer)?;
    ChannelName::parse(&text).map_err(serde::de::Error::custom)
}
