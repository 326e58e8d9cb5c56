//! What the uploader is told: which recordings changed. It never blocks who tells.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use media::StreamId;
use tokio::sync::Notify;

/// What happened to a recording since the uploader looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Its journal has grown.
    Grown,
    /// It has another state, or its journal was written anew.
    Changed,
    /// It was removed; what is left of it lies there.
    Removed(PathBuf),
}

/// News by recording. One per recording: it cannot hold more than there are.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    news: Mutex<BTreeMap<StreamId, Wake>>,
    more: Notify,
}

impl Inbox {
    /// Takes note. What says less than what is known already is forgotten.
    pub(crate) fn tell(&self, id: StreamId, wake: Wake) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        match (news.get(&id), &wake) {
            (Some(Wake::Removed(_)), _) | (Some(Wake::Changed), Wake::Grown) => {}
            _ => {
                news.insert(id, wake);
            }
        }
        drop(news);
        self.more.notify_one();
    }

    /// Everything that is new.
    pub(crate) fn take(&self) -> BTreeMap<StreamId, Wake> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there may be something.
    pub(crate) async fn changed(&self) {
        self.more.notified().await;
    }
}

/// How a recorder tells of its recording.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) id: StreamId,
}

impl News {
    /// The journal has grown.
    pub(crate) fn grown(&self) {
        self.inbox.tell(self.id, Wake::Grown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_per_recording_and_the_strongest() {
        let (inbox, id) = (Inbox::default(), StreamId::from_raw(7));
        inbox.tell(id, Wake::Grown);
        inbox.tell(id, Wake::Changed);
        inbox.tell(id, Wake::Grown);
        assert_eq!(inbox.take(), BTreeMap::from([(id, Wake::Changed)]));
        inbox.tell(id, Wake::Removed("x".into()));
        inbox.tell(id, Wake::Changed);
        assert_eq!(inbox.take(), BTreeMap::from([(id, Wake::Removed("x".into()))]));
        assert!(inbox.take().is_empty());
    }
}
