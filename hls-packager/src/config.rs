//! Settings of the packager.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, RecordingConfig, S3Config};

/// `[hls]` in the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Wanted length of a part. The announced PART-TARGET is fitted to the GOP and a little longer, so that
    /// whole frames fill it in spite of jitter.
    pub part_target_ms: u32,
    /// Shortest TARGETDURATION, in seconds.
    pub target_duration_min_s: u32,
    /// Longest TARGETDURATION, in seconds. A GOP that is longer is cut without a keyframe, and players that
    /// start in such a segment see nothing until the next keyframe. x264 makes GOPs of 8.3 s if not told
    /// otherwise, at 30 frames per second.
    pub target_duration_max_s: u32,
    /// Segments of the shortest TARGETDURATION that a live playlist lists. Longer segments: as many as last
    /// as long, but at least 6 (Apple's rule 8.11).
    pub window_segments: u32,
    /// How long the source is watched before TARGETDURATION and PART-TARGET are fixed for the Stream's life.
    pub measure_ms: u32,
    /// How long to wait for an AAC Track before Opus, or nothing, is carried instead.
    pub audio_wait_ms: u32,
    /// How long a request for the multivariant playlist of a Stream that just began may wait.
    pub start_wait_ms: u32,
    /// How long an ended Stream stays downloadable, so that viewers drain.
    pub linger_s: u32,
    /// What is kept on disk.
    pub recording: RecordingConfig,
    /// Where it is kept besides.
    pub s3: S3Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            part_target_ms: 500,
            target_duration_min_s: 2,
            target_duration_max_s: 10,
            window_segments: 10,
            measure_ms: 4000,
            audio_wait_ms: 3000,
            start_wait_ms: 5000,
            linger_s: 60,
            recording: RecordingConfig::default(),
            s3: S3Config::default(),
        }
    }
}

impl Config {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting outside its range.
    pub fn validate(&self) -> Result<(), Error> {
        for (setting, value, range, why) in [
            ("part_target_ms", self.part_target_ms, 100..=2000, "use 100 to 2000"),
            ("target_duration_min_s", self.target_duration_min_s, 1..=10, "use 1 to 10"),
            (
                "target_duration_max_s",
                self.target_duration_max_s,
                self.target_duration_min_s..=10,
                "use target_duration_min_s to 10",
            ),
            ("window_segments", self.window_segments, 6..=100, "use 6 to 100"),
            ("measure_ms", self.measure_ms, 500..=10_000, "use 500 to 10000"),
            ("audio_wait_ms", self.audio_wait_ms, 0..=10_000, "use 0 to 10000"),
            ("start_wait_ms", self.start_wait_ms, 0..=30_000, "use 0 to 30000"),
            ("linger_s", self.linger_s, 1..=3600, "use 1 to 3600"),
        ] {
            if !range.contains(&value) {
                return Err(Error::Setting { setting, value: u64::from(value), why });
            }
        }
        if self.part_target_ms > self.target_duration_min_s * 1000 {
            let value = u64::from(self.part_target_ms);
            return Err(Error::Setting { setting: "part_target_ms", value, why: "longer than a segment" });
        }
        self.s3.validate()?;
        self.recording.validate()
    }

    /// One short TARGETDURATION: how long segments last if the source allows it, and after which what is
    /// silent is not waited for.
    pub(crate) fn target_duration_min(&self) -> Duration {
        Duration::from_secs(self.target_duration_min_s.into())
    }

    pub(crate) fn audio_wait(&self) -> Duration {
        Duration::from_millis(u64::from(self.audio_wait_ms))
    }

    pub(crate) fn start_wait(&self) -> Duration {
        Duration::from_millis(u64::from(self.start_wait_ms))
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_secs(u64::from(self.linger_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_ranges_are_checked() {
        assert!(Config::default().validate().is_ok());
        for bad in [
            Config { part_target_ms: 50, ..Config::default() },
            Config { window_segments: 5, ..Config::default() },
            Config { target_duration_max_s: 1, ..Config::default() },
            Config { part_target_ms: 2000, target_duration_min_s: 1, ..Config::default() },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
