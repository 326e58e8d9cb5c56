//! A peer that proves its address by a valid ICE check and says nothing sensible after it.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::net::UdpSocket;

use crate::eventually;
use crate::viewer::Offer;

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const BINDING_SUCCESS: [u8; 2] = [1, 1];

/// How long the server may take to answer a check on a loaded machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A socket and the credentials of an answered offer.
pub struct Stranger {
    socket: UdpSocket,
    server: SocketAddr,
    ufrag: String,
    pwd: String,
}

impl Stranger {
    /// Offers by WHEP; sends nothing yet.
    pub async fn new(whep: &str, server: SocketAddr) -> Self {
        let answer = Offer::new().await.post(whep).await;
        let attribute = |prefix| {
            let line = answer.lines().find_map(|line| line.strip_prefix(prefix));
            line.expect("the answer has it").trim().to_owned()
        };
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        Self { socket, server, ufrag: attribute("a=ice-ufrag:"), pwd: attribute("a=ice-pwd:") }
    }

    /// A binding request (RFC 8445 section 7.2) that is authentic if `pwd` is the server's.
    pub fn check(&self, pwd: &str) -> Vec<u8> {
        let username = format!("{}:stranger", self.ufrag);
        let mut message = vec![0, 1, 0, 0];
        message.extend_from_slice(&MAGIC_COOKIE);
        message.extend_from_slice(b"swiftwater!!");
        message.extend_from_slice(&USERNAME.to_be_bytes());
        message.extend_from_slice(&(username.len() as u16).to_be_bytes());
        message.extend_from_slice(username.as_bytes());
        message.resize(message.len().next_multiple_of(4), 0);
        // RFC 8489 section 14.5: the length counts the integrity itself, the hash ends before it.
        let length = (message.len() - 20 + 24) as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes());
        let tag = hmac::sign(&key, &message);
        message.extend_from_slice(&MESSAGE_INTEGRITY.to_be_bytes());
        message.extend_from_slice(&20u16.to_be_bytes());
        message.extend_from_slice(tag.as_ref());
        message
    }

    /// Sends valid checks until the server answers one: from now on it listens to this address.
    pub async fn prove(&self) {
        let check = self.check(&self.pwd);
        eventually("an answer to a valid check", ANSWER_WITHIN, async || {
            self.send(&check);
            let mut answer = [0u8; 256];
            let read = tokio::time::timeout(Duration::from_millis(200), self.socket.recv(&mut answer)).await;
            (read.is_ok_and(|read| read.is_ok()) && answer[..2] == BINDING_SUCCESS).then_some(())
        })
        .await;
    }

    /// Sends valid checks until something comes, and returns what came first since the beginning.
    pub async fn first_answer(&self) -> Vec<u8> {
        let check = self.check(&self.pwd);
        eventually("an answer", ANSWER_WITHIN, async || {
            self.send(&check);
            let mut answer = vec![0u8; 2048];
            let read = tokio::time::timeout(Duration::from_millis(200), self.socket.recv(&mut answer)).await;
            answer.truncate(read.ok()?.ok()?);
            Some(answer)
        })
        .await
    }

    /// Sends a datagram; a full socket buffer loses it, as a network does.
    pub fn send(&self, datagram: &[u8]) {
        let _ = self.socket.try_send_to(datagram, self.server);
    }

    /// Sends datagrams one after the other, each when there is room for it.
    pub async fn flood(&self, datagrams: impl Iterator<Item = Vec<u8>>) {
        for datagram in datagrams {
            self.socket.send_to(&datagram, self.server).await.expect("loopback takes it");
        }
    }
}
