//! A circuit breaker: a backend that fails again and again is left alone for a while. Everybody hears at once what they
//! would have heard after the time-out, and a backend that comes back is not stormed: one question tries it. Sans-I/O.

use std::time::Duration;

use tokio::time::Instant;

/// Whether a backend is asked.
#[derive(Debug)]
pub(super) struct Breaker {
    /// So many failures in a row open it; 0: never.
    failures_max: u32,
    open_for: Duration,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// All are asked; so many have failed since the last that did not.
    Closed { failures: u32 },
    /// Nobody is asked until then.
    Open { until: Instant },
    /// One is asked, the others are not. If nothing is heard of it until then, another one is.
    Trying { until: Instant },
}

/// What an answer changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Nobody is asked from now on.
    Opened,
    /// All are asked again.
    Closed,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, open_for: Duration) -> Self {
        Self { failures_max, open_for, state: State::Closed { failures: 0 } }
    }

    /// Whether this question may be asked; say what came of it with [`Breaker::answered`].
    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } | State::Trying { until } if now < until => false,
            State::Open { .. } | State::Trying { .. } => {
                self.state = State::Trying { until: now + self.open_for };
                true
            }
        }
    }

    /// A question was answered clearly, yes or no; or it was not.
    pub(super) fn answered(&mut self, now: Instant, clearly: bool) -> Option<Change> {
        let open = State::Open { until: now + self.open_for };
        match (self.state, clearly) {
            (State::Closed { .. }, true) => {
                self.state = State::Closed { failures: 0 };
                None
            }
            // Also by a question that was on its way when it opened: the backend is there.
            (State::Open { .. } | State::Trying { .. }, true) => {
                self.state = State::Closed { failures: 0 };
                Some(Change::Closed)
            }
            (State::Closed { failures }, false) => {
                let failures = failures.saturating_add(1);
                if self.failures_max > 0 && failures >= self.failures_max {
                    self.state = open;
                    return Some(Change::Opened);
                }
                self.state = State::Closed { failures };
                None
            }
            (State::Trying { .. }, false) => {
                self.state = open;
                None
            }
            (State::Open { .. }, false) => None,
        }
    }

    /// Nobody is asked, or one.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn it_opens_after_failures_in_a_row_and_one_question_tries_whether_it_may_close() {
        let (begun, mut breaker) = (Instant::now(), Breaker::new(3, OPEN));
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        for clearly in [false, false, true, false, false] {
            assert!(breaker.may_ask(at(0)));
            assert_eq!(breaker.answered(at(0), clearly), None, "not in a row");
        }
        assert!(breaker.may_ask(at(0)) && breaker.may_ask(at(0)));
        assert_eq!(breaker.answered(at(1), false), Some(Change::Opened));
        assert_eq!(breaker.answered(at(1), false), None, "it is open already");
        assert!(!breaker.may_ask(at(5)) && breaker.is_open());
        // One tries; the others wait for what it hears.
        assert!(breaker.may_ask(at(6)));
        assert!(!breaker.may_ask(at(6)));
        assert_eq!(breaker.answered(at(7), false), None);
        assert!(!breaker.may_ask(at(11)));
        assert!(breaker.may_ask(at(12)));
        // Nothing was heard of that one: whoever asked went away.
        assert!(!breaker.may_ask(at(16)));
        assert!(breaker.may_ask(at(17)));
        assert_eq!(breaker.answered(at(18), true), Some(Change::Closed));
        assert!(breaker.may_ask(at(18)) && !breaker.is_open());
        // It counts from nothing again.
        assert_eq!(breaker.answered(at(18), false), None);
        assert_eq!(breaker.answered(at(18), false), None);
        assert_eq!(breaker.answered(at(18), false), Some(Change::Opened));
        assert_eq!(breaker.answered(at(19), true), Some(Change::Closed), "by one that was on its way");
    }

    #[tokio::test]
    async fn it_may_be_turned_off() {
        let mut breaker = Breaker::new(0, OPEN);
        for _ in 0..1000 {
            assert_eq!(breaker.answered(Instant::now(), false), None);
        }
        assert!(breaker.may_ask(Instant::now()));
    }
}
