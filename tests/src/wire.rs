//! What carries a client's datagrams: a UDP socket, or a TCP connection with frames (RFC 4571).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use str0m::Candidate;
use str0m::net::{Protocol, TcpType};
use tokio::net::{TcpStream, UdpSocket};

/// Largest datagram that a server may send without fragmenting.
pub const DATAGRAM_BYTES_MAX: usize = 2000;

/// A second of 10 Mbit/s, with what the kernel counts beside it. The kernel gives what it may.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// One way of a client to the server.
pub struct Wire {
    carrier: Carrier,
    /// Where the client believes to be; behind a NAT that is not where it is seen.
    address: SocketAddr,
}

enum Carrier {
    Udp(UdpSocket),
    Tcp { stream: TcpStream, server: SocketAddr, inbound: Vec<u8>, outbound: VecDeque<u8> },
}

impl Wire {
    /// UDP from a port of 127.0.0.1.
    pub async fn udp() -> Self {
        Self::udp_from(Ipv4Addr::LOCALHOST.into()).await
    }

    /// UDP from a port of that address.
    pub async fn udp_from(ip: IpAddr) -> Self {
        let socket = bind(ip).await;
        let address = socket.local_addr().expect("bound");
        Self { carrier: Carrier::Udp(socket), address }
    }

    /// A TCP connection to the server.
    pub async fn tcp(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.expect("the server listens on TCP");
        stream.set_nodelay(true).expect("our socket");
        let address = stream.local_addr().expect("connected");
        let carrier = Carrier::Tcp { stream, server, inbound: Vec::new(), outbound: VecDeque::new() };
        Self { carrier, address }
    }

    /// What a NAT does that forgot the mapping: the same client comes from another port, and does not know.
    pub async fn rebind(&mut self) -> SocketAddr {
        let socket = bind(self.address.ip()).await;
        let seen = socket.local_addr().expect("bound");
        self.carrier = Carrier::Udp(socket);
        seen
    }

    /// Where the client believes to be.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What str0m calls it.
    pub fn protocol(&self) -> Protocol {
        match self.carrier {
            Carrier::Udp(_) => Protocol::Udp,
            Carrier::Tcp { .. } => Protocol::Tcp,
        }
    }

    /// The candidate of the client.
    pub fn candidate(&self) -> Candidate {
        match self.carrier {
            Carrier::Udp(_) => Candidate::host(self.address, Protocol::Udp),
            Carrier::Tcp { .. } => {
                Candidate::builder().tcp().host(self.address).tcptype(TcpType::Active).build()
            }
        }
        .expect("a candidate")
    }

    /// Waits until something may have come, or may be sent that could not be sent before.
    pub async fn ready(&self) {
        match &self.carrier {
            Carrier::Udp(socket) => socket.readable().await.expect("our socket"),
            Carrier::Tcp { stream, outbound, .. } if outbound.is_empty() => {
                stream.readable().await.expect("our socket");
            }
            Carrier::Tcp { stream, .. } => {
                tokio::select! {
                    ready = stream.readable() => ready.expect("our socket"),
                    ready = stream.writable() => ready.expect("our socket"),
                }
            }
        }
    }

    /// The next datagram and where it is from; `None`: nothing now.
    pub fn receive(&mut self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<(usize, SocketAddr)> {
        match &mut self.carrier {
            Carrier::Udp(socket) => socket.try_recv_from(buffer).ok(),
            Carrier::Tcp { stream, server, inbound, outbound } => {
                write(stream, outbound);
                loop {
                    if let Some(length) = take_frame(inbound, buffer) {
                        return Some((length, *server));
                    }
                    let mut read = [0; 16 * 1024];
                    let count = stream.try_read(&mut read).ok().filter(|count| *count > 0)?;
                    inbound.extend_from_slice(&read[..count]);
                }
            }
        }
    }

    /// Sends a datagram. A full UDP socket loses it, as a network does.
    pub fn send(&mut self, datagram: &[u8], to: SocketAddr) {
        match &mut self.carrier {
            Carrier::Udp(socket) => drop(socket.try_send_to(datagram, to)),
            Carrier::Tcp { stream, outbound, .. } => {
                outbound.extend((datagram.len() as u16).to_be_bytes());
                outbound.extend(datagram);
                write(stream, outbound);
            }
        }
    }
}

async fn bind(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).await.expect("a socket");
    // A client that is not scheduled for a moment loses nothing.
    socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES).expect("our socket");
    socket
}

fn write(stream: &TcpStream, outbound: &mut VecDeque<u8>) {
    while !outbound.is_empty() {
        let Ok(count) = stream.try_write(outbound.as_slices().0) else { return };
        outbound.drain(..count);
    }
}

fn take_frame(inbound: &mut Vec<u8>, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([*inbound.first()?, *inbound.get(1)?]));
    let frame = inbound.get(2..2 + length)?;
    buffer[..length].copy_from_slice(frame);
    inbound.drain(..2 + length);
    Some(length)
}
