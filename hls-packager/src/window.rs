//! The segments that a playlist lists, those that it listed until lately, and the bytes of both.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use media::NtpTime;

use crate::fmp4::Slices;
use crate::rewind::Rewind;
use crate::segmenter::Cut;
use crate::storage::Memory;

/// Bytes of parts held per Rendition: 40 s of 20 Mbit/s. At the limit removed segments are forgotten before
/// their time, then the window shrinks to one closed segment: a playlist that is too short is better than a
/// node without memory. Counted in `shrunk`.
const BYTES_MAX: usize = 100 << 20;

/// Multiples of TARGETDURATION that stay in a playlist (section 6.2.2).
const WINDOW_LEAST: u32 = 3;

/// Segments in a playlist at least, once there were so many (Apple's rule 8.11).
const SEGMENTS_LEAST: usize = 6;

/// One segment of the window. The last one of a live Rendition is open.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) msn: u64,
    pub(crate) discontinuity: bool,
    pub(crate) generation: u64,
    pub(crate) starts: NtpTime,
    pub(crate) gap: bool,
    independent: bool,
    pub(crate) first_part: u64,
    pub(crate) parts: Vec<Part>,
    pub(crate) duration: Duration,
    pub(crate) bytes: usize,
    pub(crate) open: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) duration: Duration,
    pub(crate) independent: bool,
}

impl Segment {
    fn range(&self) -> Range<u64> {
        self.first_part..self.first_part + self.parts.len() as u64
    }

    /// How long it is so far.
    pub(crate) fn length(&self) -> Duration {
        if self.open { self.parts.iter().map(|part| part.duration).sum() } else { self.duration }
    }
}

/// Where a playlist ends: the MSN of its open segment, or of the next one, and how many parts that has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub(crate) msn: u64,
    pub(crate) parts: u64,
}

/// The segments of a Rendition.
#[derive(Debug)]
pub(crate) struct Window {
    length: Duration,
    target: Duration,
    pub(crate) store: Memory,
    segments: VecDeque<Segment>,
    /// Listed before them, from the recording.
    rewind: Rewind,
    /// No longer here, downloadable until then (section 6.2.2).
    removed: VecDeque<(Instant, Segment)>,
    /// MSN of the segment after the last closed one.
    next_msn: u64,
    discontinuity_sequence: u64,
    /// Segments removed before their time.
    pub(crate) shrunk: u64,
}

impl Window {
    /// A window that lasts about `length`, over segments of TARGETDURATION `target`.
    pub(crate) fn new(length: Duration, target: Duration, rewind: Rewind) -> Self {
        Self {
            length,
            target,
            store: Memory::default(),
            segments: VecDeque::new(),
            rewind,
            removed: VecDeque::new(),
            next_msn: 0,
            discontinuity_sequence: 0,
            shrunk: 0,
        }
    }

    /// Starts at this number instead of 0.
    pub(crate) fn join(&mut self, msn: u64, discontinuity_sequence: u64) {
        self.next_msn = msn;
        self.discontinuity_sequence = discontinuity_sequence;
    }

    /// Begins a segment at `cut`; its first frame is shown at `starts`.
    pub(crate) fn open(&mut self, cut: &Cut, generation: u64, starts: NtpTime) {
        self.next_msn = cut.msn;
        self.segments.push_back(Segment {
            msn: cut.msn,
            discontinuity: cut.discontinuity,
            generation,
            starts,
            gap: false,
            independent: cut.independent,
            first_part: self.store.next(),
            parts: Vec::new(),
            duration: Duration::ZERO,
            bytes: 0,
            open: true,
        });
    }

    /// Appends a part to the open segment.
    pub(crate) fn push(&mut self, bytes: Slices, part: Part) {
        let Some(segment) = self.segments.back_mut().filter(|segment| segment.open) else { return };
        segment.bytes += bytes.len();
        segment.parts.push(part);
        self.store.push(bytes);
    }

    /// Closes the open segment and returns it; removes from the front what is spare.
    pub(crate) fn close(&mut self, duration: Duration, gap: bool, now: Instant) -> Option<Segment> {
        let segment = self.segments.back_mut().filter(|segment| segment.open)?;
        segment.duration = duration;
        segment.gap = gap;
        segment.open = false;
        self.next_msn = segment.msn + 1;
        let closed = segment.clone();
        self.slide(now);
        Some(closed)
    }

    /// Oldest first.
    pub(crate) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        self.segments.iter()
    }

    /// Those of a playlist, oldest first: also those that only the recording has.
    pub(crate) fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.rewind.segments().iter().chain(&self.segments)
    }

    /// Segments that only the recording has and that went from the list before their time.
    pub(crate) fn cut(&self) -> u64 {
        self.rewind.cut
    }

    /// The recording has this segment.
    pub(crate) fn is_recorded(&self, msn: u64) -> bool {
        self.rewind.has(msn)
    }

    /// MEDIA-SEQUENCE.
    pub(crate) fn media_sequence(&self) -> u64 {
        self.listed().next().map_or(self.next_msn, |segment| segment.msn)
    }

    /// DISCONTINUITY-SEQUENCE.
    pub(crate) fn discontinuity_sequence(&self) -> u64 {
        self.discontinuity_sequence - self.rewind.discontinuities()
    }

    pub(crate) fn edge(&self) -> Edge {
        match self.segments.back() {
            Some(open) if open.open => Edge { msn: open.msn, parts: open.parts.len() as u64 },
            _ => Edge { msn: self.next_msn, parts: 0 },
        }
    }

    /// The listed segment of that number.
    pub(crate) fn segment(&self, msn: u64) -> Option<&Segment> {
        let first = self.segments.front()?.msn;
        self.segments.get(usize::try_from(msn.checked_sub(first)?).ok()?)
    }

    /// The bytes of a closed segment, also of one that was removed lately.
    pub(crate) fn bytes_of(&self, msn: u64) -> Option<Vec<Slices>> {
        let gone = self.removed.iter().map(|(_, segment)| segment).find(|gone| gone.msn == msn);
        let segment = self.segment(msn).or(gone).filter(|segment| !segment.open && !segment.gap)?;
        self.store.range(segment.range())
    }

    /// The segment that holds the place `behind` the end begins with a keyframe.
    pub(crate) fn starts_at_keyframe(&self, behind: Duration) -> bool {
        let mut left = behind;
        for segment in self.segments.iter().rev() {
            let length = segment.length();
            if length > left {
                return segment.independent && !segment.gap;
            }
            left -= length;
        }
        self.segments.front().is_some_and(|first| first.independent && !first.gap)
    }

    /// Removes segments from the front of the playlist.
    fn slide(&mut self, now: Instant) {
        let mut length: Duration = self.segments.iter().map(Segment::length).sum();
        let mut closed = self.segments.iter().filter(|segment| !segment.open).count();
        while let Some(first) = self.segments.front()
            && closed > 1
        {
            let rest = length.saturating_sub(first.duration);
            let enough = rest >= self.length.max(self.target * WINDOW_LEAST);
            let spare = closed > SEGMENTS_LEAST && enough;
            let over_bytes = self.store.bytes() > BYTES_MAX && self.removed.is_empty();
            if !(spare || over_bytes) {
                break;
            }
            let Some(first) = self.segments.pop_front() else { break };
            self.shrunk += u64::from(!spare);
            self.discontinuity_sequence += u64::from(first.discontinuity);
            // Its own duration and that of the longest playlist that held it (section 6.2.2).
            let until = now + first.duration + length;
            self.rewind.push(first.clone());
            self.removed.push_back((until, first));
            length = rest;
            closed -= 1;
            self.forget(now);
        }
        self.forget(now);
    }

    /// Forgets what nobody may ask for any more.
    fn forget(&mut self, now: Instant) {
        while let Some((until, _)) = self.removed.front()
            && (*until <= now || self.store.bytes() > BYTES_MAX)
        {
            self.removed.pop_front();
            let oldest = self.removed.front().map(|(_, segment)| segment).or(self.segments.front());
            let Some(oldest) = oldest else { return };
            self.store.forget_before(oldest.first_part, oldest.generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::{Kind, MediaTime, Timescale};

    use super::*;
    use crate::recording::Tap;

    #[test]
    fn memory_is_bounded_whatever_the_bit_rate() {
        let target = Duration::from_secs(2);
        let tap = Tap::default().rendition("video", Kind::Video, Timescale::VIDEO, 0, 2);
        let mut window = Window::new(target * 10, target, Rewind::new(tap.about(), tap.horizon()));
        let mut now = tokio::time::Instant::now().into_std();
        for msn in 0..40 {
            let at = MediaTime::new(msn, Timescale::VIDEO);
            let cut = Cut { msn: msn as u64, at, discontinuity: false, epoch: 0, independent: true };
            window.open(&cut, 0, NtpTime::from_unix_micros(0));
            // 160 Mbit/s.
            let part = Part { duration: target, independent: true };
            window.push(Bytes::from(vec![0; 40 << 20]).into(), part);
            now += target;
            window.close(target, false, now);
            assert!(window.store.bytes() <= BYTES_MAX + (40 << 20));
        }
        assert!(window.shrunk > 0 && window.segments().len() >= 2);
        let last = window.edge().msn - 1;
        assert!(window.bytes_of(last).is_some() && window.bytes_of(0).is_none());
    }
}
