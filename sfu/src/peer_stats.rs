//! How single Peers are doing: made for whoever asks, by the shard that has the Peer.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use crate::core::overload::LayerCap;
use crate::egress::batch::Transport;
use crate::event::PeerId;

/// How one Peer is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStats {
    /// Who it is, as in the log.
    #[serde(serialize_with = "as_text")]
    pub id: PeerId,
    /// How far it is.
    pub state: PeerState,
    /// How its datagrams travel.
    pub transport: Transport,
    /// Where it is.
    pub remote: Option<SocketAddr>,
    /// As IANA spells it, once DTLS is done.
    pub srtp_profile: Option<&'static str>,
    /// Milliseconds since media may flow.
    pub connected_ms: Option<u64>,
    /// Round trip in milliseconds, once measured: of a viewer by its last receiver report, of a publisher by how
    /// soon it sends again what it is asked for.
    pub rtt_ms: Option<f64>,
    /// What it does.
    #[serde(flatten)]
    pub role: Role,
}

/// How far a Peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerState {
    /// ICE or DTLS is under way.
    Connecting,
    /// Media may flow.
    Connected,
}

/// What a Peer does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "role", rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "nearly all are viewers")]
pub enum Role {
    /// It watches.
    Viewer(ViewerStats),
    /// It publishes.
    Publisher(PublisherStats),
}

/// What a viewer gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewerStats {
    /// Its sound, if it wants any.
    pub audio: Option<DownStats>,
    /// Its picture, if it wants one.
    pub video: Option<DownStats>,
    /// What its line takes, in bits per second of datagrams without IP and UDP headers; `None` while nothing tells.
    pub estimate_bps: Option<u64>,
    /// The Layer that it gets; empty text for the only one.
    pub layer: Option<String>,
    /// What it may have of its picture while the node is overloaded.
    #[serde(serialize_with = "as_word")]
    pub cap: LayerCap,
    /// Keyframes that it asked for (PLI, FIR).
    pub keyframe_requests: u64,
    /// Catch-up bursts that began for it.
    pub catch_ups: u64,
}

/// What a viewer gets of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DownStats {
    /// As RTP spells it, once a Track was chosen.
    pub codec: Option<&'static str>,
    /// What it gets now.
    pub flow: FlowState,
    /// Bits per second over the last second: sealed packets with headers, retransmissions too.
    pub bitrate_bps: u64,
    /// Packets, without retransmissions.
    pub packets: u64,
    /// Bytes of all sealed packets.
    pub bytes: u64,
    /// Numbers in its NACKs.
    pub nacked: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Numbers in its NACKs that are not kept any more.
    pub nack_unknown: u64,
    /// Share of packets lost between its last two reports, 0 to 1 (RFC 3550 section 6.4.1).
    pub fraction_lost: Option<f64>,
    /// Packets lost so far, as it reports; duplicates make it smaller.
    pub packets_lost: Option<i32>,
    /// Interarrival jitter in milliseconds, as it reports.
    pub jitter_ms: Option<f64>,
}

/// What a viewer gets of a kind now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FlowState {
    /// There is no Track for it, or WebRTC cannot carry it.
    Stopped,
    /// The viewer paused it.
    Paused,
    /// It waits for a keyframe.
    Waiting,
    /// It gets the cached group of pictures.
    CatchUp,
    /// It gets what arrives.
    Live,
}

/// What a publisher sends.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublisherStats {
    /// Its Tracks.
    pub tracks: Vec<UpTrackStats>,
}

/// One Track of a publisher.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpTrackStats {
    /// As RTP spells it.
    pub codec: &'static str,
    /// Its Layers, in the order of the offer.
    pub layers: Vec<UpLayerStats>,
}

/// One Layer of a publisher's Track.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpLayerStats {
    /// Its RID; empty for the only one.
    pub rid: String,
    /// Bits of payload per second; `None` while nothing comes.
    pub bitrate_bps: Option<u64>,
    /// Frames per second; `None` while nothing comes.
    pub fps: Option<f64>,
    /// Pixels, once a keyframe told.
    pub width: Option<u32>,
    /// Pixels, once a keyframe told.
    pub height: Option<u32>,
    /// Milliseconds between the last two keyframes.
    pub keyframe_interval_ms: Option<i64>,
    /// Media packets that came.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came after they were asked for, by RTX or as the same packet again.
    pub recovered: u64,
    /// Packets that we asked for again.
    pub nacks: u64,
    /// Keyframes that we asked for (PLI, FIR).
    pub keyframe_requests: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 section 6.4.1).
    pub jitter_ms: f64,
}

fn as_text<S: Serializer>(id: &PeerId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn as_word<S: Serializer>(cap: &LayerCap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(cap.as_str())
}
