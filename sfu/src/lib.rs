//! Forwards RTP to WebRTC subscribers and terminates WebRTC publishers.
