//! Peers that have no transport-wide feedback: their own estimate, and what their reports say of losses.

/// An estimate that is not repeated counts no longer. Receivers repeat it every second.
const VALID_MICROS: i64 = 10_000_000;
/// draft-ietf-rmcat-gcc-02 section 6: above the first the rate is lowered, below the second it may rise.
const LOSS_HIGH: f64 = 0.1;
const LOSS_LOW: f64 = 0.02;
const RISE: f64 = 1.05;
/// Reports of several sources come together: the limit is changed once in this time.
const CHANGE_MICROS: i64 = 500_000;

/// What such a peer says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Remb {
    said: Option<(i64, f64)>,
    limit: Option<f64>,
    changed: Option<i64>,
}

impl Remb {
    pub(super) fn handle_estimate(&mut self, now: i64, bps: f64) {
        self.said = Some((now, bps));
    }

    /// The share lost since the last report.
    pub(super) fn handle_loss(&mut self, now: i64, share: f64) {
        let Some((_, said)) = self.said else { return };
        if self.changed.is_some_and(|at| now - at < CHANGE_MICROS) {
            return;
        }
        self.changed = Some(now);
        let present = self.limit.unwrap_or(said);
        if share > LOSS_HIGH {
            self.limit = Some(present.min(said) * (1.0 - 0.5 * share));
        } else if share < LOSS_LOW {
            self.limit = Some(present * RISE).filter(|limit| *limit < said);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: i64) {
        if self.said.is_some_and(|(at, _)| now - at > VALID_MICROS) {
            *self = Self::default();
        }
    }

    /// Bits per second. `None`: it says nothing.
    pub(super) fn bps(&self) -> Option<f64> {
        let (_, said) = self.said?;
        let bps = self.limit.map_or(said, |limit| limit.min(said));
        Some(bps.clamp(super::ESTIMATE_MIN_BPS as f64, super::ESTIMATE_MAX_BPS as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_counts_for_a_while_and_losses_lower_it() {
        let mut remb = Remb::default();
        remb.handle_loss(0, 0.5);
        assert_eq!(remb.bps(), None, "losses alone are no estimate");
        remb.handle_estimate(0, 1e6);
        remb.handle_loss(1, 0.05);
        assert_eq!(remb.bps(), Some(1e6), "between the bounds nothing changes");
        remb.handle_loss(1_000_000, 0.2);
        remb.handle_loss(1_000_001, 0.2);
        assert_eq!(remb.bps(), Some(9e5), "once for reports that come together");
        for second in 2..10 {
            remb.handle_loss(second * 1_000_000, 0.0);
        }
        assert_eq!(remb.bps(), Some(1e6));
        remb.handle_timeout(11_000_000);
        assert_eq!(remb.bps(), None);
    }
}
