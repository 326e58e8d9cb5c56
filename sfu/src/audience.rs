//! How many viewers each Stream has: a seat per viewer, given up when its Peer is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::StreamId;

use crate::capacity::Limit;

/// Viewers by Stream.
#[derive(Debug, Default)]
pub(crate) struct Audience(Mutex<Seats>);

#[derive(Debug, Default)]
struct Seats {
    /// Bounded by `all`: a Stream without viewers has no entry.
    by_stream: HashMap<StreamId, u64>,
    all: u64,
}

impl Audience {
    /// Takes a seat, unless the Stream has `of_stream_max` viewers or the node `max`.
    pub(crate) fn seat(
        self: &Arc<Self>,
        stream: StreamId,
        of_stream_max: u64,
        max: u64,
    ) -> Result<Seat, Limit> {
        let mut seats = self.lock();
        if seats.all >= max {
            return Err(Limit::Viewers);
        }
        if seats.by_stream.get(&stream).is_some_and(|taken| *taken >= of_stream_max) {
            return Err(Limit::ViewersOfStream);
        }
        *seats.by_stream.entry(stream).or_default() += 1;
        seats.all += 1;
        drop(seats);
        Ok(Seat { audience: Arc::clone(self), stream })
    }

    /// Seats taken.
    pub(crate) fn viewers(&self, stream: StreamId) -> u64 {
        self.lock().by_stream.get(&stream).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
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
        let mut seats = self.audience.lock();
        seats.all -= 1;
        if let Some(count) = seats.by_stream.get_mut(&self.stream) {
            *count -= 1;
            if *count == 0 {
                seats.by_stream.remove(&self.stream);
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
        let seats = [one, one, other].map(|stream| audience.seat(stream, 10, 10).expect("a seat"));
        assert_eq!((audience.viewers(one), audience.viewers(other)), (2, 1));
        drop(seats);
        assert!(audience.lock().by_stream.is_empty());
        assert_eq!(audience.lock().all, 0);
    }

    #[test]
    fn a_stream_and_the_node_have_so_many_seats_and_no_more() {
        let audience = Arc::new(Audience::default());
        let (one, other) = (StreamId::from_raw(1), StreamId::from_raw(2));
        let seat = |stream| audience.seat(stream, 2, 3);
        let (first, _second) = (seat(one).expect("free"), seat(one).expect("free"));
        assert_eq!(seat(one).err(), Some(Limit::ViewersOfStream));
        let _third = seat(other).expect("free");
        assert_eq!(seat(other).err(), Some(Limit::Viewers));
        drop(first);
        seat(one).expect("free again");
    }
}
