//! A viewer's sender reports (RFC 3550 section 6.4.1): how its sound and its picture belong together.

use std::time::{Duration, Instant};

use media::{Kind, Timescale};

use super::{Viewer, rtcp};
use crate::core::down_track::{DownTrack, Flow};

/// From one report to the next; browsers send one per second for video.
const INTERVAL: Duration = Duration::from_millis(1500);
/// Until a browser knows how sound and picture belong together it needs two reports of each, and it looks once
/// per second. So the first goes with the first packet and these follow sooner: RFC 3550 section 6.2 lets the
/// interval be short, and the first report early, where the bandwidth allows.
const EARLY: u8 = 6;
const EARLY_INTERVAL: Duration = Duration::from_millis(500);

/// When the next reports are due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    next: Instant,
    early_left: u8,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, early_left: EARLY }
    }

    /// Reports were made. `stagger`: viewers that came together do not report together.
    fn go_on(&mut self, now: Instant, stagger: Duration) {
        let early = self.early_left > 0;
        self.early_left = self.early_left.saturating_sub(1);
        self.next = now + if early { EARLY_INTERVAL } else { INTERVAL + stagger };
    }
}

impl Viewer {
    /// Sender reports are due.
    pub(crate) fn must_report(&self, now: Instant) -> bool {
        let mut flowing = [&self.audio, &self.video].into_iter().flatten().filter(|down| flows(down));
        self.is_connected() && flowing.any(|down| !down.reported || now >= self.schedule.next)
    }

    /// Writes the sender reports, sealed, into `compound`, which is empty. False: there is nothing to report.
    pub(crate) fn report(&mut self, now: Instant, compound: &mut Vec<u8>) -> bool {
        self.schedule.go_on(now, Duration::from_millis(self.id.0.wrapping_mul(37) % 500));
        let clock = self.stream.clock();
        for down in [&mut self.audio, &mut self.video].into_iter().flatten().filter(|down| flows(down)) {
            let scale = match down.line.kind {
                Kind::Audio => Timescale::OPUS,
                Kind::Video => Timescale::VIDEO,
            };
            let at = clock.media_time(now, scale);
            let report = rtcp::SenderReport {
                ssrc: down.line.ssrc,
                ntp: clock.ntp(at).to_bits(),
                timestamp: down.timestamp_at(at),
                packets: down.packets,
                octets: down.octets,
            };
            rtcp::write_sender_report(&report, &self.cname, compound);
            down.reported = true;
        }
        self.secure.seal_rtcp(compound)
    }
}

/// Whether there is something to report. In a burst too: its frames are stamped with the live edge, which is where
/// live frames will be.
fn flows(down: &DownTrack) -> bool {
    down.packets > 0 && !matches!(down.flow, Flow::Stopped)
}
