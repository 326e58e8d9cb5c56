//! Ways to Peers: checks, challenges, ICE restarts, and TCP connections that end or are full.

use std::time::Instant;

use media::Kind;

use super::challenge::Answer;
use super::credentials::Halves;
use super::demux::{Home, Tuple};
use super::down_track::Flow;
use super::ice_agent::{Checked, IceAgent};
use super::ice_lite::Check;
use super::{Action, Claim, Core, Routed, Transmit};
use crate::PeerId;
use crate::egress::batch::Transport;

impl Core {
    /// A check. Nothing is believed and nothing is said before it has proven that its sender knows the password.
    pub(super) fn handle_check(
        &mut self,
        now: Instant,
        tuple: Tuple,
        check: &Check<'_>,
        claim: &mut dyn FnMut(&str) -> Claim,
    ) -> Routed {
        let home = match self.routes.by_ufrag(check.local_ufrag()) {
            Some(home) => home,
            None => match claim(check.local_ufrag()) {
                Claim::Yours(negotiated) => self.admit(now, *negotiated),
                Claim::Elsewhere(shard) => {
                    self.routes.learn_elsewhere(tuple, shard);
                    return Routed::Elsewhere(shard);
                }
                Claim::Unknown => {
                    self.counters.datagrams_of_nobody += 1;
                    return Routed::Dropped;
                }
            },
        };
        let mut data = self.control.buffer();
        let checked = match home {
            Home::Viewer(slot) => self
                .viewers
                .get_mut(slot)
                .and_then(|viewer| viewer.ice.handle_check(now, tuple, check, &mut data)),
            Home::Publisher(slot) => self
                .publishers
                .get_mut(slot)
                .and_then(|publisher| publisher.peer.handle_check(now, tuple, check, &mut data)),
        };
        let Some(checked) = checked else {
            self.reuse(data);
            self.counters.checks_refused += 1;
            return Routed::Dropped;
        };
        // Before the answer: who nominates on it has answered the challenge then.
        self.challenge(home);
        let (to, from, transport) = (tuple.remote, tuple.local, tuple.transport);
        self.counters.control_dropped +=
            u64::from(!self.control.push(Transmit { to, from, transport, data }));
        self.note_check(tuple, home, checked);
        match home {
            Home::Viewer(slot) => {
                let Some(viewer) = self.viewers.get_mut(slot) else { return Routed::Here };
                let started = viewer.start_dtls(now);
                self.after_dtls(now, slot, started.map(|()| None));
            }
            Home::Publisher(slot) => self.drain_publisher(slot),
        }
        Routed::Here
    }

    /// STUN of a Peer that is no check: the answer to a challenge; else an indication as a rule, a keep-alive that needs
    /// no answer.
    pub(super) fn handle_answer(&mut self, now: Instant, home: Home, tuple: Tuple, data: &[u8]) {
        let answered = Answer::parse(data)
            .is_some_and(|answer| self.ice(home).is_some_and(|ice| ice.handle_answer(now, tuple, &answer)));
        match answered {
            true => self.counters.ways_proven += 1,
            false => self.counters.stun_ignored += 1,
        }
    }

    /// Sends the challenge that follows from what has just come, if any.
    pub(super) fn challenge(&mut self, home: Home) {
        let Some(challenge) = self.ice(home).and_then(IceAgent::poll_challenge) else { return };
        let Tuple { remote: to, local: from, transport } = challenge.to;
        self.counters.ways_challenged += 1;
        if challenge.unheeded {
            self.counters.ways_unproven += 1;
            let peer = match home {
                Home::Viewer(slot) => self.viewers.get(slot).map(|viewer| viewer.id),
                Home::Publisher(slot) => self.publishers.get(slot).map(|publisher| publisher.peer.id()),
            };
            tracing::debug!(?peer, %to, "a way is wanted and answers no challenge; the one before is kept");
        }
        let transmit = Transmit { to, from, transport, data: challenge.data };
        self.counters.control_dropped += u64::from(!self.control.push(transmit));
    }

    fn ice(&mut self, home: Home) -> Option<&mut IceAgent> {
        match home {
            Home::Viewer(slot) => self.viewers.get_mut(slot).map(|viewer| &mut viewer.ice),
            Home::Publisher(slot) => self.publishers.get_mut(slot).map(|publisher| publisher.peer.ice_mut()),
        }
    }

    fn note_check(&mut self, tuple: Tuple, home: Home, checked: Checked) {
        self.counters.checks_answered += 1;
        if let Some(forgotten) = checked.forgotten.filter(|it| self.routes.by_tuple(*it) == Some(home)) {
            self.routes.forget(forgotten);
            self.hang_up(forgotten);
        }
        // Another Peer may have had this 4-tuple, or have claimed it with a forged address: the last check counts.
        if checked.learned || self.routes.by_tuple(tuple) != Some(home) {
            self.routes.learn(tuple, home);
        }
        if let Some(ufrag) = checked.retired {
            self.routes.retire(&ufrag);
        }
    }

    /// Answers checks of another ICE session of a Peer too; the first nomination among them ends the old one.
    pub(super) fn restart_ice(&mut self, id: PeerId, halves: Halves) {
        let Some(home) = self.routes.by_id(id) else { return };
        self.routes.add_ufrag(halves.ours.ufrag(), home);
        let given_up = self.ice(home).and_then(|ice| ice.restart(halves));
        self.counters.ice_restarts += 1;
        if let Some(ufrag) = given_up {
            self.routes.retire(&ufrag);
        }
    }

    /// A TCP connection ended.
    pub fn handle_hang_up(&mut self, tuple: Tuple) {
        let Some(home) = self.routes.by_tuple(tuple) else { return };
        self.routes.forget(tuple);
        match home {
            Home::Viewer(slot) => {
                if let Some(viewer) = self.viewers.get_mut(slot) {
                    viewer.ice.hang_up(tuple);
                    viewer.set_choked(tuple, false);
                }
            }
            Home::Publisher(slot) => {
                if let Some(publisher) = self.publishers.get_mut(slot) {
                    publisher.peer.hang_up(tuple);
                }
            }
        }
    }

    /// More waits on a TCP connection than its line takes (`full`), or that is sent. While it is full, its viewer's
    /// picture stops; it goes on with the keyframe after that. Sound needs so little that it always goes.
    pub fn handle_backlog(&mut self, tuple: Tuple, full: bool) {
        let Some(Home::Viewer(slot)) = self.routes.by_tuple(tuple) else { return };
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        viewer.set_choked(tuple, full);
        self.calm.disturb(slot);
        if !viewer.is_choked() {
            return;
        }
        self.counters.tcp_chokes += 1;
        if let Some(down) = viewer.down(Kind::Video)
            && matches!(down.flow, Flow::Live { .. } | Flow::CatchUp(_))
        {
            down.restart(Flow::Waiting);
            self.catching_up.retain(|other| *other != slot);
        }
    }

    /// A Peer has ended.
    pub(super) fn forget_ways(&mut self, id: PeerId, ice: &IceAgent) {
        self.routes.remove(id, ice);
        for tuple in ice.tuples() {
            self.hang_up(tuple);
        }
    }

    fn hang_up(&mut self, tuple: Tuple) {
        if tuple.transport == Transport::Tcp {
            self.actions.push_back(Action::HangUp(tuple));
        }
    }
}
