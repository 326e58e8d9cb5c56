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
}
