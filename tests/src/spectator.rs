//! One of many WHEP viewers: str0m for ICE, DTLS and SRTP over one real socket, counted together with the others.

#![expect(clippy::disallowed_methods, reason = "a real client runs by the clock")]

mod inbox;
mod sinks;
mod tally;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use quinn_udp::UdpSocketState;
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::time::{Sleep, sleep_until};

use inbox::Inbox;
pub use sinks::Sinks;
pub use tally::{Arrival, Tally};

/// Wanted receive buffer; the kernel may cap it (`net.core.rmem_max`). A keyframe of 300 KB fits.
const SOCKET_BUFFER_BYTES: usize = 1 << 20;

/// Connecting takes longer than this only if it does not happen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How often a viewer that only counts looks after its ICE: consent is asked for every few seconds.
const IDLE_TICK: Duration = Duration::from_millis(500);

thread_local! {
    static INBOX: RefCell<Inbox> = RefCell::new(Inbox::new());
}

/// How a viewer watches.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// It decrypts, and feeds back. Else it stays connected and counts.
    pub full: bool,
    /// So many percent of what comes are dropped, as a bad line does.
    pub loss_percent: f64,
    /// The server need not answer RTX and transport-wide congestion control.
    pub plain: bool,
    /// Where what it gets is noted while [`Tally::start_trace`] is on. For one viewer of a process.
    pub traced: bool,
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
    state: UdpSocketState,
    address: SocketAddr,
    /// Of its session at the server.
    resource: String,
    manner: Manner,
    posted: Instant,
    /// The picture, until its first packet came.
    waits_for: Option<u32>,
    /// SSRC of the picture, and of its repetitions and padding.
    video: u32,
    repair: Option<u32>,
    connected: bool,
    next: Instant,
    /// Newest number per SSRC, as the headers say.
    seen: HashMap<u32, u16>,
    /// Which numbers came to a full viewer, as the headers say; sound that was asked for again comes as it was.
    came: HashMap<u32, Numbers>,
    /// The same of what was decrypted.
    decrypted: HashMap<u32, Numbers>,
    random: u64,
    tally: Arc<Tally>,
}

impl Spectator {
    /// Offers by WHEP and takes the answer, which must have all that a browser would get. A refusal comes back as
    /// status and text.
    pub async fn join(
        client: &reqwest::Client,
        whep: &str,
        manner: Manner,
        tally: Arc<Tally>,
    ) -> Result<Self, String> {
        let (socket, state) = bind();
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
        let location = response.headers().get("location").and_then(|it| it.to_str().ok()).unwrap_or_default();
        let resource = reqwest::Url::parse(whep).and_then(|base| base.join(location)).expect("a URL");
        let answer = response.text().await.expect("text");
        if status.as_u16() != 201 {
            return Err(format!("{status}: {answer}"));
        }
        let (video, repair) = video_ssrcs(&answer, manner.plain);
        let answer = SdpAnswer::from_sdp_string(&answer).expect("an SDP answer");
        rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
        Ok(Self {
            rtc,
            socket,
            state,
            address,
            resource: resource.into(),
            manner,
            posted,
            waits_for: Some(video),
            video,
            repair,
            connected: false,
            next: posted,
            seen: HashMap::new(),
            came: HashMap::new(),
            decrypted: HashMap::new(),
            random: u64::from(address.port()),
            tally,
        })
    }

    /// Runs until ICE and DTLS are done and the picture has begun.
    pub async fn connect(&mut self) {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let mut timer = Box::pin(sleep_until(self.next.into()));
        while !self.connected || self.waits_for.is_some() {
            assert!(Instant::now() < deadline, "a viewer did not connect");
            self.step(timer.as_mut()).await;
        }
        self.tally.connected.fetch_add(1, Ordering::Relaxed);
    }

    /// Watches for ever.
    pub async fn watch(&mut self) {
        let mut timer = Box::pin(sleep_until(self.next.into()));
        loop {
            self.step(timer.as_mut()).await;
        }
    }

    /// Ends its session at the server by HTTP.
    pub async fn leave(self, client: &reqwest::Client) {
        let response = client.delete(&self.resource).send().await.expect("WHEP answers");
        assert!(response.status().is_success(), "DELETE: {}", response.status());
    }

    async fn step(&mut self, mut timer: Pin<&mut Sleep>) {
        if timer.deadline() != self.next.into() {
            timer.as_mut().reset(self.next.into());
        }
        tokio::select! {
            ready = self.socket.readable() => {
                ready.expect("our socket");
                self.receive();
            }
            () = timer => self.tick(),
        }
    }

    fn tick(&mut self) {
        let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
        self.drain();
    }

    fn receive(&mut self) {
        let now = Instant::now();
        INBOX.with_borrow_mut(|inbox| {
            let mut more = true;
            while more {
                more = inbox.receive(&self.socket, &self.state);
                inbox.datagrams().for_each(|(source, datagram)| self.take(now, source, datagram));
            }
        });
        if self.manner.full || !self.connected {
            self.tick();
        }
    }

    fn take(&mut self, now: Instant, source: SocketAddr, datagram: &[u8]) {
        let is_srtp = datagram.len() >= 12 && (128..192).contains(&datagram[0]);
        // RFC 5761 section 4: which packet types are RTCP; 200 is a sender report.
        let is_rtcp = is_srtp && (192..224).contains(&datagram[1]);
        if is_srtp && self.is_lost() {
            self.tally.dropped.fetch_add(u64::from(!is_rtcp), Ordering::Relaxed);
            return;
        }
        if is_rtcp && datagram[1] == 200 {
            self.tally.sender_reports.fetch_add(1, Ordering::Relaxed);
        } else if is_srtp && !is_rtcp {
            self.note_header(now, datagram);
        }
        if is_srtp && !self.manner.full {
            return;
        }
        if let Ok(contents) = datagram.try_into() {
            let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
            let _ = self.rtc.handle_input(Input::Receive(now, receive));
            self.drain();
        }
    }

    /// Whether the line loses this one (splitmix64, another sequence for each viewer).
    fn is_lost(&mut self) -> bool {
        if self.manner.loss_percent <= 0.0 {
            return false;
        }
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % 1_000_000) as f64 / 10_000.0 < self.manner.loss_percent
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(next)) => {
                    let idle = self.connected && !self.manner.full;
                    self.next = if idle { next.max(Instant::now() + IDLE_TICK) } else { next };
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    // A full socket buffer loses a datagram, as a network does.
                    let _ = self.socket.try_send_to(&transmit.contents, transmit.destination);
                }
                Ok(Output::Event(Event::Connected)) => self.connected = true,
                Ok(Output::Event(Event::RtpPacket(packet))) => {
                    let full = &self.tally.full;
                    full.decrypted.fetch_add(1, Ordering::Relaxed);
                    let seen = self.decrypted.entry(*packet.header.ssrc).or_default();
                    match seen.note(*packet.seq_no) {
                        Some(holes) => drop(full.missing.fetch_add(holes, Ordering::Relaxed)),
                        None => drop(full.repeated.fetch_add(1, Ordering::Relaxed)),
                    }
                }
                Ok(Output::Event(_)) => {}
                Err(error) => panic!("a viewer failed: {error}"),
            }
        }
    }

    /// A media packet came.
    fn note_header(&mut self, now: Instant, datagram: &[u8]) {
        let tally = &self.tally;
        tally.packets.fetch_add(1, Ordering::Relaxed);
        tally.bytes.fetch_add(datagram.len() as u64, Ordering::Relaxed);
        let number = u16::from_be_bytes([datagram[2], datagram[3]]);
        let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
        if self.manner.full && self.repair != Some(ssrc) {
            let is_new = self.came.entry(ssrc).or_default().note_short(number);
            tally.full.received.fetch_add(u64::from(is_new), Ordering::Relaxed);
        }
        if self.manner.traced && tally.trace.on.load(Ordering::Relaxed) {
            let arrival = Arrival { at: now, bytes: datagram.len(), video: ssrc == self.video };
            tally.trace.arrivals.lock().expect("no panic while held").push(arrival);
        }
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

/// What came of an SSRC: a repetition that crosses another one fills no second hole.
#[derive(Default)]
struct Numbers {
    /// One more than the newest number; zero if nothing came.
    end: u64,
    /// Bit `number % WINDOW`: it came. For the `WINDOW` numbers below `end`.
    came: [u64; (WINDOW / 64) as usize],
}

/// Numbers behind the newest in which a hole may still be filled: 3 s of 2.5 Mbit/s.
const WINDOW: u64 = 1024;

impl Numbers {
    /// A number of 16 bits came, next to the newest one. Whether it was not here before.
    fn note_short(&mut self, number: u16) -> bool {
        // The first turn is the second one, so that what is older than the first number has a number too.
        let newest = if self.end == 0 { 1 << 16 | u64::from(number) } else { self.end - 1 };
        let step = number.wrapping_sub(newest as u16) as i16;
        self.note(newest.wrapping_add_signed(step.into())).is_some()
    }

    /// A number came. How many holes that opened, less the one that it filled; `None`: it was here before, or
    /// is too old to say.
    fn note(&mut self, number: u64) -> Option<i64> {
        let (word, bit) = ((number % WINDOW / 64) as usize, 1 << (number % 64));
        if number < self.end {
            let known = self.end - number > WINDOW || self.came[word] & bit != 0;
            self.came[word] |= bit;
            return (!known).then_some(-1);
        }
        let first = if self.end == 0 { number } else { self.end };
        if number - first >= WINDOW {
            self.came = Default::default();
        }
        for skipped in first.max(number.saturating_sub(WINDOW))..number {
            self.came[(skipped % WINDOW / 64) as usize] &= !(1 << (skipped % 64));
        }
        self.came[word] |= bit;
        self.end = number + 1;
        Some((number - first) as i64)
    }
}

/// A socket on loopback, with room for a keyframe, that reads in one piece what was sent in one piece.
fn bind() -> (UdpSocket, UdpSocketState) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a port of the kernel's choice");
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).expect("capped, not refused");
    socket.set_nonblocking(true).expect("our socket");
    let socket = UdpSocket::from_std(socket.into()).expect("a runtime");
    let state = UdpSocketState::new((&socket).into()).expect("options of a socket");
    (socket, state)
}

/// A step of more than one opens holes; a step back closes one.
fn count_holes(missing: &AtomicI64, step: i64) {
    if step != 1 {
        missing.fetch_add(if step > 1 { step - 1 } else { -1 }, Ordering::Relaxed);
    }
}

/// Checks that NACK, RTX and transport-wide congestion control were agreed on for the picture, unless the server
/// is a plain one, and returns its SSRC and that of its repetitions.
fn video_ssrcs(answer: &str, plain: bool) -> (u32, Option<u32>) {
    let video = answer.split("\r\nm=").find(|part| part.starts_with("video")).expect("video is answered");
    let lines = || video.lines().map(|line| line.trim_end());
    let number = |text: &str| text.split(' ').next().and_then(|ssrc| ssrc.parse().ok()).expect("a number");
    if plain {
        let ssrc = lines().find_map(|line| line.strip_prefix("a=ssrc:")).expect("an SSRC is told");
        return (number(ssrc), None);
    }
    for wanted in [" nack", " transport-cc"] {
        let is_agreed = |line: &str| line.starts_with("a=rtcp-fb:") && line.ends_with(wanted);
        assert!(lines().any(is_agreed), "{wanted} was not answered: {answer}");
    }
    for wanted in ["transport-wide-cc", " rtx/90000", "a=ssrc-group:FID "] {
        assert!(video.contains(wanted), "{wanted} was not answered: {answer}");
    }
    let group = lines().find_map(|line| line.strip_prefix("a=ssrc-group:FID ")).expect("checked");
    let (main, repair) = group.split_once(' ').expect("two SSRCs");
    (number(main), Some(number(repair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_once_also_where_it_wraps() {
        let mut seen = Numbers::default();
        for (number, is_new) in [
            (65_534, true),
            (65_533, true),
            (65_535, true),
            (1, true),
            (65_535, false),
            (0, true),
            (1, false),
        ] {
            assert_eq!(seen.note_short(number), is_new, "{number}");
        }
    }

    #[test]
    fn holes_open_and_close_once() {
        let mut seen = Numbers::default();
        let table = [
            (1000, Some(0)),
            (1001, Some(0)),
            (1005, Some(3)),
            (1003, Some(-1)),
            (1003, None),
            (1004, Some(-1)),
            (1002, Some(-1)),
            (1005, None),
            (1005 + 3 * WINDOW, Some(3 * WINDOW as i64 - 1)),
            (1005, None),
            (1006 + 2 * WINDOW, Some(-1)),
        ];
        for (number, holes) in table {
            assert_eq!(seen.note(number), holes, "{number}");
        }
    }
}
