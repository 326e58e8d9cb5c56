//! What can go wrong between two codecs.

use media::Codec;

/// An error of this crate. Bad input is an ordinary `Err`; it never panics.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot work.
    #[error("transcode.{field}: {why}")]
    Config {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A kind of AAC that we cannot decode.
    #[error(
        "AAC object type {object_type} with {channels} channels at {sample_rate} Hz is not supported ({why}): \
         set AAC-LC, mono or stereo, in the encoder"
    )]
    UnsupportedAac {
        /// Audio object type (ISO/IEC 14496-3 table 1.17).
        object_type: u8,
        /// Channels.
        channels: u8,
        /// Samples per second.
        sample_rate: u32,
        /// What the decoder said.
        why: String,
    },
    /// A conversion that this build does not do.
    #[error("{} to {} is not built in (feature aac-fdk)", from.name(), to.name())]
    NotBuilt {
        /// The source's codec.
        from: Codec,
        /// The wanted codec.
        to: Codec,
    },
    /// A codec library refused to start.
    #[error("cannot start {what}: {why}")]
    Open {
        /// Which one.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// A frame that the decoder refused.
    #[error("{} frame of {length} bytes does not decode: {why}", codec.name())]
    Decode {
        /// Its codec.
        codec: Codec,
        /// Its length in bytes.
        length: usize,
        /// What the decoder said.
        why: String,
    },
    /// Samples or a picture that the encoder refused.
    #[error("{what} does not encode: {why}")]
    Encode {
        /// What was encoded.
        what: &'static str,
        /// What the encoder said.
        why: String,
    },
}
