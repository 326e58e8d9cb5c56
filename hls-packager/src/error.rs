//! What can go wrong in the packager.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting outside its range.
    #[error("hls.{setting} = {value}: {why}")]
    Setting {
        /// Its name in the configuration.
        setting: &'static str,
        /// What it was set to.
        value: u64,
        /// What it must be.
        why: &'static str,
    },
    /// A setting that cannot be used.
    #[error("hls.{setting} {why}")]
    Invalid {
        /// Its name in the configuration.
        setting: &'static str,
        /// What is wrong with it, or what it must be.
        why: String,
    },
    /// A codec that fMP4 for HLS does not carry here.
    #[error("HLS does not carry {0}")]
    Codec(&'static str),
    /// Parameter sets that no decoder can be set up from.
    #[error("{what} of the codec configuration is unusable")]
    Parameters {
        /// For example `SPS`.
        what: &'static str,
    },
    /// A box that could not be written.
    #[error("writing an MP4 box: {0}")]
    Mp4(#[from] mp4_atom::Error),
}
