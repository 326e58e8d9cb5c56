//! One of many WHEP viewers: str0m for ICE, DTLS and SRTP over one real socket, counted together with the others.

#![expect(clippy::disallowed_methods, reason = "a real client runs by the clock")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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

/// Wanted receive buffer; the kernel may cap it (`net.core.rmem_max`). A keyframe of 300 KB fits.
const SOCKET_BUFFER_BYTES: usize = 1 << 20;

/// Connecting takes longer than this only if it does not happen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// What all viewers saw together.
#[derive(Default)]
pub struct Tally {
    packets: AtomicU64,
    bytes: AtomicU64,
    missing: AtomicI64,
    sender_reports: AtomicU64,
    connected: AtomicU64,
    full: Full,
    joins: Mutex<Vec<f64>>,
}

/// What the full viewers saw, those that decrypt.
#[derive(Default)]
struct Full {
    received: AtomicU64,
    decrypted: AtomicU64,
    missing: AtomicI64,
}

impl Tally {
    /// Media packets that came, to all viewers.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Their bytes, without IP and UDP headers.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Holes in the sequence numbers of all viewers, as their (never encrypted) headers tell. Viewers that
    /// do not decrypt do not ask for repetition either: what they miss stays missing.
    pub fn missing(&self) -> i64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Sender reports that came.
    pub fn sender_reports(&self) -> u64 {
        self.sender_reports.load(Ordering::Relaxed)
    }

    /// Viewers that finished ICE and DTLS.
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Media packets that came to full viewers.
    pub fn full_received(&self) -> u64 {
        self.full.received.load(Ordering::Relaxed)
    }

    /// Of those, how many were authentic and readable.
    pub fn full_decrypted(&self) -> u64 {
        self.full.decrypted.load(Ordering::Relaxed)
    }

    /// Holes in what full viewers decrypted, after repair.
    pub fn full_missing(&self) -> i64 {
        self.full.missing.load(Ordering::Relaxed)
    }

    /// Milliseconds from the POST to the first video packet, in order; empties the list.
    pub fn take_joins(&self) -> Vec<f64> {
        let mut joins = std::mem::take(&mut *self.joins.lock().expect("no panic while held"));
        joins.sort_by(f64::total_cmp);
        joins
    }
}

/// An HTTP client for [`Spectator::join`]; names the crypto providers of the process.
pub fn http_client() -> reqwest::Client {
    str0m::crypto::from_feature_flags().install_process_default();
    // A second call keeps the first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::new()
}

/// A viewer that counts, and decrypts if it is a full one.
pub struct Spectator {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    full: bool,
    posted: Instant,
    /// SSRC of the picture, until its first packet came.
    waits_for: Option<u32>,
    connected: bool,
    next: Instant,
    /// Newest number per SSRC, as the headers say.
    seen: HashMap<u32, u16>,
    /// The same of what was decrypted.
    decrypted: HashMap<u32, u64>,
    tally: Arc<Tally>,
}

impl Spectator {
    /// Offers by WHEP and takes the answer, which must have all that a browser would get. `full`: it decrypts
    /// and feeds back; else it stays connected and counts.
    pub async fn join(client: &reqwest::Client, whep: &str, full: bool, tally: Arc<Tally>) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a port of the kernel's choice");
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).expect("capped, not refused");
        socket.set_nonblocking(true).expect("our socket");
        let socket = UdpSocket::from_std(socket.into()).expect("a runtime");
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
        let video = video_ssrc(&answer);
        let answer = SdpAnswer::from_sdp_string(&answer).expect("an SDP answer");
        rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
        Self {
            rtc,
            socket,
            address,
            full,
            posted,
            waits_for: Some(video),
            connected: false,
            next: posted,
            seen: HashMap::new(),
            decrypted: HashMap::new(),
            tally,
        }
    }

    /// Runs until ICE and DTLS are done and the picture has begun.
    pub async fn connect(&mut self) {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while !self.connected || self.waits_for.is_some() {
            assert!(Instant::now() < deadline, "a viewer did not connect");
            self.step().await;
        }
        self.tally.connected.fetch_add(1, Ordering::Relaxed);
    }

    /// Watches for ever.
    pub async fn watch(&mut self) {
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
            let is_srtp = length >= 12 && (128..192).contains(&datagram[0]);
            // RFC 5761 section 4: which packet types are RTCP; 200 is a sender report.
            let is_rtcp = is_srtp && (192..224).contains(&datagram[1]);
            if is_rtcp && datagram[1] == 200 {
                self.tally.sender_reports.fetch_add(1, Ordering::Relaxed);
            } else if is_srtp && !is_rtcp {
                self.note_header(datagram);
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
                    self.tally.full.decrypted.fetch_add(1, Ordering::Relaxed);
                    let newest = self.decrypted.get(&*packet.header.ssrc).copied();
                    let step = newest.map_or(1, |newest| *packet.seq_no as i64 - newest as i64);
                    count_holes(&self.tally.full.missing, step);
                    if step > 0 {
                        self.decrypted.insert(*packet.header.ssrc, *packet.seq_no);
                    }
                }
                Ok(Output::Event(_)) => {}
                Err(error) => panic!("a viewer failed: {error}"),
            }
        }
    }

    /// A media packet came.
    fn note_header(&mut self, datagram: &[u8]) {
        let tally = &self.tally;
        tally.packets.fetch_add(1, Ordering::Relaxed);
        tally.bytes.fetch_add(datagram.len() as u64, Ordering::Relaxed);
        if self.full {
            tally.full.received.fetch_add(1, Ordering::Relaxed);
        }
        let number = u16::from_be_bytes([datagram[2], datagram[3]]);
        let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
        let step = self.seen.get(&ssrc).map_or(1, |newest| number.wrapping_sub(*newest) as i16);
        count_holes(&tally.missing, step.into());
        if step > 0 {
            self.seen.insert(ssrc, number);
        }
        if self.waits_for == Some(ssrc) {
            self.waits_for = None;
            let took = self.posted.elapsed().as_secs_f64() * 1e3;
            tally.joins.lock().expect("no panic while held").push(took);
        }
    }
}

/// A step of more than one opens holes; a step back closes one.
fn count_holes(missing: &AtomicI64, step: i64) {
    if step != 1 {
        missing.fetch_add(if step > 1 { step - 1 } else { -1 }, Ordering::Relaxed);
    }
}

/// Checks that NACK, RTX and transport-wide congestion control were agreed on for the picture, and returns
/// its SSRC.
fn video_ssrc(answer: &str) -> u32 {
    let video = answer.split("\r\nm=").find(|part| part.starts_with("video")).expect("video is answered");
    let lines = || video.lines().map(|line| line.trim_end());
    for wanted in [" nack", " transport-cc"] {
        let is_agreed = |line: &str| line.starts_with("a=rtcp-fb:") && line.ends_with(wanted);
        assert!(lines().any(is_agreed), "{wanted} was not answered: {answer}");
    }
    for wanted in ["transport-wide-cc", " rtx/90000", "a=ssrc-group:FID "] {
        assert!(video.contains(wanted), "{wanted} was not answered: {answer}");
    }
    let group = lines().find_map(|line| line.strip_prefix("a=ssrc-group:FID ")).expect("checked");
    group.split(' ').next().and_then(|ssrc| ssrc.parse().ok()).expect("a number")
}
