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
    /// How far its live viewers may go back, in seconds; left out, what the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewind_s: Option<u32>,
    /// The same in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewind_mib: Option<u32>,
}

impl ChannelConfig {
    /// How far its live viewers may go back.
    pub fn rewind(&self) -> Rewind {
        Rewind { seconds: self.rewind_s, mib: self.rewind_mib }
    }
}

/// How far the live viewers of a Channel may go back. What is left out is the server's to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewind {
    /// In seconds; 0: not at all.
    pub seconds: Option<u32>,
    /// In MiB of all that there is of the Stream.
    pub mib: Option<u32>,
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
