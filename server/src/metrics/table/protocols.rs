//! HLS, audio conversion, RTMP, HTTP, the gateway, WHIP and WHEP.

use super::row::{Row, closed, counter, gauge, publisher, told, viewer};

pub(super) const ROWS: &[Row] = &[
    // HLS.
    gauge("hls.streams", "swiftwater_hls_streams", "Streams that are packaged or linger."),
    gauge("hls.renditions", "swiftwater_hls_renditions", "Renditions of those streams, sound counted."),
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
        "hls.silent_frames_total",
        "swiftwater_hls_silent_frames_total",
        "Frames without sound put into holes of the source's sound.",
    ),
    counter(
        "hls.readers_lagged_total",
        "swiftwater_hls_readers_lagged_total",
        "Times that the packager read the bus too slowly and skipped to a keyframe.",
    ),
    counter(
        "hls.rewind_cut_total",
        "swiftwater_hls_rewind_cut_total",
        "Segments that viewers cannot go back to any more because `rewind_mib` was reached.",
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
    // Recordings.
    gauge("recording.recordings", "swiftwater_recordings", "Recordings, on disk or in the bucket."),
    gauge("recording.live", "swiftwater_recordings_live", "Recordings that are live."),
    gauge("recording.bytes", "swiftwater_recordings_bytes", "Bytes of finished recordings on disk."),
    gauge(
        "recording.untold",
        "swiftwater_recordings_untold",
        "Recordings that ended and whose end is not in the outbox of webhooks yet.",
    ),
    counter(
        "recording.recorder_overflows_total",
        "swiftwater_recording_overflows_total",
        "Frames, parts and ends of segments that found no room in a recorder's queue.",
    ),
    counter("recording.parts_total", "swiftwater_recording_parts_total", "Parts written."),
    counter(
        "recording.parts_lost_total",
        "swiftwater_recording_parts_lost_total",
        "Parts that are missing in a recording.",
    ),
    counter(
        "recording.segments_total",
        "swiftwater_recording_segments_total",
        "Segments that are whole on disk.",
    ),
    counter(
        "recording.segments_lost_total",
        "swiftwater_recording_segments_lost_total",
        "Segments that are missing or end early in a recording.",
    ),
    counter(
        "recording.segments_removed_total",
        "swiftwater_recording_segments_removed_total",
        "Segments removed from recordings that grew too large.",
    ),
    counter(
        "recording.bytes_written_total",
        "swiftwater_recording_bytes_written_total",
        "Bytes of parts written.",
    ),
    counter(
        "recording.write_errors_total",
        "swiftwater_recording_write_errors_total",
        "Writes that the disk refused.",
    ),
    counter(
        "recording.wal_dropped_total",
        "swiftwater_recording_wal_dropped_total",
        "Write-ahead files removed before their frames were in parts.",
    ),
    counter(
        "recording.repaired_total",
        "swiftwater_recording_repaired_total",
        "Recordings repaired after a crash.",
    ),
    counter(
        "recording.finished_total",
        "swiftwater_recording_finished_total",
        "Recordings that became ready.",
    ),
    counter("recording.failed_total", "swiftwater_recording_failed_total", "Recordings that failed."),
    counter(
        "recording.removed_total",
        "swiftwater_recording_removed_total",
        "Recordings removed, by request or by the retention rules.",
    ),
    counter(
        "recording.bytes_served_total",
        "swiftwater_recording_bytes_served_total",
        "Bytes of recordings sent to viewers.",
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
    // Hooks.
    publisher("hooks.publish_allowed", "allowed", "It let them in, or only wants to hear of their end."),
    publisher("hooks.publish_refused", "refused", "It refused them."),
    publisher("hooks.publish_failed", "failed", "It gave no clear answer in time."),
    viewer("hooks.play_allowed", "allowed", "It let them in, or only wants to hear of their end."),
    viewer("hooks.play_refused", "refused", "It refused them."),
    viewer("hooks.play_failed", "failed", "It gave no clear answer in time."),
    told("hooks.told", "told", "It was told."),
    told("hooks.tell_failed", "failed", "It did not take it."),
    told("hooks.tell_dropped", "dropped", "Too many waited: it was not told."),
    counter(
        "hooks.opened",
        "swiftwater_hooks_opened_total",
        "Let in without a clear answer, because of fail_open.",
    ),
    counter(
        "hooks.cached",
        "swiftwater_hooks_cached_total",
        "Decisions that needed no question of their own.",
    ),
    counter("hooks.requests", "swiftwater_hooks_requests_total", "Questions sent to hook backends."),
    counter(
        "hooks.request_micros",
        "swiftwater_hooks_request_microseconds_total",
        "How long they took, in sum.",
    ),
    counter(
        "hooks.not_asked",
        "swiftwater_hooks_not_asked_total",
        "Publishers and viewers for whom the backend was not asked because it had failed too often in a row.",
    ),
    gauge(
        "hooks.breakers_open",
        "swiftwater_hooks_breakers_open",
        "Kinds of question, of publishers and of viewers, that the backend is not asked at the moment.",
    ),
    gauge("hooks.in_flight", "swiftwater_hooks_requests_in_flight", "Questions that wait for an answer."),
    gauge("hooks.telling", "swiftwater_hooks_telling", "Ends that hook backends are still to be told of."),
    gauge("hooks.decisions", "swiftwater_hooks_decisions", "Decisions in the cache."),
    // Webhooks.
    counter("webhooks.queued", "swiftwater_webhooks_queued_total", "Webhook messages put into the outbox."),
    counter(
        "webhooks.delivered",
        "swiftwater_webhooks_delivered_total",
        "Webhook messages that a receiver took.",
    ),
    counter("webhooks.failed", "swiftwater_webhooks_failed_total", "Attempts to deliver one that failed."),
    counter(
        "webhooks.dead",
        "swiftwater_webhooks_dead_total",
        "Webhook messages given up after the last attempt.",
    ),
    counter(
        "webhooks.disabled",
        "swiftwater_webhooks_disabled_total",
        "Hooks turned off because they failed for five days, or said that they are gone.",
    ),
    counter("webhooks.errors", "swiftwater_webhooks_errors_total", "Statements of the outbox that failed."),
    gauge("webhooks.pending", "swiftwater_webhooks_pending", "Webhook messages that wait."),
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
        "rtmp.connections_refused_address",
        "swiftwater_rtmp_connections_refused_address_total",
        "TCP connections refused because their address had as many as it may.",
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
        "Chat messages refused by the rate limit or the channel's slow mode.",
    ),
    counter(
        "gateway.guests_slowed",
        "swiftwater_gateway_guests_slowed_total",
        "Chat messages of guests refused because those of their network wrote too many.",
    ),
    counter(
        "gateway.silenced",
        "swiftwater_gateway_silenced_total",
        "Chat messages refused because their author may not speak: banned, suspended, no follower, no subscriber.",
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
