//! Which shard has which Peer: the table in which a negotiated Peer waits for its first STUN check.
//!
//! ```text
//!   handle ── insert ──► waiting ── claim (first STUN check) ──► taken by a shard ── remove ──► gone
//!                           └────────── expire (30 s) ──────────────────────────────────────────┘
//! ```
//! Locked per negotiation, per STUN check from an unknown 4-tuple and per end of a Peer: never per packet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::core::{Claim, Halves, Negotiated};
use crate::event::EventSender;
use crate::{CloseReason, LayerChoice, PeerId};

/// How long a negotiated Peer waits. Browsers give up after 15 to 30 s.
pub const WAIT: Duration = Duration::from_secs(30);

/// Peers that wait at the same time. A healthy viewer waits well under a second, so this is thousands of
/// arrivals per second; beyond it, offers are refused.
pub const WAITING_MAX: usize = 4096;

/// ICE sessions of a Peer under which it is found: the one in use, and restarts that came to nothing yet. The
/// oldest is forgotten here for one more; its own shard knows it longer.
const SESSIONS_MAX: usize = 4;

/// There is no room for another Peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Where a Peer is when its handle wants something of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// It waits, or waited.
    Waited,
    /// On that shard.
    At(usize),
    /// It ended before.
    Gone,
}

/// All Peers of this node, by our ICE ufrags.
#[derive(Debug)]
pub struct Claims {
    peers_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<PeerId, Entry>,
    ufrags: HashMap<String, PeerId>,
    waiting: usize,
    expired: u64,
}

#[derive(Debug)]
struct Entry {
    /// The newest last.
    ufrags: Vec<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting { peer: Box<Negotiated>, events: EventSender, since: Instant },
    Taken { shard: usize },
}

impl Table {
    fn remove(&mut self, id: PeerId) -> Option<State> {
        let entry = self.entries.remove(&id)?;
        for ufrag in &entry.ufrags {
            self.ufrags.remove(ufrag);
        }
        Some(entry.state)
    }

    fn by_ufrag(&self, ufrag: &str) -> Option<(PeerId, &Entry)> {
        let id = *self.ufrags.get(ufrag)?;
        Some((id, self.entries.get(&id)?))
    }
}

impl Claims {
    /// An empty table for so many Peers, waiting and connected.
    pub fn new(peers_max: usize) -> Self {
        Self { peers_max, table: Mutex::new(Table::default()) }
    }

    /// Lets a Peer wait.
    ///
    /// # Errors
    /// The table is full. The Peer is dropped then: a publication ends.
    pub(crate) fn insert(
        &self,
        now: Instant,
        peer: Box<Negotiated>,
        events: EventSender,
    ) -> Result<(), Full> {
        let mut table = self.lock();
        if table.entries.len() >= self.peers_max || table.waiting >= WAITING_MAX {
            drop(table);
            return Err(Full);
        }
        let (id, ufrag) = (peer.id(), peer.ufrag().to_owned());
        let old = table.ufrags.insert(ufrag.clone(), id);
        debug_assert!(old.is_none(), "two Peers with one ufrag");
        let state = State::Waiting { peer, events, since: now };
        table.entries.insert(id, Entry { ufrags: vec![ufrag], state });
        table.waiting += 1;
        Ok(())
    }

    /// A STUN check for `ufrag` came to `shard`, which does not know it. `instead`: the shard that takes new viewers
    /// for it, if it takes none itself.
    pub(crate) fn claim(
        &self,
        ufrag: &str,
        shard: usize,
        instead: Option<usize>,
    ) -> (Claim, Option<(PeerId, EventSender)>) {
        let mut table = self.lock();
        let Some(id) = table.ufrags.get(ufrag).copied() else { return (Claim::Unknown, None) };
        let Some(entry) = table.entries.get_mut(&id) else { return (Claim::Unknown, None) };
        if let (State::Waiting { peer, .. }, Some(other)) = (&entry.state, instead)
            && matches!(**peer, Negotiated::Viewer(_))
        {
            return (Claim::Elsewhere(other), None);
        }
        if let State::Taken { shard: owner } = entry.state {
            // Its own shard has just ended it, or will hear of it in a moment: nothing to be done for now.
            let claim = if owner == shard { Claim::Unknown } else { Claim::Elsewhere(owner) };
            return (claim, None);
        }
        let taken = std::mem::replace(&mut entry.state, State::Taken { shard });
        let State::Waiting { peer, events, .. } = taken else { return (Claim::Unknown, None) };
        table.waiting -= 1;
        (Claim::Yours(peer), Some((id, events)))
    }

    /// Where the Peer is whose check carries this ufrag.
    pub(crate) fn whereabouts(&self, ufrag: &str) -> Whereabouts {
        match self.lock().by_ufrag(ufrag).map(|(_, entry)| &entry.state) {
            Some(State::Waiting { .. }) => Whereabouts::Waited,
            Some(State::Taken { shard }) => Whereabouts::At(*shard),
            None => Whereabouts::Gone,
        }
    }

    /// Begins another ICE session of a Peer: from now on it is found under this ufrag too. `At`: tell its shard.
    /// One that waits begins anew, it has no session yet that could go on.
    pub(crate) fn restart_ice(&self, id: PeerId, halves: Halves) -> Whereabouts {
        let mut table = self.lock();
        let Table { entries, ufrags, .. } = &mut *table;
        let Some(entry) = entries.get_mut(&id) else { return Whereabouts::Gone };
        let ufrag = halves.ours.ufrag().to_owned();
        let (keep, whereabouts) = match &mut entry.state {
            State::Waiting { peer, .. } => {
                peer.replace_credentials(halves);
                (0, Whereabouts::Waited)
            }
            State::Taken { shard } => (SESSIONS_MAX - 1, Whereabouts::At(*shard)),
        };
        while entry.ufrags.len() > keep {
            ufrags.remove(&entry.ufrags.remove(0));
        }
        ufrags.insert(ufrag.clone(), id);
        entry.ufrags.push(ufrag);
        whereabouts
    }

    /// The handle of that Peer closes it.
    pub(crate) fn close(&self, id: PeerId) -> Whereabouts {
        let mut table = self.lock();
        match table.entries.get(&id).map(|entry| &entry.state) {
            None => Whereabouts::Gone,
            Some(State::Taken { shard }) => Whereabouts::At(*shard),
            Some(State::Waiting { .. }) => {
                let state = table.remove(id);
                table.waiting -= 1;
                // A publication ends with its Peer, and that takes locks of the Hub: not under ours.
                drop(table);
                if let Some(State::Waiting { events, .. }) = state {
                    events.close(CloseReason::Local);
                }
                Whereabouts::Waited
            }
        }
    }

    /// On which shard a Peer is, once it connected.
    pub(crate) fn shard_of(&self, id: PeerId) -> Option<usize> {
        match self.lock().entries.get(&id)?.state {
            State::Taken { shard } => Some(shard),
            State::Waiting { .. } => None,
        }
    }

    /// A viewer chose what it wants to see. `Some`: it does not wait here any more; tell its shard.
    pub(crate) fn choose(&self, id: PeerId, choice: LayerChoice) -> Option<LayerChoice> {
        match &mut self.lock().entries.get_mut(&id)?.state {
            State::Waiting { peer, .. } => {
                if let Negotiated::Viewer(spec) = &mut **peer {
                    spec.choose(choice);
                }
                None
            }
            State::Taken { .. } => Some(choice),
        }
    }

    /// A connected Peer ended.
    pub(crate) fn remove(&self, id: PeerId) {
        self.lock().remove(id);
    }

    /// Ends those that waited too long, or all that wait (`Stopping`).
    pub(crate) fn expire(&self, now: Instant, reason: CloseReason) {
        let mut ended = Vec::new();
        {
            let mut table = self.lock();
            if table.waiting == 0 {
                return;
            }
            let all = reason == CloseReason::Stopping;
            let late = |entry: &Entry| matches!(entry.state, State::Waiting { since, .. } if all || now.duration_since(since) >= WAIT);
            let late: Vec<PeerId> =
                table.entries.iter().filter(|(_, entry)| late(entry)).map(|(id, _)| *id).collect();
            ended.extend(late.into_iter().filter_map(|id| table.remove(id)));
            table.waiting -= ended.len();
            table.expired += ended.len() as u64;
        }
        for state in ended {
            if let State::Waiting { events, .. } = state {
                events.close(reason);
            }
        }
    }

    /// How many wait now, and how many waited in vain.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let table = self.lock();
        (table.waiting as u64, table.expired)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use media::{ChannelName, Hub, NtpTime, Publication};
    use str0m::Rtc;
    use str0m::media::{Direction, MediaKind};
    use tokio::sync::mpsc::Receiver;

    use super::*;
    use crate::PeerEvent;
    use crate::core::Credentials;
    use crate::core::viewer::{Identity, Spec};
    use crate::egress::seal::Profile;
    use crate::sdp::SubscribeOffer;
    use crate::shard::clock;

    /// Makes viewers that differ in their ids and ufrags.
    struct Maker {
        hub: Arc<Hub>,
        offer: SubscribeOffer,
        identity: Identity,
        made: u8,
    }

    impl Maker {
        fn new() -> Self {
            str0m::crypto::from_feature_flags().install_process_default();
            let mut rtc = Rtc::builder().build(clock());
            let mut change = rtc.sdp_api();
            change.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
            let (offer, _) = change.apply().unwrap();
            let hub = Hub::new(Duration::from_secs(60));
            let channel = ChannelName::parse("test").unwrap();
            let wall = NtpTime::from_unix_micros(0);
            hub.publish(&channel, Publication::default(), clock(), wall).map(drop).unwrap();
            Self {
                hub,
                offer: SubscribeOffer::parse(&offer.to_sdp_string()).unwrap(),
                identity: Identity::generate(&Profile::ALL).unwrap(),
                made: 0,
            }
        }

        fn viewer(&mut self) -> (Box<Negotiated>, EventSender, Receiver<PeerEvent>) {
            self.made += 1;
            let stream = self.hub.stream(&ChannelName::parse("test").unwrap()).unwrap();
            let id = PeerId(self.made.into());
            let (spec, _) = Spec::negotiate(id, stream, &self.offer, &self.identity, &[], &[self.made; 96]);
            let (sender, receiver) = EventSender::new(None, None);
            (Box::new(Negotiated::Viewer(spec)), sender, receiver)
        }

        /// Puts one in; returns its id and ufrag.
        fn insert(&mut self, claims: &Claims, now: Instant) -> ((PeerId, String), Receiver<PeerEvent>) {
            let (peer, sender, receiver) = self.viewer();
            let names = (peer.id(), peer.ufrag().to_owned());
            claims.insert(now, peer, sender).unwrap();
            (names, receiver)
        }
    }

    #[test]
    fn the_first_shard_that_asks_gets_the_peer_and_the_others_hear_who_has_it() {
        let (claims, mut maker, now) = (Claims::new(10), Maker::new(), clock());
        let ((id, ufrag), _events) = maker.insert(&claims, now);
        assert_eq!((claims.waiting(), claims.shard_of(id)), ((1, 0), None));
        assert_eq!(claims.whereabouts(&ufrag), Whereabouts::Waited);
        assert!(matches!(claims.claim("somebody", 1, None), (Claim::Unknown, None)));

        let (claim, mine) = claims.claim(&ufrag, 2, None);
        let (Claim::Yours(peer), Some((claimed, _sender))) = (claim, mine) else { panic!("it was free") };
        assert_eq!((peer.id(), claimed, peer.ufrag()), (id, id, ufrag.as_str()));
        assert_eq!((claims.waiting(), claims.shard_of(id)), ((0, 0), Some(2)));
        assert_eq!(claims.whereabouts(&ufrag), Whereabouts::At(2));
        assert!(matches!(claims.claim(&ufrag, 0, None), (Claim::Elsewhere(2), None)));
        assert!(matches!(claims.claim(&ufrag, 2, None), (Claim::Unknown, None)), "it has it already");
        assert_eq!(claims.close(id), Whereabouts::At(2));
        claims.remove(id);
        assert!(matches!(claims.claim(&ufrag, 0, None), (Claim::Unknown, None)));
        assert_eq!(claims.close(id), Whereabouts::Gone);
        assert_eq!(claims.whereabouts(&ufrag), Whereabouts::Gone);
    }

    fn session(ufrag: &str) -> Halves {
        let half = |ufrag: &str| Credentials::new(ufrag.to_owned(), "a password of no importance");
        Halves { ours: half(ufrag), theirs: half("theirs") }
    }

    #[test]
    fn a_restarted_peer_is_found_under_both_ufrags_and_one_that_waits_under_the_new_one() {
        let (claims, mut maker, now) = (Claims::new(10), Maker::new(), clock());
        let ((id, first), _events) = maker.insert(&claims, now);
        assert_eq!(claims.restart_ice(id, session("second")), Whereabouts::Waited);
        assert!(matches!(claims.claim(&first, 1, None), (Claim::Unknown, None)));
        let (claim, _mine) = claims.claim("second", 1, None);
        let Claim::Yours(peer) = claim else { panic!("it waits") };
        assert_eq!(peer.ufrag(), "second");

        assert_eq!(claims.restart_ice(id, session("third")), Whereabouts::At(1));
        for ufrag in ["second", "third"] {
            assert!(matches!(claims.claim(ufrag, 0, None), (Claim::Elsewhere(1), None)), "{ufrag}");
        }
        for number in 0..10 {
            claims.restart_ice(id, session(&format!("more {number}")));
        }
        assert_eq!(claims.lock().ufrags.len(), SESSIONS_MAX);
        assert_eq!(claims.whereabouts("more 9"), Whereabouts::At(1));
        claims.remove(id);
        assert!(claims.lock().ufrags.is_empty());
        assert_eq!(claims.restart_ice(id, session("late")), Whereabouts::Gone);
    }

    #[test]
    fn a_shard_that_takes_no_viewers_names_one_that_does() {
        let (claims, mut maker, now) = (Claims::new(10), Maker::new(), clock());
        let ((_, ufrag), _events) = maker.insert(&claims, now);
        assert!(matches!(claims.claim(&ufrag, 0, Some(1)), (Claim::Elsewhere(1), None)));
        assert!(matches!(claims.claim(&ufrag, 1, None), (Claim::Yours(_), Some(_))));
        assert!(matches!(claims.claim(&ufrag, 0, Some(2)), (Claim::Elsewhere(1), None)), "it is there now");
    }

    #[test]
    fn who_waits_in_vain_is_told_after_30_seconds() {
        let (claims, mut maker, now) = (Claims::new(10), Maker::new(), clock());
        let ((_, early), mut early_events) = maker.insert(&claims, now);
        let ((late, _), mut late_events) = maker.insert(&claims, now + Duration::from_secs(10));
        let ((taken, ufrag), _taken_events) = maker.insert(&claims, now);
        let _peer = claims.claim(&ufrag, 0, None);
        claims.expire(now + WAIT - Duration::from_millis(1), CloseReason::NeverConnected);
        assert!(early_events.try_recv().is_err());
        claims.expire(now + WAIT, CloseReason::NeverConnected);
        assert_eq!(early_events.try_recv(), Ok(PeerEvent::Closed(CloseReason::NeverConnected)));
        assert!(late_events.try_recv().is_err());
        assert_eq!(claims.waiting(), (1, 1));
        assert!(matches!(claims.claim(&early, 0, None), (Claim::Unknown, None)));
        assert_eq!(claims.shard_of(taken), Some(0), "a connected Peer does not expire here");
        claims.expire(now, CloseReason::Stopping);
        assert_eq!(late_events.try_recv(), Ok(PeerEvent::Closed(CloseReason::Stopping)));
        assert_eq!(claims.close(late), Whereabouts::Gone);
    }

    #[test]
    fn a_choice_waits_with_the_peer_and_then_goes_to_its_shard() {
        let (claims, mut maker, now) = (Claims::new(10), Maker::new(), clock());
        let ((id, ufrag), _events) = maker.insert(&claims, now);
        assert_eq!(claims.choose(id, LayerChoice::AudioOnly), None);
        let (Claim::Yours(peer), Some(_mine)) = claims.claim(&ufrag, 0, None) else { panic!("it was free") };
        let Negotiated::Viewer(spec) = *peer else { panic!("it is a viewer") };
        assert_eq!(*spec.choice(), LayerChoice::AudioOnly);
        assert_eq!(claims.choose(id, LayerChoice::default()), Some(LayerChoice::default()));
        assert_eq!(claims.choose(PeerId::from_raw(999), LayerChoice::default()), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let (claims, mut maker, now) = (Claims::new(2), Maker::new(), clock());
        let ((first, _), mut events) = maker.insert(&claims, now);
        let ((_, second), _second_events) = maker.insert(&claims, now);
        let _peer = claims.claim(&second, 0, None);
        let (peer, sender, _receiver) = maker.viewer();
        assert_eq!(claims.insert(now, peer, sender), Err(Full));
        assert_eq!(claims.close(first), Whereabouts::Waited);
        assert_eq!(events.try_recv(), Ok(PeerEvent::Closed(CloseReason::Local)));
        maker.insert(&claims, now);
    }
}
