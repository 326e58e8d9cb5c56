//! Settings of recording.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

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
    /// See to it that a power cut loses at most the open segment. Without it the kernel writes when it likes; a killed
    /// process loses nothing either way.
    pub sync: bool,
    /// How large one recording may get, in MiB. Then its oldest segments are removed, so that a Stream that never ends
    /// does not fill the disk.
    pub stream_mib: u64,
    /// How far a live viewer can rewind, in seconds; what is not in memory is read from the recording.
    pub rewind_s: u32,
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
        if self.rewind_s > 86_400 {
            let why = "use 0 to 86400: players load a list of all segments";
            return Err(Error::Setting { setting: "recording.rewind_s", value: self.rewind_s.into(), why });
        }
        if self.stream_mib < 64 {
            let why = "use 64 or more: a few segments must fit";
            return Err(Error::Setting { setting: "recording.stream_mib", value: self.stream_mib, why });
        }
        Ok(())
    }

    pub(crate) fn rewind(&self) -> Duration {
        Duration::from_secs(self.rewind_s.into())
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
