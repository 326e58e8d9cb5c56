//! The session resources of an endpoint: unguessable URLs that hold Peers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::ChannelName;
use secrecy::{ExposeSecret, SecretString};
use sfu::{PeerEvent, PeerHandle};
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::info;

/// Sessions of one endpoint: more than the Peers of a node, so that the SFU is what says no. One more is
/// answered with 503.
const SESSIONS_MAX: usize = 32_768;

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// Strong and quoted, unique per ICE session (RFC 9725 section 4.3.1).
    pub(super) tag: String,
    /// The other side's ufrag: another one in a fragment means an ICE restart.
    pub(super) remote_ufrag: Option<String>,
    token: Option<SecretString>,
    /// Dropping it ends the Peer.
    pub(super) peer: PeerHandle,
}

/// What a session is made of.
pub(super) struct Opening {
    pub(super) protocol: &'static str,
    pub(super) channel: ChannelName,
    pub(super) remote_ufrag: Option<String>,
    pub(super) token: Option<SecretString>,
    pub(super) peer: PeerHandle,
    pub(super) events: mpsc::Receiver<PeerEvent>,
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
        let Opening { protocol, channel, remote_ufrag, token, peer, mut events } = opening;
        // 128 bits of a generator made for secrets: the URL is a capability.
        let id = format!("{:032x}", rand::random::<u128>());
        let tag = format!("\"{}\"", peer.ufrag());
        let peer_id = peer.id();
        {
            let mut table = self.lock();
            if table.len() >= SESSIONS_MAX {
                return None;
            }
            table.insert(id.clone(), Session { tag: tag.clone(), remote_ufrag, token, peer });
        }
        let table = Arc::clone(&self.table);
        let watched = id.clone();
        self.watchers.spawn(async move {
            let mut why = "forgotten";
            while let Some(event) = events.recv().await {
                match event {
                    PeerEvent::Connected { srtp_profile, remote } => {
                        info!(%channel, peer = %peer_id, protocol, srtp_profile, %remote, "WebRTC peer connected");
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
        });
        Some((id, tag))
    }

    /// Looks at a session.
    pub(super) fn with<T>(&self, id: &str, look: impl FnOnce(&Session) -> T) -> Option<T> {
        self.lock().get(id).map(look)
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

impl Session {
    /// Whether this token is the one that the session began with. The session's URL is a secret of its own,
    /// so a request without a token is fine; one with another token is a mistake worth telling.
    pub(super) fn allows(&self, token: Option<&SecretString>) -> bool {
        let (Some(ours), Some(theirs)) = (&self.token, token) else { return true };
        ours.expose_secret().as_bytes().ct_eq(theirs.expose_secret().as_bytes()).into()
    }
}
