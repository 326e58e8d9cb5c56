//! What the log was told of the bucket: each kind of fault now and then, however often it comes and goes. Sans-I/O.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::bucket::Reason;

/// How often one kind is told. In a bucket that is almost full small objects find room and large ones do not, so that
/// faults and successes take turns: a success does not make the next fault news.
pub(super) const INTERVAL: Duration = Duration::from_secs(300);

/// When each kind was told last.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: BTreeMap<Reason, Instant>,
    /// The last that the log knows is that something is wrong.
    open: bool,
}

impl Complaints {
    /// Whether a fault of this kind is to be told now.
    pub(super) fn is_news(&mut self, reason: Reason, now: Instant) -> bool {
        if self.told.get(&reason).is_some_and(|at| now < *at + INTERVAL) {
            return false;
        }
        self.told.insert(reason, now);
        self.open = true;
        true
    }

    /// Whether it is to be told now that all is well.
    pub(super) fn are_over(&mut self) -> bool {
        std::mem::take(&mut self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_in_a_while_though_it_comes_and_goes() {
        let begin = tokio::time::Instant::now().into_std();
        let mut complaints = Complaints::default();
        let mut told = Vec::new();
        for second in 0..700 {
            let now = begin + Duration::from_secs(second);
            if complaints.is_news(Reason::Full, now) {
                told.push((second, "full"));
            }
            if second == 10 && complaints.is_news(Reason::Late, now) {
                told.push((second, "late"));
            }
            if complaints.are_over() {
                told.push((second, "over"));
            }
        }
        let wanted = [
            (0, "full"),
            (0, "over"),
            (10, "late"),
            (10, "over"),
            (300, "full"),
            (300, "over"),
            (600, "full"),
            (600, "over"),
        ];
        assert_eq!(told, wanted);
    }
}
