//! One contiguous send buffer, and the runs in it.
//!
//! ```text
//!   bytes  | p p p p p p p s | p p p p s | a | a | p p p p p p p s | …
//!   runs     viewer 1, video   viewer 2    1   2   viewer 3            one sendmmsg sends them all
//! ```
//! A run is what the kernel cuts into datagrams by itself (UDP_SEGMENT): packets to one destination, all of
//! one size, only the last may be shorter.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use serde::Serialize;

/// Bytes of the buffer. A slice of the core is 256 KiB; four of them leave room for the largest keyframe to
/// one viewer. When it is full, [`Batch::push`] says so, and the core goes on after the shell has sent.
pub const CAPACITY: usize = 1 << 20;
/// Runs in a batch: the most messages that one sendmmsg takes (UIO_MAXIOV).
pub const RUNS_MAX: usize = 1024;
/// Datagrams in a run (UDP_MAX_SEGMENTS of kernels before 6.9).
pub const SEGMENTS_MAX: usize = 64;
/// Bytes in a run: an IP packet's 65,535, less headers, rounded down.
pub const RUN_BYTES_MAX: usize = 65_000;
/// Arrivals that a batch keeps for the latency histogram. It is a sample: what is over is not measured.
const ARRIVALS_MAX: usize = 4096;

/// What a frame is: each kind has a latency of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// An audio packet.
    Audio,
    /// A picture that needs others.
    Delta,
    /// A picture that needs no other, many times as large.
    Keyframe,
}

/// What carries datagrams between a Peer and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// As they are.
    Udp,
    /// Framed in a stream (RFC 4571), over a connection that the Peer opened (RFC 6544).
    Tcp,
}

impl Transport {
    /// For logs and the gateway.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Where a viewer's datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dest {
    /// The viewer.
    pub to: SocketAddr,
    /// Our address that it used. Unspecified: the kernel chooses.
    pub from: IpAddr,
    /// By what.
    pub transport: Transport,
    /// Whether datagrams of one size may be joined to a run: for UDP_SEGMENT, or for one write to a stream.
    pub gso: bool,
}

/// Packets to one destination that go to the kernel as one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where to.
    pub dest: Dest,
    /// Where its bytes begin in the buffer.
    pub offset: usize,
    /// How many bytes it has.
    pub len: usize,
    /// Size of every datagram but the last, which may be shorter.
    pub segment: usize,
}

impl Run {
    /// How many datagrams it is.
    pub fn datagrams(&self) -> usize {
        self.len.div_ceil(self.segment.max(1))
    }
}

/// One contiguous send buffer. Written by the core, sent and cleared by the shell; allocates only when made.
pub struct Batch {
    buf: Box<[u8]>,
    len: usize,
    runs: Vec<Run>,
    /// Run index, kind and arrival of the frame whose last packet is in it.
    arrivals: Vec<(u32, FrameKind, Instant)>,
    /// Length of the newest packet: what [`Self::take_back`] removes.
    last_len: usize,
    /// Whether one of the runs goes by TCP: without, the shell need not look for them.
    tcp: bool,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            buf: vec![0; CAPACITY].into_boxed_slice(),
            len: 0,
            runs: Vec::with_capacity(RUNS_MAX),
            arrivals: Vec::with_capacity(ARRIVALS_MAX),
            last_len: 0,
            tcp: false,
        }
    }

    /// Reserves `len` bytes for the next datagram to `dest` and returns them to be written, all of them: they
    /// hold old bytes. `None`: the batch is full; send it first.
    pub fn push(&mut self, dest: &Dest, len: usize) -> Option<&mut [u8]> {
        if len == 0 || self.buf.len() - self.len < len {
            return None;
        }
        match self.runs.last_mut() {
            Some(run) if joins(run, dest, len) => run.len += len,
            _ => {
                if self.runs.len() == RUNS_MAX {
                    return None;
                }
                self.runs.push(Run { dest: *dest, offset: self.len, len, segment: len });
                self.tcp |= dest.transport == Transport::Tcp;
            }
        }
        let start = self.len;
        self.len += len;
        self.last_len = len;
        Some(&mut self.buf[start..start + len])
    }

    /// Takes the newest packet back: it could not be sealed. Only the newest, and only once.
    pub fn take_back(&mut self) {
        let len = std::mem::take(&mut self.last_len);
        self.len -= len;
        if let Some(run) = self.runs.last_mut() {
            run.len -= len;
            if run.len == 0 {
                self.runs.pop();
            }
        }
    }

    /// The newest packet was the last one of a frame that arrived then.
    pub fn frame_end(&mut self, kind: FrameKind, arrival: Instant) {
        if let Some(run) = self.runs.len().checked_sub(1)
            && self.arrivals.len() < ARRIVALS_MAX
        {
            self.arrivals.push((run as u32, kind, arrival));
        }
    }

    /// True if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether some of it goes by TCP; true only once, for whoever sends that part.
    pub fn take_tcp(&mut self) -> bool {
        std::mem::take(&mut self.tcp)
    }

    /// What to send, in order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The bytes of a run of this batch.
    pub fn bytes(&self, run: &Run) -> &[u8] {
        &self.buf[run.offset..run.offset + run.len]
    }

    /// Frames that ended in this batch: the index of the run, what the frame is, and when it had arrived.
    pub fn arrivals(&self) -> impl Iterator<Item = (usize, FrameKind, Instant)> {
        self.arrivals.iter().map(|(run, kind, arrival)| (*run as usize, *kind, *arrival))
    }

    /// Forgets everything: it was sent.
    pub fn clear(&mut self) {
        self.len = 0;
        self.last_len = 0;
        self.tcp = false;
        self.runs.clear();
        self.arrivals.clear();
    }
}

/// Whether a datagram can be the next segment of a run.
fn joins(run: &Run, dest: &Dest, len: usize) -> bool {
    dest.gso
        && run.dest == *dest
        && len <= run.segment
        // A shorter datagram ended the run.
        && run.len.is_multiple_of(run.segment)
        && run.len / run.segment < SEGMENTS_MAX
        && run.len + len <= RUN_BYTES_MAX
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("len", &self.len)
            .field("runs", &self.runs.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn dest(port: u16) -> Dest {
        let ip = Ipv4Addr::LOCALHOST;
        Dest { to: (ip, port).into(), from: ip.into(), transport: Transport::Udp, gso: true }
    }

    /// Pushes and returns the datagram counts and sizes of the runs.
    fn runs(pushes: &[(u16, usize)]) -> Vec<(u16, usize, usize)> {
        let mut batch = Batch::new();
        for (port, len) in pushes {
            batch.push(&dest(*port), *len).expect("room").fill(*port as u8);
        }
        for run in batch.runs() {
            assert!(batch.bytes(run).iter().all(|byte| *byte == run.dest.to.port() as u8), "mixed up bytes");
        }
        batch.runs().iter().map(|run| (run.dest.to.port(), run.datagrams(), run.len)).collect()
    }

    #[test]
    fn equal_sizes_to_one_destination_are_one_run() {
        type Pushes = [(u16, usize)];
        type Runs = [(u16, usize, usize)];
        let table: &[(&Pushes, &Runs)] = &[
            (&[(1, 100), (1, 100), (1, 40)], &[(1, 3, 240)]),
            // After a shorter one, nothing joins.
            (&[(1, 100), (1, 40), (1, 40)], &[(1, 2, 140), (1, 1, 40)]),
            // A longer one cannot join.
            (&[(1, 40), (1, 100)], &[(1, 1, 40), (1, 1, 100)]),
            (&[(1, 100), (2, 100), (1, 100)], &[(1, 1, 100), (2, 1, 100), (1, 1, 100)]),
        ];
        for (pushes, expected) in table {
            assert_eq!(runs(pushes), *expected, "{pushes:?}");
        }
    }

    #[test]
    fn a_run_ends_at_64_segments_and_at_65000_bytes() {
        let many = runs(&[(1, 100); 65]);
        assert_eq!(many, [(1, 64, 6400), (1, 1, 100)]);
        let large = runs(&[(1, 1200); 60]);
        assert_eq!(large, [(1, 54, 64_800), (1, 6, 7200)]);
    }

    #[test]
    fn without_gso_every_datagram_is_its_own_run() {
        let mut batch = Batch::new();
        let dest = Dest { gso: false, ..dest(1) };
        for _ in 0..3 {
            batch.push(&dest, 100).expect("room");
        }
        assert_eq!(batch.runs().len(), 3);
    }

    #[test]
    fn a_full_batch_refuses_and_goes_on_after_clear() {
        let mut batch = Batch::new();
        let pushed = (0..).take_while(|i| batch.push(&dest(*i as u16 % 7), 1200).is_some()).count();
        assert!(pushed == CAPACITY / 1200 || pushed == RUNS_MAX, "{pushed}");
        batch.clear();
        assert!(batch.is_empty() && batch.push(&dest(1), 1200).is_some());
    }

    #[test]
    fn what_goes_by_tcp_is_apart_and_told() {
        let mut batch = Batch::new();
        batch.push(&dest(1), 100).expect("room");
        assert!(!batch.take_tcp());
        let stream = Dest { transport: Transport::Tcp, ..dest(1) };
        for _ in 0..2 {
            batch.push(&stream, 100).expect("room");
        }
        assert_eq!((batch.runs().len(), batch.runs()[1].datagrams()), (2, 2));
        assert!(batch.take_tcp());
        assert!(!batch.take_tcp());
    }

    #[test]
    fn a_packet_taken_back_leaves_no_trace() {
        let mut batch = Batch::new();
        batch.push(&dest(1), 100).expect("room");
        batch.push(&dest(1), 50).expect("room");
        batch.take_back();
        batch.push(&dest(1), 100).expect("room");
        assert_eq!(batch.runs().len(), 1);
        assert_eq!(batch.runs()[0].datagrams(), 2);
        batch.push(&dest(2), 10).expect("room");
        batch.take_back();
        assert_eq!((batch.runs().len(), batch.len()), (1, 200));
    }
}
