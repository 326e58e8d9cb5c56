//! Rooms, messages, rate limit, history.
