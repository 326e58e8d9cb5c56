//! A whole SFU core with viewers of other stacks, in virtual time. Every run prints its seed.

#[cfg(test)]
mod allocation;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod congestion;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod line;
#[cfg(test)]
mod lip_sync;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod repair;
#[cfg(test)]
mod source;
#[cfg(test)]
mod viewer;
#[cfg(test)]
mod ways;
#[cfg(test)]
mod world;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use line::Line;
use sfu::core::{Command, Routed};
use sfu::{CloseReason, FallbackReason, PeerEvent, PeerId, Transport};
use source::Source;
use world::World;

const SECOND: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Frames of `viewer` between the first and the last whole one that are not whole.
fn gaps(world: &World, viewer: usize) -> Vec<u32> {
    let frames = world.viewers[viewer].video_frames();
    let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return vec![u32::MAX] };
    let whole: HashSet<u32> = frames.iter().copied().collect();
    (*first..*last).filter(|frame| !whole.contains(frame)).collect()
}

/// Every viewer's output: numbers sealed once, time never back but for repetitions.
fn check_wire(world: &World) {
    assert_eq!(world.sealed_twice, 0, "an index was used for two packets");
    let mut newest: HashMap<(std::net::SocketAddr, u32), (u16, u32)> = HashMap::new();
    for packet in &world.wire {
        let entry = newest.entry((packet.to, packet.ssrc)).or_insert((packet.number, packet.timestamp));
        let ahead = packet.number.wrapping_sub(entry.0) as i16;
        if ahead > 0 && packet.ssrc & 3 != 2 {
            let forward = packet.timestamp.wrapping_sub(entry.1) as i32;
            assert!(forward >= 0, "time stepped back by {forward}");
            *entry = (packet.number, packet.timestamp);
        }
    }
}

#[test]
fn viewers_connect_and_get_everything() {
    let mut world = World::new(1, Source::default());
    world.run(ms(500));
    for _ in 0..20 {
        world.join_plain(Line::default());
    }
    world.run(3 * SECOND);
    check_wire(&world);
    assert_eq!(world.core.counters().viewers_connected, 20);
    assert_eq!(world.core.counters().connected_gcm, 20, "the better profile is taken");
    for (at, viewer) in world.viewers.iter().enumerate() {
        assert!(viewer.connected.is_some(), "viewer {at}");
        let profile = "SRTP_AEAD_AES_128_GCM";
        let (srtp_profile, remote, transport) = (profile, viewer.address, Transport::Udp);
        assert_eq!(viewer.events, [PeerEvent::Connected { srtp_profile, remote, transport }]);
        assert_eq!(gaps(&world, at), [0; 0]);
        assert!(viewer.got.iter().filter(|got| !got.video).count() > 120, "audio of viewer {at}");
        assert!(viewer.video_frames().len() > 80, "viewer {at}: {}", viewer.video_frames().len());
    }
}

#[test]
fn loss_is_repaired_by_retransmission() {
    for (seed, loss_percent) in [(2, 2.0), (3, 5.0)] {
        let mut world = World::new(seed, Source::default());
        world.run(ms(100));
        for _ in 0..8 {
            world.join_plain(Line { loss_percent, latency: ms(25), jitter: ms(8), ..Line::default() });
        }
        world.run(6 * SECOND);
        check_wire(&world);
        let counters = *world.core.counters();
        assert!(counters.packets_resent > 50, "{counters:?}");
        for at in 0..world.viewers.len() {
            // The last half second may still be under repair.
            let newest = world.frame - 15;
            let missing: Vec<u32> = gaps(&world, at).into_iter().filter(|frame| *frame < newest).collect();
            assert!(missing.len() <= 2, "seed {seed}, viewer {at} misses {missing:?}; {counters:?}");
        }
    }
}

#[test]
fn a_late_viewer_begins_at_once_and_two_seconds_later_is_as_near_as_the_others() {
    // The third joins shortly before a keyframe: it comes in the middle of the burst.
    for (gop, after) in [(60, 2700), (300, 8700), (300, 9700)] {
        let mut world = World::new(5, Source { gop, parts: 3, ..Source::default() });
        world.run(ms(50));
        let old = world.join_plain(Line::default());
        world.run(ms(after));
        let new = world.join_plain(Line::default());
        world.run(3 * SECOND);
        check_wire(&world);
        let joined = world.viewers[new].joined;
        let first = world.viewers[new].first_video().expect("a picture");
        assert!(first - joined < ms(300), "GOP {gop}: first packet after {:?}", first - joined);
        let missing = gaps(&world, new);
        assert!(missing.iter().all(|frame| *frame < 300), "what the new keyframe made useless: {missing:?}");
        assert_eq!(world.core.counters().nacked, 0, "and no gap in the numbers");
        let got_keyframe = world.viewers[new].got.iter().find(|got| got.video).expect("a picture");
        assert_eq!(got_keyframe.frame % gop, 0, "it begins with the cached keyframe");
        // Latency of the viewer that came late: every frame arrives when it does at the old one.
        let arrivals = |viewer: usize| -> HashMap<u32, _> {
            world.viewers[viewer].got.iter().filter(|got| got.video).map(|got| (got.frame, got.at)).collect()
        };
        let (olds, news) = (arrivals(old), arrivals(new));
        let settled: Vec<Duration> = news
            .iter()
            .filter(|(_, at)| **at > joined + 2 * SECOND)
            .filter_map(|(frame, at)| Some(at.saturating_duration_since(*olds.get(frame)?)))
            .collect();
        assert!(settled.len() > 20);
        assert!(settled.iter().all(|lag| *lag <= ms(2)), "GOP {gop}: {:?}", settled.iter().max());
        // And it says so: from one frame to a later one, both clocks have run equally far.
        let ran = |viewer: usize| {
            let stamps: HashMap<u32, u32> = world.viewers[viewer]
                .got
                .iter()
                .filter(|got| got.video)
                .map(|got| (got.frame, got.timestamp))
                .collect();
            let last = world.frame - 10;
            stamps[&last].wrapping_sub(stamps[&(last - 20)])
        };
        assert_eq!(ran(old), ran(new));
        check_burst(&world, new);
    }
}

/// No 33 ms window carries more than 8 frames of a burst, and they run at wall rate into the live ones.
fn check_burst(world: &World, viewer: usize) {
    let address = world.viewers[viewer].address;
    let mut frames: Vec<(u32, std::time::Instant)> = Vec::new();
    for packet in world.wire.iter().filter(|packet| packet.to == address && packet.ssrc & 3 == 1) {
        if frames.last().is_none_or(|(timestamp, _)| *timestamp != packet.timestamp) {
            frames.push((packet.timestamp, packet.at));
        }
    }
    let (first_stamp, first_at) = frames[0];
    for (at, (timestamp, sent)) in frames.iter().enumerate() {
        let inside = frames[at..].iter().filter(|(_, other)| *other - *sent < ms(33)).count();
        assert!(inside <= 9, "{inside} frames in 33 ms: 8 of the burst and a live one at most");
        // The receiver's clock: stamps and send times advance together, within a frame.
        let stamped = f64::from(timestamp.wrapping_sub(first_stamp)) / 90.0;
        let passed = (*sent - first_at).as_secs_f64() * 1000.0;
        assert!((stamped - passed).abs() < 40.0, "stamped {stamped:.1} ms, sent {passed:.1} ms");
    }
}

#[test]
fn a_reconnecting_encoder_keeps_its_viewers() {
    let mut world = World::new(6, Source::default());
    world.run(ms(100));
    let viewer = world.join_plain(Line::default());
    world.run(2 * SECOND);
    world.stop_source();
    world.run(3 * SECOND);
    let before = world.viewers[viewer].video_frames().len();
    assert_eq!(world.core.counters().viewers_connected, 1, "viewers stay");
    world.restart_source();
    world.run(2 * SECOND);
    check_wire(&world);
    assert!(world.viewers[viewer].video_frames().len() > before + 50);
    assert_eq!(gaps(&world, viewer), [0; 0]);
    assert_eq!(world.viewers[viewer].events.len(), 1, "{:?}", world.viewers[viewer].events);
}

#[test]
fn a_passive_offer_makes_us_the_client() {
    let mut world = World::new(7, Source::default());
    world.run(ms(100));
    let viewer = world.join(Line::default(), |offer| offer.replace("setup:actpass", "setup:passive"));
    world.run(2 * SECOND);
    assert!(world.viewers[viewer].answer.contains("a=setup:active"));
    assert!(world.viewers[viewer].video_frames().len() > 30);
    assert_eq!(gaps(&world, viewer), [0; 0]);
}

#[test]
fn nothing_answers_to_who_has_not_proven_itself() {
    let mut world = World::new(8, Source::default());
    world.run(ms(100));
    let viewer = world.join_plain(Line::default());
    let stranger = "203.0.113.9:1".parse().unwrap();
    let ufrag =
        world.viewers[viewer].answer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap();
    // A check with the right name and a wrong password.
    let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let name = format!("{ufrag}:xxxx");
    check.extend_from_slice(&[0, 6, 0, name.len() as u8]);
    check.extend_from_slice(name.as_bytes());
    check.resize(check.len().next_multiple_of(4), 0);
    check.extend_from_slice(&[0, 8, 0, 20]);
    check.extend_from_slice(&[0; 20]);
    let length = (check.len() - 20) as u16;
    check[2..4].copy_from_slice(&length.to_be_bytes());
    let hello = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for datagram in [&check[..], &hello, &[0x80, 200, 0, 1, 0, 0, 0, 0], &[0x80, 96], &[255; 40], &[]] {
        assert_eq!(world.inject(stranger, datagram.to_vec()), Routed::Dropped, "{datagram:?}");
        assert!(world.core.poll_transmit().is_none(), "{datagram:?}");
    }
    for _ in 0..20_000 {
        let length = world.random.next() as usize % 200;
        let garbage: Vec<u8> = (0..length).map(|_| world.random.next() as u8).collect();
        world.inject(stranger, garbage);
    }
    assert!(world.core.poll_transmit().is_none());
    world.run(2 * SECOND);
    assert!(world.viewers[viewer].video_frames().len() > 30, "the viewer does not mind");
    // Garbage from the viewer's own 4-tuple: nothing happens either.
    let address = world.viewers[viewer].address;
    for _ in 0..20_000 {
        let length = 1 + world.random.next() as usize % 100;
        let mut garbage: Vec<u8> = (0..length).map(|_| world.random.next() as u8).collect();
        garbage[0] = 128 + garbage[0] % 64;
        world.inject(address, garbage);
    }
    world.run(SECOND);
    assert_eq!(world.core.counters().viewers_connected, 1);
    assert_eq!(gaps(&world, viewer), [0; 0]);
}

#[test]
fn a_flood_of_handshake_fragments_ends_its_peer_and_nothing_else() {
    let mut world = World::new(9, Source::default());
    world.run(ms(100));
    let good = world.join_plain(Line::default());
    let bad = world.join_plain(Line { latency: ms(1), ..Line::default() });
    // Its check proves the 4-tuple; then, instead of a ClientHello, fragments of one byte.
    while world.core.counters().checks_answered == 0 {
        world.run(ms(1));
    }
    let address = world.viewers[bad].address;
    for at in 0..100_000_u32 {
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0];
        datagram.extend_from_slice(&at.to_be_bytes());
        datagram.extend_from_slice(&[0, 13, 11, 1, 0xff, 0xff, 0, 1]);
        datagram.extend_from_slice(&at.to_be_bytes()[1..]);
        datagram.extend_from_slice(&[0, 0, 1, 7]);
        world.inject(address, datagram);
    }
    world.run(2 * SECOND);
    assert_eq!(world.viewers[bad].events, [PeerEvent::Closed(CloseReason::Dtls)]);
    assert!(world.core.counters().dtls_refused >= 1);
    assert!(world.viewers[good].video_frames().len() > 30);
}

#[test]
fn keyframe_requests_reach_an_encoder_that_obeys_and_are_coalesced() {
    let mut world = World::new(10, Source { gop: 100_000, keyframes_on_request: true, ..Source::default() });
    world.run(ms(100));
    for _ in 0..5 {
        world.join_plain(Line::default());
    }
    world.run(2 * SECOND);
    let before = world.keyframe_requests;
    for at in 0..5 {
        world.ask_keyframe(at);
    }
    world.run(ms(400));
    assert_eq!(world.keyframe_requests, before + 1, "five wishes, one request");
    assert_eq!(world.core.counters().replays, 0);
}

#[test]
fn an_encoder_that_cannot_be_asked_is_replayed_and_no_more_than_every_two_seconds() {
    let mut world = World::new(11, Source { gop: 90, ..Source::default() });
    world.run(SECOND);
    let viewer = world.join_plain(Line::default());
    world.run(3 * SECOND + ms(300));
    for _ in 0..20 {
        world.ask_keyframe(viewer);
        world.run(ms(100));
    }
    check_wire(&world);
    assert!(world.core.counters().keyframes_asked >= 10, "{:?}", world.core.counters());
    assert_eq!(world.core.counters().replays, 1, "one in two seconds");
    check_burst(&world, viewer);
}

#[test]
fn what_is_old_is_not_replayed_while_the_encoder_is_gone() {
    let mut world = World::new(18, Source::default());
    world.run(ms(100));
    let viewer = world.join_plain(Line::default());
    world.run(4 * SECOND);
    world.stop_source();
    world.run(2 * SECOND);
    let sent = world.wire.len();
    world.ask_keyframe(viewer);
    world.run(ms(500));
    assert_eq!(world.core.counters().keyframes_asked, 1);
    assert_eq!(world.wire.len(), sent, "nothing new, nothing sent");
}

#[test]
fn a_viewer_without_the_codec_gets_sound_and_is_told() {
    let mut world = World::new(12, Source::default());
    world.run(ms(100));
    let viewer = world.join(Line::default(), |offer| offer.replace("H264/90000", "X264/90000"));
    world.run(2 * SECOND);
    let fallback = PeerEvent::Fallback(FallbackReason::Codec);
    assert_eq!(world.viewers[viewer].events.iter().filter(|event| **event == fallback).count(), 1);
    assert!(world.viewers[viewer].got.iter().filter(|got| !got.video).count() > 60);
    assert!(world.viewers[viewer].got.iter().all(|got| !got.video));
}

#[test]
fn a_silent_viewer_is_forgotten_and_a_closed_one_hears_so() {
    let mut world = World::new(13, Source::default());
    world.run(ms(100));
    let silent = world.join_plain(Line::default());
    let closed = world.join_plain(Line::default());
    world.run(SECOND);
    world.viewers[silent].silent = true;
    world.core.handle_command(world.now, Command::Close(PeerId::from_raw(closed as u64 + 1)));
    world.run(31 * SECOND);
    assert_eq!(world.viewers[silent].events.last(), Some(&PeerEvent::Closed(CloseReason::ConsentExpired)));
    assert_eq!(world.viewers[closed].events.last(), Some(&PeerEvent::Closed(CloseReason::Local)));
    let counters = world.core.counters();
    assert_eq!((counters.viewers, counters.viewers_connected, counters.feeds), (0, 0, 0));
    assert!(world.core.poll_timeout().is_none(), "nothing is left to do");
}

#[test]
fn a_frame_out_of_order_is_never_sent_with_a_time_that_steps_back() {
    let mut world = World::new(14, Source::default());
    world.run(ms(100));
    let viewer = world.join_plain(Line::default());
    world.run(SECOND);
    for _ in 0..20 {
        let time = world.media_time().offset(-9000);
        world.write_video(|packet| (packet.time, packet.reorders, packet.discardable) = (time, true, true));
        world.run(ms(33));
    }
    world.run(SECOND);
    check_wire(&world);
    let counters = world.core.counters();
    assert!(counters.reordered_dropped + counters.discardable_dropped >= 20, "{counters:?}");
    assert!(world.viewers[viewer].video_frames().len() > 60);
    assert_eq!(world.core.counters().nacked, 0, "the numbers closed over what was left out");
}

#[test]
fn a_paused_kind_is_not_sent_and_comes_back_with_a_picture() {
    let mut world = World::new(15, Source::default());
    world.run(ms(100));
    let viewer = world.join_plain(Line::default());
    world.run(SECOND);
    let id = PeerId::from_raw(viewer as u64 + 1);
    world.core.handle_command(world.now, Command::Pause(id, media::Kind::Video));
    world.run(ms(100));
    let (frames, sound) = counts(&world, viewer);
    world.run(SECOND);
    let (still, more) = counts(&world, viewer);
    assert_eq!(frames, still);
    assert!(more > sound + 40);
    world.core.handle_command(world.now, Command::Resume(id, media::Kind::Video));
    world.run(SECOND);
    check_wire(&world);
    assert!(counts(&world, viewer).0 > frames + 25);
}

fn counts(world: &World, viewer: usize) -> (usize, usize) {
    let got = &world.viewers[viewer].got;
    (world.viewers[viewer].video_frames().len(), got.iter().filter(|got| !got.video).count())
}

#[test]
fn the_end_of_the_stream_ends_its_viewers() {
    let mut world = World::new(16, Source::default());
    world.run(ms(100));
    let viewer = world.join_plain(Line::default());
    world.run(SECOND);
    world.hub.end_all();
    world.run(ms(200));
    assert_eq!(world.viewers[viewer].events.last(), Some(&PeerEvent::Closed(CloseReason::StreamEnded)));
}

#[test]
fn forwarding_allocates_nothing() {
    let mut world = World::new(17, Source::default());
    world.run(ms(100));
    for _ in 0..10 {
        world.join_plain(Line::default());
    }
    // Until the history has its full size.
    world.run(10 * SECOND);
    let (before, sealed) = (world.allocations, world.core.counters().packets_forwarded);
    world.run(5 * SECOND);
    let packets = world.core.counters().packets_forwarded - sealed;
    assert!(packets > 10_000);
    assert_eq!(world.allocations - before, 0, "for {packets} packets");
}
