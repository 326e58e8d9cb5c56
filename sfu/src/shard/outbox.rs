//! Hands what of a batch goes by UDP to the kernel: GSO where it works, plain datagrams where it does not, and a tail that waits
//! while a socket is full.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracing::debug;

use super::clock;
use super::port::Sockets;
use super::socket::{Message, SEND_MAX, Sender};
use crate::egress::batch::{Batch, Run, Transport};
use crate::stats::{ForwardLatency, SocketStats};

/// How long a tail may wait for a full socket. Older media is of no use to a live viewer: it is dropped,
/// counted in `dropped_late`, and the viewer asks for what it needs.
const TAIL_MAX: Duration = Duration::from_millis(200);

/// Destinations with GSO turned off that are remembered. With more, it is turned off for the whole socket:
/// then it is not the destinations.
const REFUSED_MAX: usize = 256;

/// What remains after [`Outbox::flush`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

impl Blocked {
    pub(crate) fn any(self) -> bool {
        self.v4 || self.v6
    }
}

/// Sends batches, one after the other.
pub(crate) struct Outbox {
    sender: Sender,
    v4: Family,
    v6: Family,
    blocked_since: Option<Instant>,
}

/// How far one address family is with the batch.
#[derive(Default)]
struct Family {
    /// The next run, and how much of it was sent already as plain datagrams.
    run: usize,
    sent_of_run: usize,
    /// The next arrival to be measured.
    arrival: usize,
    blocked: bool,
    gso_off: bool,
    refused: HashSet<SocketAddr>,
    plan: Vec<Planned>,
}

/// One message of the next system call: a part of a run.
#[derive(Clone, Copy)]
struct Planned {
    run: usize,
    start: usize,
    end: usize,
    gso: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { sender: Sender::new(), v4: Family::default(), v6: Family::default(), blocked_since: None }
    }

    /// Sends what it can and clears the batch when all of it is gone. The batch must not be written to while
    /// something is blocked.
    pub(crate) fn flush(
        &mut self,
        sockets: &Sockets,
        batch: &mut Batch,
        stats: &mut SocketStats,
        latency: &mut ForwardLatency,
    ) -> Blocked {
        let sender = &mut self.sender;
        for (socket, family, v6) in [(&sockets.v4, &mut self.v4, false), (&sockets.v6, &mut self.v6, true)] {
            let mut send = |plan: &[Planned], batch: &Batch| match socket {
                Some(socket) => sender.send(socket, plan.len(), |i| plan[i].message(batch)),
                // Nobody was ever seen there.
                None => Err(io::ErrorKind::NetworkUnreachable.into()),
            };
            family.send(v6, batch, stats, latency, &mut send);
        }
        self.after_send(batch)
    }

    fn after_send(&mut self, batch: &mut Batch) -> Blocked {
        let blocked = self.blocked();
        if !blocked.any() {
            self.finish(batch);
        } else if self.blocked_since.is_none() {
            self.blocked_since = Some(clock());
        }
        blocked
    }

    /// Drops the tail if it is too old.
    pub(crate) fn expire(&mut self, now: Instant, batch: &mut Batch, stats: &mut SocketStats) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            let dropped = self.v4.left(batch, false) + self.v6.left(batch, true);
            stats.dropped_late += dropped;
            debug!(dropped, "a socket took nothing for 200 ms: its tail is dropped");
            self.finish(batch);
        }
    }

    /// When [`Self::expire`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.blocked_since.map(|since| since + TAIL_MAX)
    }

    pub(crate) fn blocked(&self) -> Blocked {
        Blocked { v4: self.v4.blocked, v6: self.v6.blocked }
    }

    fn finish(&mut self, batch: &mut Batch) {
        batch.clear();
        self.blocked_since = None;
        for family in [&mut self.v4, &mut self.v6] {
            family.run = 0;
            family.sent_of_run = 0;
            family.arrival = 0;
            family.blocked = false;
        }
    }
}

impl Planned {
    fn message<'a>(&self, batch: &'a Batch) -> Message<'a> {
        let run = &batch.runs()[self.run];
        Message {
            to: run.dest.to,
            from: run.dest.from,
            bytes: &batch.bytes(run)[self.start..self.end],
            segment: self.gso.then_some(run.segment as u16),
        }
    }
}

/// Sends the messages of a plan and says how many of the first went out.
type Send<'a> = dyn FnMut(&[Planned], &Batch) -> io::Result<usize> + 'a;

impl Family {
    fn send(
        &mut self,
        v6: bool,
        batch: &Batch,
        stats: &mut SocketStats,
        latency: &mut ForwardLatency,
        send: &mut Send<'_>,
    ) {
        self.blocked = false;
        loop {
            self.make_plan(batch, v6);
            if self.plan.is_empty() {
                break;
            }
            let result = send(&self.plan, batch);
            stats.send_calls += 1;
            match result {
                Ok(sent) => self.sent(sent, batch, v6, stats, latency),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    kind if kind == io::ErrorKind::WouldBlock || no_buffers(&error) => {
                        stats.would_block += 1;
                        self.blocked = true;
                        break;
                    }
                    _ => self.refused(&error, batch, stats),
                },
            }
        }
    }

    /// The messages of the next system call.
    fn make_plan(&mut self, batch: &Batch, v6: bool) {
        self.plan.clear();
        let mut start = self.sent_of_run;
        for (index, run) in batch.runs().iter().enumerate().skip(self.run) {
            if !carries(v6, run) {
                continue;
            }
            let gso = run.len > run.segment && start == 0 && self.gso(run);
            while start < run.len && self.plan.len() < SEND_MAX {
                let end = if gso { run.len } else { run.len.min(start + run.segment) };
                self.plan.push(Planned { run: index, start, end, gso });
                start = end;
            }
            if self.plan.len() == SEND_MAX {
                break;
            }
            start = 0;
        }
    }

    fn gso(&self, run: &Run) -> bool {
        !self.gso_off && (self.refused.is_empty() || !self.refused.contains(&run.dest.to))
    }

    /// The first `count` messages of the plan went out.
    fn sent(
        &mut self,
        count: usize,
        batch: &Batch,
        v6: bool,
        stats: &mut SocketStats,
        latency: &mut ForwardLatency,
    ) {
        for planned in &self.plan[..count] {
            let run = &batch.runs()[planned.run];
            stats.datagrams_sent += (planned.end - planned.start).div_ceil(run.segment) as u64;
            stats.bytes_sent += (planned.end - planned.start) as u64;
            stats.messages_sent += 1;
            stats.gso_runs += u64::from(planned.gso);
        }
        self.advance(count, batch);
        let now = clock();
        for (run, kind, arrival) in batch.arrivals().skip(self.arrival) {
            if run >= self.run {
                break;
            }
            self.arrival += 1;
            if carries(v6, &batch.runs()[run]) {
                latency.record(kind, now.saturating_duration_since(arrival));
            }
        }
    }

    /// Moves behind the first `count` messages of the plan.
    fn advance(&mut self, count: usize, batch: &Batch) {
        let Some(last) = count.checked_sub(1).map(|last| self.plan[last]) else { return };
        let complete = last.end == batch.runs()[last.run].len;
        self.run = if complete { last.run + 1 } else { last.run };
        self.sent_of_run = if complete { 0 } else { last.end };
    }

    /// The kernel did not take the first message of the plan.
    fn refused(&mut self, error: &io::Error, batch: &Batch, stats: &mut SocketStats) {
        let first = self.plan[0];
        let run = &batch.runs()[first.run];
        let gso_error = matches!(
            error.raw_os_error(),
            Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP)
        );
        if first.gso && gso_error {
            // No checksum offload on the way, a smaller path MTU, or a kernel without it: the same run goes
            // out as plain datagrams in the next round.
            debug!(to = %run.dest.to, %error, "UDP_SEGMENT is refused: plain datagrams from now on");
            stats.gso_refused += 1;
            self.refused.insert(run.dest.to);
            if self.refused.len() > REFUSED_MAX {
                self.gso_off = true;
                self.refused = HashSet::new();
            }
            return;
        }
        stats.send_errors += (first.end - first.start).div_ceil(run.segment) as u64;
        debug!(to = %run.dest.to, %error, "cannot send a datagram");
        self.advance(1, batch);
    }

    /// Datagrams of the batch that were not sent.
    fn left(&self, batch: &Batch, v6: bool) -> u64 {
        let left = batch.runs().iter().skip(self.run).filter(|run| carries(v6, run));
        let datagrams: usize = left.map(Run::datagrams).sum();
        let sent = batch.runs().get(self.run).map_or(0, |run| self.sent_of_run / run.segment);
        (datagrams - sent.min(datagrams)) as u64
    }
}

/// Whether the UDP socket of that family sends it.
fn carries(v6: bool, run: &Run) -> bool {
    run.dest.to.is_ipv6() == v6 && run.dest.transport == Transport::Udp
}

/// The queue of the network card is full, which is as good as a full socket.
fn no_buffers(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

#[cfg(test)]
mod tests;
