//! Settings of the transcoder.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Most worker threads: beyond it the transcoder would take the machine from the SFU.
const THREADS_MAX: usize = 64;

/// Settings of the transcoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Worker threads for all conversions of this node. One thread carries about 50 stereo Tracks.
    pub threads: usize,
    /// Derived Tracks at a time; a Stream beyond it stays without one, counted as `jobs_refused`.
    pub jobs_max: usize,
    /// Bits per second of derived stereo Opus; mono takes half.
    pub opus_bitrate_bps: u32,
    /// Opus complexity, 0 to 10: 5 takes 0.5 % of a core per stereo Track, 10 takes 0.9 %.
    pub opus_complexity: u8,
    /// Bits per second of derived stereo AAC-LC; mono takes half.
    pub aac_bitrate_bps: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 2,
            jobs_max: 64,
            opus_bitrate_bps: 128_000,
            opus_complexity: 7,
            aac_bitrate_bps: 128_000,
        }
    }
}

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] names the first one that cannot work.
    pub fn validate(&self) -> Result<(), Error> {
        let checks = [
            ((1..=THREADS_MAX).contains(&self.threads), "threads", "use 1 to 64"),
            ((1..=4096).contains(&self.jobs_max), "jobs_max", "use 1 to 4096"),
            ((16_000..=510_000).contains(&self.opus_bitrate_bps), "opus_bitrate_bps", "use 16000 to 510000"),
            (self.opus_complexity <= 10, "opus_complexity", "use 0 to 10"),
            ((32_000..=320_000).contains(&self.aac_bitrate_bps), "aac_bitrate_bps", "use 32000 to 320000"),
        ];
        match checks.into_iter().find(|(good, _, _)| !good) {
            Some((_, field, why)) => Err(Error::Config { field, why }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_nonsense_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        let broken = Config { opus_complexity: 11, ..Config::default() };
        assert!(matches!(broken.validate(), Err(Error::Config { field: "opus_complexity", .. })));
    }
}
