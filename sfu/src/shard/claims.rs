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

use crate::core::{Claim, Negotiated};
use crate::event::EventSender;
use crate::{CloseReason, LayerChoice, PeerId};

/// How long a negotiated Peer waits. Browsers give up after 15 to 30 s.
pub const WAIT: Duration = Duration::from_secs(30);

/// Peers that wait at the same time. A healthy viewer waits well under a second, so this is thousands of
/// arrivals per second; beyond it, offers are refused.
pub const WAITING_MAX: usize = 4096;

/// There is no room for another Peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Where a Peer is when its handle closes it.
pub(crate) enum Whereabouts {
    /// It waited, and is closed now.
    Waited,
    /// On that shard.
    At(usize),
    /// It ended before.
    Gone,
}

/// All Peers of this node by our ICE ufrag.
#[derive(Debug)]
pub struct Claims {
    peers_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<String, Entry>,
    waiting: usize,
    expired: u64,
}

#[derive(Debug)]
enum Entry {
    Waiting { peer: Box<Negotiated>, events: EventSender, since: Instant },
    Taken { shard: usize },
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
        let ufrag = peer.ufrag().to_owned();
        let old = table.entries.insert(ufrag, Entry::Waiting { peer, events, since: now });
        debug_assert!(old.is_none(), "two Peers with one ufrag");
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
        let Some(entry) = table.entries.get_mut(ufrag) else { return (Claim::Unknown, None) };
        if let (Entry::Waiting { peer, .. }, Some(other)) = (&*entry, instead)
            && matches!(**peer, Negotiated::Viewer(_))
        {
            return (Claim::Elsewhere(other), None);
        }
        if let Entry::Taken { shard: owner } = entry {
            // Its own shard has just ended it, or will hear of it in a moment: nothing to be done for now.
            let claim = if *owner == shard { Claim::Unknown } else { Claim::Elsewhere(*owner) };
            return (claim, None);
        }
        let Entry::Waiting { peer, events, .. } = std::mem::replace(entry, Entry::Taken { shard }) else {
            return (Claim::Unknown, None);
        };
        table.waiting -= 1;
        let id = peer.id();
        (Claim::Yours(peer), Some((id, events)))
    }

    /// The handle of that Peer closes it.
    pub(crate) fn close(&self, ufrag: &str) -> Whereabouts {
        let mut table = self.lock();
        match table.entries.get(ufrag) {
            None => Whereabouts::Gone,
            Some(Entry::Taken { shard }) => Whereabouts::At(*shard),
            Some(Entry::Waiting { .. }) => {
                let entry = table.entries.remove(ufrag);
                table.waiting -= 1;
                // A publication ends with its Peer, and that takes locks of the Hub: not under ours.
                drop(table);
                if let Some(Entry::Waiting { events, .. }) = entry {
                    events.close(CloseReason::Local);
                }
                Whereabouts::Waited
            }
        }
    }

    /// On which shard a Peer is, once it connected.
    pub(crate) fn shard_of(&self, ufrag: &str) -> Option<usize> {
        match self.lock().entries.get(ufrag) {
            Some(Entry::Taken { shard }) => Some(*shard),
            Some(Entry::Waiting { .. }) | None => None,
        }
    }

    /// A viewer chose what it wants to see. `Some`: it does not wait here any more; tell its shard.
    pub(crate) fn choose(&self, ufrag: &str, choice: LayerChoice) -> Option<LayerChoice> {
        match self.lock().entries.get_mut(ufrag) {
            Some(Entry::Waiting { peer, .. }) => {
                if let Negotiated::Viewer(spec) = &mut **peer {
                    spec.choose(choice);
                }
                None
            }
            Some(Entry::Taken { .. }) => Some(choice),
            None => None,
        }
    }

    /// A connected Peer ended.
    pub(crate) fn remove(&self, ufrag: &str) {
        self.lock().entries.remove(ufrag);
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
            let expired = table.entries.extract_if(|_, entry| {
                matches!(entry, Entry::Waiting { since, .. } if all || now.duration_since(*since) >= WAIT)
            });
            ended.extend(expired);
            table.waiting -= ended.len();
            table.expired += ended.len() as u64;
        }
        for (_, entry) in ended {
            if let Entry::Waiting { events, .. } = entry {
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
            let (sender, receiver) = EventSender::new(None);
            (Box::new(Negotiated::Viewer(spec)), sender, receiver)
        }

        /// Puts one in and returns its ufrag.
        fn insert(&mut self, claims: &Claims, now: Instant) -> (String, Receiver<PeerEvent>) {
            let (peer, sender, receiver) = self.viewer();
            let ufrag = peer.ufrag().to_owned();
            claims.insert(now, peer, sender).unwrap();
            (ufrag, receiver)
        }
    }

    #[test]
    fn the_first_shard_that_asks_gets_the_peer_and_the_others_hear_who_has_it() {
        let (claims, mut maker, now) = (Claims::new(10), Maker::new(), clock());
        let (ufrag, _events) = maker.insert(&claims, now);
        assert_eq!((claims.waiting(), claims.shard_of(&ufrag)), ((1, 0), None));
        assert!(matches!(claims.claim("somebody", 1, None), (Claim::Unknown, None)));

        let (claim, mine) = claims.claim(&ufrag, 2, None);
        let (Claim::Yours(peer), Some((id, _sender))) = (claim, mine) else { panic!("it was free") };
        assert_eq!((peer.id(), peer.ufrag()), (id, ufrag.as_str()));
        assert_eq!((claims.waiting(), claims.shard_of(&ufrag)), ((0, 0), Some(2)));
        assert!(matches!(claims.claim(&ufrag, 0, None), (Claim::Elsewhere(2), None)));
        assert!(matches!(claims.claim(&ufrag, 2, None), (Claim::Unknown, None)), "it has it already");
        assert!(matches!(claims.close(&ufrag), Whereabouts::At(2)));
        claims.remove(&ufrag);
        assert!(matches!(claims.claim(&ufrag, 0, None), (Claim::Unknown, None)));
        assert!(matches!(claims.close(&ufrag), Whereabouts::Gone));
    }

    #[test]
    fn a_shard_that_takes_no_viewers_names_one_that_does() {
        let (claims, mut maker, now) = (Claims::new(10), Maker::new(), clock());
        let (ufrag, _events) = maker.insert(&claims, now);
        assert!(matches!(claims.claim(&ufrag, 0, Some(1)), (Claim::Elsewhere(1), None)));
        assert!(matches!(claims.claim(&ufrag, 1, None), (Claim::Yours(_), Some(_))));
        assert!(matches!(claims.claim(&ufrag, 0, Some(2)), (Claim::Elsewhere(1), None)), "it is there now");
    }

    #[test]
    fn who_waits_in_vain_is_told_after_30_seconds() {
        let (claims, mut maker, now) = (Claims::new(10), Maker::new(), clock());
        let (early, mut early_events) = maker.insert(&claims, now);
        let (late, mut late_events) = maker.insert(&claims, now + Duration::from_secs(10));
        let (taken, _taken_events) = maker.insert(&claims, now);
        let _peer = claims.claim(&taken, 0, None);
        claims.expire(now + WAIT - Duration::from_millis(1), CloseReason::NeverConnected);
        assert!(early_events.try_recv().is_err());
        claims.expire(now + WAIT, CloseReason::NeverConnected);
        assert_eq!(early_events.try_recv(), Ok(PeerEvent::Closed(CloseReason::NeverConnected)));
        assert!(late_events.try_recv().is_err());
        assert_eq!(claims.waiting(), (1, 1));
        assert!(matches!(claims.claim(&early, 0, None), (Claim::Unknown, None)));
        assert_eq!(claims.shard_of(&taken), Some(0), "a connected Peer does not expire here");
        claims.expire(now, CloseReason::Stopping);
        assert_eq!(late_events.try_recv(), Ok(PeerEvent::Closed(CloseReason::Stopping)));
        assert!(matches!(claims.close(&late), Whereabouts::Gone));
    }

    #[test]
    fn a_choice_waits_with_the_peer_and_then_goes_to_its_shard() {
        let (claims, mut maker, now) = (Claims::new(10), Maker::new(), clock());
        let (ufrag, _events) = maker.insert(&claims, now);
        assert_eq!(claims.choose(&ufrag, LayerChoice::AudioOnly), None);
        let (Claim::Yours(peer), Some(_mine)) = claims.claim(&ufrag, 0, None) else { panic!("it was free") };
        let Negotiated::Viewer(spec) = *peer else { panic!("it is a viewer") };
        assert_eq!(*spec.choice(), LayerChoice::AudioOnly);
        assert_eq!(claims.choose(&ufrag, LayerChoice::default()), Some(LayerChoice::default()));
        assert_eq!(claims.choose("somebody", LayerChoice::default()), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let (claims, mut maker, now) = (Claims::new(2), Maker::new(), clock());
        let (first, mut events) = maker.insert(&claims, now);
        let (second, _second_events) = maker.insert(&claims, now);
        let _peer = claims.claim(&second, 0, None);
        let (peer, sender, _receiver) = maker.viewer();
        assert_eq!(claims.insert(now, peer, sender), Err(Full));
        assert!(matches!(claims.close(&first), Whereabouts::Waited));
        assert_eq!(events.try_recv(), Ok(PeerEvent::Closed(CloseReason::Local)));
        maker.insert(&claims, now);
    }
}
