//! What egress costs at least. Without arguments: sealing a packet into the send buffer, beside copying it there.
//! With `--trace FILE --threads N --groups N`: copying and sending what a viewer got, to as many sockets (`load floor` of
//! `tests/load` runs it and counts what arrives).
//!
//! `cargo run --release -p sfu --example egress_floor`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an instrument that prints what it timed"
)]

#[path = "../src/shard/socket.rs"]
#[allow(dead_code, reason = "the floor only sends, by the very system calls of a shard")]
mod socket;
#[path = "egress_floor/wire.rs"]
mod wire;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use sfu::egress::batch::{Batch, Dest, Transport};
use sfu::egress::seal::{Profile, Sealer};

const VIEWERS: usize = 300;
/// A frame of 2.5 Mbit/s at 30 frames per second.
const PACKETS: u64 = 9;
const PAYLOAD: usize = 1172;
const HEADER: usize = 20;
const ROUNDS: u64 = 60;
/// The best of so many: what the machine does besides only makes it slower.
const REPEATS: u64 = 7;

struct Viewer {
    dest: Dest,
    sealer: Option<Sealer>,
}

fn viewers(profile: Option<Profile>) -> Vec<Viewer> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let sealer = |i: usize| {
        profile.map(|profile| Sealer::new(profile, &[i as u8; 16], &[3; 14][..profile.salt_len()]))
    };
    (0..VIEWERS)
        .map(|i| Viewer {
            dest: Dest { to: (ip, 1000 + i as u16).into(), from: ip, transport: Transport::Udp, gso: true },
            sealer: sealer(i),
        })
        .collect()
}

/// One round: each frame to each viewer. Returns packets written.
fn round(viewers: &mut [Viewer], batch: &mut Batch, payload: &[u8], first: u64) -> u64 {
    let mut packets = 0;
    for viewer in viewers {
        let tag = viewer.sealer.as_ref().map_or(0, Sealer::tag_len);
        for index in first..first + PACKETS {
            let len = HEADER + payload.len() + tag;
            let buf = match batch.push(&viewer.dest, len) {
                Some(buf) => buf,
                None => {
                    black_box(batch.len());
                    batch.clear();
                    batch.push(&viewer.dest, len).expect("an empty batch has room")
                }
            };
            buf[..2].copy_from_slice(&[0x80, 96]);
            buf[2..4].copy_from_slice(&(index as u16).to_be_bytes());
            buf[HEADER..HEADER + payload.len()].copy_from_slice(payload);
            if let Some(sealer) = &mut viewer.sealer {
                sealer.seal(1, 7, index, HEADER, buf).expect("a fresh index");
            }
            packets += 1;
        }
    }
    packets
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => seal(),
        ["--trace", trace, "--threads", threads, "--groups", groups] => {
            wire::run(trace, threads.parse().expect("a number"), groups.parse().expect("a number"));
        }
        _ => panic!("usage: egress_floor [--trace FILE --threads N --groups N]"),
    }
}

fn seal() {
    let payload = vec![0x5a; PAYLOAD];
    println!("{VIEWERS} viewers, {PACKETS} packets of {PAYLOAD} bytes per frame, best of {REPEATS}");
    println!("{:<34}{:>12}{:>20}", "", "ns/packet", "allocations/packet");
    let mut floor = 0.0;
    for (name, profile) in [
        ("memcpy into the batch (the floor)", None),
        ("SRTP_AEAD_AES_128_GCM", Some(Profile::AeadAes128Gcm)),
        ("SRTP_AES128_CM_HMAC_SHA1_80", Some(Profile::Aes128CmSha1_80)),
    ] {
        let mut viewers = viewers(profile);
        let mut batch = Batch::new();
        let mut first = 1;
        let mut best = Duration::MAX;
        let mut packets = 0;
        let mut allocations = 0;
        for _ in 0..REPEATS {
            packets = 0;
            let mut took = Duration::ZERO;
            let counted = allocation_counter::measure(|| {
                let start = Instant::now();
                for _ in 0..ROUNDS {
                    packets += round(&mut viewers, &mut batch, black_box(&payload), first);
                    first += PACKETS;
                }
                took = start.elapsed();
            });
            best = best.min(took);
            allocations = counted.count_total;
        }
        let nanos = best.as_nanos() as f64 / packets as f64;
        let times = if floor > 0.0 { format!("  {:.1} x the floor", nanos / floor) } else { String::new() };
        println!("{name:<34}{nanos:>12.1}{:>20.4}{times}", allocations as f64 / packets as f64);
        if profile.is_none() {
            floor = nanos;
        }
    }
}
