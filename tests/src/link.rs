//! A line between a viewer and the server: so many bits per second, a queue that overflows, a delay, losses.
//!
//! ```text
//!   viewer ◄── delay ◄── capacity ◄── queue ◄── loss ◄──┐
//!     │  front                     one back per viewer  ├──► server
//!     └───────────────────── loss ──► delay ────────────┘
//! ```
//! A viewer is put behind it by an answer whose candidate is the line's address. Each socket of a viewer gets a
//! socket of its own on the server's side, as a router with address translation would give it.

#![expect(clippy::disallowed_methods, reason = "a line runs by the clock")]

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Largest datagram passed on.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// Datagrams between a socket and the line: more than any queue of a test holds. What does not fit is lost, as in a socket.
const HAND_OVER_MAX: usize = 4096;
/// Sockets of viewers: a browser with some interfaces, some times over. Further ones are not served.
const CLIENTS_MAX: usize = 64;
/// What a datagram weighs on the line besides its payload: IPv4 and UDP.
const OVERHEAD_BYTES: usize = 28;

/// What the line is like. Can be changed while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Bits per second toward the viewer, headers included; `None`: as many as come.
    pub capacity_bps: Option<u64>,
    /// Bytes that wait for their turn at most; what comes then is dropped.
    pub queue_bytes: usize,
    /// The round trip: half of it each way.
    pub round_trip: Duration,
    /// Of 1000 datagrams, how many are lost at random, each way.
    pub loss_per_mille: u32,
    /// The first so many packets of the picture that go to a viewer are lost.
    pub beginning_lost: u32,
    /// From the first datagram toward the server on, its sender reports are lost for so long: those of an encoder that
    /// reports late.
    pub reports_lost_for: Duration,
    /// Another number than before: the address translation has forgotten everybody. The server sees each viewer come from
    /// another port, and what it sends to the one before is lost.
    pub mapping: u32,
}

impl Default for Terms {
    fn default() -> Self {
        // 100 ms of 5 Mbit/s: what home routers have.
        Self {
            capacity_bps: None,
            queue_bytes: 64_000,
            round_trip: Duration::ZERO,
            loss_per_mille: 0,
            beginning_lost: 0,
            reports_lost_for: Duration::ZERO,
            mapping: 0,
        }
    }
}

/// What the line did so far, toward the viewer unless it says otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    /// Datagrams delivered.
    pub datagrams: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Datagrams that found the queue full.
    pub overflowed: u64,
    /// Datagrams lost at random.
    pub lost: u64,
    /// Longest wait in the queue.
    pub waited_max: Duration,
    /// Sender reports toward the server that were lost.
    pub reports_lost: u64,
    /// Those that were carried.
    pub reports: u64,
}

/// A line in front of the server. It ends with its handle.
pub struct Link {
    address: SocketAddr,
    terms: watch::Sender<Terms>,
    carried: watch::Receiver<Carried>,
    _task: JoinSet<()>,
}

impl Link {
    /// Begins to carry datagrams to and from `server`.
    pub async fn to(server: SocketAddr, terms: Terms) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = front.local_addr().expect("bound");
        let (terms, ordered) = watch::channel(terms);
        let (report, carried) = watch::channel(Carried::default());
        let mut task = JoinSet::new();
        task.spawn(Line::new(front, server, ordered, report).run());
        Self { address, terms, carried, _task: task }
    }

    /// Where the viewer must send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it is like this. What waits in the queue stays there.
    pub fn set(&self, change: impl FnOnce(&mut Terms)) {
        self.terms.send_modify(change);
    }

    /// What it has carried so far.
    pub fn carried(&self) -> Carried {
        *self.carried.borrow()
    }
}

/// A datagram on its way.
struct Parcel {
    client: SocketAddr,
    data: Vec<u8>,
    /// When it came; when it will be there, once that is known.
    at: Instant,
}

struct Line {
    front: UdpSocket,
    server: SocketAddr,
    terms: watch::Receiver<Terms>,
    report: watch::Sender<Carried>,
    /// The server's side: one socket per socket of a viewer.
    backs: HashMap<SocketAddr, Arc<UdpSocket>>,
    /// Packets of the picture that came for a viewer, as long as the first of them are lost.
    begun_for: HashMap<SocketAddr, u32>,
    mapping: u32,
    readers: JoinSet<()>,
    arrived: mpsc::Receiver<Parcel>,
    arrivals: mpsc::Sender<Parcel>,
    /// Waits for its turn on the line.
    queue: VecDeque<Parcel>,
    queued_bytes: usize,
    /// When the last bit of the last datagram went.
    free: Instant,
    /// When the first datagram came that goes to the server.
    begun: Option<Instant>,
    /// On the way down and up; in order of their time.
    down: VecDeque<Parcel>,
    up: VecDeque<Parcel>,
    dice: Dice,
}

impl Line {
    fn new(
        front: UdpSocket,
        server: SocketAddr,
        terms: watch::Receiver<Terms>,
        report: watch::Sender<Carried>,
    ) -> Self {
        let (arrivals, arrived) = mpsc::channel(HAND_OVER_MAX);
        let mapping = terms.borrow().mapping;
        Self {
            front,
            server,
            mapping,
            terms,
            report,
            backs: HashMap::new(),
            begun_for: HashMap::new(),
            readers: JoinSet::new(),
            arrived,
            arrivals,
            queue: VecDeque::new(),
            queued_bytes: 0,
            free: Instant::now(),
            begun: None,
            down: VecDeque::new(),
            up: VecDeque::new(),
            dice: Dice(0x5eed),
        }
    }

    async fn run(mut self) {
        let mut room = [0u8; DATAGRAM_BYTES_MAX];
        loop {
            let due = self.move_on(Instant::now());
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = self.front.recv_from(&mut room) => {
                    // An error is one of an earlier datagram: the viewer's socket is gone.
                    if let Ok((length, client)) = read {
                        self.send_up(client, &room[..length]).await;
                    }
                }
                Some(parcel) = self.arrived.recv() => self.take_down(parcel),
                () = sleep => {}
                changed = self.terms.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let mapping = self.terms.borrow().mapping;
                    if std::mem::replace(&mut self.mapping, mapping) != mapping {
                        self.readers.abort_all();
                        self.backs.clear();
                    }
                }
            }
        }
    }

    async fn send_up(&mut self, client: SocketAddr, data: &[u8]) {
        let terms = *self.terms.borrow();
        if self.dice.hits(terms.loss_per_mille) {
            return;
        }
        if !self.backs.contains_key(&client) && self.backs.len() < CLIENTS_MAX {
            let back = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            back.connect(self.server).await.expect("loopback");
            let back = Arc::new(back);
            self.readers.spawn(read(Arc::clone(&back), client, self.arrivals.clone()));
            self.backs.insert(client, back);
        }
        let now = Instant::now();
        let begun = *self.begun.get_or_insert(now);
        if is_sender_report(data) {
            let lost = now < begun + terms.reports_lost_for;
            self.report.send_modify(|carried| {
                *(if lost { &mut carried.reports_lost } else { &mut carried.reports }) += 1
            });
            if lost {
                return;
            }
        }
        let at = now + terms.round_trip / 2;
        self.up.push_back(Parcel { client, data: data.to_vec(), at });
    }

    fn take_down(&mut self, parcel: Parcel) {
        let terms = *self.terms.borrow();
        let bytes = parcel.data.len() + OVERHEAD_BYTES;
        if self.loses_beginning(&parcel, terms.beginning_lost) || self.dice.hits(terms.loss_per_mille) {
            self.report.send_modify(|carried| carried.lost += 1);
        } else if self.queued_bytes + bytes > terms.queue_bytes {
            self.report.send_modify(|carried| carried.overflowed += 1);
        } else {
            self.queued_bytes += bytes;
            self.queue.push_back(parcel);
        }
    }

    fn loses_beginning(&mut self, parcel: &Parcel, lost: u32) -> bool {
        if lost == 0 || !is_picture(&parcel.data) {
            return false;
        }
        let begun = self.begun_for.entry(parcel.client).or_default();
        *begun += 1;
        *begun <= lost
    }

    /// Does what is due; when there is more to do.
    fn move_on(&mut self, now: Instant) -> Option<Instant> {
        let terms = *self.terms.borrow();
        let half = terms.round_trip / 2;
        let mut next = None;
        while let Some(parcel) = self.queue.front() {
            let bytes = parcel.data.len() + OVERHEAD_BYTES;
            let takes = terms.capacity_bps.map_or(Duration::ZERO, |bps| {
                Duration::from_nanos(bytes as u64 * 8 * 1_000_000_000 / bps.max(1))
            });
            let gone = self.free.max(parcel.at) + takes;
            if gone > now {
                next = Some(gone);
                break;
            }
            let Some(mut parcel) = self.queue.pop_front() else { break };
            let waited = gone - parcel.at;
            self.free = gone;
            self.queued_bytes -= bytes;
            parcel.at = gone + half;
            self.down.push_back(parcel);
            self.report.send_modify(|carried| carried.waited_max = carried.waited_max.max(waited));
        }
        while let Some(parcel) = self.down.pop_front_if(|parcel| parcel.at <= now) {
            // A full socket buffer loses it, as a network does.
            let _ = self.front.try_send_to(&parcel.data, parcel.client);
            self.report.send_modify(|carried| {
                carried.datagrams += 1;
                carried.bytes += (parcel.data.len() + OVERHEAD_BYTES) as u64;
            });
        }
        while let Some(parcel) = self.up.pop_front_if(|parcel| parcel.at <= now) {
            if let Some(back) = self.backs.get(&parcel.client) {
                let _ = back.try_send(&parcel.data);
            }
        }
        let waiting = [self.down.front(), self.up.front()];
        waiting.into_iter().flatten().map(|parcel| parcel.at).chain(next).min()
    }
}

/// A compound packet that begins with a sender report; SRTCP leaves the first header in the clear (RFC 3711 section 3.4).
fn is_sender_report(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 200, ..])
}

/// RTP of a picture that is sent for the first time: the last bits of the server's SSRCs tell what they are of.
fn is_picture(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 96..=127 | 224..=255, _, _, _, _, _, _, _, _, _, ssrc, ..] if ssrc & 3 == 1)
}

/// Takes what the server sends to one socket of a viewer.
async fn read(back: Arc<UdpSocket>, client: SocketAddr, arrivals: mpsc::Sender<Parcel>) {
    let mut room = [0u8; DATAGRAM_BYTES_MAX];
    loop {
        // An error is one of an earlier datagram: the server is gone, or comes back.
        if let Ok(length) = back.recv(&mut room).await {
            let _ = arrivals.try_send(Parcel { client, data: room[..length].to_vec(), at: Instant::now() });
        }
    }
}

/// The same random numbers in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn hits(&mut self, per_mille: u32) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % 1000 < u64::from(per_mille)
    }
}
