//! Continuous numbers for one m-line of a viewer, whatever happens at the source.
//!
//! Output numbers are the source's plus an offset. The offset changes where packets are left out on purpose
//! and where the source changes; each stretch keeps its own (a [`Piece`]), so that a late packet goes where
//! it belonged. A number is only left free for a packet that is missing and may still come.
//!
//! Output time is the Stream's own time plus one random base for the life of the m-line: Layers, Tracks and
//! publications share the Stream's clock, so nothing jumps at a switch. A frame that would step back is
//! clamped, or dropped if it is a reordered one.

use std::collections::VecDeque;

use crate::prefetch::prefetch;

/// Stretches remembered: two seconds of every other frame left out. The oldest go; a packet that belonged to
/// one of them is dropped (`late_dropped`).
const PIECES_MAX: usize = 32;
/// Frames whose output time is remembered for late packets: a second of video.
const FRAMES_MAX: usize = 32;
/// A larger hole in front of a keyframe is closed: the receiver needs nothing of it, and should not ask.
const HOLE_BEFORE_KEYFRAME_MAX: u64 = 64;

/// What the rewriter must know of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) seq: u64,
    pub(crate) ticks: i64,
    pub(crate) epoch: u32,
    /// First packet of a keyframe.
    pub(crate) begins_keyframe: bool,
    /// Its frame is shown before one that was sent earlier.
    pub(crate) reorders: bool,
}

/// When a frame is said to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stamp {
    /// At its own time.
    Own,
    /// At the live edge of this moment: a frame of a catch-up burst.
    Edge(i64),
}

/// Under which numbers a packet goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// 48 bits: rollover counter and sequence number.
    pub(crate) index: u64,
    /// RTP timestamp.
    pub(crate) timestamp: u32,
    out_ticks: i64,
    newest: bool,
    closes_hole: bool,
}

impl Placement {
    /// No packet after it has been sent.
    pub(crate) fn is_newest(&self) -> bool {
        self.newest
    }
}

/// Why a packet is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too late: nobody knows any more where it belonged.
    Late,
    /// It would step back in time.
    StepsBack,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    from: u64,
    /// Exclusive; open at the newest piece.
    to: u64,
    offset: i64,
}

#[derive(Clone, Copy, Debug)]
struct Stamped {
    ticks: i64,
    epoch: u32,
    out_ticks: i64,
}

impl Stamped {
    fn is_of(&self, source: &Source) -> bool {
        self.ticks == source.ticks && self.epoch == source.epoch
    }
}

/// One m-line's numbers. Lives as long as the Peer.
#[derive(Debug)]
pub(crate) struct Rewriter {
    next_index: u64,
    base: u32,
    pieces: VecDeque<Piece>,
    /// The number expected next from the source.
    expected: u64,
    frames: VecDeque<Stamped>,
    newest_out: Option<i64>,
    /// From here on every frame went out at its own time.
    own_since: i64,
}

impl Rewriter {
    /// `first`: the first sequence number, 1 to 2^14 by choice of the caller, so that no receiver sees a
    /// wrap-around early. `base`: what is added to times.
    pub(crate) fn new(first: u16, base: u32) -> Self {
        Self {
            next_index: u64::from(first),
            base,
            pieces: VecDeque::with_capacity(PIECES_MAX),
            expected: 0,
            frames: VecDeque::with_capacity(FRAMES_MAX),
            newest_out: None,
            own_since: i64::MIN,
        }
    }

    /// Brings nearer what the next packet will need besides itself.
    pub(crate) fn prefetch(&self) {
        if let Some(piece) = self.pieces.back() {
            prefetch(piece);
        }
        if let Some(frame) = self.frames.back() {
            prefetch(frame);
        }
    }

    /// The source's packet `seq` comes next, whatever was before.
    pub(crate) fn begin(&mut self, seq: u64) {
        self.pieces.clear();
        self.frames.clear();
        self.pieces.push_back(Piece {
            from: seq,
            to: u64::MAX,
            offset: self.next_index.wrapping_sub(seq) as i64,
        });
        self.expected = seq;
        self.own_since = i64::MAX;
    }

    /// Where a packet would go. Changes nothing: the packet may not fit into the batch.
    pub(crate) fn place(&self, source: &Source, stamp: Stamp) -> Result<Placement, Refused> {
        let newest = source.seq >= self.expected;
        let hole = source.seq.saturating_sub(self.expected);
        let closes_hole = newest && source.begins_keyframe && hole > HOLE_BEFORE_KEYFRAME_MAX;
        let index = if closes_hole {
            self.next_index
        } else {
            let piece = self.pieces.iter().rev().find(|piece| (piece.from..piece.to).contains(&source.seq));
            source.seq.wrapping_add_signed(piece.ok_or(Refused::Late)?.offset)
        };
        let out_ticks = self.out_ticks(source, stamp, newest)?;
        let timestamp = (out_ticks as u32).wrapping_add(self.base);
        Ok(Placement { index, timestamp, out_ticks, newest, closes_hole })
    }

    fn out_ticks(&self, source: &Source, stamp: Stamp, newest: bool) -> Result<i64, Refused> {
        // The packets of a frame follow each other: a new one is of the newest frame or of none, and the others, which
        // are not in the processor's cache, need not be looked through for every viewer.
        let remembered = if newest { 1 } else { FRAMES_MAX };
        let mut frames = self.frames.iter().rev().take(remembered);
        if let Some(frame) = frames.find(|frame| frame.is_of(source)) {
            return Ok(frame.out_ticks);
        }
        if !newest {
            // A whole frame came late. It goes where it belongs, if its neighbours went out at their own time.
            return if source.ticks >= self.own_since { Ok(source.ticks) } else { Err(Refused::Late) };
        }
        let wanted = match stamp {
            Stamp::Own => source.ticks,
            Stamp::Edge(edge) => edge,
        };
        match self.newest_out {
            Some(newest) if wanted <= newest => {
                if source.reorders {
                    Err(Refused::StepsBack)
                } else {
                    Ok(newest + 1)
                }
            }
            _ => Ok(wanted),
        }
    }

    /// The packet was sent so.
    pub(crate) fn commit(&mut self, source: &Source, placement: &Placement) {
        if !placement.newest {
            return;
        }
        if placement.closes_hole {
            self.begin(source.seq);
        }
        self.expected = source.seq + 1;
        self.next_index = placement.index + 1;
        if self.frames.back().is_some_and(|frame| frame.is_of(source)) {
            return;
        }
        if placement.out_ticks != source.ticks {
            self.own_since = i64::MAX;
        } else if self.own_since == i64::MAX {
            self.own_since = source.ticks;
        }
        if self.frames.len() == FRAMES_MAX {
            self.frames.pop_front();
        }
        self.frames.push_back(Stamped {
            ticks: source.ticks,
            epoch: source.epoch,
            out_ticks: placement.out_ticks,
        });
        self.newest_out =
            Some(self.newest_out.map_or(placement.out_ticks, |old| old.max(placement.out_ticks)));
    }

    /// The packet is left out on purpose: the numbers close over it. False: it came late, its number was left
    /// free, and stays so.
    pub(crate) fn leave_out(&mut self, seq: u64) -> bool {
        if seq < self.expected {
            return false;
        }
        let Some(last) = self.pieces.back_mut() else { return false };
        let offset = last.offset - 1;
        if last.from == seq {
            last.from += 1;
            last.offset = offset;
        } else {
            last.to = seq;
            if self.pieces.len() == PIECES_MAX {
                self.pieces.pop_front();
            }
            self.pieces.push_back(Piece { from: seq + 1, to: u64::MAX, offset });
        }
        self.expected = seq + 1;
        true
    }

    /// The index of the packet that is expected next: higher than the next one where some are missing.
    pub(crate) fn expected_index(&self) -> u64 {
        let expected = self.pieces.back().map(|piece| self.expected.wrapping_add_signed(piece.offset));
        expected.unwrap_or(self.next_index)
    }

    /// Which packet of the source has an output index, if it is of a remembered stretch.
    pub(crate) fn source_of(&self, index: u64) -> Option<u64> {
        self.pieces.iter().rev().find_map(|piece| {
            let seq = index.wrapping_add_signed(piece.offset.wrapping_neg());
            ((piece.from..piece.to).contains(&seq) && seq < self.expected).then_some(seq)
        })
    }

    /// The index that a 16-bit number of a viewer's feedback means: the newest one not after the next.
    pub(crate) fn index_of(&self, number: u16) -> Option<u64> {
        let newest = self.next_index.checked_sub(1)?;
        newest.checked_sub(u64::from((newest as u16).wrapping_sub(number)))
    }

    /// The index that the next packet would have.
    pub(crate) fn next_index(&self) -> u64 {
        self.next_index
    }

    /// RTP timestamp of a moment on the Stream's clock: for sender reports.
    pub(crate) fn timestamp_at(&self, ticks: i64) -> u32 {
        (ticks as u32).wrapping_add(self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(seq: u64, ticks: i64) -> Source {
        Source { seq, ticks, epoch: 0, begins_keyframe: false, reorders: false }
    }

    fn send(rewriter: &mut Rewriter, source: Source, stamp: Stamp) -> Result<(u64, u32), Refused> {
        let placement = rewriter.place(&source, stamp)?;
        rewriter.commit(&source, &placement);
        Ok((placement.index, placement.timestamp))
    }

    #[test]
    fn numbers_continue_over_drops_and_switches() {
        let mut rewriter = Rewriter::new(100, 1000);
        rewriter.begin(7);
        assert_eq!(send(&mut rewriter, source(7, 0), Stamp::Own), Ok((100, 1000)));
        rewriter.leave_out(8);
        rewriter.leave_out(9);
        assert_eq!(send(&mut rewriter, source(10, 6000), Stamp::Own), Ok((101, 7000)));
        // A lost packet keeps its number free.
        assert_eq!(send(&mut rewriter, source(12, 9000), Stamp::Own), Ok((103, 10_000)));
        assert_eq!(send(&mut rewriter, source(11, 6000), Stamp::Own), Ok((102, 7000)));
        // What was left out has no place.
        assert_eq!(send(&mut rewriter, source(9, 3000), Stamp::Own), Err(Refused::Late));
        assert_eq!(rewriter.source_of(101), Some(10));
        assert_eq!(rewriter.source_of(104), None);
        assert_eq!(rewriter.index_of(102), Some(102));
        rewriter.begin(5000);
        assert_eq!(send(&mut rewriter, source(5000, 12_000), Stamp::Own), Ok((104, 13_000)));
        assert_eq!(rewriter.source_of(101), None, "of the old source");
    }

    #[test]
    fn time_never_steps_back() {
        let mut rewriter = Rewriter::new(1, 0);
        rewriter.begin(0);
        let mut last = None;
        for (seq, ticks, reorders, sent) in [
            (0, 9000, false, true),
            (1, 3000, true, false),
            (2, 6000, false, true),
            (3, 9001, false, true),
            (4, 12_000, false, true),
        ] {
            let result = send(&mut rewriter, Source { reorders, ..source(seq, ticks) }, Stamp::Own);
            assert_eq!(result.is_ok(), sent, "{seq}");
            if let Ok((_, timestamp)) = result {
                assert!(last.is_none_or(|last| last < timestamp), "{seq}");
                last = Some(timestamp);
            }
        }
    }

    #[test]
    fn a_catch_up_ends_before_the_next_live_frame() {
        let mut rewriter = Rewriter::new(1, 0);
        rewriter.begin(0);
        for seq in 0..10 {
            let edge = 90_000 + seq as i64 * 370;
            let (_, timestamp) =
                send(&mut rewriter, source(seq, seq as i64 * 3000), Stamp::Edge(edge)).expect("sent");
            assert_eq!(i64::from(timestamp), edge);
        }
        // Packets of one frame have one time, even when the edge moved on between them.
        let (_, first) = send(&mut rewriter, source(10, 30_000), Stamp::Edge(95_000)).expect("sent");
        let (_, second) = send(&mut rewriter, source(11, 30_000), Stamp::Own).expect("sent");
        assert_eq!(first, second);
        assert_eq!(send(&mut rewriter, source(12, 96_000), Stamp::Own).map(|(_, t)| t), Ok(96_000));
    }

    #[test]
    fn a_wide_hole_before_a_keyframe_is_closed() {
        let mut rewriter = Rewriter::new(1, 0);
        rewriter.begin(0);
        send(&mut rewriter, source(0, 0), Stamp::Own).expect("sent");
        let far = Source { begins_keyframe: true, ..source(1000, 3000) };
        assert_eq!(send(&mut rewriter, far, Stamp::Own), Ok((2, 3000)));
        assert_eq!(send(&mut rewriter, source(1001, 3000), Stamp::Own), Ok((3, 3000)));
    }

    #[test]
    fn indices_pass_the_wrap_around() {
        let mut rewriter = Rewriter::new(u16::MAX, u32::MAX);
        rewriter.begin(0);
        assert_eq!(send(&mut rewriter, source(0, 0), Stamp::Own), Ok((65_535, u32::MAX)));
        assert_eq!(send(&mut rewriter, source(1, 1), Stamp::Own), Ok((65_536, 0)));
        assert_eq!(rewriter.index_of(0), Some(65_536));
        assert_eq!(rewriter.index_of(65_535), Some(65_535));
    }
}
