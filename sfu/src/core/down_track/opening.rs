//! The first packet of an m-line: whether the viewer got it.
//!
//! A receiver asks again for what is missing between packets that it got, never for what came before the first of them: it
//! does not know that there was anything. So a lost first packet costs the whole keyframe, and so does a handshake whose last
//! flight arrives behind it. What the viewer reports of transport-wide numbers tells. To send that packet again is not enough:
//! libwebrtc has thrown away the slices that it could not place without the parameter sets before them.

use super::DownTrack;
use crate::bwe::Report;

/// Packets that arrive within this time may have overtaken each other, by a Wi-Fi or a mobile network: the first may still come.
const OVERTAKEN_MICROS: i64 = 20_000;

/// What is known of the first packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Opening {
    /// It was not sent.
    #[default]
    Unsent,
    /// It was, with that transport-wide number. `suspected`: a report of others has come that did not have it.
    Sent { number: u16, suspected: bool },
    /// The viewer has told of it, or never will.
    Settled,
}

impl Opening {
    /// A packet was sent.
    pub(super) fn sent(&mut self, number: u16) {
        if let Self::Unsent = self {
            *self = Self::Sent { number, suspected: false };
        }
    }
}

impl DownTrack {
    /// Whether [`Self::lost_beginning`] has anything to say still.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.opening, Opening::Sent { .. })
    }

    /// Whether a report says that the first packet has not arrived. True once in the life of an m-line.
    pub(crate) fn lost_beginning(&mut self, report: &Report<'_>) -> bool {
        let Opening::Sent { number: first, suspected } = self.opening else { return false };
        if report.is_before(first) {
            return false;
        }
        let (mut arrived, mut earliest, mut latest) = (false, i64::MAX, i64::MIN);
        report.walk(|number, arrival| {
            let Some(arrival) = arrival else { return };
            arrived |= number == first;
            (earliest, latest) = (earliest.min(arrival), latest.max(arrival));
        });
        // If there were reports before, one of them told of it and was lost maybe.
        let untold = report.is_behind(first) && !report.is_first() && !suspected;
        if !arrived && !untold && !suspected && latest.saturating_sub(earliest) < OVERTAKEN_MICROS {
            self.opening = Opening::Sent { number: first, suspected: true };
            return false;
        }
        self.opening = Opening::Settled;
        !arrived && !untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::down_track::tests::Bench;

    /// A report of packets from `base` on: `true` arrived, so many milliseconds after the one before.
    fn report(base: u16, number: u8, apart_ms: u8, arrived: &[bool]) -> Vec<u8> {
        let mut fci = base.to_be_bytes().to_vec();
        fci.extend_from_slice(&(arrived.len() as u16).to_be_bytes());
        fci.extend_from_slice(&[0, 0, 0, number]);
        for chunk in arrived.chunks(14) {
            let bits =
                (0..).zip(chunk).fold(0, |bits, (at, arrived)| bits | u16::from(*arrived) << (13 - at));
            fci.extend_from_slice(&(1 << 15 | bits).to_be_bytes());
        }
        fci.extend(arrived.iter().filter(|arrived| **arrived).map(|_| 4 * apart_ms));
        fci
    }

    #[test]
    fn a_first_packet_that_did_not_arrive_is_told_of_once() {
        let (here, gone) = (true, false);
        // The picture begins with the number 10.
        for (name, reports, lost) in [
            ("it arrived", vec![(10, 0, 30, vec![here, gone, here])], vec![false]),
            ("the first report begins behind it", vec![(12, 0, 30, vec![here, here])], vec![true]),
            ("far behind it", vec![(400, 0, 30, vec![here, here])], vec![true]),
            ("an earlier report was lost", vec![(12, 1, 30, vec![here, here])], vec![false]),
            (
                "sound alone was told of",
                vec![(4, 0, 30, vec![here, here]), (6, 1, 30, vec![here])],
                vec![false, false],
            ),
            (
                "sound, then not it",
                vec![(8, 0, 30, vec![here]), (9, 1, 30, vec![here, gone, here])],
                vec![false, true],
            ),
            (
                "sound, then it",
                vec![(8, 0, 30, vec![here]), (9, 1, 30, vec![here, here])],
                vec![false, false],
            ),
            ("it is told twice", vec![(12, 0, 30, vec![here, here]); 2], vec![true, false]),
            (
                "it was overtaken",
                vec![(11, 0, 2, vec![here, here]), (10, 1, 2, vec![here, here, here, here])],
                vec![false, false],
            ),
            (
                "it was not",
                vec![(11, 0, 2, vec![here, here]), (13, 1, 2, vec![here, here]), (15, 2, 2, vec![here])],
                vec![false, true, false],
            ),
        ] {
            let mut bench = Bench::new(Some(97));
            bench.transport_seq = 10;
            (0..3).for_each(|seq| bench.send(seq));
            let told: Vec<bool> = reports
                .iter()
                .map(|(base, number, apart_ms, arrived)| {
                    let fci = report(*base, *number, *apart_ms, arrived);
                    bench.down.lost_beginning(&Report::read(&fci).expect("a report"))
                })
                .collect();
            assert_eq!(told, lost, "{name}");
        }
    }
}
