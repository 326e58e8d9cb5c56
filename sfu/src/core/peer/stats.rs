//! How a publisher is doing.

use std::time::Instant;

use media::StreamId;

use super::{Peer, Phase, UpTrack};
use crate::egress::batch::Transport;
use crate::peer_stats::{PeerState, PeerStats, PublisherStats, Role};

impl Peer {
    /// The Stream that it writes, until its end.
    pub(in crate::core) fn stream_id(&self) -> Option<StreamId> {
        self.stream.as_ref().map(|stream| stream.stream().id())
    }

    /// Its numbers. Asks the library and takes the locks of its Layers: for questions, not for packets.
    pub(in crate::core) fn stats(&mut self, now: Instant) -> PeerStats {
        let connected = matches!(self.phase, Phase::Connected);
        let dest = self.ice.dest().copied();
        let round_trip = self.tracks.iter().filter_map(UpTrack::round_trip).min();
        PeerStats {
            id: self.id,
            state: if connected { PeerState::Connected } else { PeerState::Connecting },
            transport: dest.map_or(Transport::Udp, |dest| dest.transport),
            remote: dest.map(|dest| dest.to),
            srtp_profile: connected.then(|| self.connection.srtp_profile(now)),
            connected_ms: self.connected.map(|at| now.saturating_duration_since(at).as_millis() as u64),
            // A lite agent sends no checks: only what was asked for again tells it.
            rtt_ms: round_trip.map(|it| it.as_secs_f64() * 1000.0),
            role: Role::Publisher(PublisherStats {
                tracks: self.tracks.iter().map(|track| track.stats(now)).collect(),
            }),
        }
    }
}
