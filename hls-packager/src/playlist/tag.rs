//! The tags, as draft-pantos-hls-rfc8216bis spells them.

use std::fmt;
use std::time::Duration;

use media::NtpTime;

/// Seconds as a decimal-floating-point (section 4.2), to the microsecond, without trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Three digits always: some readers take a number without a point for an integer attribute.
        let micros = self.0.subsec_micros();
        let seconds = self.0.as_secs();
        if micros.is_multiple_of(1000) {
            return write!(f, "{seconds}.{:03}", micros / 1000);
        }
        write!(f, "{seconds}.{micros:06}")
    }
}

/// `EXT-X-SERVER-CONTROL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerControl {
    /// `CAN-BLOCK-RELOAD=YES`.
    pub can_block_reload: bool,
    /// `CAN-SKIP-UNTIL`.
    pub can_skip_until: Seconds,
    /// `HOLD-BACK`.
    pub hold_back: Seconds,
    /// `PART-HOLD-BACK`.
    pub part_hold_back: Seconds,
}

impl fmt::Display for ServerControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("#EXT-X-SERVER-CONTROL:")?;
        if self.can_block_reload {
            f.write_str("CAN-BLOCK-RELOAD=YES,")?;
        }
        write!(
            f,
            "CAN-SKIP-UNTIL={},HOLD-BACK={},PART-HOLD-BACK={}",
            self.can_skip_until, self.hold_back, self.part_hold_back
        )
    }
}

/// `EXT-X-PART-INF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartInf {
    /// `PART-TARGET`.
    pub part_target: Seconds,
}

impl fmt::Display for PartInf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#EXT-X-PART-INF:PART-TARGET={}", self.part_target)
    }
}

/// `EXT-X-MAP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// `URI`.
    pub uri: String,
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#EXT-X-MAP:URI=\"{}\"", self.uri)
    }
}

/// `EXT-X-PART`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `URI`.
    pub uri: String,
    /// `DURATION`.
    pub duration: Seconds,
    /// `INDEPENDENT=YES`.
    pub independent: bool,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#EXT-X-PART:DURATION={},URI=\"{}\"", self.duration, self.uri)?;
        if self.independent { f.write_str(",INDEPENDENT=YES") } else { Ok(()) }
    }
}

/// `EXT-X-PRELOAD-HINT` with `TYPE=PART`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreloadHint {
    /// `URI`.
    pub uri: String,
}

impl fmt::Display for PreloadHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"", self.uri)
    }
}

/// `EXT-X-RENDITION-REPORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionReport {
    /// `URI`, relative.
    pub uri: String,
    /// `LAST-MSN`.
    pub last_msn: u64,
    /// `LAST-PART`.
    pub last_part: Option<u64>,
}

impl fmt::Display for RenditionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#EXT-X-RENDITION-REPORT:URI=\"{}\",LAST-MSN={}", self.uri, self.last_msn)?;
        match self.last_part {
            Some(part) => write!(f, ",LAST-PART={part}"),
            None => Ok(()),
        }
    }
}

/// `EXT-X-SKIP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// `SKIPPED-SEGMENTS`.
    pub skipped_segments: u64,
    /// Asked for with `_HLS_skip=v2`: `RECENTLY-REMOVED-DATERANGES`, empty, for there are no date ranges.
    pub date_ranges: bool,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#EXT-X-SKIP:SKIPPED-SEGMENTS={}", self.skipped_segments)?;
        if self.date_ranges { f.write_str(",RECENTLY-REMOVED-DATERANGES=\"\"") } else { Ok(()) }
    }
}

/// `EXT-X-PROGRAM-DATE-TIME`, in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramDateTime(pub NtpTime);

impl fmt::Display for ProgramDateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = (self.0.as_unix_micros() + 500) / 1000;
        let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
        let (second, milli) = (rest / 1000 % 60, rest % 1000);
        write!(
            f,
            "#EXT-X-PROGRAM-DATE-TIME:{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
        )
    }
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar (Hinnant's
/// `civil_from_days`, for days that are not negative).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        for (unix_millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_388_400_123, "2026-11-22T23:00:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ] {
            let tag = ProgramDateTime(NtpTime::from_unix_micros(unix_millis * 1000));
            // NTP era 0 ends in 2036; later dates are not ours to print yet.
            if unix_millis < 2_085_978_496_000 {
                assert_eq!(tag.to_string(), format!("#EXT-X-PROGRAM-DATE-TIME:{text}"));
            }
        }
        assert_eq!(civil(47_540), (2100, 2, 28));
    }

    #[test]
    fn seconds_are_decimal() {
        for (micros, text) in
            [(0, "0.000"), (500_000, "0.500"), (2_000_001, "2.000001"), (33_366, "0.033366")]
        {
            assert_eq!(Seconds(Duration::from_micros(micros)).to_string(), text);
        }
    }
}
