//! How recordings ended, and whether whoever wants to hear of that was told: it stands in the manifest, so that a process
//! that dies in between is followed by one that tells.

use media::StreamId;

use super::library::Recordings;
use super::manifest::Recording;

impl Recordings {
    /// The recordings that became `ready` or `failed` and for which [`Self::told`] was not called, oldest first. After a
    /// start: also those of the process before.
    pub fn untold(&self) -> Vec<Recording> {
        self.lock().values().filter(|it| it.untold).cloned().collect()
    }

    /// Whoever wants to hear of its end will. Waits for the disk; a process that dies before it tells again.
    pub fn told(&self, id: StreamId) {
        self.note(id, |it| it.untold = false);
    }
}
