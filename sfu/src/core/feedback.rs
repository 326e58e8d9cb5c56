//! What viewers report, and what comes of it.

use std::time::Instant;

use media::Kind;

use super::Core;
use super::down_track::{Flow, Missed};
use super::rtcp::{Feedback, Lost};
use super::slice::{RESENDS_MAX, Resend};
use super::viewer::Viewer;
use crate::bwe::{Congestion, Report};

/// What a retransmission is taken to cost before it is looked up: a full packet.
const RESEND_BYTES: u64 = 1250;

impl Core {
    pub(super) fn handle_feedback(&mut self, now: Instant, slot: u32, said: Feedback<'_>) {
        match said {
            Feedback::Nack { ssrc, lost } => self.handle_nack(now, slot, ssrc, lost),
            Feedback::Keyframe { ssrc } => {
                let video = self.viewers.get(slot).and_then(|viewer| viewer.video.as_ref());
                if video.is_some_and(|down| down.line.ssrc == ssrc) {
                    self.keyframe_asked(now, slot);
                }
            }
            Feedback::Report { ssrc, reception, last_sr, delay } => {
                let Some(viewer) = self.viewers.get_mut(slot) else { return };
                if let Some(down) = viewer.down_by_ssrc(ssrc) {
                    // RFC 3550 section 6.4.1: the low half is the sequence number.
                    down.received(reception.highest as u16);
                    down.tally.reception = Some(reception);
                }
                if viewer.video.as_ref().is_some_and(|down| down.line.ssrc == ssrc) {
                    viewer.picture.allocator.note_loss(now, reception.fraction_lost);
                }
                let clock = viewer.stream.clock();
                let wall = clock.ntp(clock.media_time(now, media::Timescale::MICROS));
                let round_trip = viewer.note_report(wall, last_sr, delay);
                self.feed_estimate(slot, |congestion| {
                    congestion.handle_report(now, reception.fraction_lost, round_trip)
                });
            }
            Feedback::TransportCc { fci } => {
                self.feed_estimate(slot, |congestion| congestion.handle_transport_cc(now, fci));
                self.mend_beginning(now, slot, fci);
            }
            Feedback::Remb { bits_per_second } => {
                self.feed_estimate(slot, |congestion| congestion.handle_remb(now, bits_per_second));
            }
            Feedback::Goodbye => {}
        }
    }

    /// A line that takes less than was thought is looked after at the next tick.
    fn feed_estimate(&mut self, slot: u32, feed: impl FnOnce(&mut Congestion)) {
        let Some(congestion) = self.viewers.get_mut(slot).and_then(Viewer::congestion) else { return };
        let before = congestion.estimate_bps();
        feed(congestion);
        if congestion.estimate_bps() < before {
            self.calm.disturb(slot);
        }
    }

    fn handle_nack(&mut self, now: Instant, slot: u32, ssrc: u32, lost: Lost<'_>) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let kind = match (&viewer.audio, &viewer.video) {
            (Some(audio), _) if audio.line.ssrc == ssrc => Kind::Audio,
            (_, Some(video)) if video.line.ssrc == ssrc => Kind::Video,
            _ => return,
        };
        let asked = lost.count();
        if !viewer.may_ask(now, asked) {
            self.counters.nacked += asked;
            self.counters.nack_throttled += asked;
            return;
        }
        let id = viewer.id;
        let (now_ms, interval_ms) = viewer.resend_clock(now);
        for number in lost.numbers() {
            self.counters.nacked += 1;
            let Some(down) = viewer.down(kind) else { return };
            down.tally.nacked += 1;
            match down.missed(number, now_ms, interval_ms) {
                Ok(index) if viewer.feed_of(kind, index).is_none() => self.counters.nack_superseded += 1,
                Ok(_) if self.resends.len() >= RESENDS_MAX => self.counters.nack_throttled += 1,
                Ok(index) if viewer.may_resend(now, RESEND_BYTES) => {
                    viewer.down(kind).into_iter().for_each(|down| down.will_resend(index, now_ms));
                    self.resends.push_back(Resend { slot, id, kind, index });
                }
                Ok(_) | Err(Missed::TooSoon) => self.counters.nack_throttled += 1,
                Err(Missed::Unknown) => {
                    self.counters.nack_unknown += 1;
                    viewer.down(kind).into_iter().for_each(|down| down.tally.nack_unknown += 1);
                }
            }
        }
        if let Some(down) = viewer.down(kind)
            && let Flow::CatchUp(catch_up) = &mut down.flow
        {
            catch_up.slow_down(now);
        }
    }

    /// A viewer does not ask for what it lost before the first packet that it got: its burst begins again.
    fn mend_beginning(&mut self, now: Instant, slot: u32, fci: &[u8]) {
        let video = self.viewers.get_mut(slot).and_then(|viewer| viewer.video.as_mut());
        let Some(down) = video.filter(|down| down.is_opening()) else { return };
        let lost = Report::read(fci).is_some_and(|report| down.lost_beginning(&report));
        if lost && down.is_showing() {
            self.counters.beginnings_repeated += 1;
            self.start(now, slot);
        }
    }
}
