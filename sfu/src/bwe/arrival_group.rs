//! Groups of packets that were sent together: how much later, or sooner, a group arrives than the one before.
//!
//! draft-ietf-rmcat-gcc-02 section 5.2 (pre-filtering and arrival-time model). A video frame leaves in one burst,
//! so it is a group by itself.

/// Packets sent within this are one group. The draft's number.
const GROUP_MICROS: i64 = 5_000;
/// What arrives within this after the packet before, and nearer to it than it was sent, came out of a queue
/// that emptied at once (a radio's time slice): it says nothing about the bottleneck and joins the group.
const BURST_MICROS: i64 = 5_000;
/// Longest such burst.
const BURST_MAX_MICROS: i64 = 100_000;
/// Groups that arrive before their predecessors, one after the other, until the receiver's clock is thought to
/// have stepped back.
const REORDERED_MAX: u8 = 3;
/// A larger difference is no delay but a clock that stepped.
const DIFFERENCE_MAX_MICROS: i64 = 3_000_000;

/// From one group to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deltas {
    /// Between the last packets sent of both, in microseconds.
    pub(super) sent: i64,
    /// Between the last packets arrived of both.
    pub(super) arrived: i64,
    /// When the later group was complete, on the receiver's clock.
    pub(super) at: i64,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrived: i64,
    last_arrived: i64,
}

/// The group under way and the one before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ArrivalGroups {
    current: Option<Group>,
    previous: Option<Group>,
    reordered: u8,
}

impl ArrivalGroups {
    /// A packet arrived. `Some`: it begins a new group, so the last one is complete and so is the one before.
    /// Both times in microseconds, each on its own clock.
    pub(super) fn add(&mut self, sent: i64, arrived: i64) -> Option<Deltas> {
        let Some(current) = &mut self.current else {
            self.current = Some(Group::new(sent, arrived));
            return None;
        };
        if sent < current.first_sent {
            // Of an older group: it was overtaken.
            return None;
        }
        if !current.ends_before(sent, arrived) {
            current.last_sent = current.last_sent.max(sent);
            current.last_arrived = current.last_arrived.max(arrived);
            return None;
        }
        let complete = *current;
        let previous = self.previous;
        *current = Group::new(sent, arrived);
        self.previous = Some(complete);
        let previous = previous?;
        let deltas = Deltas {
            sent: complete.last_sent - previous.last_sent,
            arrived: complete.last_arrived - previous.last_arrived,
            at: complete.last_arrived,
        };
        if (deltas.arrived - deltas.sent).abs() > DIFFERENCE_MAX_MICROS {
            *self = Self::default();
            return None;
        }
        if deltas.arrived < 0 {
            self.reordered += 1;
            if self.reordered >= REORDERED_MAX {
                *self = Self::default();
            }
            return None;
        }
        self.reordered = 0;
        Some(deltas)
    }
}

impl Group {
    fn new(sent: i64, arrived: i64) -> Self {
        Self { first_sent: sent, last_sent: sent, first_arrived: arrived, last_arrived: arrived }
    }

    fn ends_before(&self, sent: i64, arrived: i64) -> bool {
        let (later, sent_later) = (arrived - self.last_arrived, sent - self.last_sent);
        let burst = sent_later == 0
            || (later < sent_later
                && (0..=BURST_MICROS).contains(&later)
                && arrived - self.first_arrived < BURST_MAX_MICROS);
        !burst && sent - self.first_sent > GROUP_MICROS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends and arrivals in milliseconds; sums of what came out: groups, sent, arrived.
    fn groups(packets: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let mut groups = ArrivalGroups::default();
        let deltas = packets.iter().filter_map(|(sent, arrived)| groups.add(sent * 1000, arrived * 1000));
        deltas.map(|deltas| (deltas.sent / 1000, deltas.arrived / 1000)).collect()
    }

    #[test]
    fn frames_are_groups() {
        // Frames of two packets every 33 ms; the third takes 7 ms longer.
        let frames = [(0, 50), (0, 51), (33, 83), (33, 84), (66, 116), (66, 124), (99, 149)];
        assert_eq!(groups(&frames), [(33, 33), (33, 40)]);
    }

    #[test]
    fn what_a_radio_delivers_at_once_is_one_group() {
        // Held back until 120, then all at once: no sign of a growing queue.
        let held = [(0, 50), (20, 120), (40, 121), (60, 122), (80, 130), (100, 150)];
        assert_eq!(groups(&held), [(60, 72), (20, 8)]);
    }

    #[test]
    fn the_overtaken_and_clocks_that_step_are_left_out() {
        let overtaken = [(0, 50), (33, 83), (20, 84), (66, 116), (99, 149)];
        assert_eq!(groups(&overtaken), [(33, 33), (33, 33)]);
        let stepped =
            [(0, 50), (33, 83), (66, 9_000_000), (99, 9_000_033), (132, 9_000_066), (165, 9_000_099)];
        assert_eq!(groups(&stepped), [(33, 33)]);
        let back =
            [(0, 9000), (33, 9033), (66, 100), (99, 133), (132, 166), (165, 199), (198, 232), (231, 265)];
        assert_eq!(groups(&back).last(), Some(&(33, 33)));
    }
}
