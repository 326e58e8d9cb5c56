//! What the losses say: whether the line loses packets by itself, or because more is sent than it takes.
//!
//! A radio that loses 5 % loses them at any rate, and sending less helps nobody; a full queue loses the more the
//! more is sent. So a line is thought of as two numbers, a loss of its own and a rate: of what is sent above the
//! rate, all is lost. Of some candidates the pair is taken that best explains the last seconds (maximum
//! likelihood; the idea of libwebrtc's second loss-based estimator, and why the 2 % and 10 % of
//! draft-ietf-rmcat-gcc-02 section 6 are not used: at 10 % of random loss they go down without end).

/// Observations remembered, 5 s, and the shortest time and the fewest packets that make one.
const OBSERVATIONS: usize = 20;
const OBSERVATION_MICROS: i64 = 250_000;
const OBSERVATION_PACKETS: u32 = 8;
/// Weight of an observation against the next newer one.
const AGING: f64 = 0.9;
/// Below that nothing is inferred: the line takes what is sent (section 6 of the draft has the same number).
const LOSS_MIN: f64 = 0.02;
/// What a line may lose by itself: so much, and so many bits per second lost. A faster line that loses 20 % is
/// overloaded, and a slow one is given the benefit of the doubt; beyond the maximum a picture is no use anyway.
const OWN_LOSS_BASE: f64 = 0.05;
const OWN_LOSS_BPS: f64 = 200_000.0;
const OWN_LOSS_MAX: f64 = 0.2;
/// How many observations it takes to say that a line is overloaded by its losses alone, 2 s: on a line that loses 10 % in
/// rows of four, one observation in twenty has twice as much.
const OVERLOAD_OBSERVATIONS: usize = 8;
const OWN_LOSS_MIN: f64 = 0.001;
/// Losses in rows of ten are the longest that are told from an outage.
const CORRELATION_MAX: f64 = 0.9;
/// Steps towards the best own loss of a candidate, and how far each goes.
const NEWTON_STEPS: usize = 3;
const NEWTON_STEP: f64 = 0.75;
/// Of two explanations that are as good, the one with the higher rate: weight of its logarithm per packet.
const PREFERENCE: f64 = 0.005;
/// Candidates besides what arrives and what the delays allow: the present one times these.
const FACTORS: [f64; 4] = [1.05, 1.0, 0.95, 0.85];

#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    packets: u32,
    lost: u32,
    /// Losses that followed an arrival: how many rows there were.
    rows: u32,
    /// Bits per second sent.
    rate: f64,
}

/// The model and what it stands on.
#[derive(Clone, Debug, Default)]
pub(super) struct LossControl {
    observations: [Observation; OBSERVATIONS],
    filled: usize,
    /// Where the next one goes.
    at: usize,
    packets: u32,
    lost: u32,
    rows: u32,
    in_row: bool,
    bytes: u64,
    since: Option<i64>,
    own_loss: f64,
    bps: Option<f64>,
}

impl LossControl {
    /// A report says of a packet whether it arrived.
    pub(super) fn add(&mut self, sent: i64, bytes: u64, lost: bool) {
        self.since.get_or_insert(sent);
        self.packets += 1;
        self.lost += u32::from(lost);
        self.rows += u32::from(lost && !self.in_row);
        self.in_row = lost;
        self.bytes += bytes;
    }

    /// A packet that was said to be lost came late.
    pub(super) fn take_back(&mut self) {
        self.lost = self.lost.saturating_sub(1);
    }

    /// A report was read; its last packet was sent then. What the line takes by its losses, if they say anything.
    ///
    /// `delay_bps`: what the delays allow; `acked`: what arrives.
    pub(super) fn update(&mut self, last_sent: i64, delay_bps: f64, acked: Option<f64>) -> Option<f64> {
        let took = last_sent - self.since?;
        if took < OBSERVATION_MICROS || self.packets < OBSERVATION_PACKETS {
            return self.bps;
        }
        let rate = self.bytes as f64 * 8e6 / took as f64;
        self.observations[self.at] =
            Observation { packets: self.packets, lost: self.lost, rows: self.rows, rate };
        self.at = (self.at + 1) % OBSERVATIONS;
        self.filled = (self.filled + 1).min(OBSERVATIONS);
        (self.packets, self.lost, self.rows, self.bytes, self.since) = (0, 0, 0, 0, None);
        self.infer(delay_bps, acked);
        self.bps
    }

    fn infer(&mut self, delay_bps: f64, acked: Option<f64>) {
        if self.average() < LOSS_MIN {
            self.bps = None;
            return;
        }
        let present = self.bps.unwrap_or(delay_bps);
        let factors = FACTORS.into_iter().map(|factor| factor * present);
        let independent = self.independent();
        let mut best: Option<(f64, f64, f64)> = None;
        for bps in factors.chain(acked).chain([delay_bps]) {
            // What arrives is carried, whatever is lost beside it.
            let bps = bps.max(acked.unwrap_or(0.0)).min(delay_bps);
            let own_loss = self.best_own_loss(bps);
            let merit = self.merit(bps, own_loss, independent);
            if best.is_none_or(|best| merit > best.0) {
                best = Some((merit, bps, own_loss));
            }
        }
        let Some((_, bps, own_loss)) = best else { return };
        self.own_loss = own_loss;
        self.bps = (bps < delay_bps).then_some(bps);
    }

    /// A probe has shown that the line takes more: what was seen before it is no longer true.
    pub(super) fn forget(&mut self) {
        *self = Self { own_loss: self.own_loss, ..Self::default() };
    }

    /// Whether more is lost than a line loses by itself, and not only in a burst.
    pub(super) fn is_overload(&self) -> bool {
        self.filled >= OVERLOAD_OBSERVATIONS && self.average() > OWN_LOSS_MAX
    }

    /// The share lost in the last seconds, the newest with the most weight.
    pub(super) fn average(&self) -> f64 {
        let (packets, lost) = self.weighted().fold((0.0, 0.0), |sum, (weight, seen)| {
            (sum.0 + weight * f64::from(seen.packets), sum.1 + weight * f64::from(seen.lost))
        });
        if packets > 0.0 { lost / packets } else { 0.0 }
    }

    fn weighted(&self) -> impl Iterator<Item = (f64, &Observation)> {
        (0..self.filled).scan(1.0, |weight, age| {
            let this = *weight;
            *weight *= AGING;
            Some((this, &self.observations[(self.at + OBSERVATIONS - 1 - age) % OBSERVATIONS]))
        })
    }

    fn best_own_loss(&self, bps: f64) -> f64 {
        let most = (OWN_LOSS_BASE + OWN_LOSS_BPS / bps.max(1.0)).min(OWN_LOSS_MAX);
        let mut own = self.own_loss.clamp(OWN_LOSS_MIN, most);
        for _ in 0..NEWTON_STEPS {
            let (mut first, mut second) = (0.0, 0.0);
            for (weight, seen) in self.weighted() {
                let p = probability(own, bps, seen.rate);
                let (lost, got) = (f64::from(seen.lost), f64::from(seen.packets - seen.lost));
                first += weight * (lost / p - got / (1.0 - p));
                second -= weight * (lost / (p * p) + got / ((1.0 - p) * (1.0 - p)));
            }
            if second < 0.0 {
                own = (own - NEWTON_STEP * first / second).clamp(OWN_LOSS_MIN, most);
            }
        }
        own
    }

    /// How much a packet tells, next to one that was lost or not whatever became of the one before it. Ten losses in rows
    /// of five are little more than two accidents: taken for ten they would soon be more than any line loses by itself.
    /// In a chain of two states with the correlation c the variance of a sum is (1 + c) / (1 - c) times as large.
    fn independent(&self) -> f64 {
        let (packets, lost, rows) = self.weighted().fold((0.0, 0.0, 0.0), |sum, (weight, seen)| {
            let (packets, lost, rows) = (f64::from(seen.packets), f64::from(seen.lost), f64::from(seen.rows));
            (sum.0 + weight * packets, sum.1 + weight * lost, sum.2 + weight * rows)
        });
        if lost <= rows || lost >= packets {
            return 1.0;
        }
        let (all, after_loss) = (lost / packets, 1.0 - rows / lost);
        let correlation = ((after_loss - all) / (1.0 - all)).clamp(0.0, CORRELATION_MAX);
        (1.0 - correlation) / (1.0 + correlation)
    }

    fn merit(&self, bps: f64, own_loss: f64, independent: f64) -> f64 {
        let preference = PREFERENCE * bps.max(1.0).ln();
        let of = |(weight, seen): (f64, &Observation)| {
            let p = probability(own_loss, bps, seen.rate);
            let (lost, packets) = (f64::from(seen.lost), f64::from(seen.packets));
            let likelihood = lost * p.ln() + (packets - lost) * (1.0 - p).ln();
            weight * (independent * likelihood + packets * preference)
        };
        self.weighted().map(of).sum()
    }
}

/// How likely a packet is lost that was sent at `rate` over such a line.
fn probability(own_loss: f64, bps: f64, rate: f64) -> f64 {
    let above = if rate > bps { (rate - bps) / rate } else { 0.0 };
    (own_loss + (1.0 - own_loss) * above).clamp(1e-6, 1.0 - 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        control: LossControl,
        now: i64,
        state: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self { control: LossControl::default(), now: 0, state: 3 }
        }

        /// Sends at a rate for so long; each packet is lost with that probability.
        fn run(&mut self, millis: i64, rate: f64, loss: f64, delay_bps: f64) -> Option<f64> {
            let gap = (1000.0 * 8e6 / rate) as i64;
            let end = self.now + millis * 1000;
            let mut result = None;
            let mut report = self.now + 100_000;
            while self.now < end {
                self.now += gap;
                self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let lost = (self.state >> 40) as f64 / (1 << 24) as f64 <= loss;
                self.control.add(self.now, 1000, lost);
                if self.now >= report {
                    report += 100_000;
                    result = self.control.update(self.now, delay_bps, Some(rate * (1.0 - loss)));
                }
            }
            result
        }
    }

    #[test]
    fn random_loss_does_not_drive_the_rate_down() {
        for (rate, loss, least) in [
            (2.5e6, 0.02, 2.5e6),
            (2.5e6, 0.05, 2.5e6),
            (2.5e6, 0.10, 1.8e6),
            (6e5, 0.05, 6e5),
            (6e5, 0.10, 5.5e5),
            (6e5, 0.15, 4.5e5),
        ] {
            let mut bench = Bench::new();
            let allowed = bench.run(30_000, rate, loss, rate * 1.2).unwrap_or(f64::INFINITY);
            assert!(allowed >= least, "{rate} at {loss}: {allowed}");
        }
    }

    #[test]
    fn loss_by_overload_is_seen_at_once() {
        // A policer without a queue: what is above 1 Mbit/s is lost.
        let mut bench = Bench::new();
        bench.run(5000, 8e5, 0.0, 2.5e6);
        let allowed = bench.run(1000, 2.5e6, 0.6, 2.5e6).expect("limited");
        assert!((8e5..1.2e6).contains(&allowed), "{allowed}");
    }

    #[test]
    fn a_policer_that_takes_the_end_of_every_frame_is_seen_too() {
        let mut control = LossControl::default();
        let mut allowed = None;
        for at in 0..3000_i64 {
            // Nine packets per frame, 2.5 Mbit/s, of which four arrive; before that all of them do, of four.
            let (packets, rate): (i64, f64) = if at < 1500 { (4, 1.1e6) } else { (9, 2.5e6) };
            let now = at * 3_700;
            control.add(now, 1150, at % packets >= 4);
            if at % 27 == 0 {
                allowed = control.update(now, 2.5e6, Some(rate.min(1.1e6)));
            }
        }
        let allowed = allowed.expect("limited");
        assert!((1e6..1.5e6).contains(&allowed), "{allowed}");
    }

    #[test]
    fn when_the_losses_end_nothing_is_limited() {
        let mut bench = Bench::new();
        bench.run(2000, 2.5e6, 0.6, 2.5e6);
        assert!(bench.run(1000, 8e5, 0.0, 2.5e6).is_some(), "not at once");
        assert_eq!(bench.run(8000, 8e5, 0.0, 2.5e6), None);
        bench.run(2000, 2.5e6, 0.6, 2.5e6);
        bench.control.forget();
        assert_eq!(bench.run(500, 8e5, 0.0, 2.5e6), None, "a probe has shown more");
    }

    #[test]
    fn what_came_late_was_not_lost() {
        let mut control = LossControl::default();
        for at in 0..100 {
            control.add(at * 10_000, 1000, at % 5 == 0);
        }
        (0..20).for_each(|_| control.take_back());
        assert_eq!(control.update(990_000, 1e6, None), None);
        assert_eq!(control.average(), 0.0);
    }
}
