//! Peers, and what happens to them.

use std::fmt;
use std::net::SocketAddr;

use tokio::sync::mpsc;

use crate::Layers;
use crate::audience::Seat;
use crate::core::overload::LayerCap;
use crate::crowd::Place;
use crate::egress::batch::Transport;

/// One WebRTC peer connection on this node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub(crate) u64);

impl PeerId {
    /// From its number. Whoever hands them out sees to it that they are unique on this node.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{:x}", self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something happened to a Peer; told to whoever holds its handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// DTLS is done, media flows.
    Connected {
        /// As IANA spells it, for example `SRTP_AEAD_AES_128_GCM`.
        srtp_profile: &'static str,
        /// The address that it uses.
        remote: SocketAddr,
        /// What carries its datagrams.
        transport: Transport,
    },
    /// WebRTC cannot carry the picture: play it by LL-HLS. The Peer stays, with sound.
    Fallback(FallbackReason),
    /// What there is to see and what is sent has changed.
    Layers(Layers),
    /// The node is overloaded, or is no longer: what it may have of its picture now. Sound goes on.
    Capped(LayerCap),
    /// It is gone.
    Closed(CloseReason),
}

/// Why WebRTC cannot carry a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackReason {
    /// The encoder reorders reference frames (a B-pyramid).
    BFrames,
    /// The viewer did not offer the codec of the Track.
    Codec,
}

impl FallbackReason {
    /// As the gateway spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BFrames => "b_frames",
            Self::Codec => "codec",
        }
    }
}

/// Why a Peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Its handle was dropped or closed: DELETE, the socket went away.
    Local,
    /// It said close_notify.
    Remote,
    /// No STUN check came within 30 s of the answer.
    NeverConnected,
    /// DTLS did not finish, or its guard refused it.
    Dtls,
    /// No sign of life for 30 s (RFC 7675).
    ConsentExpired,
    /// The Stream ended.
    StreamEnded,
    /// Another publication took the Stream over.
    Replaced,
    /// The node stops.
    Stopping,
    /// A defect in a library under this Peer: it alone was ended.
    Internal,
}

impl CloseReason {
    /// For logs, metrics and the gateway.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::NeverConnected => "never_connected",
            Self::Dtls => "dtls",
            Self::ConsentExpired => "consent_expired",
            Self::StreamEnded => "stream_ended",
            Self::Replaced => "replaced",
            Self::Stopping => "stopping",
            Self::Internal => "internal",
        }
    }
}

/// Events that may wait for the holder of a handle: `Connected`, a few `Fallback`s. What does not fit is
/// dropped and counted.
const EVENTS_MAX: usize = 8;

/// The sending end of a Peer's events. Room for `Closed` is reserved from the beginning: it is never lost.
#[derive(Debug)]
pub(crate) struct EventSender {
    sender: mpsc::Sender<PeerEvent>,
    closed: mpsc::OwnedPermit<PeerEvent>,
    /// A viewer's seat in the audience; given up with the Peer.
    _seat: Option<Seat>,
    /// Its place among the Peers of its address, if it counts; given up too.
    _place: Option<Place>,
}

impl EventSender {
    pub(crate) fn new(seat: Option<Seat>, place: Option<Place>) -> (Self, mpsc::Receiver<PeerEvent>) {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX + 1);
        let closed = sender.clone().try_reserve_owned().expect("a new channel has room");
        (Self { sender, closed, _seat: seat, _place: place }, receiver)
    }

    /// Tells of anything but `Closed`. False: the holder does not listen.
    pub(crate) fn send(&self, event: PeerEvent) -> bool {
        self.sender.try_send(event).is_ok()
    }

    /// Tells of the end.
    pub(crate) fn close(self, reason: CloseReason) {
        let _sender = self.closed.send(PeerEvent::Closed(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_arrives_even_if_nobody_took_the_events_before() {
        let (sender, mut receiver) = EventSender::new(None, None);
        let sent = (0..100).filter(|_| sender.send(PeerEvent::Fallback(FallbackReason::Codec))).count();
        assert_eq!(sent, EVENTS_MAX);
        sender.close(CloseReason::Remote);
        let mut last = None;
        while let Ok(event) = receiver.try_recv() {
            last = Some(event);
        }
        assert_eq!(last, Some(PeerEvent::Closed(CloseReason::Remote)));
    }
}
