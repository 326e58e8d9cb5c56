//! What an authenticated request may do.

use media::ChannelName;

/// One thing that can be allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// Send media to the Channel.
    Publish,
    /// Watch the Channel.
    Play,
}

/// What a request may do: one permission on one Channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The Channel.
    pub channel: ChannelName,
    /// What is allowed there.
    pub permission: Permission,
    /// The Channel's row, on a node with a database.
    pub channel_id: Option<String>,
    /// By which stream key of the database.
    pub key_id: Option<String>,
    /// Whom a token was made for.
    pub subject: Option<String>,
    /// When a token ends, in unix seconds.
    pub expires: Option<i64>,
    /// Whether caches that serve others may keep what comes of it.
    pub public: bool,
}
