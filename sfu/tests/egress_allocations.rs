//! The packet path allocates nothing once it runs.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use sfu::egress::batch::{Batch, Dest, FrameKind};
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
                    let dest = Dest { to: (ip, 1000 + (index % 50) as u16).into(), from: ip, gso: true };
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
