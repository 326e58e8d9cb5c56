//! The session resources of an endpoint: unguessable URLs that hold Peers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::ChannelName;
use secrecy::{ExposeSecret, SecretString};
use sfu::sdp::Fragment;
use sfu::{PeerEvent, PeerHandle};
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::endpoint::Companion;

/// Sessions of one endpoint: more than the Peers of a node, so that the SFU is what says no. One more is
/// answered with 503.
const SESSIONS_MAX: usize = 32_768;

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// Strong and quoted, unique per ICE session (RFC 9725 section 4.3.1).
    pub(super) tag: String,
    /// The other side's ufrag: another one in a fragment means an ICE restart.
    remote_ufrag: Option<String>,
    /// What the answer to an ICE restart begins with.
    head: String,
    token: Option<SecretString>,
    /// Dropping it ends the Peer.
    pub(super) peer: PeerHandle,
}

/// What a fragment with a ufrag of the other side comes to.
#[derive(Debug)]
pub(super) enum IceOffer {
    /// It is of the ICE session that there is.
    Known,
    /// It began another one: how it is called, and what to answer.
    Restarted { tag: String, fragment: String },
    /// The ICE session is not the expected one any more.
    Stale,
    /// The session is over.
    Gone,
}

/// What a session is made of.
pub(super) struct Opening {
    pub(super) protocol: &'static str,
    pub(super) channel: ChannelName,
    pub(super) remote_ufrag: Option<String>,
    pub(super) head: String,
    pub(super) token: Option<SecretString>,
    pub(super) peer: PeerHandle,
    pub(super) events: mpsc::Receiver<PeerEvent>,
    pub(super) companion: Option<Companion>,
}

/// The sessions of one endpoint. A session leaves when its Peer ends, whoever ends it.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    table: Arc<Mutex<HashMap<String, Session>>>,
    watchers: TaskTracker,
}

impl Sessions {
    /// Keeps a Peer; says the session's id and tag. `None`: no room.
    pub(super) fn open(&self, opening: Opening) -> Option<(String, String)> {
        let Opening { protocol, channel, remote_ufrag, head, token, peer, mut events, companion } = opening;
        // 128 bits of a generator made for secrets: the URL is a capability.
        let id = format!("{:032x}", rand::random::<u128>());
        let tag = quoted(peer.ufrag());
        let peer_id = peer.id();
        {
            let mut table = self.lock();
            if table.len() >= SESSIONS_MAX {
                return None;
            }
            table.insert(id.clone(), Session { tag: tag.clone(), remote_ufrag, head, token, peer });
        }
        let table = Arc::clone(&self.table);
        let watched = id.clone();
        self.watchers.spawn(async move {
            let mut why = "forgotten";
            while let Some(event) = events.recv().await {
                match event {
                    PeerEvent::Connected { srtp_profile, remote, transport } => {
                        let transport = transport.as_str();
                        info!(%channel, peer = %peer_id, protocol, srtp_profile, %remote, transport, "WebRTC peer connected");
                    }
                    PeerEvent::Fallback(reason) => {
                        info!(%channel, peer = %peer_id, protocol, reason = reason.as_str(), "WebRTC cannot carry the picture");
                    }
                    PeerEvent::Layers(_) => {}
                    // Of many at once; their shard has said so.
                    PeerEvent::Capped(_) => {}
                    PeerEvent::Closed(reason) => {
                        why = reason.as_str();
                        break;
                    }
                }
            }
            info!(%channel, peer = %peer_id, protocol, why, "WebRTC peer left");
            let ended = table.lock().unwrap_or_else(PoisonError::into_inner).remove(&watched);
            drop(ended);
            drop(companion);
        });
        Some((id, tag))
    }

    /// Looks at a session.
    pub(super) fn with<T>(&self, id: &str, look: impl FnOnce(&Session) -> T) -> Option<T> {
        self.lock().get(id).map(look)
    }

    /// The other side tells its half of an ICE session: a new ufrag restarts ICE. `expected`: only if the session still has
    /// that tag.
    pub(super) fn offer_ice(&self, id: &str, expected: Option<&str>, fragment: Fragment) -> IceOffer {
        let theirs = fragment.credentials;
        let mut table = self.lock();
        let Some(session) = table.get_mut(id) else { return IceOffer::Gone };
        if expected.is_some_and(|expected| session.tag != expected) {
            return IceOffer::Stale;
        }
        // An offer without a ufrag was refused: there is one to compare with.
        if session.remote_ufrag.as_deref().is_none_or(|known| known == theirs.ufrag()) {
            return IceOffer::Known;
        }
        let ufrag = theirs.ufrag().to_owned();
        let Ok(ice) = session.peer.restart_ice(theirs) else { return IceOffer::Gone };
        session.remote_ufrag = Some(ufrag);
        session.tag = quoted(ice.ufrag());
        IceOffer::Restarted { tag: session.tag.clone(), fragment: ice.fragment(&session.head) }
    }

    /// Ends a session; false if there was none.
    pub(super) fn close(&self, id: &str) -> bool {
        let ended = self.lock().remove(id);
        // Dropped after the lock: it tells a shard.
        ended.is_some()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A strong entity tag: one per ICE session.
fn quoted(ufrag: &str) -> String {
    format!("\"{ufrag}\"")
}

impl Session {
    /// Whether this token is the one that the session began with. The session's URL is a secret of its own,
    /// so a request without a token is fine; one with another token is a mistake worth telling.
    pub(super) fn allows(&self, token: Option<&SecretString>) -> bool {
        let (Some(ours), Some(theirs)) = (&self.token, token) else { return true };
        ours.expose_secret().as_bytes().ct_eq(theirs.expose_secret().as_bytes()).into()
    }
}
