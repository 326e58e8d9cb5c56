//! The first packets of an m-line: whether the viewer knows of them.
//!
//! A receiver asks again for what is missing between packets that it got, never for what came before the first of them: it
//! does not know that there was anything. So a lost first packet costs the whole keyframe, and so does a handshake whose last
//! flight arrives behind it. What the viewer reports of transport-wide numbers tells.

use std::ops::Range;

use super::DownTrack;
use crate::bwe::Report;

/// Packets that are sent again one by one, at once; who missed more gets another burst, which is paced. 38 KiB.
const AGAIN_MAX: u64 = 32;

/// What is known of the first packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Opening {
    /// None was sent.
    #[default]
    Unsent,
    /// That was the first. `missing`: a report has said that it did not arrive, and nothing of what came behind it.
    Sent { index: u64, number: u16, missing: bool },
    /// The viewer knows of it, or will be helped, or cannot be.
    Settled,
}

impl Opening {
    /// A packet was sent.
    pub(super) fn sent(&mut self, index: u64, number: u16) {
        if let Self::Unsent = self {
            *self = Self::Sent { index, number, missing: false };
        }
    }
}

/// What a viewer does not know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// These packets, by output index: what came behind them arrived.
    Few(Range<u64>),
    /// More than can be sent again one by one.
    Much,
}

impl DownTrack {
    /// Whether [`Self::unknown_beginning`] has anything to say still.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.opening, Opening::Sent { .. })
    }

    /// Looks what a report says of the first packets. Answers once in the life of an m-line.
    pub(crate) fn unknown_beginning(&mut self, report: &Report<'_>) -> Option<Unknown> {
        let Opening::Sent { index: first, number: first_number, missing } = self.opening else { return None };
        if report.is_before(first_number) {
            return None;
        }
        // An earlier report got lost maybe, which told of it.
        if report.is_behind(first_number) && !report.is_first() && !missing {
            self.opening = Opening::Settled;
            return None;
        }
        let number_of = |index: u64| match index {
            index if index == first => Some(first_number),
            index => self.sent.get(index).map(|sent| sent.transport_seq),
        };
        let (mut next, mut arrived) = (first, false);
        while next - first <= AGAIN_MAX && number_of(next).is_some_and(|number| report.is_behind(number)) {
            next += 1;
        }
        report.walk(|number, arrival| {
            if !arrived && next - first <= AGAIN_MAX && number_of(next) == Some(number) {
                arrived = arrival.is_some();
                next += u64::from(!arrived);
            }
        });
        let forgotten = next < self.rewriter.expected_index() && number_of(next).is_none();
        if !arrived && !forgotten && next - first <= AGAIN_MAX {
            // What came next is not told of yet.
            self.opening = Opening::Sent { index: first, number: first_number, missing: true };
            return None;
        }
        self.opening = Opening::Settled;
        match arrived && self.sent.is_on() {
            true => (next > first).then_some(Unknown::Few(first..next)),
            false if next > first => Some(Unknown::Much),
            false => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::down_track::tests::Bench;

    /// A report of packets from `base` on: `true` arrived.
    fn report(base: u16, number: u8, arrived: &[bool]) -> Vec<u8> {
        let mut fci = base.to_be_bytes().to_vec();
        fci.extend_from_slice(&(arrived.len() as u16).to_be_bytes());
        fci.extend_from_slice(&[0, 0, 0, number]);
        for chunk in arrived.chunks(14) {
            let bits = chunk
                .iter()
                .enumerate()
                .fold(0, |bits, (at, arrived)| bits | u16::from(*arrived) << (13 - at));
            fci.extend_from_slice(&(1 << 15 | bits).to_be_bytes());
        }
        fci.extend(arrived.iter().filter(|arrived| **arrived).map(|_| 1));
        fci
    }

    #[test]
    fn what_came_before_the_first_packet_that_arrived_is_found_once() {
        let few = |range: Range<u64>| Some(Unknown::Few(range));
        let mut late = vec![false; 40];
        late.extend([true, true]);
        // Sixty packets were sent, with the numbers 10 to 69 and the indices 100 to 159.
        for (name, reports, expected) in [
            ("the first arrived", vec![(10, 0, vec![true, false, true])], None),
            ("two are missing before the first report", vec![(12, 0, vec![true])], few(100..102)),
            ("sound arrived, and no picture yet", vec![(4, 0, vec![true, true])], None),
            (
                "sound before two that are missing",
                vec![(8, 0, vec![true, true]), (10, 1, vec![false, false, true])],
                few(100..102),
            ),
            (
                "the picture comes only in the next report",
                vec![(8, 0, vec![true, true, false]), (11, 1, vec![false, true])],
                few(100..102),
            ),
            ("an earlier report was lost", vec![(12, 1, vec![true])], None),
            ("forty are missing", vec![(10, 0, late)], Some(Unknown::Much)),
            ("all are behind", vec![(60, 0, vec![true])], Some(Unknown::Much)),
            ("it is told twice", vec![(12, 0, vec![true]), (12, 0, vec![true])], few(100..102)),
        ] {
            let mut bench = Bench::new(Some(97));
            bench.transport_seq = 10;
            (0..60).for_each(|seq| bench.send(seq));
            let mut found = Vec::new();
            for (base, number, arrived) in &reports {
                let fci = report(*base, *number, arrived);
                found.extend(bench.down.unknown_beginning(&Report::read(&fci).expect("a report")));
            }
            assert_eq!(found, Vec::from_iter(expected), "{name}");
        }
    }
}
