//! Every metric: where its number is kept, its name, its kind, its meaning.
//!
//! A new counter: a field in its crate's `Stats`, a row here, the same row in `docs/metrics.md`. A new reason for a
//! dropped packet: the same, with [`dropped`]. Tests name what is missing.

/// What kind of number it is, as Prometheus has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How long things took.
    Histogram,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric, or one label of a family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Section and field of the number.
    pub(super) path: &'static str,
    /// Name of the metric.
    pub(super) metric: &'static str,
    /// Name and value of the label, in a family.
    pub(super) label: Option<(&'static str, &'static str)>,
    pub(super) kind: Kind,
    /// What it means; of a family, what this label means.
    pub(super) help: &'static str,
    /// What the family means, if it is one.
    pub(super) family: Option<&'static str>,
}

impl Row {
    const fn new(kind: Kind, path: &'static str, metric: &'static str, help: &'static str) -> Self {
        Self { path, metric, label: None, kind, help, family: None }
    }

    /// As it stands in the text: the name, and the label if it is one of a family.
    #[cfg(test)]
    pub(super) fn selector(&self) -> String {
        match self.label {
            Some((name, value)) => format!("{}{{{name}=\"{value}\"}}", self.metric),
            None => self.metric.to_owned(),
        }
    }
}

const fn counter(path: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row::new(Kind::Counter, path, metric, help)
}

const fn gauge(path: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row::new(Kind::Gauge, path, metric, help)
}

const fn histogram(path: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row::new(Kind::Histogram, path, metric, help)
}

/// A packet that did not go on, by reason.
const fn dropped(path: &'static str, reason: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("reason", reason)),
        family: Some("Packets and datagrams that the SFU dropped, by reason."),
        ..counter(path, "swiftwater_sfu_packets_dropped_total", help)
    }
}

/// A Peer that was not let in, by the limit that it met.
const fn refused(path: &'static str, limit: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("limit", limit)),
        family: Some("WebRTC peers that were not let in, by the limit that they met."),
        ..counter(path, "swiftwater_sfu_peers_refused_total", help)
    }
}

/// A TCP connection of HTTP that was closed at once, by the limit that it met.
const fn closed(path: &'static str, limit: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("limit", limit)),
        family: Some("TCP connections of HTTP that were closed at once, by the limit that they met."),
        ..counter(path, "swiftwater_http_connections_refused_total", help)
    }
}

/// All of them, in the order of the text. The rows of a family stand together.
pub(super) const TABLE: &[Row] = &[
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
    // Media in.
    counter(
        "sfu.core.published_packets",
        "swiftwater_sfu_published_packets_total",
        "Packets of WebRTC publishers written to Tracks.",
    ),
    counter("sfu.core.published_bytes", "swiftwater_sfu_published_bytes_total", "Their payload bytes."),
    counter(
        "sfu.core.published_lost",
        "swiftwater_sfu_published_lost_total",
        "Packets of publishers that never came, retransmissions included.",
    ),
    counter(
        "sfu.core.published_repaired",
        "swiftwater_sfu_published_repaired_total",
        "Packets of publishers that came after they were asked for.",
    ),
    counter(
        "sfu.core.published_nacks",
        "swiftwater_sfu_published_nacks_total",
        "Packets asked of publishers again.",
    ),
    counter(
        "sfu.core.published_keyframes",
        "swiftwater_sfu_published_keyframes_total",
        "Keyframes of publishers.",
    ),
    counter(
        "sfu.core.published_keyframe_requests",
        "swiftwater_sfu_published_keyframe_requests_total",
        "Keyframes asked of publishers (PLI, FIR).",
    ),
    // Media out.
    counter(
        "sfu.core.packets_in",
        "swiftwater_sfu_packets_in_total",
        "Packets that shards took from the bus.",
    ),
    counter(
        "sfu.core.packets_forwarded",
        "swiftwater_sfu_packets_forwarded_total",
        "Media packets sealed for viewers who are live.",
    ),
    counter(
        "sfu.core.packets_catch_up",
        "swiftwater_sfu_packets_catch_up_total",
        "Media packets sealed in catch-up bursts.",
    ),
    counter(
        "sfu.core.packets_resent",
        "swiftwater_sfu_packets_resent_total",
        "Packets sealed again for viewers that missed them.",
    ),
    counter(
        "sfu.core.packets_paced",
        "swiftwater_sfu_packets_paced_total",
        "Live packets that were spread out because a line is thin.",
    ),
    counter(
        "sfu.core.packets_probe",
        "swiftwater_sfu_packets_probe_total",
        "Packets sealed only to see whether a line takes more.",
    ),
    counter(
        "sfu.core.bytes_sealed",
        "swiftwater_sfu_bytes_sealed_total",
        "Bytes of all sealed packets, with headers and tags.",
    ),
    counter(
        "sfu.core.stale_frames",
        "swiftwater_sfu_stale_frames_total",
        "Frames × viewers dropped because they had become older than 200 ms here.",
    ),
    counter(
        "sfu.core.paced_frames_dropped",
        "swiftwater_sfu_paced_frames_dropped_total",
        "Frames × viewers dropped because too much waited for a thin line.",
    ),
    dropped("sfu.core.thin_line_packets", "thin_line", "To viewers: too much waited for their line."),
    dropped("sfu.core.stale_packets", "stale", "To viewers: older than 200 ms when their turn came."),
    dropped(
        "sfu.core.discardable_dropped",
        "discardable",
        "To viewers: B-frames that no other frame refers to.",
    ),
    dropped("sfu.core.reordered_dropped", "reordered", "To viewers: their time would have stepped back."),
    dropped("sfu.core.late_dropped", "late", "To viewers: they came too late to have a number."),
    dropped("sfu.core.nonce_refused", "nonce", "To viewers: their number was used. Always 0, else a defect."),
    dropped("sfu.socket.dropped_late", "socket_full", "To viewers: a socket took nothing for 200 ms."),
    dropped("sfu.tcp.tcp_packets_dropped", "tcp_full", "To peers: their TCP connection was full, or gone."),
    dropped("sfu.socket.send_errors", "send_error", "To peers: the kernel refused them."),
    dropped(
        "sfu.core.packets_useless",
        "useless",
        "From the bus: duplicates, and older than all that is kept.",
    ),
    dropped(
        "sfu.core.published_duplicates",
        "published_duplicate",
        "From publishers: they were there already.",
    ),
    dropped("sfu.core.published_late", "published_late", "From publishers: they came after their time."),
    dropped(
        "sfu.core.published_left_out",
        "published_left_out",
        "From publishers: sound that runs faster than the publisher's clock.",
    ),
    dropped(
        "sfu.core.datagrams_of_nobody",
        "of_nobody",
        "From the network: of no peer, or before its first valid check.",
    ),
    dropped("sfu.core.datagrams_unknown", "unknown", "From the network: neither STUN, DTLS nor SRTP."),
    dropped(
        "sfu.core.checks_refused",
        "check_refused",
        "From the network: STUN checks that are not authentic.",
    ),
    dropped(
        "sfu.core.srtcp_refused",
        "srtcp_refused",
        "From viewers: SRTCP that is not authentic, or a replay.",
    ),
    dropped("sfu.core.rtp_from_viewers", "rtp_from_viewer", "From viewers: they have nothing to send."),
    dropped(
        "sfu.core.srtp_refused",
        "srtp_refused",
        "From publishers: SRTP that is not authentic, a replay, or early.",
    ),
    dropped("sfu.core.stun_ignored", "stun_ignored", "From peers: STUN that is no check."),
    dropped(
        "sfu.core.dtls_ignored",
        "dtls_ignored",
        "From peers: DTLS that their association has no use for.",
    ),
    dropped("sfu.socket.oversized", "oversized", "From the network: longer than any datagram of WebRTC."),
    dropped(
        "sfu.forward_queue_full",
        "forward_queue_full",
        "Between shards: the other shard's queue was full.",
    ),
    // Repair and pictures.
    counter("sfu.core.nacked", "swiftwater_sfu_nacked_total", "Packets that viewers asked for again."),
    counter("sfu.core.nack_unknown", "swiftwater_sfu_nack_unknown_total", "Of them: not kept any more."),
    counter(
        "sfu.core.nack_superseded",
        "swiftwater_sfu_nack_superseded_total",
        "Of them: of a layer that the viewer has left.",
    ),
    counter(
        "sfu.core.nack_throttled",
        "swiftwater_sfu_nack_throttled_total",
        "Of them: asked again too soon, or over the viewer's budget.",
    ),
    counter(
        "sfu.core.keyframes_asked",
        "swiftwater_sfu_keyframes_asked_total",
        "Keyframes that viewers asked for (PLI, FIR).",
    ),
    counter(
        "sfu.core.keyframes_requested",
        "swiftwater_sfu_keyframes_requested_total",
        "Keyframe requests passed on to encoders.",
    ),
    counter(
        "sfu.core.replays",
        "swiftwater_sfu_replays_total",
        "Caches replayed to viewers of encoders that cannot be asked.",
    ),
    counter(
        "sfu.core.catch_ups",
        "swiftwater_sfu_catch_ups_total",
        "Viewers that began with a catch-up burst.",
    ),
    counter(
        "sfu.core.catch_up_refused",
        "swiftwater_sfu_catch_up_refused_total",
        "Groups of pictures that were too long or had a hole: their viewers waited for a keyframe.",
    ),
    counter(
        "sfu.core.histories_cut",
        "swiftwater_sfu_histories_cut_total",
        "Groups of pictures that became too long to be kept: they start nobody any more.",
    ),
    counter(
        "sfu.core.catch_up_abandoned",
        "swiftwater_sfu_catch_up_abandoned_total",
        "Catch-up bursts given up because they took too long.",
    ),
    counter(
        "sfu.core.catch_up_too_slow",
        "swiftwater_sfu_catch_up_too_slow_total",
        "Catch-up bursts refused or given up because a viewer's line is too slow.",
    ),
    counter("sfu.core.fallbacks", "swiftwater_sfu_fallbacks_total", "Viewers told to play by HLS."),
    counter("sfu.core.checks_answered", "swiftwater_sfu_checks_answered_total", "STUN checks answered."),
    counter(
        "sfu.core.overuses",
        "swiftwater_sfu_overuses_total",
        "Times that a viewer's estimate fell because its line's queue grew.",
    ),
    counter("sfu.core.probes", "swiftwater_sfu_probes_total", "Probes of viewers' lines begun."),
    counter(
        "sfu.core.probes_succeeded",
        "swiftwater_sfu_probes_succeeded_total",
        "Of them: the line took what was tried.",
    ),
    counter(
        "sfu.core.probes_failed",
        "swiftwater_sfu_probes_failed_total",
        "Of them: it did not, or too little was heard of it.",
    ),
    counter(
        "sfu.core.feedback_refused",
        "swiftwater_sfu_feedback_refused_total",
        "Transport-wide feedback that was broken, or claimed too much.",
    ),
    counter(
        "sfu.core.layer_ups",
        "swiftwater_sfu_layer_ups_total",
        "Switches to a larger layer because the line carries more.",
    ),
    counter(
        "sfu.core.layer_downs",
        "swiftwater_sfu_layer_downs_total",
        "Switches to a smaller layer because the line carries less, or the node can do less.",
    ),
    counter(
        "sfu.core.layer_choices",
        "swiftwater_sfu_layer_choices_total",
        "Switches that the viewer asked for.",
    ),
    counter(
        "sfu.core.layer_losses",
        "swiftwater_sfu_layer_losses_total",
        "Switches because the encoder stopped sending a layer.",
    ),
    counter(
        "sfu.core.audio_only",
        "swiftwater_sfu_audio_only_total",
        "Viewers left with sound alone: by choice, by their line, or by overload.",
    ),
    // Sockets.
    counter("sfu.socket.receive_calls", "swiftwater_sfu_receive_calls_total", "System calls that received."),
    counter(
        "sfu.socket.datagrams_received",
        "swiftwater_sfu_datagrams_received_total",
        "Datagrams received.",
    ),
    counter(
        "sfu.socket.bytes_received",
        "swiftwater_sfu_bytes_received_total",
        "Bytes received, without IP and UDP headers.",
    ),
    counter("sfu.socket.send_calls", "swiftwater_sfu_send_calls_total", "System calls that sent."),
    counter(
        "sfu.socket.messages_sent",
        "swiftwater_sfu_messages_sent_total",
        "Messages to the kernel: a datagram, or several by UDP_SEGMENT.",
    ),
    counter("sfu.socket.datagrams_sent", "swiftwater_sfu_datagrams_sent_total", "Datagrams sent."),
    counter(
        "sfu.socket.bytes_sent",
        "swiftwater_sfu_bytes_sent_total",
        "Bytes sent, without IP and UDP headers.",
    ),
    counter(
        "sfu.socket.gso_runs",
        "swiftwater_sfu_gso_runs_total",
        "Messages that carried several datagrams (UDP_SEGMENT).",
    ),
    counter(
        "sfu.socket.gso_refused",
        "swiftwater_sfu_gso_refused_total",
        "Destinations for which the kernel refused UDP_SEGMENT.",
    ),
    counter(
        "sfu.socket.would_block",
        "swiftwater_sfu_would_block_total",
        "Times that a socket took no more.",
    ),
    counter(
        "sfu.datagrams_forwarded",
        "swiftwater_sfu_datagrams_forwarded_total",
        "Datagrams handed to the shard that has their peer.",
    ),
    // HLS.
    gauge("hls.streams", "swiftwater_hls_streams", "Streams that are packaged or linger."),
    gauge("hls.bytes_held", "swiftwater_hls_bytes_held", "Bytes of parts in memory."),
    gauge("hls.requests_waiting", "swiftwater_hls_requests_waiting", "Playlist and part requests that wait."),
    counter("hls.parts_total", "swiftwater_hls_parts_total", "Parts made."),
    counter("hls.segments_total", "swiftwater_hls_segments_total", "Segments closed."),
    counter(
        "hls.gap_segments_total",
        "swiftwater_hls_gap_segments_total",
        "Segments without media (EXT-X-GAP).",
    ),
    counter(
        "hls.dependent_segments_total",
        "swiftwater_hls_dependent_segments_total",
        "Segments that begin without a keyframe.",
    ),
    counter("hls.discontinuities_total", "swiftwater_hls_discontinuities_total", "Discontinuities."),
    counter(
        "hls.frames_dropped_total",
        "swiftwater_hls_frames_dropped_total",
        "Frames outside of every segment.",
    ),
    counter(
        "hls.readers_lagged_total",
        "swiftwater_hls_readers_lagged_total",
        "Times that the packager read the bus too slowly and skipped to a keyframe.",
    ),
    counter(
        "hls.window_shrunk_total",
        "swiftwater_hls_window_shrunk_total",
        "Segments removed early because a rendition reached its byte limit.",
    ),
    counter(
        "hls.boxes_failed_total",
        "swiftwater_hls_boxes_failed_total",
        "Inits and parts that could not be written.",
    ),
    counter(
        "hls.playlists_rendered_total",
        "swiftwater_hls_playlists_rendered_total",
        "Playlists rendered and compressed.",
    ),
    counter("hls.playlists_served_total", "swiftwater_hls_playlists_served_total", "Playlists served."),
    counter(
        "hls.files_served_total",
        "swiftwater_hls_files_served_total",
        "Segments, parts and inits served.",
    ),
    counter("hls.bytes_served_total", "swiftwater_hls_bytes_served_total", "Their payload bytes."),
    counter(
        "hls.requests_rejected_total",
        "swiftwater_hls_requests_rejected_total",
        "Requests answered with 400.",
    ),
    counter(
        "hls.requests_missing_total",
        "swiftwater_hls_requests_missing_total",
        "Requests answered with 404.",
    ),
    counter(
        "hls.requests_stalled_total",
        "swiftwater_hls_requests_stalled_total",
        "Requests answered with 503 because the source paused.",
    ),
    // Audio conversion.
    gauge("transcode.jobs", "swiftwater_transcode_jobs", "Converted tracks that exist."),
    gauge(
        "transcode.jobs_running",
        "swiftwater_transcode_jobs_running",
        "Converted tracks that somebody reads.",
    ),
    counter(
        "transcode.jobs_refused",
        "swiftwater_transcode_jobs_refused_total",
        "Converted tracks not made: jobs_max was reached, or the codec is not built in.",
    ),
    counter("transcode.frames_in", "swiftwater_transcode_frames_in_total", "Frames read."),
    counter("transcode.frames_out", "swiftwater_transcode_frames_out_total", "Frames written."),
    counter(
        "transcode.frames_dropped",
        "swiftwater_transcode_frames_dropped_total",
        "Frames skipped because the threads could not keep up, or that cannot be decoded.",
    ),
    counter(
        "transcode.drift_corrections",
        "swiftwater_transcode_drift_corrections_total",
        "Samples inserted or removed to follow a source's clock.",
    ),
    counter(
        "transcode.reanchors",
        "swiftwater_transcode_reanchors_total",
        "Times that silence was inserted or sound removed because timestamps stepped.",
    ),
    counter(
        "transcode.concealments",
        "swiftwater_transcode_concealments_total",
        "Losses that the Opus decoder made up for.",
    ),
    counter("transcode.errors", "swiftwater_transcode_errors_total", "Frames that did not decode or encode."),
    counter(
        "transcode.panics",
        "swiftwater_transcode_panics_total",
        "Jobs that a codec's panic ended: a defect.",
    ),
    // RTMP.
    counter(
        "rtmp.connections_accepted",
        "swiftwater_rtmp_connections_accepted_total",
        "TCP connections accepted.",
    ),
    counter(
        "rtmp.connections_refused",
        "swiftwater_rtmp_connections_refused_total",
        "TCP connections closed at once because there were too many.",
    ),
    counter(
        "rtmp.connections_ended",
        "swiftwater_rtmp_connections_ended_total",
        "TCP connections that have ended.",
    ),
    counter("rtmp.publications", "swiftwater_rtmp_publications_total", "Publications admitted."),
    counter(
        "rtmp.rejections",
        "swiftwater_rtmp_rejections_total",
        "Publications refused: key, limit, codec.",
    ),
    counter(
        "rtmp.protocol_errors",
        "swiftwater_rtmp_protocol_errors_total",
        "Connections that broke the protocol or a limit.",
    ),
    counter(
        "rtmp.timeouts",
        "swiftwater_rtmp_timeouts_total",
        "Connections that did not publish in time, or fell silent.",
    ),
    counter(
        "rtmp.replaced",
        "swiftwater_rtmp_replaced_total",
        "Publishers replaced by a newer one with the same key.",
    ),
    counter("rtmp.bytes", "swiftwater_rtmp_bytes_total", "Bytes read."),
    counter("rtmp.video_frames", "swiftwater_rtmp_video_frames_total", "Video frames written to Tracks."),
    counter("rtmp.audio_frames", "swiftwater_rtmp_audio_frames_total", "Audio frames written to Tracks."),
    counter(
        "rtmp.frames_dropped",
        "swiftwater_rtmp_frames_dropped_total",
        "Frames dropped: malformed, or before their configuration or first keyframe.",
    ),
    counter("rtmp.time_jumps", "swiftwater_rtmp_time_jumps_total", "Encoder clocks that jumped."),
    counter(
        "rtmp.time_drifts",
        "swiftwater_rtmp_time_drifts_total",
        "Encoder clocks that had drifted by half a second.",
    ),
    counter(
        "rtmp.audio_reanchored",
        "swiftwater_rtmp_audio_reanchored_total",
        "Gaps and steps in audio time.",
    ),
    counter(
        "rtmp.audio_dropped",
        "swiftwater_rtmp_audio_dropped_total",
        "Audio frames that lay in the past.",
    ),
    counter(
        "rtmp.video_reanchored",
        "swiftwater_rtmp_video_reanchored_total",
        "Video frames off the frame grid.",
    ),
    // HTTP.
    gauge("http.connections", "swiftwater_http_connections", "TCP connections of HTTP."),
    closed("http.refused_node", "node", "The node had as many as it may."),
    closed("http.refused_address", "address", "Their address had as many as it may."),
    counter(
        "http.unread",
        "swiftwater_http_connections_unread_total",
        "TCP connections closed because their client took nothing of its answer for 30 s.",
    ),
    // Gateway.
    gauge("gateway.connections", "swiftwater_gateway_connections", "WebSockets."),
    gauge("gateway.rooms", "swiftwater_gateway_rooms", "Chat rooms with a history."),
    gauge(
        "gateway.sessions",
        "swiftwater_gateway_sessions",
        "Sessions that wait for their socket to come back.",
    ),
    counter("gateway.opened", "swiftwater_gateway_opened_total", "WebSockets since the start."),
    counter(
        "gateway.refused",
        "swiftwater_gateway_refused_total",
        "WebSockets refused because there were too many.",
    ),
    counter("gateway.frames_in", "swiftwater_gateway_frames_in_total", "Frames read."),
    counter(
        "gateway.bad_frames",
        "swiftwater_gateway_bad_frames_total",
        "Frames that were no request that can be answered.",
    ),
    counter("gateway.messages", "swiftwater_gateway_messages_total", "Chat messages accepted."),
    counter(
        "gateway.slowmode",
        "swiftwater_gateway_slowmode_total",
        "Chat messages refused by the rate limit.",
    ),
    counter("gateway.plays", "swiftwater_gateway_plays_total", "Viewers that got an answer to their offer."),
    counter("gateway.fallbacks", "swiftwater_gateway_fallbacks_total", "Viewers sent to HLS."),
    counter("gateway.resumed", "swiftwater_gateway_resumed_total", "Sessions that came back."),
    counter(
        "gateway.slow_consumers",
        "swiftwater_gateway_slow_consumers_total",
        "WebSockets closed because they did not drain.",
    ),
    counter("gateway.gaps", "swiftwater_gateway_gaps_total", "Holes in chat told to slow members."),
    // WHIP and WHEP.
    gauge("whip.sessions", "swiftwater_whip_sessions", "WHIP sessions."),
    counter("whip.created", "swiftwater_whip_created_total", "WHIP sessions made."),
    counter("whip.refused", "swiftwater_whip_refused_total", "WHIP requests refused."),
    counter(
        "whip.rate_limited",
        "swiftwater_whip_rate_limited_total",
        "WHIP requests refused because their address had failed too often.",
    ),
    gauge("whep.sessions", "swiftwater_whep_sessions", "WHEP sessions."),
    counter("whep.created", "swiftwater_whep_created_total", "WHEP sessions made."),
    counter("whep.refused", "swiftwater_whep_refused_total", "WHEP requests refused."),
    counter(
        "whep.rate_limited",
        "swiftwater_whep_rate_limited_total",
        "WHEP requests refused because their address had failed too often.",
    ),
];

#[cfg(test)]
mod tests;
