//! How much a viewer's line takes, from what the viewer tells about the packets that it got.
//!
//! ```text
//!   sent(number, bytes) ──► sent ──┐
//!   transport-cc report ───────────┴─► acked_rate, bottleneck ─────────┐
//!                              ├─────► arrival_group ─► trendline ─► rate_control ─► least ─► estimate
//!                              ├─────► loss ───────────────────────────────────────────┘
//!                              └─────► probe ("the line takes that much") ─► rate_control
//! ```
//! Sans-I/O: `now` comes in, an estimate and probe packets to be sent go out. Nothing is allocated per packet;
//! a viewer's share is 16 KiB for [`SENT_MAX`] packets and less than 4 KiB of the rest.
//! docs/congestion.md tells why the constants are what they are.

mod acked_rate;
mod arrival_group;
mod bottleneck;
mod loss;
mod probe;
mod rate_control;
mod remb;
mod sent;
#[cfg(test)]
mod tests;
mod transport_cc;
mod trendline;

use std::time::{Duration, Instant};

use crate::allowance::Allowance;
use crate::prefetch::prefetch;
use acked_rate::AckedRate;
use arrival_group::ArrivalGroups;
use bottleneck::Bottleneck;
use loss::LossControl;
use probe::{Probing, Verdict};
use rate_control::RateControl;
use remb::Remb;
use sent::Sent;
use trendline::{Trendline, Usage};

pub use sent::SENT_MAX;
pub(crate) use transport_cc::Report;

/// Nobody is judged to take less than this: an audio packet and its headers every 20 ms.
pub const ESTIMATE_MIN_BPS: u64 = 50_000;
/// Nor more: beyond it nothing is measured that anybody could use.
pub const ESTIMATE_MAX_BPS: u64 = 100_000_000;

/// Packets that reports may be about per second, and half as many at once: several times what a viewer is sent, each of
/// which is reported once. A report of a thousand that did not come has 20 bytes, so that who floods must not make us
/// walk through them (`feedback_refused`).
const STATUSES_PER_SECOND: u64 = 32 * 1024;
/// Packets of a report that are put in the order of their arrival together; a longer report is taken in parts.
const SORTED: usize = 64;
/// Sent for so long without any report, where there were some: the line carries nothing, or only one way. The
/// estimate is halved, and again each time that this has passed.
const UNHEARD_MICROS: i64 = 1_500_000;
/// After so long nothing is known any more.
const FORGOTTEN_MICROS: i64 = 10_000_000;
/// How long a sign of congestion counts: after it bursts are free again.
const CONGESTED_MICROS: i64 = 30_000_000;
/// No probe on top of a queue that has just been there.
const CALM_MICROS: i64 = 500_000;
/// Nor where more than this is lost: it would tell nothing.
const PROBE_LOSS_MAX: f64 = 0.2;
/// How much faster a catch-up burst goes on when the line took what was sent of it.
const BURST_GROWTH: f64 = 1.5;
/// A line that takes so much more than was thought is another one than that whose losses are remembered. What differs by
/// less is the same line measured again, and it is its calm seconds that tell a loss of its own from a queue.
const NEWS: f64 = 1.05;
/// A drop below this much of the estimate may have been a passing thing: probed soon.
const DEEP_DROP: f64 = 0.66;

/// What happened since it was last asked for: plain sums for the counters of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Reports that were broken or claimed too much.
    pub feedback_refused: u64,
    /// Decreases because the line's queue grew.
    pub overuses: u64,
    /// Probe clusters begun.
    pub probes: u64,
    /// Of them: the line took what was tried.
    pub probes_succeeded: u64,
    /// Of them: it did not, or too little was heard of it.
    pub probes_failed: u64,
}

/// The congestion control of one viewer's line.
#[derive(Debug)]
pub struct Congestion {
    began: Instant,
    sent: Sent,
    acked: AckedRate,
    bottleneck: Bottleneck,
    groups: ArrivalGroups,
    trend: Trendline,
    rate: RateControl,
    loss: LossControl,
    loss_bps: Option<f64>,
    probing: Probing,
    burst: Burst,
    remb: Remb,
    wanted_bps: u64,
    /// Of the newest report, on the receiver's clock.
    reference: i64,
    /// When the newest report came.
    heard: Option<i64>,
    /// When the first packet since it was sent, or the last halving was done.
    unheard_since: Option<i64>,
    /// What was measured is enough for an estimate.
    known: bool,
    /// The estimate is a measurement, not where the search began.
    proven: bool,
    /// When a queue, a probe or silence showed last that the line is full.
    full: Option<i64>,
    /// When losses alone spoke last for sending less.
    lossy: Option<i64>,
    /// What may still be claimed of packets.
    statuses: Allowance,
    happened: Happened,
}

/// What a catch-up burst has shown of the line, in bits per second.
#[derive(Clone, Copy, Debug)]
enum Burst {
    Unknown,
    /// It took more, each time that it was tried.
    Grows(f64),
    /// It took this.
    Limited(f64),
}

impl Burst {
    fn after(self, verdict: Verdict) -> Self {
        match (self, verdict) {
            (Self::Unknown, Verdict::Takes(bps)) => Self::Grows(bps * BURST_GROWTH),
            (Self::Grows(old), Verdict::Takes(bps)) => Self::Grows(old.max(bps * BURST_GROWTH)),
            (_, Verdict::Limit(bps)) => Self::Limited(bps),
            (same, _) => same,
        }
    }
}

/// A packet that arrived: its times on both clocks, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Arrived {
    sent: i64,
    arrived: i64,
    bytes: u64,
}

impl Congestion {
    /// One that knows nothing yet. `start_bps`: where the search begins.
    pub fn new(now: Instant, start_bps: u64) -> Self {
        Self {
            began: now,
            statuses: Allowance::new(now),
            sent: Sent::default(),
            acked: AckedRate::default(),
            bottleneck: Bottleneck::default(),
            groups: ArrivalGroups::default(),
            trend: Trendline::new(),
            rate: RateControl::new(start_bps as f64),
            loss: LossControl::default(),
            loss_bps: None,
            probing: Probing::new(),
            burst: Burst::Unknown,
            remb: Remb::default(),
            wanted_bps: 0,
            reference: 0,
            heard: None,
            unheard_since: None,
            known: false,
            proven: false,
            full: None,
            lossy: None,
            happened: Happened::default(),
        }
    }

    /// A packet with that transport-wide number was sent; numbers are consecutive. `bytes`: of the datagram.
    pub fn sent(&mut self, now: Instant, transport_seq: u16, bytes: usize) {
        let at = self.micros(now);
        let cluster = self.probing.sent(at, bytes as u64);
        self.sent.push(at, transport_seq, bytes, cluster);
        self.unheard_since.get_or_insert(at);
    }

    /// Brings nearer what sending a packet needs.
    pub(crate) fn prefetch(&self) {
        prefetch(&self.began);
        prefetch(&self.sent);
        prefetch(&self.unheard_since);
        self.probing.prefetch();
    }

    /// Brings nearer where the packet of that number will be remembered.
    pub(crate) fn prefetch_place(&self, transport_seq: u16) {
        self.sent.prefetch(transport_seq);
    }

    /// What is sent now is part of a catch-up burst: faster than the picture on purpose, so it is a probe.
    pub fn burst(&mut self, now: Instant) {
        let at = self.micros(now);
        self.probing.burst(at);
    }

    /// A catch-up burst begins, at that rate. It grows faster if the line takes it, unless that has shown a limit lately.
    pub fn begin_burst(&mut self, now: Instant, bits_per_second: u64) {
        self.burst =
            if self.is_congested(now) { Burst::Limited(bits_per_second as f64) } else { Burst::Unknown };
    }

    /// Bits per second at which the burst should go on. `None`: nothing has been heard of it yet.
    pub fn burst_bps(&self) -> Option<u64> {
        match self.burst {
            Burst::Unknown => None,
            Burst::Grows(bps) | Burst::Limited(bps) => Some(bps as u64),
        }
    }

    /// Whether the line has shown that it takes no more than that.
    pub fn burst_is_limited(&self) -> bool {
        matches!(self.burst, Burst::Limited(_))
    }

    /// Transport-wide feedback came: `fci` is what follows the two SSRCs. Whatever it holds does no harm.
    pub fn handle_transport_cc(&mut self, now: Instant, fci: &[u8]) {
        let report = Report::read(fci).filter(|it| self.statuses.take(now, it.count(), STATUSES_PER_SECOND));
        let Some(report) = report else {
            self.happened.feedback_refused += 1;
            return;
        };
        let now = self.micros(now);
        self.reference = report.reference_micros(self.reference);
        let mut last_sent = None;
        let mut usage = Usage::Normal;
        // On the stack: sorting must neither allocate nor be kept for each viewer.
        let (mut sorted, mut filled) = ([Arrived::default(); SORTED], 0);
        report.walk(|number, arrival| {
            let told = match arrival {
                Some(_) => self.sent.arrived(now, number),
                None => self.sent.missing(now, number),
            };
            let Some(told) = told else { return };
            last_sent = last_sent.max(Some(told.sent));
            let Some(arrival) = arrival else {
                self.loss.add(told.sent, told.bytes, true);
                self.probing.missing(told.cluster);
                return;
            };
            if told.was_missing {
                self.loss.take_back();
            } else {
                self.loss.add(told.sent, told.bytes, false);
            }
            let arrived = self.reference + arrival;
            self.probing.arrived(told.cluster, arrived, told.bytes, told.was_missing);
            if filled == SORTED {
                usage = usage.worse(self.take_arrivals(&mut sorted));
                filled = 0;
            }
            sorted[filled] = Arrived { sent: told.sent, arrived, bytes: told.bytes };
            filled += 1;
        });
        usage = usage.worse(self.take_arrivals(&mut sorted[..filled]));
        let Some(last_sent) = last_sent else { return };
        self.heard = Some(now);
        self.unheard_since = None;
        self.judge(now, usage, last_sent);
    }

    /// Packets in the order of their arrival: what their delays say.
    fn take_arrivals(&mut self, arrivals: &mut [Arrived]) -> Usage {
        arrivals.sort_unstable_by_key(|packet| (packet.arrived, packet.sent));
        let mut usage = if arrivals.is_empty() { Usage::Normal } else { self.trend.usage() };
        for packet in arrivals {
            self.acked.add(packet.arrived, packet.bytes);
            self.bottleneck.add(packet.sent, packet.arrived, packet.bytes);
            if let Some(deltas) = self.groups.add(packet.sent, packet.arrived) {
                self.trend.add(deltas);
                usage = self.trend.usage();
            }
        }
        usage
    }

    /// A report was read.
    fn judge(&mut self, now: i64, usage: Usage, last_sent: i64) {
        let acked = self.acked.bps();
        let before = self.rate.bps();
        if self.rate.update(now, usage, acked, self.bottleneck.bps()) {
            self.happened.overuses += 1;
            self.proven = true;
            self.full = Some(now);
            self.probing.decreased(now, self.rate.bps() < before * DEEP_DROP);
        }
        self.loss_bps = self.loss.update(last_sent, self.rate.bps(), acked);
        if let Some(bps) = self.loss_bps {
            // Once the losses are forgotten, the search goes on from there.
            self.rate.set(now, bps);
            self.lossy = Some(now);
        }
        self.known |= acked.is_some();
        self.conclude(now);
    }

    fn conclude(&mut self, now: i64) {
        while let Some(conclusion) = self.probing.conclude(now) {
            let before = self.rate.bps();
            let (shown, takes) = match conclusion.verdict {
                Verdict::Takes(bps) => (Some(bps), true),
                Verdict::Limit(bps) => (Some(bps), false),
                Verdict::Unknown => (None, false),
            };
            if let Some(bps) = shown {
                self.learn(now, bps, takes);
            }
            if !conclusion.probe {
                self.burst = self.burst.after(conclusion.verdict);
            } else if takes && self.rate.bps() > before {
                self.happened.probes_succeeded += 1;
                self.probing.succeeded(now);
            } else {
                self.happened.probes_failed += 1;
                self.probing.failed(now, shown.is_some());
            }
        }
    }

    /// A cluster has shown what the line takes, or at least.
    fn learn(&mut self, now: i64, bps: f64, takes: bool) {
        let proven = std::mem::replace(&mut self.proven, true);
        self.known = true;
        if !takes {
            self.full = Some(now);
        }
        // Once something has been measured only an overuse lowers the estimate: a cluster is short.
        let bps = if proven { bps } else { bps.max(self.acked.bps().unwrap_or(0.0)) };
        let before = self.rate.bps();
        if !proven || (bps > before && (takes || self.is_calm(now))) {
            self.rate.set(now, bps);
            if !proven || bps > before * NEWS {
                self.loss.forget();
                self.loss_bps = None;
            }
        }
    }

    /// The receiver's own estimate came (draft-alvestrand-rmcat-remb): for peers without transport-wide feedback.
    pub fn handle_remb(&mut self, now: Instant, bits_per_second: u64) {
        let at = self.micros(now);
        self.remb.handle_estimate(at, bits_per_second as f64);
    }

    /// A reception report came: the share that was lost since the last one, of 256, and the round trip if known.
    pub fn handle_report(&mut self, now: Instant, fraction_lost: u8, round_trip: Option<Duration>) {
        if let Some(round_trip) = round_trip {
            self.rate.set_round_trip(round_trip.as_micros() as i64);
        }
        let at = self.micros(now);
        self.remb.handle_loss(at, f64::from(fraction_lost) / 256.0);
    }

    /// Time has passed; to be called some times per second. `may_probe`: nothing else is waiting for the line.
    pub fn handle_timeout(&mut self, now: Instant, may_probe: bool) {
        let now = self.micros(now);
        if self.known && self.unheard_since.is_some_and(|since| now - since > UNHEARD_MICROS) {
            self.rate.set(now, self.rate.bps() / 2.0);
            self.unheard_since = Some(now);
            self.full = Some(now);
        }
        if self.heard.is_some_and(|heard| now - heard > FORGOTTEN_MICROS) && self.unheard_since.is_some() {
            self.known = false;
        }
        self.remb.handle_timeout(now);
        self.conclude(now);
        if may_probe {
            self.start_probe(now);
        }
    }

    /// No queue has just been there.
    fn is_calm(&self, now: i64) -> bool {
        self.rate.decreased().is_none_or(|at| now - at > CALM_MICROS)
    }

    fn start_probe(&mut self, now: i64) {
        let calm = self.is_calm(now)
            && self.trend.usage() != Usage::Over
            && self.unheard_since.is_none_or(|since| now - since < CALM_MICROS)
            && self.loss.average() < PROBE_LOSS_MAX;
        if self.known && calm && self.probing.start(now, self.line_bps(), self.wanted_bps as f64) {
            self.happened.probes += 1;
        }
    }

    /// What the line is thought to take, in bits per second of datagrams without IP and UDP headers. `None`: the
    /// viewer gives nothing to judge by, or has not yet.
    pub fn estimate_bps(&self) -> Option<u64> {
        if self.known { Some(self.line_bps() as u64) } else { self.remb.bps().map(|bps| bps as u64) }
    }

    /// What the viewer has said to have got lately, in the same unit.
    pub fn arriving_bps(&self) -> Option<u64> {
        self.acked.bps().map(|bps| bps as u64)
    }

    fn line_bps(&self) -> f64 {
        self.loss_bps.map_or(self.rate.bps(), |loss| loss.min(self.rate.bps()))
    }

    /// What would be sent if the line took it: while the estimate is below that, it is probed.
    pub fn set_wanted_bps(&mut self, bits_per_second: u64) {
        self.wanted_bps = bits_per_second;
    }

    /// Bytes of a probe packet to be sent now, if one is due. To be asked again until there is none.
    pub fn poll_probe(&mut self, now: Instant) -> Option<usize> {
        let at = self.micros(now);
        self.probing.poll(at)
    }

    /// When the next probe packet is due, if a probe is under way.
    pub fn probe_due(&self) -> Option<Instant> {
        Some(self.began + Duration::from_micros(self.probing.due()?.max(0) as u64))
    }

    /// Whether a queue or losses have shown in the last half minute that the line can be full.
    pub fn is_congested(&self, now: Instant) -> bool {
        let now = self.micros(now);
        [self.full, self.lossy].into_iter().flatten().any(|at| now - at < CONGESTED_MICROS)
    }

    /// Whether the line is full of what is sent: a queue, a probe or silence has shown it in the last half minute, or more
    /// is lost than lines lose by themselves. Less loss than that does not show it: it is there at any rate, and a
    /// picture that is held back for it comes too late for nothing.
    pub fn is_full(&self, now: Instant) -> bool {
        let now = self.micros(now);
        self.full.is_some_and(|at| now - at < CONGESTED_MICROS) || self.loss.is_overload()
    }

    /// The estimate, if the line has shown in the last half minute that it takes no more than that. Losses alone do
    /// not show it: a viewer that lost its picture to them would wait for the next keyframe for nothing.
    pub fn limit_bps(&self, now: Instant) -> Option<u64> {
        let now = self.micros(now);
        let full = self.full.is_some_and(|at| now - at < CONGESTED_MICROS);
        self.estimate_bps().filter(|_| full)
    }

    /// How long the newest packet that was reported had to wait on the line.
    pub fn queue(&self) -> Duration {
        Duration::from_micros(self.bottleneck.waited().max(0) as u64)
    }

    /// The share of packets lost in the last seconds.
    pub fn loss(&self) -> f64 {
        self.loss.average()
    }

    /// What happened since the last call.
    pub fn take_happened(&mut self) -> Happened {
        std::mem::take(&mut self.happened)
    }

    fn micros(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.began).as_micros() as i64
    }
}
