//! Playlist Delta Updates (section 6.2.5.1).

use std::time::Duration;

use super::Media;
use super::tag::Skip;

/// `EXT-X-VERSION` of a delta update, and of one that may drop date ranges (section 8).
const VERSION: u8 = 9;
const VERSION_DATE_RANGES: u8 = 10;

/// `full` without the segments that are further from its end than CAN-SKIP-UNTIL; `full` itself if there
/// are none. The first segment that is kept repeats its EXT-X-MAP: how a client carries it over is
/// unspecified, and every client takes a repeated one.
pub fn delta(mut full: Media, date_ranges: bool) -> Media {
    if full.ended {
        return full;
    }
    let until = full.server_control.can_skip_until.0;
    let mut behind = Duration::ZERO;
    let mut keep_from = 0;
    for (at, segment) in full.segments.iter().enumerate().rev() {
        if segment.uri.is_some() && behind > until {
            keep_from = at + 1;
            break;
        }
        behind += match &segment.uri {
            Some(_) => segment.duration.0,
            None => segment.parts.iter().map(|part| part.duration.0).sum(),
        };
    }
    if keep_from == 0 {
        return full;
    }
    full.segments.drain(..keep_from);
    full.skip = Some(Skip { skipped_segments: keep_from as u64, date_ranges });
    full.version = if date_ranges { VERSION_DATE_RANGES } else { VERSION };
    full
}
