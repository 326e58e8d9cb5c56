//! The packet path allocates nothing once it runs.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use sfu::bwe::Congestion;
use sfu::egress::batch::{Batch, Dest, FrameKind, Transport};
use sfu::egress::seal::{Profile, Sealer};

#[test]
#[expect(clippy::disallowed_methods, reason = "an arrival must be some instant")]
fn sealing_into_a_batch_allocates_nothing() {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let payload = [7; 1172];
    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80] {
        for reseal in [false, true] {
            let mut sealer = Sealer::new(profile, &[1; 16], &[2; 14][..profile.salt_len()]);
            if reseal {
                sealer.allow_reseal(1);
            }
            let mut batch = Batch::new();
            let now = Instant::now();
            let mut index = 0;
            let mut sent = 0;
            let counted = allocation_counter::measure(|| {
                while sent < 20_000 {
                    let dest = Dest {
                        to: (ip, 1000 + (index % 50) as u16).into(),
                        from: ip,
                        transport: Transport::Udp,
                        gso: true,
                    };
                    for _ in 0..9 {
                        index += 1;
                        let Some(buf) = batch.push(&dest, 12 + payload.len() + sealer.tag_len()) else {
                            batch.clear();
                            continue;
                        };
                        buf[12..12 + payload.len()].copy_from_slice(&payload);
                        sealer.seal(1, 5, index, 12, buf).expect("a fresh index");
                        sent += 1;
                    }
                    batch.frame_end(FrameKind::Delta, now);
                }
            });
            assert_eq!(counted.count_total, 0, "{profile:?}, reseal {reseal}: {counted:?}");
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a time to count from")]
fn congestion_control_allocates_nothing_per_packet_nor_per_report() {
    let mut now = Instant::now();
    let mut congestion = Congestion::new(now, 1_000_000);
    let mut number = 0_u16;
    let mut rounds = |congestion: &mut Congestion, rounds: std::ops::Range<u32>| {
        for round in rounds {
            let base = number.wrapping_add(1);
            for _ in 0..20 {
                number = number.wrapping_add(1);
                congestion.sent(now, number, 1200);
            }
            now += Duration::from_millis(100);
            // A run of 20 small deltas, 2.5 ms apart; every tenth report says that all were lost.
            let lost = round % 10 == 0;
            let mut report = [10; 8 + 2 + 20];
            report[..2].copy_from_slice(&base.to_be_bytes());
            report[2..4].copy_from_slice(&20_u16.to_be_bytes());
            report[4..7].copy_from_slice(&(round * 3 / 2).to_be_bytes()[1..]);
            report[8..10].copy_from_slice(&[if lost { 0 } else { 0x20 }, 20]);
            congestion.handle_transport_cc(now, &report);
            congestion.set_wanted_bps(5_000_000);
            congestion.handle_timeout(now, true);
            while congestion.poll_probe(now).is_some() {
                number = number.wrapping_add(1);
                congestion.sent(now, number, 1200);
            }
        }
    };
    // What is remembered grows to what this line needs: twice at most in a viewer's life.
    rounds(&mut congestion, 0..200);
    let counted = allocation_counter::measure(|| rounds(&mut congestion, 200..2_200));
    assert!(congestion.estimate_bps().is_some());
    assert!(congestion.take_happened().probes > 10);
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
