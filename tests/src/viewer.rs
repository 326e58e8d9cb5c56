//! A viewer: str0m for ICE, DTLS and SRTP over one real socket, in a task of its own.

#![expect(clippy::disallowed_methods, reason = "a real client runs by the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Once;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpPacket;
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Largest datagram that a server may send without fragmenting.
const DATAGRAM_BYTES_MAX: usize = 2000;

/// What a test waits for at most: minutes of a loaded machine, not of a healthy one.
const PATIENCE: Duration = Duration::from_secs(30);

/// A viewer that has made its offer and has no answer yet.
pub struct Offer {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    pending: SdpPendingOffer,
    sdp: String,
}

impl Offer {
    /// To receive one video and one audio.
    pub async fn new() -> Self {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| str0m::crypto::from_feature_flags().install_process_default());
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("bound");
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a candidate"));
        let mut changes = rtc.sdp_api();
        changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = changes.apply().expect("an offer");
        let sdp = offer.to_sdp_string();
        Self { rtc, socket, address, pending, sdp }
    }

    /// What to send to the server.
    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    /// Posts it by WHEP; the answer.
    pub async fn post(&self, url: &str) -> String {
        let request = reqwest::Client::new().post(url).header("content-type", "application/sdp");
        let response = request.body(self.sdp.clone()).send().await.expect("WHEP answers");
        let status = response.status();
        let answer = response.text().await.expect("text");
        assert_eq!(status.as_u16(), 201, "WHEP: {answer}");
        answer
    }

    /// Takes the answer and begins to watch.
    pub fn accept(mut self, answer: &str) -> Viewer {
        let parsed = SdpAnswer::from_sdp_string(answer).expect("an SDP answer");
        self.rtc.sdp_api().accept_answer(self.pending, parsed).expect("an answer that fits");
        let (report, seen) = watch::channel(Seen::default());
        let watching = Watching {
            rtc: self.rtc,
            socket: self.socket,
            address: self.address,
            video: payload_type(answer, "video"),
            audio: payload_type(answer, "audio"),
            next: Instant::now(),
            report,
        };
        let mut task = JoinSet::new();
        task.spawn(watching.run());
        Viewer { seen, address: self.address, _task: task }
    }
}

/// A viewer. Dropping it is to vanish: its socket closes without a word to the server.
pub struct Viewer {
    seen: watch::Receiver<Seen>,
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Viewer {
    /// Joins by WHEP.
    pub async fn join(url: &str) -> Self {
        let offer = Offer::new().await;
        let answer = offer.post(url).await;
        offer.accept(&answer)
    }

    /// From where it watches.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen so far.
    pub fn seen(&self) -> watch::Ref<'_, Seen> {
        self.seen.borrow()
    }

    /// Waits until it has seen enough; after half a minute the test fails and says `what`.
    pub async fn until(&mut self, what: &str, enough: impl FnMut(&Seen) -> bool) {
        let waited =
            tokio::time::timeout(PATIENCE, self.seen.wait_for(enough)).await.map(|seen| seen.is_ok());
        let found = waited == Ok(true);
        assert!(found, "a viewer did not see {what}: {:?}", *self.seen.borrow());
    }

    /// Waits for that many more frames of the picture.
    pub async fn frames(&mut self, more: usize) {
        let enough = self.seen().video.frames() + more;
        self.until("more frames", |seen| seen.video.frames() >= enough).await;
    }
}

/// What a viewer has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// ICE and DTLS are done.
    pub connected: bool,
    /// The server said goodbye, or str0m gave up.
    pub closed: bool,
    /// The picture.
    pub video: Packets,
    /// The sound.
    pub audio: Packets,
}

/// The packets of one kind, decrypted and in the order of their numbers.
#[derive(Default)]
pub struct Packets {
    times: BTreeMap<u64, u32>,
    ssrcs: BTreeSet<u32>,
    frames: usize,
}

impl Packets {
    /// How many came.
    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// How many frames ended.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Numbers between the first and the newest one that never came.
    pub fn lost(&self) -> u64 {
        let (Some((first, _)), Some((last, _))) = (self.times.first_key_value(), self.times.last_key_value())
        else {
            return 0;
        };
        last - first + 1 - self.times.len() as u64
    }

    /// The SSRCs that they came under.
    pub fn ssrcs(&self) -> usize {
        self.ssrcs.len()
    }

    /// How often the RTP time went back from one number to the next.
    pub fn steps_back(&self) -> usize {
        let times: Vec<u32> = self.times.values().copied().collect();
        times.windows(2).filter(|pair| (pair[1].wrapping_sub(pair[0]) as i32) < 0).count()
    }

    fn take(&mut self, packet: &RtpPacket) {
        self.ssrcs.insert(*packet.header.ssrc);
        let known = self.times.insert(*packet.seq_no, packet.header.timestamp);
        self.frames += usize::from(packet.header.marker && known.is_none());
    }
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets")
            .field("count", &self.count())
            .field("frames", &self.frames)
            .field("lost", &self.lost())
            .field("ssrcs", &self.ssrcs)
            .finish()
    }
}

/// The task of a viewer.
struct Watching {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    video: Option<u8>,
    audio: Option<u8>,
    next: Instant,
    report: watch::Sender<Seen>,
}

impl Watching {
    async fn run(mut self) {
        while self.drain() {
            tokio::select! {
                ready = self.socket.readable() => {
                    ready.expect("our socket");
                    self.receive();
                }
                () = tokio::time::sleep_until(self.next.into()) => {}
            }
            let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
        }
        self.report.send_modify(|seen| seen.closed = true);
    }

    fn receive(&mut self) {
        let mut buffer = [0u8; DATAGRAM_BYTES_MAX];
        while let Ok((length, source)) = self.socket.try_recv_from(&mut buffer) {
            if let Ok(contents) = buffer[..length].try_into() {
                let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
                let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
                self.drain();
            }
        }
    }

    /// Does what str0m says; false when it is over.
    fn drain(&mut self) -> bool {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(next)) => {
                    self.next = next;
                    return self.rtc.is_alive();
                }
                Ok(Output::Transmit(transmit)) => {
                    // A full socket buffer loses a datagram, as a network does.
                    let _ = self.socket.try_send_to(&transmit.contents, transmit.destination);
                }
                Ok(Output::Event(Event::Connected)) => self.report.send_modify(|seen| seen.connected = true),
                Ok(Output::Event(Event::RtpPacket(packet))) => {
                    let payload_type = Some(*packet.header.payload_type);
                    self.report.send_modify(|seen| match payload_type {
                        pt if pt == self.video => seen.video.take(&packet),
                        pt if pt == self.audio => seen.audio.take(&packet),
                        _ => {}
                    });
                }
                Ok(Output::Event(_)) => {}
                Err(_) => return false,
            }
        }
    }
}

/// The first payload type of a section: the answer names the chosen one first.
fn payload_type(answer: &str, kind: &str) -> Option<u8> {
    let prefix = format!("m={kind} ");
    let line = answer.lines().find_map(|line| line.strip_prefix(&prefix))?;
    line.split_whitespace().nth(2)?.parse().ok()
}
