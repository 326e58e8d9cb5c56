//! Ways that change, and ways that are somebody else's: media goes where it was shown to arrive, whoever asks for it.

use std::net::SocketAddr;
use std::time::Instant;

use sfu::PeerEvent;

use crate::browser::Abilities;
use crate::line::Line;
use crate::source::Source;
use crate::viewer::Client;
use crate::world::World;
use crate::{SECOND, check_wire, gaps, ms};

/// Of somebody who has nothing to do with it.
const VICTIM: &str = "203.0.113.9:4242";
/// A second address of a viewer.
const OTHER: &str = "198.51.100.200:40000";

fn world(seed: u64) -> World {
    let mut world = World::new(seed, Source::default());
    world.heard = Some(Vec::new());
    world.run(ms(100));
    world
}

/// Of what was sent to the victim: nothing but answers to checks, challenges and the first step of DTLS, in all not more than
/// what was sent in its name since `heard`. Says how many challenges.
fn spared(world: &World, victim: SocketAddr, heard: usize) -> usize {
    let came: usize = world.heard.iter().flatten().skip(heard).map(|(_, data)| data.len()).sum();
    let got: Vec<&[u8]> =
        world.strays.iter().map(|(to, data)| (assert_eq!(*to, victim), &data[..]).1).collect();
    // A HelloVerifyRequest says: come back with this cookie (RFC 6347 section 4.2.1).
    let is_verify_request = |data: &[u8]| data.len() == 48 && data[0] == 22 && data[13] == 3;
    let other = got.iter().find(|data| !matches!(data, [1, 1, ..] | [0, 1, ..]) && !is_verify_request(data));
    assert_eq!(other, None, "more than it has asked for");
    let went: usize = got.iter().map(|data| data.len()).sum();
    println!("{went} bytes to the victim, {came} in its name");
    assert!(went <= came, "{went} bytes for {came}");
    got.iter().filter(|data| data[0] == 0).count()
}

#[test]
fn who_forges_a_source_address_gets_no_media_sent_there() {
    let mut world = world(80);
    let viewer = world.join_browser(Line::default(), Abilities::default());
    world.run(2 * SECOND);
    // Its handshake is done; now all that it says comes from the victim: nominations, and reports of what it receives.
    let victim: SocketAddr = VICTIM.parse().unwrap();
    let (own, heard) = (world.viewers[viewer].address, world.heard.iter().flatten().count());
    world.speak_from(viewer, victim);
    world.run(60 * SECOND);
    assert!(spared(&world, victim, heard) <= 10);
    assert!(world.wire.iter().all(|packet| packet.to == own), "its media goes where its handshake was");
    assert_eq!(gaps(&world, viewer), [0; 0]);
    let counters = world.core.counters();
    assert_eq!((counters.ways_proven, counters.ways_unproven, counters.viewers_connected), (0, 1, 1));
    // And it is not shut out for having tried.
    world.speak_from(viewer, own);
    world.run(5 * SECOND);
    assert_eq!(gaps(&world, viewer), [0; 0]);
}

#[test]
fn a_handshake_cannot_be_ended_to_somebody_elses_address() {
    // Forged from the first datagram on; from the second check on; from when the server has said hello.
    for (seed, own_from, forged_from) in
        [(81, 55, u64::MAX), (82, 0, 30), (83, 0, 60), (84, 0, 75), (85, 0, 100)]
    {
        let mut world = world(seed);
        let victim: SocketAddr = VICTIM.parse().unwrap();
        let viewer = world.join_browser(Line { latency: ms(10), ..Line::default() }, Abilities::default());
        let own = world.viewers[viewer].address;
        for millisecond in 0..3000 {
            let forged = millisecond < own_from || millisecond >= forged_from;
            world.speak_from(viewer, if forged { victim } else { own });
            world.run(ms(1));
        }
        spared(&world, victim, 0);
        assert!(world.wire.iter().all(|packet| packet.to == own), "{own_from} {forged_from}");
        if forged_from == u64::MAX {
            assert!(gaps(&world, viewer).is_empty() && world.viewers[viewer].video_frames().len() > 60);
        }
    }
}

/// When the server first asked for a proof, and when media first went to that address.
fn followed(world: &mut World, to: SocketAddr) -> (Instant, Instant) {
    let mut challenged = None;
    for _ in 0..10_000 {
        world.run(ms(1));
        if world.core.counters().ways_challenged > 0 {
            challenged.get_or_insert(world.now);
        }
        if let Some(packet) = world.wire.iter().find(|packet| packet.to == to) {
            return (challenged.expect("nothing before a challenge"), packet.at);
        }
    }
    panic!("not followed in ten seconds");
}

#[test]
fn a_viewer_whose_nat_gives_it_another_port_is_followed_a_round_trip_after_its_check() {
    // A model of a browser, and another stack: str0m.
    for browser in [true, false] {
        let mut world = world(86);
        let line = Line { latency: ms(40), ..Line::default() };
        let viewer =
            if browser { world.join_browser(line, Abilities::default()) } else { world.join_plain(line) };
        world.run(3 * SECOND);
        let before = world.viewers[viewer].address;
        let mut after = before;
        after.set_port(before.port() + 1);
        world.reach(before, None);
        world.reach(after, Some(viewer));
        world.speak_from(viewer, after);
        let (challenged, followed) = followed(&mut world, after);
        let took = followed - challenged;
        println!("followed {took:?} after the first challenge");
        // There and back, and until the next frame; str0m says no RTCP of its own in between: its checks must do.
        assert!(took >= ms(80) && took <= if browser { ms(80 + 60) } else { 3 * SECOND }, "{took:?}");
        let lost = world.strays.len();
        // What was lost meanwhile has cost it its estimate.
        world.run(8 * SECOND);
        let frames = world.viewers[viewer].video_frames().len();
        world.run(2 * SECOND);
        let more = world.viewers[viewer].video_frames().len() - frames;
        assert!(more > 50, "{more} frames in two seconds");
        assert_eq!(world.strays.len(), lost, "nothing goes the old way");
        assert_eq!(world.core.counters().ways_proven, 1);
        check_wire(&world);
    }
}

#[test]
fn a_viewer_that_goes_to_another_network_loses_nothing() {
    let mut world = world(87);
    let viewer = world.join_browser(Line { latency: ms(20), ..Line::default() }, Abilities::default());
    world.run(2 * SECOND);
    // It has both for a while, and nominates the second.
    let other: SocketAddr = OTHER.parse().unwrap();
    world.reach(other, Some(viewer));
    world.speak_from(viewer, other);
    let (challenged, followed) = followed(&mut world, other);
    assert!(followed - challenged <= ms(40 + 40), "{:?}", followed - challenged);
    world.run(2 * SECOND);
    assert_eq!(gaps(&world, viewer), [0; 0]);
    assert!(world.wire.iter().filter(|packet| packet.at > followed).all(|packet| packet.to == other));
    check_wire(&world);
}

#[test]
fn a_viewer_that_answers_no_challenge_stays_where_it_is() {
    let mut world = world(88);
    let viewer = world.join_browser(Line::default(), Abilities::default());
    world.run(2 * SECOND);
    let Client::Browser(browser) = &mut world.viewers[viewer].client else { panic!("it is one") };
    browser.ignore_challenges();
    let (own, other) = (world.viewers[viewer].address, OTHER.parse().unwrap());
    world.reach(other, Some(viewer));
    world.speak_from(viewer, other);
    world.run(40 * SECOND);
    assert!(world.wire.iter().all(|packet| packet.to == own));
    assert_eq!(gaps(&world, viewer), [0; 0]);
    let counters = world.core.counters();
    assert_eq!((counters.ways_proven, counters.ways_unproven), (0, 1));
    assert!((5..=8).contains(&counters.ways_challenged), "{}", counters.ways_challenged);
    assert!(!world.viewers[viewer].events.iter().any(|event| matches!(event, PeerEvent::Closed(_))));
}
