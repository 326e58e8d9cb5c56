//! How many viewers each Stream has: a seat per viewer, given up when its Peer is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::StreamId;

/// Viewers by Stream. Bounded by the number of Peers.
#[derive(Debug, Default)]
pub(crate) struct Audience(Mutex<HashMap<StreamId, u64>>);

impl Audience {
    /// Takes a seat.
    pub(crate) fn seat(self: &Arc<Self>, stream: StreamId) -> Seat {
        *self.lock().entry(stream).or_default() += 1;
        Seat { audience: Arc::clone(self), stream }
    }

    /// Seats taken.
    pub(crate) fn viewers(&self, stream: StreamId) -> u64 {
        self.lock().get(&stream).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One viewer's place; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Seat {
    audience: Arc<Audience>,
    stream: StreamId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut viewers = self.audience.lock();
        if let Some(count) = viewers.get_mut(&self.stream) {
            *count -= 1;
            if *count == 0 {
                viewers.remove(&self.stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_per_stream_and_forgotten() {
        let audience = Arc::new(Audience::default());
        let (one, other) = (StreamId::from_raw(1), StreamId::from_raw(2));
        let seats = [audience.seat(one), audience.seat(one), audience.seat(other)];
        assert_eq!((audience.viewers(one), audience.viewers(other)), (2, 1));
        drop(seats);
        assert!(audience.lock().is_empty());
    }
}
