use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::super::port::{self, Port};
use super::super::socket::{EventFd, Inbox, Wanted, wait};
use super::*;
use crate::egress::batch::{Dest, FrameKind, Transport};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn receivers(count: usize) -> Vec<UdpSocket> {
    let bind = || {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        udp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        udp
    };
    (0..count).map(|_| bind()).collect()
}

fn dest_of(udp: &UdpSocket) -> Dest {
    Dest { to: udp.local_addr().unwrap(), from: LOCALHOST, transport: Transport::Udp, gso: true }
}

/// Five packets of a frame to each, the last one shorter, all with bytes that name them.
fn fill(batch: &mut Batch, dests: &[Dest]) {
    for (viewer, dest) in dests.iter().enumerate() {
        for packet in 0..5 {
            let len = if packet == 4 { 300 } else { 1100 };
            batch.push(dest, len).expect("room").fill((viewer * 5 + packet) as u8);
        }
        batch.frame_end(FrameKind::Delta, clock());
    }
}

fn check(receivers: &[UdpSocket]) {
    let mut buf = [0; 2048];
    for (viewer, udp) in receivers.iter().enumerate() {
        for packet in 0..5 {
            let len = udp.recv(&mut buf).expect("a datagram");
            assert_eq!(len, if packet == 4 { 300 } else { 1100 });
            assert!(buf[..len].iter().all(|byte| *byte == (viewer * 5 + packet) as u8));
        }
    }
}

#[test]
fn forty_viewers_get_a_frame_by_one_system_call() {
    let mut sockets = port::bind(&[LOCALHOST], 0, false, 1, 1 << 20).unwrap().sockets;
    let receivers = receivers(40);
    let dests: Vec<Dest> = receivers.iter().map(dest_of).collect();
    let (mut batch, mut outbox) = (Batch::new(), Outbox::new());
    let (mut stats, mut latency) = (SocketStats::default(), ForwardLatency::default());
    let sockets = sockets.remove(0);
    for gso in [true, false] {
        stats = SocketStats::default();
        outbox.v4.gso_off = !gso;
        fill(&mut batch, &dests);
        assert_eq!(outbox.flush(&sockets, &mut batch, &mut stats, &mut latency), Blocked::default());
        assert!(batch.is_empty());
        check(&receivers);
        assert_eq!((stats.send_calls, stats.datagrams_sent, stats.bytes_sent), (1, 200, 40 * 4700), "{gso}");
        assert_eq!((stats.gso_runs, stats.send_errors), (if gso { 40 } else { 0 }, 0));
    }
    assert_eq!(latency.count(), 80, "each frame is measured once");
    assert_eq!(stats.gso_refused, 0);
}

/// A viewer at `viewer` talks to our address `used`, on sockets bound to `bound`.
fn reply(bound: IpAddr, used: IpAddr, viewer: IpAddr) {
    let Port { number: port, mut sockets, .. } = port::bind(&[bound], 0, false, 1, 1 << 20).unwrap();
    let sockets = sockets.remove(0);
    let viewer = UdpSocket::bind((viewer, 0)).unwrap();
    viewer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    viewer.send_to(b"hello", (used, port)).unwrap();

    let socket = sockets.v4.as_ref().or(sockets.v6.as_ref()).unwrap();
    let read = Wanted { read: true, write: false };
    let watched = [(Some(socket), read), (None, read)];
    let ready = wait(watched, None, Some(&EventFd::new().unwrap()), Some(Duration::from_secs(5)));
    assert!(ready.unwrap()[0].readable);
    let mut inbox = Inbox::new();
    assert_eq!(inbox.receive(socket, &mut 0).unwrap(), 1);
    let (from, to, data) = inbox.drain().next().unwrap();
    assert_eq!((from, to, &*data), (viewer.local_addr().unwrap(), used, &b"hello"[..]));

    let mut batch = Batch::new();
    let dest = Dest { to: from, from: to, transport: Transport::Udp, gso: true };
    batch.push(&dest, 2).unwrap().copy_from_slice(b"a1");
    batch.push(&dest, 2).unwrap().copy_from_slice(b"a2");
    let (mut stats, mut latency) = (SocketStats::default(), ForwardLatency::default());
    Outbox::new().flush(&sockets, &mut batch, &mut stats, &mut latency);
    assert_eq!((stats.gso_runs, stats.send_errors), (1, 0));
    let mut buf = [0; 100];
    for expected in [b"a1", b"a2"] {
        let (len, source) = viewer.recv_from(&mut buf).unwrap();
        assert_eq!((&buf[..len], source), (&expected[..], SocketAddr::new(used, port)));
    }
}

#[test]
fn replies_leave_from_the_address_that_was_used() {
    reply(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(127, 0, 0, 3).into(), LOCALHOST);
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    if UdpSocket::bind((v6, 0)).is_ok() {
        reply(Ipv6Addr::UNSPECIFIED.into(), v6, v6);
    }
}

#[test]
fn both_address_families_are_served_from_one_batch() {
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    let Ok(second) = UdpSocket::bind((v6, 0)) else { return };
    let first = receivers(1).remove(0);
    let mut sockets = port::bind(&[LOCALHOST, v6], 0, false, 1, 1 << 20).unwrap().sockets;
    let mut batch = Batch::new();
    let dests = [dest_of(&first), Dest { from: v6, ..dest_of(&second) }];
    fill(&mut batch, &dests);
    let (mut stats, mut latency) = (SocketStats::default(), ForwardLatency::default());
    Outbox::new().flush(&sockets.remove(0), &mut batch, &mut stats, &mut latency);
    second.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    check(&[first, second]);
    assert_eq!((stats.send_calls, stats.datagrams_sent, latency.count()), (2, 10, 2));
}

#[test]
fn oversized_datagrams_are_counted_and_dropped() {
    let Port { number: port, mut sockets, .. } = port::bind(&[LOCALHOST], 0, false, 1, 1 << 20).unwrap();
    let sockets = sockets.remove(0);
    let viewer = receivers(1).remove(0);
    viewer.send_to(&[1; 3000], (LOCALHOST, port)).unwrap();
    viewer.send_to(&[2; 1400], (LOCALHOST, port)).unwrap();
    let (mut inbox, mut oversized) = (Inbox::new(), 0);
    assert_eq!(inbox.receive(sockets.v4.as_ref().unwrap(), &mut oversized).unwrap(), 2);
    let lens: Vec<usize> = inbox.drain().map(|(_, _, data)| data.len()).collect();
    assert_eq!((lens, oversized), (vec![1400], 1));
}

/// A kernel that answers as it is told, and remembers the first byte of each datagram that it took.
struct Kernel {
    answers: Vec<Result<usize, i32>>,
    taken: Vec<(u8, usize)>,
}

impl Kernel {
    fn run(&mut self, outbox: &mut Outbox, batch: &mut Batch, stats: &mut SocketStats) -> Blocked {
        let mut send = |plan: &[Planned], batch: &Batch| {
            let answer = if self.answers.is_empty() { Ok(usize::MAX) } else { self.answers.remove(0) };
            let count = answer.map_err(io::Error::from_raw_os_error)?.min(plan.len());
            for planned in &plan[..count] {
                let message = planned.message(batch);
                let segment = message.segment.map_or(message.bytes.len(), usize::from);
                self.taken
                    .extend(message.bytes.chunks(segment).map(|datagram| (datagram[0], datagram.len())));
            }
            Ok(count)
        };
        outbox.v4.send(false, batch, stats, &mut ForwardLatency::default(), &mut send);
        outbox.after_send(batch)
    }
}

fn fake_dests() -> Vec<Dest> {
    (1..=3)
        .map(|port| Dest {
            to: (LOCALHOST, port).into(),
            from: LOCALHOST,
            transport: Transport::Udp,
            gso: true,
        })
        .collect()
}

fn whole() -> Vec<(u8, usize)> {
    (0..15).map(|i| (i, if i % 5 == 4 { 300 } else { 1100 })).collect()
}

#[test]
fn a_full_socket_keeps_the_tail_in_order() {
    let (mut batch, mut outbox, mut stats) = (Batch::new(), Outbox::new(), SocketStats::default());
    fill(&mut batch, &fake_dests());
    let mut kernel = Kernel { answers: vec![Ok(1), Err(libc::EAGAIN)], taken: Vec::new() };
    assert!(kernel.run(&mut outbox, &mut batch, &mut stats).v4);
    assert!(outbox.deadline().is_some() && !batch.is_empty());
    kernel.answers = vec![Err(libc::EAGAIN)];
    assert!(kernel.run(&mut outbox, &mut batch, &mut stats).v4);
    assert!(!kernel.run(&mut outbox, &mut batch, &mut stats).any());
    assert_eq!(kernel.taken, whole());
    assert_eq!((stats.would_block, stats.datagrams_sent), (2, 15));
    assert!(batch.is_empty() && outbox.deadline().is_none());
}

#[test]
fn a_tail_that_waited_too_long_is_dropped_and_counted() {
    let (mut batch, mut outbox, mut stats) = (Batch::new(), Outbox::new(), SocketStats::default());
    fill(&mut batch, &fake_dests());
    let mut kernel = Kernel { answers: vec![Ok(1), Err(libc::ENOBUFS)], taken: Vec::new() };
    kernel.run(&mut outbox, &mut batch, &mut stats);
    let deadline = outbox.deadline().unwrap();
    outbox.expire(deadline - Duration::from_millis(1), &mut batch, &mut stats);
    assert!(outbox.blocked().any());
    outbox.expire(deadline, &mut batch, &mut stats);
    assert!(!outbox.blocked().any() && batch.is_empty());
    assert_eq!((stats.datagrams_sent, stats.dropped_late), (5, 10));
}

#[test]
fn where_gso_is_refused_the_same_packets_go_out_one_by_one() {
    for errno in [libc::EIO, libc::EINVAL, libc::EMSGSIZE] {
        let (mut batch, mut outbox, mut stats) = (Batch::new(), Outbox::new(), SocketStats::default());
        fill(&mut batch, &fake_dests());
        // The second destination refuses.
        let mut kernel = Kernel { answers: vec![Ok(1), Err(errno)], taken: Vec::new() };
        assert!(!kernel.run(&mut outbox, &mut batch, &mut stats).any());
        assert_eq!(kernel.taken, whole(), "errno {errno}");
        assert_eq!((stats.gso_refused, stats.gso_runs, stats.send_errors), (1, 2, 0));
        // It is remembered.
        fill(&mut batch, &fake_dests());
        kernel.run(&mut outbox, &mut batch, &mut stats);
        assert_eq!((stats.gso_refused, stats.gso_runs), (1, 4));
    }
}

#[test]
fn a_socket_that_refuses_gso_for_many_is_asked_no_more() {
    let (mut batch, mut outbox, mut stats) = (Batch::new(), Outbox::new(), SocketStats::default());
    for port in 1..=REFUSED_MAX as u16 + 1 {
        let dest =
            Dest { to: (LOCALHOST, port).into(), from: LOCALHOST, transport: Transport::Udp, gso: true };
        batch.push(&dest, 100).unwrap().fill(1);
        batch.push(&dest, 100).unwrap().fill(1);
    }
    let mut send = |plan: &[Planned], _: &Batch| match plan[0].gso {
        true => Err(io::Error::from_raw_os_error(libc::EIO)),
        false => Ok(1),
    };
    outbox.v4.send(false, &batch, &mut stats, &mut ForwardLatency::default(), &mut send);
    assert!(outbox.v4.gso_off && outbox.v4.refused.is_empty());
    assert_eq!(stats.datagrams_sent, 2 * (REFUSED_MAX as u64 + 1));
}

#[test]
fn a_datagram_that_cannot_be_sent_does_not_stop_the_others() {
    let (mut batch, mut outbox, mut stats) = (Batch::new(), Outbox::new(), SocketStats::default());
    fill(&mut batch, &fake_dests());
    let mut kernel = Kernel { answers: vec![Err(libc::EPERM)], taken: Vec::new() };
    assert!(!kernel.run(&mut outbox, &mut batch, &mut stats).any());
    assert_eq!(kernel.taken, whole()[5..]);
    assert_eq!((stats.send_errors, stats.datagrams_sent), (5, 10));
}

#[test]
fn more_datagrams_than_one_call_takes_need_another_call() {
    let (mut batch, mut outbox, mut stats) = (Batch::new(), Outbox::new(), SocketStats::default());
    outbox.v4.gso_off = true;
    let dest = fake_dests()[0];
    let count = SEND_MAX + 500;
    for i in 0..count {
        batch.push(&dest, 100).unwrap().fill(i as u8);
    }
    let mut kernel = Kernel { answers: Vec::new(), taken: Vec::new() };
    kernel.run(&mut outbox, &mut batch, &mut stats);
    let expected: Vec<(u8, usize)> = (0..count).map(|i| (i as u8, 100)).collect();
    assert_eq!((kernel.taken, stats.send_calls), (expected, 2));
}
