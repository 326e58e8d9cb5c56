//! Our end of ICE for one Peer: a lite agent (RFC 8445 section 2.5), and a careful one. It answers checks, and goes where
//! the other side nominates once that way has proven that it receives what we send.
//!
//! ```text
//!   check ──► authentic? ──► a way learned ──► challenged ──► answered: proven ──┐
//!                                  │                                             ▼
//!                                  └──────────► nominated? ──► wanted ──► destination of everything that we send
//!                                                  ▲
//!   media that decrypts, from a way checked later (a NAT gave it another port)
//! ```
//! Whoever sends a check knows our password, and may still write another source address on it than its own. So a way
//! that is not proven gets answers to its checks, and one small challenge for several bytes that came from there, and
//! no more. The first way of all gets DTLS besides, which proves it.

mod way;

use std::time::{Duration, Instant};

use self::way::{UNANSWERED_MAX, Way};
use super::challenge::{Answer, Seed, Transactions, challenge_bytes, write_challenge};
use super::credentials::Halves;
use super::demux::Tuple;
use super::ice_lite::Check;
use crate::egress::batch::Dest;
use crate::prefetch::prefetch;

/// Ways to a Peer: some interfaces times some of our addresses. The one not checked for longest is forgotten
/// for a new one.
pub(crate) const PATHS_MAX: usize = 8;
/// Without any authentic sign of life a Peer is gone. RFC 7675 section 5.1 allows 30 s at most; it is looked
/// at every 560 ms or more often.
pub(crate) const CONSENT: Duration = Duration::from_millis(29_000);

/// The ICE of one Peer.
#[derive(Debug)]
pub(crate) struct IceAgent {
    current: Halves,
    /// Of an ICE restart that has not nominated yet: until then the old session goes on (RFC 8445 section 9).
    next: Option<Halves>,
    ways: Vec<Way>,
    /// A way that has proven itself, or the first of all, until DTLS is done.
    dest: Option<Dest>,
    /// Where the Peer wants it to be, as soon as that way has proven itself.
    wanted: Option<Tuple>,
    /// Nothing has come yet.
    fresh: bool,
    transactions: Transactions,
    challenge: Option<Challenge>,
    heard: Instant,
}

/// What came of an authentic check.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The way was not known before.
    pub(crate) learned: bool,
    /// The way that had to go for it.
    pub(crate) forgotten: Option<Tuple>,
    /// The ufrag of the ICE session that it ended, by nominating in the next.
    pub(crate) retired: Option<String>,
}

/// A check of our own, to be sent.
#[derive(Debug)]
pub(crate) struct Challenge {
    pub(crate) to: Tuple,
    pub(crate) data: Vec<u8>,
    /// The Peer wants what we send to go there, and has left as many unanswered as nobody does by accident.
    pub(crate) unheeded: bool,
}

impl IceAgent {
    pub(crate) fn new(now: Instant, halves: Halves, seed: Seed) -> Self {
        Self {
            current: halves,
            next: None,
            ways: Vec::new(),
            dest: None,
            wanted: None,
            fresh: true,
            transactions: Transactions::new(seed),
            challenge: None,
            heard: now,
        }
    }

    /// Our ufrag in every session that is alive.
    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &str> {
        [Some(&self.current), self.next.as_ref()].into_iter().flatten().map(|halves| halves.ours.ufrag())
    }

    /// The ways that authentic checks came by.
    pub(crate) fn tuples(&self) -> impl Iterator<Item = Tuple> {
        self.ways.iter().map(|way| way.tuple)
    }

    /// Brings nearer what [`Self::dest`] and [`Self::heard`] will need.
    pub(crate) fn prefetch(&self) {
        prefetch(&self.dest);
        prefetch(&self.heard);
    }

    /// Where everything goes that we send.
    pub(crate) fn dest(&self) -> Option<&Dest> {
        self.dest.as_ref()
    }

    /// When it last gave an authentic sign of life.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// Takes a check and writes the answer to it into `out`, which is empty. `None`: whoever sent it does not
    /// know our password, so nothing is believed and nothing is said.
    pub(crate) fn handle_check(
        &mut self,
        now: Instant,
        tuple: Tuple,
        check: &Check<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Checked> {
        let newer = self.next.as_ref().is_some_and(|next| next.ours.ufrag() == check.local_ufrag());
        let session = if newer { self.next.as_ref()? } else { &self.current };
        if !check.is_authentic(&session.ours) {
            return None;
        }
        check.write_response(tuple.remote, &session.ours, out);
        self.heard = now;
        let (learned, forgotten) = self.learn(now, tuple);
        // The latest nomination is followed (RFC 8445 section 8.1.1); until there is one, the first way.
        if std::mem::replace(&mut self.fresh, false) {
            self.dest = Some(Dest::of(tuple));
        } else if check.nominates || (self.dest.is_none() && self.wanted.is_none()) {
            self.want(tuple);
        } else if self.dest.is_none() && self.is_proven(tuple) {
            self.dest = Some(Dest::of(tuple));
        }
        self.doubt(now, tuple, check.bytes(), newer);
        let mut retired = None;
        if check.nominates
            && newer
            && let Some(next) = self.next.take()
        {
            retired = Some(std::mem::replace(&mut self.current, next).ours.ufrag().to_owned());
        }
        Some(Checked { learned, forgotten, retired })
    }

    fn learn(&mut self, now: Instant, tuple: Tuple) -> (bool, Option<Tuple>) {
        if let Some(way) = self.way(tuple) {
            way.checked = now;
            return (false, None);
        }
        let forgotten = if self.ways.len() == PATHS_MAX { self.forget_oldest() } else { None };
        self.ways.push(Way::new(now, tuple));
        (true, forgotten)
    }

    fn forget_oldest(&mut self) -> Option<Tuple> {
        let kept = [self.in_use(), self.wanted];
        let spare = self.ways.iter().enumerate().filter(|(_, way)| !kept.contains(&Some(way.tuple)));
        let (oldest, _) = spare.min_by_key(|(_, way)| way.checked)?;
        Some(self.ways.swap_remove(oldest).tuple)
    }

    /// What is sent is to go there: from now on if that way has proven itself, else when it has.
    fn want(&mut self, tuple: Tuple) {
        if self.in_use() == Some(tuple) {
            self.wanted = None;
        } else if self.is_proven(tuple) {
            self.dest = Some(Dest::of(tuple));
            self.wanted = None;
        } else if self.wanted != Some(tuple) {
            self.wanted = Some(tuple);
            self.way(tuple).into_iter().for_each(Way::hurry);
        }
    }

    /// So many bytes came from there: challenges that way, if it has something to prove and it is time. The way in use
    /// has not, but by DTLS. `newer`: in the session of the restart.
    fn doubt(&mut self, now: Instant, tuple: Tuple, bytes: usize, newer: bool) {
        let halves = self.next.as_ref().filter(|_| newer).unwrap_or(&self.current);
        if self.dest.as_ref().is_some_and(|dest| dest.tuple() == tuple) {
            return;
        }
        let Some(way) = self.ways.iter_mut().find(|way| way.tuple == tuple) else { return };
        way.came(bytes);
        let Some((id, before)) = way.ask(now, challenge_bytes(halves), || self.transactions.id()) else {
            return;
        };
        let data = write_challenge(halves, id, self.transactions.tie_breaker());
        let unheeded = before == UNANSWERED_MAX && self.wanted == Some(tuple);
        self.challenge = Some(Challenge { to: tuple, data, unheeded });
    }

    /// The challenge to send after what has just come, if any: to be asked each time.
    pub(crate) fn poll_challenge(&mut self) -> Option<Challenge> {
        self.challenge.take()
    }

    /// An answer came by that way: whether it is the one to its challenge. If the Peer wants what is sent to go there, it
    /// does from now on.
    pub(crate) fn handle_answer(&mut self, now: Instant, tuple: Tuple, answer: &Answer<'_>) -> bool {
        let id = answer.transaction_id();
        let Some(way) = self.ways.iter_mut().find(|way| way.tuple == tuple && way.asked_by(id)) else {
            return false;
        };
        // An ICE restart may have ended the session of the challenge, or not be in use yet.
        let sessions = [Some(&self.current), self.next.as_ref()];
        if !sessions.into_iter().flatten().any(|halves| answer.is_authentic(&halves.theirs)) {
            return false;
        }
        way.prove();
        self.heard = now;
        if self.wanted == Some(tuple) {
            self.want(tuple);
        } else if self.dest.is_none() {
            self.dest = Some(Dest::of(tuple));
        }
        true
    }

    /// DTLS is done. Its flights went where everything goes: nobody else could have ended it.
    pub(crate) fn secure(&mut self) {
        if let Some(in_use) = self.in_use() {
            self.way(in_use).into_iter().for_each(Way::prove);
        }
    }

    /// So many bytes came that way that only the Peer can have made: it is alive, and it listens where it speaks.
    ///
    /// Clients that nominate once and not again (RFC 8445 section 8.1.1) are followed by this to another port
    /// of their NAT. A packet of the old way that a nomination overtook is older than the check of the new one.
    pub(crate) fn note_media(&mut self, now: Instant, tuple: Tuple, bytes: usize) {
        self.heard = now;
        let in_use = self.in_use();
        if in_use == Some(tuple) && self.wanted.is_none() {
            return;
        }
        let checked = |tuple| self.ways.iter().find(|way| way.tuple == tuple).map(|way| way.checked);
        let Some(at) = checked(tuple) else { return };
        if self.wanted.or(in_use).and_then(checked).is_none_or(|goal| at >= goal) {
            self.want(tuple);
        }
        self.doubt(now, tuple, bytes, false);
    }

    /// An ICE restart: checks under these credentials are answered too, and the first nomination among them
    /// ends the session before. Returns the ufrag of an earlier restart that came to nothing.
    pub(crate) fn restart(&mut self, halves: Halves) -> Option<String> {
        self.next.replace(halves).map(|earlier| earlier.ours.ufrag().to_owned())
    }

    /// Begins with other credentials: nobody has used the first ones.
    pub(crate) fn replace(&mut self, halves: Halves) {
        self.current = halves;
    }

    /// That way is gone: its TCP connection ended. What is sent goes the proven way that was checked last, if any; else
    /// the first that proves itself.
    pub(crate) fn hang_up(&mut self, tuple: Tuple) {
        self.ways.retain(|way| way.tuple != tuple);
        self.wanted = self.wanted.filter(|wanted| *wanted != tuple);
        if self.in_use() == Some(tuple) {
            let proven = self.ways.iter().filter(|way| way.is_proven());
            self.dest = proven.max_by_key(|way| way.checked).map(|way| Dest::of(way.tuple));
        }
    }

    fn in_use(&self) -> Option<Tuple> {
        self.dest.as_ref().map(Dest::tuple)
    }

    fn way(&mut self, tuple: Tuple) -> Option<&mut Way> {
        self.ways.iter_mut().find(|way| way.tuple == tuple)
    }

    fn is_proven(&self, tuple: Tuple) -> bool {
        self.ways.iter().any(|way| way.tuple == tuple && way.is_proven())
    }
}

#[cfg(test)]
mod tests;
