//! The entry of a fuzz target in `tests/fuzz`: RTP and RTCP of a publisher, decrypted.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::{ChannelName, Frame, Hub, NtpTime, Publication, Rid, TrackReader};
use rtc::shared::marshal::Unmarshal;

use super::tap::Inbound;
use super::{Local, Peer};
use crate::PeerId;
use crate::candidate::Candidate;
use crate::core::fuzz::script::Script;
use crate::sdp_publish::PublishOffer;

const SIMULCAST: &str = include_str!("../../../tests/fixtures/offers/chromium-simulcast-h264.offer.sdp");
const PLAIN: &str = include_str!("../../../tests/fixtures/offers/chromium-h264.offer.sdp");

/// A byte chooses the offer; then, for each packet, one byte says how much time has passed, and its block is RTP
/// or RTCP as RFC 5761 section 4 tells them apart.
pub fn uplink(start: Instant, data: &[u8]) {
    let mut script = Script(data);
    let Some(offer) = script.byte() else { return };
    let offer =
        PublishOffer::parse(if offer & 1 == 0 { PLAIN } else { SIMULCAST }).expect("Chromium wrote it");
    let hub = Hub::new(Duration::from_secs(1));
    let channel = ChannelName::parse("ana").expect("a name");
    let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
    let writer = hub.publish(&channel, Publication::default(), start, wall).expect("free");
    let local = Local {
        candidates: Candidate::of(&["192.0.2.1:8189".parse().expect("an address")], true),
        start_bitrate_bps: 2_500_000,
        bitrate_max_bps: None,
    };
    let (mut peer, _) = Peer::negotiate(start, PeerId(1), writer, &offer, &local).expect("accepted");
    peer.begin(start);
    let mut readers = readers(&hub, &channel, &offer);
    let mut now = start;
    while let (Some(step), Some(block)) = (script.byte(), script.block()) {
        now += Duration::from_millis(step.into());
        if peer.sources.admit(block)
            && let Some(inbound) = read(block)
        {
            peer.take(now, inbound);
        }
        peer.poll_tracks(now);
        let mut cx = Context::from_waker(Waker::noop());
        for reader in &mut readers {
            let mut frames = Vec::new();
            let _: Poll<()> = reader.poll_drain(&mut cx, &mut frames);
        }
    }
    let totals = peer.totals();
    assert!(totals.packets as usize <= data.len() && totals.nacks <= 256 * data.len() as u64, "{totals:?}");
}

fn read(block: &[u8]) -> Option<Inbound> {
    let mut bytes = BytesMut::from(block);
    match block.get(1)? {
        192..=223 => rtc::rtcp::packet::unmarshal(&mut bytes).ok().map(Inbound::Rtcp),
        _ => rtc::rtp::Packet::unmarshal(&mut bytes).ok().map(Inbound::Rtp),
    }
}

/// Readers of frames, so that payloads are opened too.
fn readers(hub: &Hub, channel: &ChannelName, offer: &PublishOffer) -> Vec<TrackReader<Frame>> {
    let stream = hub.stream(channel).expect("it is published");
    let mut readers = Vec::new();
    for accepted in offer.accepted() {
        let Some(track) = stream.source(accepted.codec.kind()) else { continue };
        let single = [Rid::single()];
        let rids = if accepted.rids.is_empty() { &single[..] } else { &accepted.rids };
        readers.extend(rids.iter().map(|rid| track.read::<Frame>(rid)));
    }
    readers
}
