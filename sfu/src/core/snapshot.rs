//! How single Peers are doing: a copy of their numbers for whoever asks, a few Peers at a time.

use std::time::Instant;

use media::{Kind, StreamId};

use super::demux::Home;
use super::down_track::{DownTrack, Flow};
use super::viewer::Viewer;
use super::{Core, FeedId};
use crate::PeerId;
use crate::peer_stats::{DownStats, FlowState, PeerState, PeerStats, Role, ViewerStats};

/// Peers that are looked at in one go: a fraction of a millisecond, so that no packet waits for a question.
const PORTION: u32 = 256;

/// Whom a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// All Peers of a Stream.
    Stream(StreamId),
    /// One Peer.
    Peer(PeerId),
}

/// A question that is being answered.
#[derive(Debug)]
pub struct Inquiry {
    who: Who,
    viewer: u32,
    publisher: u32,
    found: Vec<PeerStats>,
}

impl Inquiry {
    /// A question.
    pub fn new(who: Who) -> Self {
        Self { who, viewer: 0, publisher: 0, found: Vec::new() }
    }

    /// What was found.
    pub fn into_found(self) -> Vec<PeerStats> {
        self.found
    }
}

impl Core {
    /// Goes on with a question. True: it is answered.
    pub fn answer(&mut self, now: Instant, inquiry: &mut Inquiry) -> bool {
        match inquiry.who {
            Who::Peer(id) => {
                inquiry.found.extend(self.peer(now, id));
                true
            }
            Who::Stream(stream) => self.peers_of(now, stream, inquiry),
        }
    }

    fn peer(&mut self, now: Instant, id: PeerId) -> Option<PeerStats> {
        match self.routes.by_id(id)? {
            Home::Viewer(slot) => self.viewers.get(slot).map(|viewer| self.describe(now, viewer)),
            Home::Publisher(slot) => self.publishers.get_mut(slot).map(|it| it.peer.stats(now)),
        }
    }

    fn peers_of(&mut self, now: Instant, stream: StreamId, inquiry: &mut Inquiry) -> bool {
        // They are few.
        for slot in inquiry.publisher..self.publishers.end() {
            let publisher = self.publishers.get_mut(slot).filter(|it| it.peer.stream_id() == Some(stream));
            inquiry.found.extend(publisher.map(|publisher| publisher.peer.stats(now)));
        }
        inquiry.publisher = self.publishers.end();
        let end = self.viewers.end().min(inquiry.viewer.saturating_add(PORTION));
        for slot in inquiry.viewer..end {
            if let Some(viewer) = self.viewers.get(slot).filter(|viewer| viewer.stream.id() == stream) {
                inquiry.found.push(self.describe(now, viewer));
            }
        }
        inquiry.viewer = end;
        end == self.viewers.end()
    }

    fn describe(&self, now: Instant, viewer: &Viewer) -> PeerStats {
        let rid = |id: FeedId| self.feeds.get(&id).map(|feed| feed.rid.to_string());
        let link = viewer.link();
        PeerStats {
            id: viewer.id,
            state: if viewer.is_connected() { PeerState::Connected } else { PeerState::Connecting },
            transport: link.transport,
            remote: link.remote,
            srtp_profile: link.srtp_profile,
            connected_ms: link.connected.map(|at| now.saturating_duration_since(at).as_millis() as u64),
            rtt_ms: link.round_trip.map(|it| it.as_secs_f64() * 1000.0),
            role: Role::Viewer(ViewerStats {
                audio: viewer.audio.as_ref().map(describe_down),
                video: viewer.video.as_ref().map(describe_down),
                estimate_bps: viewer.estimate_bps(),
                layer: viewer.video_feed.and_then(rid),
                cap: viewer.cap,
                keyframe_requests: viewer.keyframe_requests,
                catch_ups: viewer.catch_ups,
            }),
        }
    }
}

fn describe_down(down: &DownTrack) -> DownStats {
    let tally = &down.tally;
    let clock_hz = match down.line.kind {
        Kind::Audio => media::Timescale::OPUS.hz(),
        Kind::Video => media::Timescale::VIDEO.hz(),
    };
    let reception = tally.reception;
    DownStats {
        codec: down.codec().map(media::Codec::name),
        flow: match &down.flow {
            _ if down.paused => FlowState::Paused,
            Flow::Stopped => FlowState::Stopped,
            Flow::Waiting => FlowState::Waiting,
            Flow::CatchUp(_) => FlowState::CatchUp,
            Flow::Live { .. } => FlowState::Live,
        },
        bitrate_bps: tally.bitrate_bps(),
        packets: tally.packets,
        bytes: tally.bytes,
        nacked: tally.nacked,
        resent: tally.resent,
        nack_unknown: tally.nack_unknown,
        fraction_lost: reception.map(|it| f64::from(it.fraction_lost) / 256.0),
        packets_lost: reception.map(|it| it.packets_lost),
        jitter_ms: reception.map(|it| f64::from(it.jitter) * 1000.0 / f64::from(clock_hz)),
    }
}
