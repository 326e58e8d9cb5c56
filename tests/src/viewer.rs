//! A viewer: str0m for ICE, DTLS and SRTP over real sockets, in a task of its own.

#![expect(clippy::disallowed_methods, reason = "a real client runs by the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Once;
use std::time::{Duration, Instant};

use futures_util::future::select_all;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::Receive;
use str0m::rtp::RtpPacket;
use str0m::{Event, Input, Output, Rtc};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::tape::Tape;
use crate::wire::{DATAGRAM_BYTES_MAX, Wire};

/// What a test waits for at most: minutes of a loaded machine, not of a healthy one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Orders that a test gives at once.
const ORDERS_MAX: usize = 16;

/// A viewer that has made its offer and has no answer yet.
pub struct Offer {
    rtc: Rtc,
    wire: Wire,
    pending: SdpPendingOffer,
    sdp: String,
    replayed: bool,
    tape: Option<Tape>,
}

impl Offer {
    /// To receive one video and one audio, by UDP.
    pub async fn new() -> Self {
        Self::over(Wire::udp().await)
    }

    /// The same over any wire.
    pub fn over(wire: Wire) -> Self {
        let mut rtc = rtc(&wire);
        let mut changes = rtc.sdp_api();
        changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = changes.apply().expect("an offer");
        let sdp = offer.to_sdp_string();
        Self { rtc, wire, pending, sdp, replayed: false, tape: None }
    }

    /// Each SRTCP packet of it will be sent twice, as somebody would who has heard it.
    #[must_use]
    pub fn replayed(mut self) -> Self {
        self.replayed = true;
        self
    }

    /// Every packet will be kept on a tape.
    #[must_use]
    pub fn taped(mut self, tape: &Tape) -> Self {
        self.tape = Some(tape.clone());
        self
    }

    /// What to send to the server.
    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    /// Posts it by WHEP; the answer.
    pub async fn post(&self, url: &str) -> String {
        self.open(url).await.0
    }

    /// Posts it by WHEP; the answer, and the session's URL and ETag.
    pub async fn open(&self, url: &str) -> (String, String, String) {
        let request = reqwest::Client::new().post(url).header("content-type", "application/sdp");
        let response = request.body(self.sdp.clone()).send().await.expect("WHEP answers");
        let status = response.status();
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (location, tag) = (header("location"), header("etag"));
        let answer = response.text().await.expect("text");
        assert_eq!(status.as_u16(), 201, "WHEP: {answer}");
        (answer, location, tag)
    }

    /// Takes the answer and begins to watch.
    pub fn accept(mut self, answer: &str) -> Viewer {
        let parsed = SdpAnswer::from_sdp_string(answer).expect("an SDP answer");
        self.rtc.sdp_api().accept_answer(self.pending, parsed).expect("an answer that fits");
        Viewer::begin(self.rtc, self.wire, answer, self.replayed, self.tape)
    }
}

/// A viewer. Dropping it is to vanish: its socket closes without a word to the server.
pub struct Viewer {
    seen: watch::Receiver<Seen>,
    orders: mpsc::Sender<Order>,
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

    /// Takes the offer of somebody who sends, as a server does, and keeps it on a tape; the answer.
    pub async fn answer(offer: &str, tape: &Tape) -> (Self, String) {
        let wire = Wire::udp().await;
        let mut rtc = rtc(&wire);
        let offer = SdpOffer::from_sdp_string(offer).expect("an SDP offer");
        let answer = rtc.sdp_api().accept_offer(offer).expect("an offer to send").to_sdp_string();
        (Self::begin(rtc, wire, &answer, false, Some(tape.clone())), answer)
    }

    fn begin(rtc: Rtc, wire: Wire, answer: &str, replayed: bool, tape: Option<Tape>) -> Self {
        let (report, seen) = watch::channel(Seen::default());
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let address = wire.address();
        let watching = Watching {
            rtc,
            wires: vec![wire],
            orders: taken,
            restarting: None,
            stalled: false,
            video: payload_type(answer, "video"),
            audio: payload_type(answer, "audio"),
            next: Instant::now(),
            replayed,
            tape,
            report,
        };
        let mut task = JoinSet::new();
        task.spawn(watching.run());
        Self { seen, orders, address, _task: task }
    }

    /// A NAT gives it another port, and tells nobody; the port.
    pub async fn rebind(&mut self) -> SocketAddr {
        let (reply, seen) = oneshot::channel();
        self.order(Order::Rebind(reply));
        seen.await.expect("the viewer lives")
    }

    /// Wants an ICE restart, over `wire` besides the one that it has; the offer.
    pub async fn restart(&mut self, wire: Option<Wire>) -> String {
        let (reply, offer) = oneshot::channel();
        self.order(Order::Restart(wire, reply));
        offer.await.expect("the viewer lives")
    }

    /// Takes the answer to [`Self::restart`].
    pub fn accept(&mut self, answer: &str) {
        self.order(Order::Accept(answer.to_owned()));
    }

    /// It stays connected and reads nothing any more, or reads again.
    pub fn stall(&mut self, stalled: bool) {
        self.order(Order::Stall(stalled));
    }

    fn order(&mut self, order: Order) {
        assert!(self.orders.try_send(order).is_ok(), "the viewer has ended: {:?}", *self.seen());
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
    /// The client's end of the way on which media came last.
    pub way: Option<SocketAddr>,
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

/// What a test wants of a viewer.
enum Order {
    Rebind(oneshot::Sender<SocketAddr>),
    Restart(Option<Wire>, oneshot::Sender<String>),
    Accept(String),
    Stall(bool),
}

/// Why the task of a viewer goes on.
enum Woken {
    Ready,
    Order(Option<Order>),
    Late,
}

/// The task of a viewer.
struct Watching {
    rtc: Rtc,
    wires: Vec<Wire>,
    orders: mpsc::Receiver<Order>,
    restarting: Option<(SdpPendingOffer, Option<Wire>)>,
    stalled: bool,
    video: Option<u8>,
    audio: Option<u8>,
    next: Instant,
    replayed: bool,
    tape: Option<Tape>,
    report: watch::Sender<Seen>,
}

impl Watching {
    async fn run(mut self) {
        while self.drain() {
            let ready = select_all(self.wires.iter().map(|wire| Box::pin(wire.ready())));
            let woken = tokio::select! {
                _ = ready, if !self.stalled => Woken::Ready,
                order = self.orders.recv() => Woken::Order(order),
                () = tokio::time::sleep_until(self.next.into()) => Woken::Late,
            };
            match woken {
                Woken::Ready => self.receive(),
                Woken::Order(Some(order)) => self.obey(order).await,
                Woken::Order(None) => return,
                Woken::Late => {}
            }
            let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
        }
        self.report.send_modify(|seen| seen.closed = true);
    }

    fn receive(&mut self) {
        let mut buffer = [0u8; DATAGRAM_BYTES_MAX];
        for at in 0..self.wires.len() {
            while let Some((length, source)) = self.wires[at].receive(&mut buffer) {
                if let Ok(contents) = buffer[..length].try_into() {
                    let (proto, destination) = (self.wires[at].protocol(), self.wires[at].address());
                    if buffer[0] >= 128 {
                        self.report.send_modify(|seen| seen.way = Some(destination));
                    }
                    let receive = Receive { proto, source, destination, contents };
                    let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
                    self.drain();
                }
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Rebind(reply) => drop(reply.send(self.wires[0].rebind().await)),
            Order::Restart(wire, reply) => {
                let mut changes = self.rtc.sdp_api();
                changes.ice_restart(wire.is_none());
                let (offer, pending) = changes.apply().expect("an ICE restart is a change");
                self.restarting = Some((pending, wire));
                let _ = reply.send(offer.to_sdp_string());
            }
            Order::Accept(answer) => {
                let answer = SdpAnswer::from_sdp_string(&answer).expect("an SDP answer");
                let (pending, wire) = self.restarting.take().expect("an answer to a restart");
                self.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
                // The restart has forgotten the candidates of before.
                if let Some(wire) = wire {
                    self.rtc.add_local_candidate(wire.candidate());
                    self.wires.push(wire);
                }
            }
            Order::Stall(stalled) => self.stalled = stalled,
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
                    let from = |wire: &&mut Wire| {
                        (wire.address(), wire.protocol()) == (transmit.source, transmit.proto)
                    };
                    if let Some(wire) = self.wires.iter_mut().find(from) {
                        wire.send(&transmit.contents, transmit.destination);
                        if self.replayed && matches!(&transmit.contents[..], [128..=191, 192..=223, ..]) {
                            wire.send(&transmit.contents, transmit.destination);
                        }
                    }
                }
                Ok(Output::Event(Event::Connected)) => self.report.send_modify(|seen| seen.connected = true),
                Ok(Output::Event(Event::RtpPacket(packet))) => {
                    if let Some(tape) = &self.tape {
                        tape.keep(&packet);
                    }
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

/// What all of them are made of.
fn rtc(wire: &Wire) -> Rtc {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(|| str0m::crypto::from_feature_flags().install_process_default());
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
    rtc.add_local_candidate(wire.candidate());
    rtc
}

/// The first payload type of a section: the answer names the chosen one first.
fn payload_type(answer: &str, kind: &str) -> Option<u8> {
    let prefix = format!("m={kind} ");
    let line = answer.lines().find_map(|line| line.strip_prefix(&prefix))?;
    line.split_whitespace().nth(2)?.parse().ok()
}
