//! Streams, Peers, their ways to us, load and latency.

use super::row::{Row, counter, gauge, histogram, refused};

pub(super) const ROWS: &[Row] = &[
    gauge("hub.streams", "swiftwater_streams", "Streams: live ones and those that wait for their encoder."),
    gauge("hub.streams_live", "swiftwater_streams_live", "Streams with an encoder."),
    counter(
        "hub.publishers_refused",
        "swiftwater_publishers_refused_total",
        "Publishers refused because the node has as many streams as it takes.",
    ),
    gauge("process.tasks", "swiftwater_tasks", "Tasks of the runtime that are alive."),
    #[cfg(feature = "count-allocations")]
    counter("process.allocations", "swiftwater_allocations_total", "Heap allocations of the process."),
    #[cfg(feature = "count-allocations")]
    gauge(
        "process.heap_bytes",
        "swiftwater_heap_bytes",
        "Bytes that the process asked for and has not given back.",
    ),
    // Peers.
    gauge("sfu.core.viewers", "swiftwater_sfu_viewers", "WebRTC viewers."),
    gauge("sfu.core.viewers_connected", "swiftwater_sfu_viewers_connected", "WebRTC viewers that get media."),
    gauge(
        "sfu.core.viewers_audio_only",
        "swiftwater_sfu_viewers_audio_only",
        "WebRTC viewers that get no picture because their shard is overloaded.",
    ),
    gauge("sfu.core.publishers", "swiftwater_sfu_publishers", "WebRTC publishers."),
    gauge("sfu.core.feeds", "swiftwater_sfu_feeds", "Layers that shards read from the bus."),
    gauge(
        "sfu.core.viewers_estimated",
        "swiftwater_sfu_viewers_estimated",
        "Viewers whose lines are estimated.",
    ),
    gauge(
        "sfu.core.estimates_bps",
        "swiftwater_sfu_estimates_bps",
        "Sum of what viewers' lines are thought to take, in bits per second.",
    ),
    gauge(
        "sfu.core.viewers_paced",
        "swiftwater_sfu_viewers_paced",
        "Viewers whose pictures are spread out, because their lines are thin.",
    ),
    gauge(
        "sfu.peers_waiting",
        "swiftwater_sfu_peers_waiting",
        "Negotiated peers that wait for their first STUN check.",
    ),
    counter(
        "sfu.peers_never_connected",
        "swiftwater_sfu_peers_never_connected_total",
        "Negotiated peers of which no STUN check came within 30 s.",
    ),
    counter(
        "sfu.core.never_connected",
        "swiftwater_sfu_never_connected_total",
        "Peers whose STUN checks came and whose DTLS did not finish.",
    ),
    counter(
        "sfu.core.consent_expired",
        "swiftwater_sfu_consent_expired_total",
        "Peers that fell silent for 30 s.",
    ),
    counter(
        "sfu.core.dtls_refused",
        "swiftwater_sfu_dtls_refused_total",
        "Peers ended because of DTLS: refused by the guard, failed, wrong certificate.",
    ),
    counter(
        "sfu.core.panics_caught",
        "swiftwater_sfu_panics_caught_total",
        "Peers ended because a library panicked: a defect.",
    ),
    counter(
        "sfu.core.connected_gcm",
        "swiftwater_sfu_connected_gcm_total",
        "Viewers with SRTP_AEAD_AES_128_GCM.",
    ),
    counter(
        "sfu.core.connected_cm_sha1",
        "swiftwater_sfu_connected_cm_sha1_total",
        "Viewers with SRTP_AES128_CM_HMAC_SHA1_80: sealing for them costs three times as much.",
    ),
    refused(
        "sfu.refused.viewers_of_stream",
        "viewers_of_stream",
        "Their stream has as many viewers as it may.",
    ),
    refused("sfu.refused.viewers", "viewers", "The node has as many viewers as it may."),
    refused("sfu.refused.egress", "egress", "The node sends as much as it may."),
    refused(
        "sfu.refused.peers",
        "peers",
        "The node has as many peers as it may, or too many negotiate at once.",
    ),
    refused("sfu.refused.overload", "overload", "Every shard is overloaded."),
    refused("sfu.refused.address", "address", "Their address has as many peers as it may."),
    // Ways to peers.
    gauge("sfu.tcp.tcp_connections", "swiftwater_sfu_tcp_connections", "ICE-TCP connections that are open."),
    counter("sfu.tcp.tcp_accepted", "swiftwater_sfu_tcp_accepted_total", "ICE-TCP connections accepted."),
    counter(
        "sfu.tcp.tcp_refused",
        "swiftwater_sfu_tcp_refused_total",
        "ICE-TCP connections closed at once: over a limit, of no peer, or without the password.",
    ),
    counter(
        "sfu.tcp.tcp_silent",
        "swiftwater_sfu_tcp_silent_total",
        "ICE-TCP connections closed because they said nothing in 5 s.",
    ),
    counter(
        "sfu.tcp.tcp_bad_frames",
        "swiftwater_sfu_tcp_bad_frames_total",
        "ICE-TCP connections closed because of a length that no frame can have.",
    ),
    counter(
        "sfu.tcp.tcp_packets_received",
        "swiftwater_sfu_tcp_packets_received_total",
        "Frames received by ICE-TCP.",
    ),
    counter(
        "sfu.tcp.tcp_packets_sent",
        "swiftwater_sfu_tcp_packets_sent_total",
        "Packets sent by ICE-TCP, or waiting in a connection.",
    ),
    counter(
        "sfu.core.tcp_chokes",
        "swiftwater_sfu_tcp_chokes_total",
        "Times that a viewer's TCP connection was full and its picture waited for a keyframe.",
    ),
    counter("sfu.core.connected_tcp", "swiftwater_sfu_connected_tcp_total", "Peers that connected by TCP."),
    counter("sfu.core.ice_restarts", "swiftwater_sfu_ice_restarts_total", "ICE restarts begun."),
    counter(
        "sfu.core.ways_challenged",
        "swiftwater_sfu_ways_challenged_total",
        "STUN requests of our own, to addresses that peers say are theirs too.",
    ),
    counter(
        "sfu.core.ways_proven",
        "swiftwater_sfu_ways_proven_total",
        "Addresses that have shown by an answer that they receive what is sent.",
    ),
    counter(
        "sfu.core.ways_unproven",
        "swiftwater_sfu_ways_unproven_total",
        "Addresses that peers wanted to be sent to and that answered no request: the ones before were kept.",
    ),
    // Load.
    gauge("shard.busy", "swiftwater_sfu_shard_busy_ratio", "Share of the last second that a shard worked."),
    gauge(
        "shard.overload",
        "swiftwater_sfu_shard_overload_level",
        "What a shard leaves out: 0 nothing, 1 new viewers, 2 larger layers, 3 pictures.",
    ),
    gauge("shard.viewers", "swiftwater_sfu_shard_viewers", "Viewers that get media from a shard."),
    counter(
        "sfu.overload_steps",
        "swiftwater_sfu_overload_steps_total",
        "Times that a shard began to shed more.",
    ),
    counter(
        "sfu.viewers_redirected",
        "swiftwater_sfu_viewers_redirected_total",
        "Viewers that an overloaded shard left to another one.",
    ),
    gauge("sfu.egress_bps", "swiftwater_sfu_egress_bits_per_second", "What the node sends to WebRTC peers."),
    counter("sfu.loop_turns", "swiftwater_sfu_loop_turns_total", "Turns of the shards' loops."),
    counter(
        "sfu.feeds_lagged",
        "swiftwater_sfu_feeds_lagged_total",
        "Times that a shard read the bus too slowly and skipped to a keyframe.",
    ),
    counter(
        "sfu.events_dropped",
        "swiftwater_sfu_events_dropped_total",
        "Events of peers that nobody took in time.",
    ),
    counter(
        "sfu.questions_unanswered",
        "swiftwater_sfu_questions_unanswered_total",
        "Questions about peers (API, rtc.stats) that a shard did not answer in time.",
    ),
    // Latency.
    histogram(
        "sfu.forward_latency.forward_latency_audio",
        "swiftwater_sfu_forward_latency_audio_seconds",
        "What the server adds to the delay of sound: from the packet read to its datagram sent.",
    ),
    histogram(
        "sfu.forward_latency.forward_latency_video",
        "swiftwater_sfu_forward_latency_video_seconds",
        "The same of pictures that are no keyframes, by their last packet.",
    ),
    histogram(
        "sfu.forward_latency.forward_latency_keyframe",
        "swiftwater_sfu_forward_latency_keyframe_seconds",
        "The same of keyframes, which are paced.",
    ),
];
