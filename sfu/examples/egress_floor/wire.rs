//! The floor on real sockets: the datagrams of a trace to every sink, in the runs and batches that a shard would
//! make of them, and nothing else. No encryption, no numbers, no histories, nobody who answers.

use std::io::{BufRead, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sfu::egress::batch::{Batch, Dest, Transport};

use crate::socket::{Message, SEND_MAX, Sender, Socket};

/// As in `core/slice.rs`: after so many bytes a shard sends.
const SLICE_BYTES: usize = 256 * 1024;
/// As the server's default.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Between the last burst of a trace and its repetition.
const PAUSE: Duration = Duration::from_millis(20);
/// Over which the groups are spread.
const FRAME: Duration = Duration::from_millis(40);
/// Largest datagram of a trace.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Packets that came together to a viewer: a frame, or an audio packet.
#[derive(Clone)]
struct Burst {
    at: Duration,
    sizes: Vec<usize>,
    /// Whose: sinks `n` with `n % groups == group`.
    group: usize,
}

#[derive(Clone, Copy, Default)]
struct Sent {
    datagrams: u64,
    messages: u64,
    calls: u64,
}

impl AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.messages += other.messages;
        self.calls += other.calls;
    }
}

/// Sends the trace in that file again and again from so many threads to the addresses that come on the standard
/// input, one per line up to an empty one, until that input ends. Prints what it sent. With several groups, as many
/// publishers: a burst goes to one group of sinks, a moment later to the next.
pub(crate) fn run(trace: &str, threads: usize, groups: usize) {
    let bursts = read(&std::fs::read_to_string(trace).expect("a trace"));
    let turns = Arc::new(schedule(&bursts, groups));
    let lines = std::io::stdin().lock().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let sinks: Vec<SocketAddr> = lines.map(|line| line.parse().expect("an address")).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..threads)
        .map(|thread| {
            let sinks = sinks.iter().copied().skip(thread).step_by(threads).collect();
            let (turns, stop) = (Arc::clone(&turns), Arc::clone(&stop));
            std::thread::spawn(move || Thread::new(sinks).send(&turns, groups, &stop))
        })
        .collect();
    let _ended = std::io::stdin().lock().read_to_end(&mut Vec::new());
    stop.store(true, Ordering::Relaxed);
    let mut all = Sent::default();
    senders.into_iter().for_each(|sender| all += sender.join().expect("it only sends"));
    let Sent { datagrams, messages, calls } = all;
    println!("{{\"datagrams\":{datagrams},\"messages\":{messages},\"calls\":{calls}}}");
}

/// Lines of microseconds, bytes, and more; what came in the same microsecond came in one piece.
fn read(trace: &str) -> Vec<Burst> {
    let mut bursts: Vec<Burst> = Vec::new();
    for line in trace.lines() {
        let mut words = line.split(' ');
        let (Some(micros), Some(bytes)) = (words.next(), words.next()) else {
            panic!("a line of a trace: {line}")
        };
        let at = Duration::from_micros(micros.parse().expect("a number"));
        let bytes = bytes.parse::<usize>().expect("a number").min(DATAGRAM_BYTES_MAX);
        match bursts.last_mut().filter(|last| last.at == at) {
            Some(last) => last.sizes.push(bytes),
            None => bursts.push(Burst { at, sizes: vec![bytes], group: 0 }),
        }
    }
    bursts
}

/// The bursts of all groups in order of time: encoders are not in step.
fn schedule(bursts: &[Burst], groups: usize) -> Vec<Burst> {
    let mut all: Vec<Burst> = (0..groups)
        .flat_map(|group| {
            let late = FRAME * group as u32 / groups as u32;
            bursts.iter().map(move |burst| Burst { at: burst.at + late, group, ..burst.clone() })
        })
        .collect();
    all.sort_by_key(|burst| burst.at);
    all
}

struct Thread {
    socket: Socket,
    sender: Sender,
    batch: Batch,
    sinks: Vec<Dest>,
    sent: Sent,
}

impl Thread {
    fn new(sinks: Vec<SocketAddr>) -> Self {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the kernel's choice");
        socket2::SockRef::from(&udp).set_send_buffer_size(SOCKET_BUFFER_BYTES).expect("capped, not refused");
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            socket: Socket::new(udp).expect("options of a socket"),
            sender: Sender::new(),
            batch: Batch::new(),
            sinks: sinks
                .into_iter()
                .map(|to| Dest { to, from, transport: Transport::Udp, gso: true })
                .collect(),
            sent: Sent::default(),
        }
    }

    fn send(mut self, bursts: &[Burst], groups: usize, stop: &AtomicBool) -> Sent {
        let payload = [0x5a; DATAGRAM_BYTES_MAX];
        let mut start = Instant::now();
        loop {
            for burst in bursts {
                std::thread::sleep((start + burst.at).saturating_duration_since(Instant::now()));
                if stop.load(Ordering::Relaxed) {
                    return self.sent;
                }
                for at in (burst.group..self.sinks.len()).step_by(groups) {
                    let dest = self.sinks[at];
                    for size in &burst.sizes {
                        while self
                            .batch
                            .push(&dest, *size)
                            .map(|room| room.copy_from_slice(&payload[..*size]))
                            .is_none()
                        {
                            self.flush();
                        }
                    }
                    if self.batch.len() >= SLICE_BYTES {
                        self.flush();
                    }
                }
                self.flush();
            }
            start += bursts.last().map_or(PAUSE, |last| last.at + PAUSE);
        }
    }

    fn flush(&mut self) {
        let Self { socket, sender, batch, sent, .. } = self;
        let mut from = 0;
        while from < batch.runs().len() {
            let runs = &batch.runs()[from..];
            let message = |at: usize| {
                let run = &runs[at];
                Message {
                    to: run.dest.to,
                    from: run.dest.from,
                    bytes: batch.bytes(run),
                    segment: (run.len > run.segment).then_some(run.segment as u16),
                }
            };
            sent.calls += 1;
            match sender.send(socket, runs.len().min(SEND_MAX), message) {
                Ok(count) => {
                    sent.messages += count as u64;
                    sent.datagrams += runs[..count].iter().map(|run| run.datagrams() as u64).sum::<u64>();
                    from += count;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
                // A sink that is gone.
                Err(_) => from += 1,
            }
        }
        batch.clear();
    }
}
