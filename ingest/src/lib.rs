//! RTMP and WHIP: turns arriving protocols into publish requests and Tracks.
