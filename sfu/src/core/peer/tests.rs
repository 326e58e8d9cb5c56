//! Publishers of other libraries against the Peer.

mod codecs;
mod rtc_client;
mod uplink;
mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use media::{ChannelName, Codec, Frame, Hub, Kind, NtpTime, Publication, Rid, RtpPacket, StreamState};
use str0m::change::SdpAnswer;
use str0m::media::{Simulcast, SimulcastLayer};
use str0m::{Event, RtcConfig};

use self::world::{CLIENT, LATENCY, SERVER, World, drain};
use super::{Local, Peer};
use crate::core::Credentials;
use crate::core::demux::Tuple;
use crate::core::ice_lite::{Check, request};
use crate::core::up_track::beginning;
use crate::egress::batch::Transport;
use crate::sdp_publish::PublishOffer;
use crate::{Candidate, CloseReason, PeerId};

const VP8_KEYFRAME: &[u8] = &[0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 1, 2, 3];
const VP8_INTERFRAME: &[u8] = &[0x10, 0x11, 0, 0, 9, 9, 9];

fn vp8(config: RtcConfig) -> RtcConfig {
    config.clear_codecs().enable_vp8(true).enable_opus(true, false)
}

#[test]
fn media_of_a_publisher_lands_in_its_tracks() {
    let mut world = World::new(vp8, true);
    let took = world.connect();
    // Two round trips of ICE, two of DTLS: a repetition by a timer anywhere takes longer.
    assert!(took <= 10 * LATENCY, "{took:?}");
    let (video, audio) = (world.video.unwrap(), world.audio.unwrap());
    let (video_track, audio_track) = (world.track(Kind::Video), world.track(Kind::Audio));
    assert_eq!((video_track.codec(), audio_track.codec()), (Codec::Vp8, Codec::Opus));
    let mut pictures = video_track.read::<RtpPacket>(&Rid::single());
    let mut sounds = audio_track.read::<RtpPacket>(&Rid::single());
    let start = world.now;
    for frame in 0..30u32 {
        let payload = if frame == 0 { VP8_KEYFRAME } else { VP8_INTERFRAME };
        world.send(video, 100 + u64::from(frame), 777_000 + frame * 3000, true, payload);
        world.send(audio, 65_530 + u64::from(frame), 555 + frame * 960, false, &[0xfc, frame as u8]);
        world.run_until(start + Duration::from_micros(33_333) * (frame + 1));
    }
    world.run_for(50);
    let (pictures, sounds) = (drain!(pictures), drain!(sounds));
    assert_eq!((pictures.len(), sounds.len()), (30, 30));
    assert!(pictures[0].starts_keyframe && !pictures[1].starts_keyframe);
    assert_eq!(pictures[0].payload, VP8_KEYFRAME);
    for pair in pictures.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1);
        let step = pair[1].time.ticks() - pair[0].time.ticks();
        assert!((2900..3100).contains(&step), "{step}");
    }
    for pair in sounds.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1);
    }
    assert_eq!(world.closed(), None);
}

/// Six frames of 64x48, a keyframe every third, made by x264.
const TINY_H264: &[u8] = include_bytes!("../../../tests/fixtures/tiny.h264");

fn nal_units() -> Vec<&'static [u8]> {
    let starts: Vec<usize> =
        (0..TINY_H264.len() - 2).filter(|at| TINY_H264[*at..].starts_with(&[0, 0, 1])).collect();
    let ends = starts.iter().skip(1).copied().chain([TINY_H264.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| TINY_H264[start + 3..end].trim_ascii_end())
        .map(strip)
        .collect()
}

/// The zero byte in front of a four-byte start code is not the unit's.
fn strip(unit: &'static [u8]) -> &'static [u8] {
    unit.strip_suffix(&[0]).unwrap_or(unit)
}

#[test]
fn h264_comes_out_of_the_frame_face() {
    let mut world = World::new(|config| config.clear_codecs().enable_h264(true), false);
    world.connect();
    let video = world.video.unwrap();
    let track = world.track(Kind::Video);
    let mut frames = track.read::<Frame>(&Rid::single());
    let (mut seq, mut time) = (10, 90_000);
    for _ in 0..5 {
        for unit in nal_units() {
            // One fragmented unit and single ones are enough here; `media` has a table of the rest.
            let picture = matches!(unit[0] & 0x1f, 1 | 5);
            if unit.len() > 500 {
                let indicator = unit[0] & 0xe0 | 28;
                let pieces: Vec<&[u8]> = unit[1..].chunks(400).collect();
                for (index, piece) in pieces.iter().enumerate() {
                    let last = index + 1 == pieces.len();
                    let flags = u8::from(index == 0) << 7 | u8::from(last) << 6;
                    let payload = [&[indicator, flags | unit[0] & 0x1f], *piece].concat();
                    world.send(video, seq, time, last, &payload);
                    seq += 1;
                }
            } else {
                world.send(video, seq, time, picture, unit);
                seq += 1;
            }
            if picture {
                time += 3000;
                world.run_for(33);
            }
        }
    }
    world.run_for(1000);
    let frames = drain!(frames);
    assert!(frames.len() >= 29, "{}", frames.len());
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame.keyframe, index % 3 == 0, "{index}");
        assert_eq!(frame.config.size(), Some((64, 48)));
    }
    assert!(frames.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    assert_eq!(world.peer.counters().next().unwrap().2.keyframes, 10);
}

/// As pages call them, and as OBS does.
#[test]
fn every_layer_of_simulcast_lands_in_its_own() {
    lands_in_its_own(["q", "h", "f"]);
    lands_in_its_own(["0", "1", "2"]);
}

fn lands_in_its_own(names: [&'static str; 3]) {
    let mut layers = Simulcast::new();
    for rid in names {
        layers.add_send_layer(SimulcastLayer::new(rid));
    }
    let mut world = World::with_layers(vp8, true, Some(layers));
    world.connect();
    let mut count = 0;
    world.lose = Box::new(move |data| {
        count += u32::from(!matches!(data[1], 192..=223));
        count % 11 == 5
    });
    let video = world.video.unwrap();
    let track = world.track(Kind::Video);
    let rids = names.map(|rid| Rid::parse(rid).unwrap());
    let mut readers = rids.clone().map(|rid| track.read::<RtpPacket>(&rid));
    for frame in 0..60u32 {
        for rid in &rids {
            let payload =
                [if frame == 0 { VP8_KEYFRAME } else { VP8_INTERFRAME }, rid.as_str().as_bytes()].concat();
            let now = world.now;
            let name = Some(rid.as_str().into());
            world.send_captured(video, name, now, u64::from(frame) + 7, frame * 3000, true, &payload);
        }
        world.run_for(33);
    }
    world.run_for(1000);
    for (rid, reader) in rids.iter().zip(&mut readers) {
        let packets = drain!(reader);
        assert!(packets.len() >= 59, "{rid}: {}", packets.len());
        let own = |packet: &RtpPacket| packet.payload.ends_with(rid.as_str().as_bytes());
        assert!(packets.iter().all(own), "{rid}");
    }
    // Retransmissions of layers, which no SSRC group declares, came too.
    assert!(world.peer.counters().any(|(_, _, counters)| counters.repaired > 0));
    track.layer(&rids[1]).unwrap().request_keyframe();
    world.run_for(200);
    let asked: Vec<String> = world
        .client_events
        .iter()
        .filter_map(|event| match event {
            Event::KeyframeRequest(request) => request.rid.map(|rid| rid.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [names[1]], "of that layer alone");
}

/// The encoder of the picture takes 200 ms longer than that of the sound.
#[test]
fn sender_reports_bring_sound_and_picture_together() {
    let config = |config: RtcConfig| {
        vp8(config)
            .set_rtcp_report_interval_audio(Duration::from_millis(200))
            .set_rtcp_report_interval_video(Duration::from_millis(200))
    };
    let mut world = World::new(config, true);
    world.connect();
    let (video, audio) = (world.video.unwrap(), world.audio.unwrap());
    let (video_track, audio_track) = (world.track(Kind::Video), world.track(Kind::Audio));
    let mut pictures = video_track.read::<RtpPacket>(&Rid::single());
    let mut sounds = audio_track.read::<RtpPacket>(&Rid::single());
    // Sound and picture number n were captured together, every 40 ms.
    let late = Duration::from_millis(200);
    for n in 0..125u32 {
        let now = world.now;
        world.send(audio, 5 + u64::from(n), 70_000 + n * 1920, false, &[0xfc, 1]);
        if let Some(n) = n.checked_sub(5) {
            let payload = if n == 0 { VP8_KEYFRAME } else { VP8_INTERFRAME };
            let time = 3_000_000 + n * 3600;
            world.send_captured(video, None, now - late, 9 + u64::from(n), time, true, payload);
        }
        world.run_for(40);
    }
    world.run_for(1000);
    let (pictures, sounds) = (drain!(pictures), drain!(sounds));
    for n in 60..100 {
        let apart = pictures[n].time.as_micros() - sounds[n].time.as_micros();
        assert!(apart.abs() < 20_000, "{n}: {apart}");
    }
}

#[test]
fn lost_packets_are_asked_for_and_come_again() {
    let mut world = World::new(vp8, false);
    world.connect();
    let mut count = 0;
    world.lose = Box::new(move |data| {
        count += u32::from(!matches!(data[1], 192..=223));
        count % 7 == 3
    });
    let video = world.video.unwrap();
    let track = world.track(Kind::Video);
    let mut reader = track.read::<RtpPacket>(&Rid::single());
    for frame in 0..60u32 {
        let payload = if frame == 0 { VP8_KEYFRAME } else { VP8_INTERFRAME };
        world.send(video, u64::from(frame), frame * 3000, true, payload);
        world.run_for(33);
    }
    world.run_for(1000);
    let mut seqs: Vec<u64> = drain!(reader).iter().map(|packet| packet.seq).collect();
    let order = seqs.clone();
    seqs.sort_unstable();
    assert_ne!(order, seqs, "a repaired packet comes late");
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert!(seqs.len() >= 59, "{}", seqs.len());
    let (_, _, counters) = world.peer.counters().next().unwrap();
    assert!(counters.nacks > 5 && counters.repaired > 5 && counters.lost == 0, "{counters:?}");
}

#[test]
fn a_demand_becomes_one_pli() {
    let mut world = World::new(vp8, false);
    world.connect();
    let video = world.video.unwrap();
    world.send(video, 1, 0, true, VP8_KEYFRAME);
    world.run_for(100);
    let track = world.track(Kind::Video);
    assert!(track.spec().keyframes_on_request);
    for _ in 0..5 {
        track.layer(&Rid::single()).unwrap().request_keyframe();
        world.run_for(20);
    }
    world.run_for(100);
    let requests = || -> usize {
        world.client_events.iter().filter(|event| matches!(event, Event::KeyframeRequest(_))).count()
    };
    assert_eq!(requests(), 1);
}

#[test]
fn a_source_that_begins_in_the_middle_is_asked_for_a_keyframe() {
    let mut world = World::new(vp8, false);
    world.connect();
    let video = world.video.unwrap();
    world.send(video, 1, 0, true, VP8_INTERFRAME);
    world.run_for(100);
    assert!(world.client_events.iter().any(|event| matches!(event, Event::KeyframeRequest(_))));
}

#[test]
fn closing_says_close_notify_and_begins_the_grace_window() {
    let mut world = World::new(vp8, false);
    world.connect();
    assert_eq!(world.state(), StreamState::Live);
    let video = world.video.unwrap();
    world.send(video, 1, 0, true, VP8_KEYFRAME);
    world.run_for(50);
    world.peer.close(world.now, CloseReason::Local);
    world.run_for(50);
    assert_eq!(world.peer.totals().packets, 1, "counted to the end");
    assert_eq!(world.closed(), Some(CloseReason::Local));
    assert_eq!(world.state(), StreamState::Reconnecting);
    assert!(!world.client.is_alive());
}

#[test]
fn a_publisher_that_says_goodbye_is_gone_at_once() {
    let mut world = World::new(vp8, false);
    world.connect();
    world.client.close().unwrap();
    world.run_for(200);
    assert_eq!(world.closed(), Some(CloseReason::Remote));
    assert_eq!(world.state(), StreamState::Reconnecting);
}

#[test]
fn a_silent_publisher_is_gone_within_30_seconds() {
    let mut world = World::new(vp8, false);
    world.connect();
    let last = world.now;
    world.client.disconnect();
    while world.closed().is_none() && world.now < last + Duration::from_secs(60) {
        world.run_for(100);
    }
    assert_eq!(world.closed(), Some(CloseReason::ConsentExpired));
    assert!(world.now < last + Duration::from_secs(30), "{:?}", world.now - last);
}

#[test]
fn a_take_over_ends_the_old_publication() {
    let mut world = World::new(vp8, false);
    world.connect();
    let wall = NtpTime::from_unix_micros(1_795_327_201_000_000);
    let writer = world.hub.take_over(&world.channel, Publication::default(), world.now, wall);
    world.run_for(100);
    assert_eq!(world.closed(), Some(CloseReason::Replaced));
    assert_eq!(world.state(), StreamState::Live);
    drop(writer);
}

/// A NAT gave it another port in the middle; ICE of the library would stay on the first pair for ever.
#[test]
fn feedback_follows_a_publisher_to_a_new_address() {
    let mut world = World::new(vp8, false);
    world.connect();
    let video = world.video.unwrap();
    world.send(video, 1, 0, true, VP8_KEYFRAME);
    world.run_for(100);
    let old = world.seen_at;
    world.seen_at.set_port(41_000);
    world.sent_to.clear();
    // Its next check from there brings a challenge, and its answer the way; its media wants it.
    let mut seq = 2;
    while world.peer.ice().dest().map(|dest| dest.to) == Some(old) {
        assert!(seq < 200, "not followed in four seconds");
        world.send(video, seq, 3000 * seq as u32, true, VP8_INTERFRAME);
        world.run_for(20);
        seq += 1;
    }
    assert_eq!(world.sent_to.iter().filter(|sent| **sent == (world.seen_at, 0)).count(), 1, "one challenge");
    world.sent_to.clear();
    world.track(Kind::Video).layer(&Rid::single()).unwrap().request_keyframe();
    world.run_for(1500);
    let rtcp = |to| world.sent_to.iter().filter(|sent| **sent == (to, 0x80) || **sent == (to, 0x81)).count();
    assert_eq!((rtcp(old), rtcp(world.seen_at) > 0), (0, true), "{:?}", world.sent_to);
    assert!(world.client_events.iter().any(|event| matches!(event, Event::KeyframeRequest(_))));
}

#[test]
fn a_packet_counts_once_and_only_as_it_was_sealed() {
    let mut world = World::new(vp8, false);
    world.connect();
    let video = world.video.unwrap();
    let mut reader = world.track(Kind::Video).read::<RtpPacket>(&Rid::single());
    let sent: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let heard = Rc::clone(&sent);
    world.lose = Box::new(move |data| {
        if !matches!(data[1], 192..=223) {
            heard.borrow_mut().push(data.to_vec());
        }
        false
    });
    // More than the window in which replays are told from late packets.
    let (mut frame, mut came) = (0, 0);
    while frame < 1100 {
        let payload = if frame == 0 { VP8_KEYFRAME } else { VP8_INTERFRAME };
        world.send(video, u64::from(frame), frame * 90, true, payload);
        world.run_for(5);
        came += drain!(reader).len();
        frame += 1;
    }
    world.run_for(100);
    came += drain!(reader).len();
    let sent = sent.take();
    assert!(came == 1100 && sent.len() >= 1100, "{came} came, {} were sent", sent.len());
    let mut say = |mut data: Vec<u8>| world.reach_server(&mut data);
    for (at, packet) in sent.iter().enumerate() {
        assert!(!say(packet.clone()), "packet {at} was there before");
    }
    let newest = sent.last().unwrap();
    for at in 1..newest.len() {
        let mut spoiled = newest.clone();
        spoiled[at] ^= 1;
        assert!(!say(spoiled), "byte {at}");
    }
    assert_eq!(drain!(reader).len(), 0);
    // It goes on as if nothing had been.
    world.send(video, 1100, 1100 * 90, true, VP8_INTERFRAME);
    world.run_for(100);
    assert_eq!((drain!(reader).len(), world.closed()), (1, None));
}

#[test]
fn a_defect_of_the_library_ends_only_its_peer() {
    let mut world = World::new(vp8, false);
    world.connect();
    world.peer.connection.panic();
    world.run_for(100);
    assert_eq!(world.closed(), Some(CloseReason::Internal));
    assert_eq!(world.state(), StreamState::Reconnecting);
}

/// A publisher that authenticates and sends nonsense.
#[test]
fn nonsense_in_payloads_does_no_harm() {
    for codec in [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1] {
        let mut world = World::new(
            |config| {
                let config = config.clear_codecs().enable_opus(true, false);
                match codec {
                    Codec::H264 => config.enable_h264(true),
                    Codec::H265 => config.enable_h265(true),
                    Codec::Vp9 => config.enable_vp9(true),
                    Codec::Av1 => config.enable_av1(true),
                    _ => config.enable_vp8(true),
                }
            },
            true,
        );
        world.connect();
        assert_eq!(world.track(Kind::Video).codec(), codec);
        let (video, audio) = (world.video.unwrap(), world.audio.unwrap());
        let (video_track, audio_track) = (world.track(Kind::Video), world.track(Kind::Audio));
        let mut frames =
            (video_track.read::<Frame>(&Rid::single()), audio_track.read::<Frame>(&Rid::single()));
        let mut next = random(0x0123_4567_89ab_cdef);
        let mut seq = 100;
        for _ in 0..2000 {
            let payload: Vec<u8> = (0..1 + next(60)).map(|_| next(256) as u8).collect();
            let mid = if next(3) == 0 { audio } else { video };
            seq += next(4) as u64;
            world.send(mid, seq, next(1 << 32) as u32, next(2) == 0, &payload);
            world.run_for(2);
        }
        let frames: [Vec<Frame>; 2] = [drain!(frames.0), drain!(frames.1)];
        assert!(!frames[1].is_empty(), "whatever it is, it is sound");
        assert_eq!(world.closed(), None);
    }
}

/// Numbers below a bound, always the same.
fn random(mut state: u64) -> impl FnMut(u64) -> usize {
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below) as usize
    }
}

#[test]
fn every_real_offer_gets_an_answer() {
    let hub = Hub::new(Duration::from_secs(10));
    let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
    for (name, text) in crate::sdp_publish::tests::OFFERS {
        let now = beginning();
        let channel = ChannelName::parse(name).unwrap();
        let writer = hub.publish(&channel, Publication::default(), now, wall).unwrap();
        let offer = PublishOffer::parse(text).unwrap();
        let local = Local {
            candidates: Candidate::of(
                &[SERVER.parse().unwrap(), "[2001:db8::1]:5000".parse().unwrap()],
                true,
            ),
            start_bitrate_bps: 2_500_000,
            bitrate_max_bps: None,
        };
        let (mut peer, answer) = match Peer::negotiate(now, PeerId(1), writer, &offer, &local) {
            Ok(done) => done,
            Err(error) => panic!("{name}: {error}"),
        };
        assert!(answer.contains(&format!("a=ice-ufrag:{}\r\n", peer.ufrag())), "{name}");
        let pwd = answer.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).unwrap();
        let credentials = Credentials::new(peer.ufrag().to_owned(), pwd);
        let check = request(&format!("{}:theirs", peer.ufrag()), &credentials, true);
        let tuple = Tuple {
            remote: CLIENT.parse().unwrap(),
            local: [192, 0, 2, 1].into(),
            transport: Transport::Udp,
        };
        let check = Check::parse(&check).unwrap();
        assert!(peer.handle_check(now, tuple, &check, &mut Vec::new()).is_some(), "{name}");
        SdpAnswer::from_sdp_string(&answer).unwrap_or_else(|error| panic!("{name}: {error}\n{answer}"));
    }
}

/// Datagrams that a stranger could send from a believed 4-tuple.
#[test]
fn garbage_does_no_harm() {
    let mut world = World::new(vp8, true);
    let mut next = random(0x9e37_79b9_7f4a_7c15);
    let mut garble = |world: &mut World, count: usize| {
        for _ in 0..count {
            let mut data: Vec<u8> = (0..next(200)).map(|_| next(256) as u8).collect();
            if let Some(first) = data.first_mut() {
                *first = [0, 1, 22, 23, 128, 144, 255][next(7)];
            }
            if data.len() > 3 && next(2) == 0 {
                data[1] = [96, 200, 205, 254, 253][next(5)];
            }
            world.reach_server(&mut data);
            world.pump_peer();
        }
    };
    garble(&mut world, 200);
    world.connect();
    garble(&mut world, 5000);
    let video = world.video.unwrap();
    let track = world.track(Kind::Video);
    let mut reader = track.read::<RtpPacket>(&Rid::single());
    world.send(video, 1, 0, true, VP8_KEYFRAME);
    world.run_for(100);
    assert_eq!(drain!(reader).len(), 1);
    assert_eq!(world.closed(), None);
}
