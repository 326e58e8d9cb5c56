//! UDP sockets as Linux has them: many datagrams per system call, in both directions, with the local address
//! of each. The only file of this crate with `unsafe` in it besides `prefetch`; it knows bytes and addresses, nothing else.
#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg, control messages, eventfd and ppoll have no safe binding"
)]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Duration;

/// Datagrams per recvmmsg. 64 buffers of 2 KiB stay in the cache; what is left comes in the next turn.
pub(crate) const RECEIVE_MAX: usize = 64;
/// Room for a received datagram. DTLS, STUN and RTP stay below a path MTU of 1500; longer ones are counted
/// (`oversized`) and dropped.
const DATAGRAM_MAX: usize = 2048;
/// Room for the control messages of a message: local address (v6: 40 bytes) and segment size (24).
const CONTROL_WORDS: usize = 10;
/// Messages per sendmmsg (UIO_MAXIOV).
pub(crate) const SEND_MAX: usize = 1024;

type Control = [u64; CONTROL_WORDS];

/// One non-blocking UDP socket of one address family, which tells and takes local addresses.
#[derive(Debug)]
pub(crate) struct Socket {
    udp: UdpSocket,
    v6: bool,
}

impl Socket {
    /// Prepares a bound socket.
    pub(crate) fn new(udp: UdpSocket) -> io::Result<Self> {
        udp.set_nonblocking(true)?;
        let v6 = udp.local_addr()?.is_ipv6();
        let (level, option) = match v6 {
            true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        };
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open as long as `udp` lives, and the value is a c_int of the size told.
        let result = unsafe {
            libc::setsockopt(
                udp.as_raw_fd(),
                level,
                option,
                ptr::from_ref(&on).cast(),
                size_of_val(&on) as u32,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { udp, v6 })
    }

    /// True for IPv6.
    pub(crate) fn is_v6(&self) -> bool {
        self.v6
    }

    fn fd(&self) -> RawFd {
        self.udp.as_raw_fd()
    }
}

/// Buffers for the datagrams that one recvmmsg brings.
pub(crate) struct Inbox {
    buffers: Box<[[u8; DATAGRAM_MAX]]>,
    addresses: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    received: Vec<Received>,
}

/// A datagram in the [`Inbox`].
#[derive(Clone, Copy)]
struct Received {
    buffer: usize,
    len: usize,
    from: SocketAddr,
    to: IpAddr,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        // SAFETY: sockaddr_storage is plain integers, for which all zeros are valid.
        let address: libc::sockaddr_storage = unsafe { zeroed() };
        Self {
            buffers: vec![[0; DATAGRAM_MAX]; RECEIVE_MAX].into_boxed_slice(),
            addresses: vec![address; RECEIVE_MAX].into_boxed_slice(),
            controls: vec![[0; CONTROL_WORDS]; RECEIVE_MAX].into_boxed_slice(),
            received: Vec::with_capacity(RECEIVE_MAX),
        }
    }

    /// Receives what is there, at most [`RECEIVE_MAX`] datagrams. Returns how many the kernel gave, of which
    /// `oversized` were dropped.
    pub(crate) fn receive(&mut self, socket: &Socket, oversized: &mut u64) -> io::Result<usize> {
        self.received.clear();
        let mut iovecs = [MaybeUninit::<libc::iovec>::uninit(); RECEIVE_MAX];
        // SAFETY: mmsghdr is integers and pointers, for which all zeros are valid.
        let mut headers: [libc::mmsghdr; RECEIVE_MAX] = unsafe { zeroed() };
        for (i, header) in headers.iter_mut().enumerate() {
            iovecs[i]
                .write(libc::iovec { iov_base: self.buffers[i].as_mut_ptr().cast(), iov_len: DATAGRAM_MAX });
            header.msg_hdr.msg_name = ptr::from_mut(&mut self.addresses[i]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_hdr.msg_iov = iovecs[i].as_mut_ptr();
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = self.controls[i].as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<Control>();
        }
        // SAFETY: every header points to one iovec, one address and one control buffer of the lengths told,
        // all of which outlive the call, and no two headers share any.
        let count = unsafe {
            libc::recvmmsg(
                socket.fd(),
                headers.as_mut_ptr(),
                RECEIVE_MAX as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        let count = count as usize;
        for (i, header) in headers.iter().enumerate().take(count) {
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                *oversized += 1;
                continue;
            }
            let Some(from) = address_from(&self.addresses[i]) else { continue };
            let to = local_address(&header.msg_hdr).unwrap_or(match socket.v6 {
                true => Ipv6Addr::UNSPECIFIED.into(),
                false => Ipv4Addr::UNSPECIFIED.into(),
            });
            self.received.push(Received { buffer: i, len: header.msg_len as usize, from, to });
        }
        Ok(count)
    }

    /// The datagrams of the last [`Self::receive`]: from, to, bytes.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (SocketAddr, IpAddr, &mut [u8])> {
        let mut received = self.received.iter().peekable();
        self.buffers.iter_mut().enumerate().filter_map(move |(i, buffer)| {
            let datagram = received.next_if(|datagram| datagram.buffer == i)?;
            Some((datagram.from, datagram.to, &mut buffer[..datagram.len]))
        })
    }
}

/// One message to send.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) to: SocketAddr,
    /// Our address. Unspecified: the kernel chooses.
    pub(crate) from: IpAddr,
    pub(crate) bytes: &'a [u8],
    /// The kernel cuts `bytes` into datagrams of that size (UDP_SEGMENT).
    pub(crate) segment: Option<u16>,
}

/// The arrays that sendmmsg wants; kept, so that sending allocates nothing.
pub(crate) struct Sender {
    addresses: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

impl Sender {
    pub(crate) fn new() -> Self {
        // SAFETY: all three are integers and pointers, for which all zeros are valid.
        let (address, iovec, header) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Self {
            addresses: vec![address; SEND_MAX].into_boxed_slice(),
            controls: vec![[0; CONTROL_WORDS]; SEND_MAX].into_boxed_slice(),
            iovecs: vec![iovec; SEND_MAX].into_boxed_slice(),
            headers: vec![header; SEND_MAX].into_boxed_slice(),
        }
    }

    /// Sends `count` messages (at most [`SEND_MAX`]) in one system call. `Ok`: so many of the first went out,
    /// at least one. `Err`: the first one did not.
    pub(crate) fn send<'a>(
        &mut self,
        socket: &Socket,
        count: usize,
        message: impl Fn(usize) -> Message<'a>,
    ) -> io::Result<usize> {
        let count = count.min(SEND_MAX);
        for i in 0..count {
            let message = message(i);
            let name_len = write_address(&mut self.addresses[i], message.to);
            self.iovecs[i] = libc::iovec {
                iov_base: message.bytes.as_ptr().cast_mut().cast(),
                iov_len: message.bytes.len(),
            };
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.addresses[i]).cast();
            header.msg_namelen = name_len;
            header.msg_iov = ptr::from_mut(&mut self.iovecs[i]);
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            write_control(header, &mut self.controls[i], &message);
        }
        // SAFETY: the first `count` headers point to an address, an iovec and a control buffer of their own in
        // `self`, written above; the iovec points to bytes that `'a` keeps alive, which the kernel only reads.
        let sent = unsafe { libc::sendmmsg(socket.fd(), self.headers.as_mut_ptr(), count as u32, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }
}

/// Writes the control messages: our address, and the segment size.
fn write_control(header: &mut libc::msghdr, control: &mut Control, message: &Message<'_>) {
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<Control>();
    *control = [0; CONTROL_WORDS];
    let mut used = 0;
    let mut place = Some(header);
    match message.from {
        IpAddr::V4(ip) if message.to.is_ipv4() && !ip.is_unspecified() => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            used += put_control(place.as_deref_mut(), used, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(ip) if message.to.is_ipv6() && !ip.is_unspecified() => {
            let info =
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
            used += put_control(place.as_deref_mut(), used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        _ => {}
    }
    if let Some(segment) = message.segment {
        used += put_control(place.as_deref_mut(), used, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    if let Some(header) = place {
        header.msg_controllen = used;
        if used == 0 {
            header.msg_control = ptr::null_mut();
        }
    }
}

/// Writes one control message at byte `at` and returns how much room it took.
fn put_control<T>(header: Option<&mut libc::msghdr>, at: usize, level: i32, kind: i32, value: T) -> usize {
    let Some(header) = header else { return 0 };
    let len = size_of::<T>() as u32;
    // SAFETY: CMSG_SPACE and CMSG_LEN only calculate. 40 + 24 bytes at most are used of the 80 of a Control,
    // which is aligned to 8 as cmsghdr is, and CMSG_SPACE keeps `at` a multiple of 8. The data of a control
    // message need not be aligned for T: it is written unaligned.
    unsafe {
        let space = libc::CMSG_SPACE(len) as usize;
        assert!(at + space <= header.msg_controllen, "a Control has room for all control messages");
        let cmsg: *mut libc::cmsghdr = header.msg_control.cast::<u8>().add(at).cast();
        (*cmsg).cmsg_level = level;
        (*cmsg).cmsg_type = kind;
        (*cmsg).cmsg_len = libc::CMSG_LEN(len) as usize;
        ptr::write_unaligned(libc::CMSG_DATA(cmsg).cast(), value);
        space
    }
}

/// Our address that a received message was sent to.
fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel filled the control buffer of this header and set its length; the CMSG macros stay
    // within it. The data of the two kinds is a pktinfo of the kind's type, read unaligned.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = cmsg.as_ref() {
            match (found.cmsg_level, found.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(cmsg).cast());
                    return Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(cmsg).cast());
                    return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
            cmsg = libc::CMSG_NXTHDR(header, cmsg);
        }
    }
    None
}

fn address_from(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in, which is smaller than the storage.
            let v4: libc::sockaddr_in = unsafe { ptr::read(ptr::from_ref(storage).cast()) };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6, which is smaller than the storage.
            let v6: libc::sockaddr_in6 = unsafe { ptr::read(ptr::from_ref(storage).cast()) };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Writes an address and returns its length.
fn write_address(storage: &mut libc::sockaddr_storage, address: SocketAddr) -> libc::socklen_t {
    match address {
        SocketAddr::V4(v4) => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: a sockaddr_in is smaller than the storage and no stricter in alignment.
            unsafe { ptr::write(ptr::from_mut(storage).cast(), address) };
            size_of::<libc::sockaddr_in>() as _
        }
        SocketAddr::V6(v6) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as _,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: a sockaddr_in6 is smaller than the storage and no stricter in alignment.
            unsafe { ptr::write(ptr::from_mut(storage).cast(), address) };
            size_of::<libc::sockaddr_in6>() as _
        }
    }
}

/// Wakes a shard from any thread. Wake-ups before the shard looks are one.
#[derive(Debug)]
pub(crate) struct EventFd {
    file: File,
    signalled: AtomicBool,
}

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { file: File::from(fd), signalled: AtomicBool::new(false) })
    }

    /// Makes the next [`wait`] return at once.
    pub(crate) fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // It fails only if the counter is full, and then the shard is woken anyway.
            let _full = (&self.file).write(&1_u64.to_ne_bytes());
        }
    }

    /// Forgets the wake-ups so far. The shard looks for what they were about after this, never before.
    fn clear(&self, readable: bool) {
        if readable {
            let _count = (&self.file).read(&mut [0; 8]);
        }
        self.signalled.swap(false, Ordering::AcqRel);
    }
}

impl Wake for EventFd {
    fn wake(self: std::sync::Arc<Self>) {
        self.signal();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        self.signal();
    }
}

/// What [`wait`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// What a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// Waits until a socket can be read or written, as wanted, `also` can be read, the event, if any, was signalled (which this
/// forgets), or the time is over (`None`: never). The last two of what is found are `also` and the event.
pub(crate) fn wait(
    sockets: [(Option<&Socket>, Wanted); 2],
    also: Option<RawFd>,
    event: Option<&EventFd>,
    timeout: Option<Duration>,
) -> io::Result<[Ready; 4]> {
    let unused = libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 };
    let socket = |(socket, wanted): (Option<&Socket>, Wanted)| {
        let events =
            if wanted.read { libc::POLLIN } else { 0 } | if wanted.write { libc::POLLOUT } else { 0 };
        // A negative descriptor is skipped by the kernel, which would tell an error of it unasked.
        libc::pollfd { fd: socket.filter(|_| events != 0).map_or(-1, Socket::fd), events, revents: 0 }
    };
    let mut fds = [
        socket(sockets[0]),
        socket(sockets[1]),
        libc::pollfd { fd: also.unwrap_or(-1), ..unused },
        libc::pollfd { fd: event.map_or(-1, |event| event.file.as_raw_fd()), ..unused },
    ];
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as _,
        tv_nsec: timeout.subsec_nanos() as _,
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `fds` and `timeout` outlive the call; a null timeout means for ever, a null mask no mask.
    let count = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout, ptr::null()) };
    if count < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        fds.iter_mut().for_each(|fd| fd.revents = 0);
    }
    if let Some(event) = event {
        event.clear(fds[3].revents != 0);
    }
    Ok(fds.map(|fd| Ready {
        // An error on the socket is taken by the next read.
        readable: fd.revents & (libc::POLLIN | libc::POLLERR) != 0,
        writable: fd.revents & libc::POLLOUT != 0,
    }))
}
