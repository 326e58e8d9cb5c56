//! A whole SFU core with viewers of another stack, in virtual time. Every run prints its seed.

#[path = "sim/world.rs"]
mod world;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sfu::core::{Command, Routed};
use sfu::{CloseReason, FallbackReason, PeerEvent, PeerId};
use world::{Line, SERVER, Source, World};

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
        assert_eq!(viewer.events, [PeerEvent::Connected { srtp_profile: profile, remote: viewer.address }]);
        assert_eq!(gaps(&world, at), [0; 0]);
        assert!(viewer.got.iter().filter(|got| !got.video).count() > 120, "audio of viewer {at}");
        assert!(viewer.video_frames().len() > 80, "viewer {at}: {}", viewer.video_frames().len());
    }
}
