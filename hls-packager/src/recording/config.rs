//! Settings of recording.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::horizon::Horizon;

/// `[hls.recording]` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingConfig {
    /// Record every Stream.
    pub enabled: bool,
    /// Channels that are not recorded: the demo would fill the disk with test pictures.
    pub except: Vec<String>,
    /// Where; `recordings` in the data directory if it is not set.
    pub dir: Option<PathBuf>,
    /// Make one MP4 file of each recording that ended, for download. It takes as much room as the segments.
    pub mp4: bool,
    /// See to it that a power cut loses at most the open segments, and what a busy disk has not made safe yet. Without it
    /// the kernel writes when it likes; a killed process loses nothing either way.
    pub sync: bool,
    /// How large one recording may get, in MiB. Then its oldest segments are removed, so that a Stream that never ends
    /// does not fill the disk.
    pub stream_mib: u64,
    /// How far a live viewer can rewind, in seconds; what is not in memory is read from the recording. A Channel may say
    /// otherwise.
    pub rewind_s: u32,
    /// The same by size, in MiB, all Renditions together. Not more than a third of `stream_mib` counts, so that what a player
    /// has on its list stays there for as long as it may ask for it.
    pub rewind_mib: u64,
    /// Recordings that are older than this many days are removed; 0: never.
    pub keep_days: u32,
    /// The oldest recordings are removed when all together are larger than this many MiB; 0: no limit.
    pub keep_mib: u64,
}

impl Default for RecordingConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            except: vec!["demo".to_owned()],
            dir: None,
            mp4: true,
            sync: true,
            stream_mib: 20_480,
            rewind_s: 7200,
            rewind_mib: 6144,
            keep_days: 30,
            keep_mib: 51_200,
        }
    }
}

impl RecordingConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting outside its range.
    pub fn validate(&self) -> Result<(), Error> {
        self.reach().validate()?;
        if self.stream_mib < 64 {
            let why = "use 64 or more: a few segments must fit";
            return Err(Error::Setting { setting: "recording.stream_mib", value: self.stream_mib, why });
        }
        Ok(())
    }

    /// How far live viewers may go back where a Channel says nothing else.
    pub fn reach(&self) -> Reach {
        Reach { rewind_s: self.rewind_s, rewind_mib: self.rewind_mib }
    }

    /// The bound of a Stream whose viewers may go back so far.
    pub(crate) fn horizon(&self, reach: Reach) -> Horizon {
        let bytes_max = reach.rewind_mib.min(self.stream_mib / 3).saturating_mul(1 << 20);
        Horizon::new(Duration::from_secs(reach.rewind_s.into()), bytes_max)
    }

    /// How old a recording may get.
    pub(crate) fn age_max(&self) -> Option<Duration> {
        (self.keep_days > 0).then(|| Duration::from_secs(u64::from(self.keep_days) * 86_400))
    }

    /// How large all of them together may get.
    pub(crate) fn bytes_max(&self) -> Option<u64> {
        (self.keep_mib > 0).then(|| self.keep_mib.saturating_mul(1 << 20))
    }
}

/// How far the live viewers of a Stream may go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// In seconds, 86,400 at most; 0: not further than memory reaches.
    pub rewind_s: u32,
    /// In MiB of all Renditions together.
    pub rewind_mib: u64,
}

impl Reach {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting outside its range.
    pub fn validate(self) -> Result<(), Error> {
        if self.rewind_s > 86_400 {
            let why = "use 0 to 86400: players load a list of all segments";
            return Err(Error::Setting { setting: "recording.rewind_s", value: self.rewind_s.into(), why });
        }
        if self.rewind_mib < 16 {
            let why = "use 16 or more, and rewind_s = 0 for no way back: a few segments must fit";
            return Err(Error::Setting { setting: "recording.rewind_mib", value: self.rewind_mib, why });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_at_most_a_third_of_what_the_recording_may_take() {
        let config = RecordingConfig { stream_mib: 66, ..RecordingConfig::default() };
        for (rewind_mib, mib) in [(1000, 22), (23, 22), (16, 16)] {
            let horizon = config.horizon(Reach { rewind_s: 60, rewind_mib });
            assert_eq!((horizon.add(0, mib << 20), horizon.add(1, 1)), (0, 1), "{rewind_mib}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (bad, setting) in [
            (RecordingConfig { rewind_s: 86_401, ..RecordingConfig::default() }, "rewind_s"),
            (RecordingConfig { rewind_mib: 15, ..RecordingConfig::default() }, "rewind_mib"),
            (RecordingConfig { stream_mib: 63, ..RecordingConfig::default() }, "stream_mib"),
        ] {
            let error = bad.validate().expect_err(setting).to_string();
            assert!(error.contains(setting), "{error}");
        }
    }
}
