//! Packets in, out, repaired and dropped, and the sockets they pass.

use super::row::{Row, counter, dropped};

pub(super) const ROWS: &[Row] = &[
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
    dropped(
        "sfu.core.control_dropped",
        "control_full",
        "To peers: STUN, DTLS and reports, because too many waited for a full socket.",
    ),
    dropped("sfu.core.rtp_from_viewers", "rtp_from_viewer", "From viewers: they have nothing to send."),
    dropped(
        "sfu.core.srtp_refused",
        "srtp_refused",
        "From publishers: SRTP that is not authentic, a replay, or early.",
    ),
    dropped(
        "sfu.core.stun_ignored",
        "stun_ignored",
        "From peers: STUN that is neither a check nor an answer.",
    ),
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
        "sfu.core.beginnings_repeated",
        "swiftwater_sfu_beginnings_repeated_total",
        "Catch-up bursts begun again: the first packet was lost, or came before the viewer's keys.",
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
];
