//! One WHEP viewer: str0m for ICE, DTLS and SRTP over one real socket.

#![expect(clippy::disallowed_methods, reason = "a real client runs by the clock")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::time::sleep_until;

/// Largest datagram that a server may send without fragmenting.
const DATAGRAM_BYTES_MAX: usize = 2000;

/// Connecting takes longer than this only if it does not happen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// What all viewers saw together.
#[derive(Default)]
pub(crate) struct Tally {
    packets: AtomicU64,
    bytes: AtomicU64,
    connected: AtomicU64,
    decrypted: AtomicU64,
    lost: AtomicU64,
    joins: Mutex<Vec<f64>>,
}

impl Tally {
    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    pub(crate) fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }
    pub(crate) fn decrypted(&self) -> u64 {
        self.decrypted.load(Ordering::Relaxed)
    }
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Milliseconds from the POST to the first media packet: p50, p95, p99.
    pub(crate) fn join_percentiles(&self) -> Vec<f64> {
        let mut joins = self.joins.lock().expect("no panic while held").clone();
        joins.sort_by(f64::total_cmp);
        let at = |q: f64| {
            joins.get(((joins.len() as f64 * q) as usize).min(joins.len().saturating_sub(1))).copied()
        };
        [0.5, 0.95, 0.99].into_iter().filter_map(at).collect()
    }
}

pub(crate) struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    full: bool,
    posted: Instant,
    first_packet: bool,
    connected: bool,
    next: Instant,
    /// Per SSRC the numbers seen: first, newest, count.
    seen: HashMap<u32, (u64, u64, u64)>,
    told_lost: u64,
    tally: Arc<Tally>,
}

impl Viewer {
    /// Offers by WHEP and takes the answer.
    pub(crate) async fn join(client: &reqwest::Client, whep: &str, full: bool, tally: Arc<Tally>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("bound");
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a candidate"));
        let mut changes = rtc.sdp_api();
        changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = changes.apply().expect("an offer");
        let posted = Instant::now();
        let request = client.post(whep).header("content-type", "application/sdp").body(offer.to_sdp_string());
        let response = request.send().await.expect("WHEP answers");
        let status = response.status();
        let answer = response.text().await.expect("text");
        assert_eq!(status.as_u16(), 201, "WHEP: {answer}");
        let answer = SdpAnswer::from_sdp_string(&answer).expect("an SDP answer");
        rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
        Self {
            rtc,
            socket,
            address,
            full,
            posted,
            first_packet: false,
            connected: false,
            next: posted,
            seen: HashMap::new(),
            told_lost: 0,
            tally,
        }
    }

    /// Runs until ICE and DTLS are done.
    pub(crate) async fn connect(&mut self) {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while !self.connected {
            assert!(Instant::now() < deadline, "a viewer did not connect");
            self.step().await;
        }
        self.tally.connected.fetch_add(1, Ordering::Relaxed);
    }

    /// Watches for ever.
    pub(crate) async fn watch(&mut self) {
        loop {
            self.step().await;
        }
    }

    async fn step(&mut self) {
        self.drain();
        tokio::select! {
            ready = self.socket.readable() => {
                ready.expect("our socket");
                self.receive();
            }
            () = sleep_until(self.next.into()) => {}
        }
        let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
    }

    fn receive(&mut self) {
        let mut buffer = [0u8; DATAGRAM_BYTES_MAX];
        while let Ok((length, source)) = self.socket.try_recv_from(&mut buffer) {
            let datagram = &buffer[..length];
            let is_srtp = (128..192).contains(&datagram[0]);
            let is_media = is_srtp && !(192..224).contains(&datagram[1]);
            if is_media {
                self.tally.packets.fetch_add(1, Ordering::Relaxed);
                self.tally.bytes.fetch_add(length as u64, Ordering::Relaxed);
                if !self.first_packet {
                    self.first_packet = true;
                    let took = self.posted.elapsed().as_secs_f64() * 1e3;
                    self.tally.joins.lock().expect("no panic while held").push(took);
                }
            }
            if is_srtp && !self.full {
                continue;
            }
            if let Ok(contents) = datagram.try_into() {
                let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
                let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
                self.drain();
            }
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(next)) => {
                    self.next = next;
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    // A full socket buffer loses a datagram, as a network does.
                    let _ = self.socket.try_send_to(&transmit.contents, transmit.destination);
                }
                Ok(Output::Event(Event::Connected)) => self.connected = true,
                Ok(Output::Event(Event::RtpPacket(packet))) => {
                    self.tally.decrypted.fetch_add(1, Ordering::Relaxed);
                    self.note(*packet.header.ssrc, *packet.seq_no);
                }
                Ok(Output::Event(_)) => {}
                Err(error) => panic!("a viewer failed: {error}"),
            }
        }
    }

    /// Counts holes: numbers between first and newest that never came.
    fn note(&mut self, ssrc: u32, seq: u64) {
        let (first, newest, count) = self.seen.entry(ssrc).or_insert((seq, seq, 0));
        *first = (*first).min(seq);
        *newest = (*newest).max(seq);
        *count += 1;
        let lost: u64 = self
            .seen
            .values()
            .map(|(first, newest, count)| (newest - first + 1).saturating_sub(*count))
            .sum();
        if lost >= self.told_lost {
            self.tally.lost.fetch_add(lost - self.told_lost, Ordering::Relaxed);
        } else {
            self.tally.lost.fetch_sub(self.told_lost - lost, Ordering::Relaxed);
        }
        self.told_lost = lost;
    }
}
