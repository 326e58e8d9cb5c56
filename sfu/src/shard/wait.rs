//! How a shard waits: for what is open just now ([`super::moderation`]), and for timers.

use std::time::Instant;

use super::moderation::Open;
use super::socket::{self, Ready, Wanted};
use super::{Loop, clock};

impl Loop {
    /// Waits until there is something to do; with `more`, only looks which sockets are ready.
    pub(super) fn wait(&mut self, more: bool) -> [Ready; 4] {
        let mut now = clock();
        let (mut open, mut until) = self.moderation.open(now);
        if more {
            return self.poll(now, Some(now), open);
        }
        loop {
            let ready = self.poll(now, until, open);
            let [sockets @ .., bus] = ready;
            if open == Open::ALL || sockets.iter().any(|it| it.readable || it.writable) {
                return ready;
            }
            now = clock();
            if bus.readable {
                // What came by the sockets meanwhile leaves in the same batch.
                return self.poll(now, Some(now), Open::ALL);
            }
            if until.is_none_or(|until| now < until) {
                return ready;
            }
            (open, until) = self.moderation.open(now);
        }
    }

    /// Waits for TCP, timers and what is `open`, not longer than `until`.
    fn poll(&mut self, now: Instant, until: Option<Instant>, open: Open) -> [Ready; 4] {
        let blocked = self.outbox.blocked();
        let due = [
            until,
            self.core.poll_timeout(),
            self.outbox.deadline(),
            Some(self.publish_at),
            (self.index == 0).then_some(self.expire_at),
            self.stop_by,
        ];
        let timeout = due.into_iter().flatten().min().map(|due| due.saturating_duration_since(now));
        let sockets = [
            (self.sockets.v4.as_ref(), Wanted { read: open.udp, write: blocked.v4 }),
            (self.sockets.v6.as_ref(), Wanted { read: open.udp, write: blocked.v6 }),
        ];
        let event = open.bus.then_some(&*self.doors[self.index].mailbox.event);
        let ready = socket::wait(sockets, self.connections.descriptor(), event, timeout)
            .expect("ppoll of open descriptors does not fail");
        self.moderation.looked(clock(), open);
        ready
    }
}
