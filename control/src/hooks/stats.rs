//! What hooks count.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::call::Action;

/// A number that grows, or goes up and down.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn bump(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn drop_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What came of one kind of question.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) allowed: Counter,
    pub(super) refused: Counter,
    pub(super) failed: Counter,
}

/// The counters of one gate.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) publish: Outcomes,
    pub(super) play: Outcomes,
    pub(super) opened: Counter,
    pub(super) not_asked: Counter,
    pub(super) cached: Counter,
    pub(super) requests: Counter,
    pub(super) request_micros: Counter,
    pub(super) in_flight: Counter,
    pub(super) told: Counter,
    pub(super) tell_failed: Counter,
    pub(super) tell_dropped: Counter,
    pub(super) telling: Counter,
}

/// What a gate has counted. All but `breakers_open`, `in_flight`, `telling` and `decisions` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Publishers that the backend let in.
    pub publish_allowed: u64,
    /// Publishers that it refused.
    pub publish_refused: u64,
    /// Publishers about whom it gave no clear answer in time.
    pub publish_failed: u64,
    /// Viewers that the backend let in, without those of the cache.
    pub play_allowed: u64,
    /// Viewers that it refused.
    pub play_refused: u64,
    /// Viewers about whom it gave no clear answer in time.
    pub play_failed: u64,
    /// Let in although there was no answer, because of `fail_open`.
    pub opened: u64,
    /// Publishers and viewers for whom it was not asked because it had failed too often in a row; they are among the failed.
    pub not_asked: u64,
    /// Kinds of question, of publishers and of viewers, that it is not asked at the moment.
    pub breakers_open: u64,
    /// Decisions that needed no question: cached, or asked for somebody else at that moment.
    pub cached: u64,
    /// Requests sent.
    pub requests: u64,
    /// How long their answers took, in sum.
    pub request_micros: u64,
    /// Requests now.
    pub in_flight: u64,
    /// Ends that the backend was told of.
    pub told: u64,
    /// Ends that it did not take.
    pub tell_failed: u64,
    /// Ends that it was not told of because too many waited.
    pub tell_dropped: u64,
    /// Ends that wait to be told.
    pub telling: u64,
    /// Decisions in the cache.
    pub decisions: u64,
}

impl Counters {
    /// Of the question to which this action belongs.
    pub(super) const fn of(&self, action: Action) -> &Outcomes {
        match action {
            Action::Publish | Action::Unpublish => &self.publish,
            Action::Play | Action::Stop => &self.play,
        }
    }

    pub(super) fn snapshot(&self, decisions: u64, breakers_open: u64) -> Stats {
        Stats {
            publish_allowed: self.publish.allowed.get(),
            publish_refused: self.publish.refused.get(),
            publish_failed: self.publish.failed.get(),
            play_allowed: self.play.allowed.get(),
            play_refused: self.play.refused.get(),
            play_failed: self.play.failed.get(),
            opened: self.opened.get(),
            not_asked: self.not_asked.get(),
            breakers_open,
            cached: self.cached.get(),
            requests: self.requests.get(),
            request_micros: self.request_micros.get(),
            in_flight: self.in_flight.get(),
            told: self.told.get(),
            tell_failed: self.tell_failed.get(),
            tell_dropped: self.tell_dropped.get(),
            telling: self.telling.get(),
            decisions,
        }
    }
}
