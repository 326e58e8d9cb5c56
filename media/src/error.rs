//! What can go wrong in the data plane's words.

/// An error of this crate. Bad input is an ordinary `Err`; parsers never panic.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A channel name that cannot stand in a URL.
    #[error("not a channel name ({length} bytes): use 1 to 40 of a-z, 0-9, '-' and '_'")]
    ChannelName {
        /// Its length in bytes.
        length: usize,
    },
    /// A RID outside RFC 8852.
    #[error("not a RID ({length} bytes): use letters, digits, '-' and '_'")]
    Rid {
        /// Its length in bytes.
        length: usize,
    },
    /// Somebody else publishes on this Channel.
    #[error("channel {channel} already has a publisher")]
    Busy {
        /// The Channel.
        channel: crate::ChannelName,
    },
    /// A bitstream element that breaks its specification.
    #[error("{what}: {why}")]
    Malformed {
        /// The element, for example `SPS`.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something that is legal but that we do not handle.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// The element.
        what: &'static str,
        /// Which property of it.
        why: &'static str,
    },
}
