//! Who is a member of which channel address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Mailbox;
use super::lanes::Lane;

/// Members by channel address. Addresses are of real channels or `home`, which bounds their number.
#[derive(Default)]
pub(super) struct Presence {
    rooms: Mutex<HashMap<String, Members>>,
}

#[derive(Default)]
struct Members {
    mailboxes: Vec<Mailbox>,
    /// Cancelled when the last member has left.
    deserted: CancellationToken,
}

impl Presence {
    /// Adds a member. For the first one of that address on this node: what is cancelled when the last one
    /// has left.
    pub(super) fn join(&self, ch: &str, mailbox: &Mailbox) -> Option<CancellationToken> {
        let mut rooms = self.lock();
        let members = rooms.entry(ch.to_owned()).or_default();
        if members.mailboxes.iter().any(|known| Arc::ptr_eq(known, mailbox)) {
            return None;
        }
        members.mailboxes.push(Arc::clone(mailbox));
        (members.mailboxes.len() == 1).then(|| members.deserted.clone())
    }

    /// Removes a member.
    pub(super) fn leave(&self, ch: &str, mailbox: &Mailbox) {
        let mut rooms = self.lock();
        let Some(members) = rooms.get_mut(ch) else { return };
        members.mailboxes.retain(|known| !Arc::ptr_eq(known, mailbox));
        if members.mailboxes.is_empty() {
            members.deserted.cancel();
            rooms.remove(ch);
        }
    }

    /// How many members an address has here.
    pub(super) fn members(&self, ch: &str) -> usize {
        self.lock().get(ch).map_or(0, |members| members.mailboxes.len())
    }

    /// Queues one shared frame for every member.
    pub(super) fn tell(&self, ch: &str, lane: Lane, frame: &Arc<str>) {
        if let Some(members) = self.lock().get(ch) {
            for mailbox in &members.mailboxes {
                mailbox.push(lane.clone(), Arc::clone(frame));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Members>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence").field("rooms", &self.lock().len()).finish()
    }
}
