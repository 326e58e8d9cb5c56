//! What a core counts: plain integers, copied out at a scrape.

use serde::Serialize;

use super::up_track::UpCounters;
use crate::CloseReason;
use crate::bwe::Happened;

/// Writes the struct and the sum over shards from one list of fields.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything that happened on a shard's core. Grows only, except the gauges.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Adds those of another shard.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

/// Gauges that are summed up over the viewers, each in its turn.
#[derive(Debug, Default)]
pub(super) struct Round {
    estimated: u64,
    estimates_bps: u64,
    paced: u64,
}

impl Round {
    /// What the line of a viewer takes.
    pub(super) fn add_estimate(&mut self, estimate_bps: Option<u64>) {
        self.estimated += u64::from(estimate_bps.is_some());
        self.estimates_bps += estimate_bps.unwrap_or(0);
    }

    /// Whether a viewer's pictures are spread out.
    pub(super) fn add_paced(&mut self, paced: bool) {
        self.paced += u64::from(paced);
    }

    /// Everybody has had a turn: the next round begins.
    pub(super) fn end(&mut self, counters: &mut Counters) {
        let Self { estimated, estimates_bps, paced } = std::mem::take(self);
        (counters.viewers_estimated, counters.estimates_bps, counters.viewers_paced) =
            (estimated, estimates_bps, paced);
    }
}

impl Counters {
    /// Adds what happened to a publisher since the last time.
    pub(super) fn add_published(&mut self, now: &UpCounters, before: &UpCounters) {
        self.published_packets += now.packets - before.packets;
        self.published_bytes += now.bytes - before.bytes;
        self.published_lost += now.lost - before.lost;
        self.published_repaired += now.repaired - before.repaired;
        self.published_duplicates += now.duplicates - before.duplicates;
        self.published_late += now.late - before.late;
        self.published_left_out += now.left_out - before.left_out;
        self.published_nacks += now.nacks - before.nacks;
        self.published_keyframes += now.keyframes - before.keyframes;
        self.published_keyframe_requests += now.plis + now.firs - before.plis - before.firs;
    }

    /// Adds what happened to the congestion control of a viewer.
    pub(super) fn add_congestion(&mut self, happened: &Happened) {
        self.feedback_refused += happened.feedback_refused;
        self.overuses += happened.overuses;
        self.probes += happened.probes;
        self.probes_succeeded += happened.probes_succeeded;
        self.probes_failed += happened.probes_failed;
    }

    /// Counts how a publisher ended.
    pub(super) fn add_end(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::NeverConnected => self.never_connected += 1,
            CloseReason::ConsentExpired => self.consent_expired += 1,
            CloseReason::Internal => self.panics_caught += 1,
            _ => {}
        }
    }
}

counters! {
    /// Gauge: viewers now.
    viewers,
    /// Gauge: viewers that get media now.
    viewers_connected,
    /// Gauge: of them, those that get no picture because their shard is overloaded.
    viewers_audio_only,
    /// Gauge: publishers now.
    publishers,
    /// Gauge: Layers read from the bus now.
    feeds,
    /// Gauge: viewers whose lines are estimated now.
    viewers_estimated,
    /// Gauge: the sum of their estimates, in bits per second.
    estimates_bps,
    /// Gauge: viewers whose pictures are spread now, because their lines are thin.
    viewers_paced,

    /// Viewers with SRTP_AEAD_AES_128_GCM so far.
    connected_gcm,
    /// Viewers with SRTP_AES128_CM_HMAC_SHA1_80 so far.
    connected_cm_sha1,
    /// Peers ended because of DTLS: refused by the guard, failed, wrong certificate.
    dtls_refused,
    /// Peers ended because a library panicked.
    panics_caught,
    /// Peers that never connected.
    never_connected,
    /// Peers whose consent expired.
    consent_expired,

    /// Datagrams that are nothing we know (RFC 7983).
    datagrams_unknown,
    /// Datagrams of no Peer: before a valid check, or after its end.
    datagrams_of_nobody,
    /// STUN checks that were not authentic.
    checks_refused,
    /// STUN checks answered.
    checks_answered,
    /// Checks of our own, sent to ways that may be somebody else's.
    ways_challenged,
    /// Ways that have proven by an answer that they receive what we send.
    ways_proven,
    /// Ways that Peers wanted to be used and that answered no challenge: the ones before were kept.
    ways_unproven,
    /// ICE restarts begun.
    ice_restarts,
    /// Peers that connected by TCP.
    connected_tcp,
    /// Times that a viewer's TCP connection was full and its picture waited for the next keyframe.
    tcp_chokes,
    /// STUN of Peers that is neither a check nor the answer to a challenge: indications as a rule.
    stun_ignored,
    /// DTLS of Peers whose association needs no more: data, broken records, and repetitions over their budget.
    dtls_ignored,
    /// Control datagrams dropped because too many waited for a socket that stayed full.
    control_dropped,
    /// SRTCP that did not authenticate, or was a replay.
    srtcp_refused,
    /// RTP from viewers: they have nothing to send.
    rtp_from_viewers,
    /// SRTP and SRTCP of publishers that did not authenticate, were replays, of one source too many, or before the keys.
    srtp_refused,

    /// Packets of publishers written to Tracks.
    published_packets,
    /// Their payload bytes.
    published_bytes,
    /// Packets of publishers that never came.
    published_lost,
    /// Packets of publishers that came after they were asked for, by RTX or as the same packet again.
    published_repaired,
    /// Packets of publishers that came again.
    published_duplicates,
    /// Packets of publishers that came after their time.
    published_late,
    /// From publishers: sound that runs faster than the publisher's clock.
    published_left_out,
    /// Numbers in NACKs to publishers.
    published_nacks,
    /// Keyframes of publishers.
    published_keyframes,
    /// PLI and FIR to publishers.
    published_keyframe_requests,

    /// Packets taken from the bus.
    packets_in,
    /// Of them: duplicates, and older than all that is kept.
    packets_useless,
    /// Media packets sealed for live viewers.
    packets_forwarded,
    /// Bytes of all sealed packets, with headers and tags.
    bytes_sealed,
    /// Packets sealed in catch-up bursts.
    packets_catch_up,
    /// Packets sealed again, by RTX or as the same bytes.
    packets_resent,

    /// Live packets that were spread out because a line is thin.
    packets_paced,
    /// Frames × viewers dropped because too much waited for a thin line.
    paced_frames_dropped,
    /// The same in packets × viewers.
    thin_line_packets,
    /// Packets sealed only to probe a line.
    packets_probe,
    /// Times that a viewer's estimate fell because its line's queue grew.
    overuses,
    /// Probes begun.
    probes,
    /// Of them: the line took what was tried.
    probes_succeeded,
    /// Of them: it did not, or too little was heard of it.
    probes_failed,
    /// Transport-wide feedback that was broken, or claimed too much.
    feedback_refused,

    /// Frames × viewers dropped because they had become older than 200 ms here.
    stale_frames,
    /// The same in packets × viewers.
    stale_packets,
    /// Packets left out because no other frame refers to theirs, to keep time monotonic.
    discardable_dropped,
    /// Packets dropped because their time would have stepped back.
    reordered_dropped,
    /// Packets that came too late to have a place.
    late_dropped,
    /// Packets that the sealer refused: their number was used.
    nonce_refused,

    /// Numbers in NACKs.
    nacked,
    /// Of them: not kept any more.
    nack_unknown,
    /// Of them: of a Layer that the viewer has left, whose pictures it needs no more.
    nack_superseded,
    /// Of them: asked again too soon, or over the viewer's budget.
    nack_throttled,
    /// Keyframe requests of viewers (PLI, FIR).
    keyframes_asked,
    /// Keyframe requests passed on to encoders.
    keyframes_requested,
    /// Caches replayed to viewers of encoders that cannot be asked.
    replays,

    /// Viewers that began with a catch-up burst.
    catch_ups,
    /// Groups of pictures over a bound or with a hole: those viewers waited for a keyframe.
    catch_up_refused,
    /// Groups of pictures that lost their beginning to a bound of packets, bytes or time: they start nobody any more.
    histories_cut,
    /// Catch-up bursts refused or given up because a viewer's line is too slow: it waits for a keyframe, which an encoder
    /// that obeys is asked for (`keyframes_requested`).
    catch_up_too_slow,
    /// Catch-up bursts given up because they took too long.
    catch_up_abandoned,
    /// Catch-up bursts begun again: the first packet was lost, or came before the viewer's keys.
    beginnings_repeated,
    /// Switches to another Layer because the line carries more.
    layer_ups,
    /// Because it carries less, or this node can do less.
    layer_downs,
    /// Because the viewer asked for it.
    layer_choices,
    /// Because the encoder did not send the one before any more.
    layer_losses,
    /// Viewers that were left with sound alone: by choice, or because the line carries no more.
    audio_only,
    /// Viewers told to play by other means.
    fallbacks,
}
