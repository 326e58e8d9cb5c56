//! Lets TCP connections in: a thread that listens, waits for the first frame of each, and hands the connection
//! to the shard of the Peer that it names. Strangers cost the shards nothing.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use tracing::warn;

use super::framing::{self, FRAME_MAX, PREFIX};
use super::{Arrival, Ticket, Turnstile, prepare};
use crate::Error;
use crate::core::ice_lite::Check;
use crate::crowd::network_of;
use crate::shard::claims::{Claims, Whereabouts};
use crate::shard::{Door, clock};
use crate::stats::TcpStats;

/// How long a connection may take to its first frame. Browsers send a check as soon as it is open, and repeat
/// nothing over TCP; a slow line needs a second.
const FIRST_FRAME_MAX: Duration = Duration::from_secs(5);
/// Connections that have said nothing yet, in all and per network. A browser opens one for each of our
/// addresses and speaks at once, so this is hundreds of viewers in the same moment; one more is closed
/// (`tcp_refused`) and its viewer tries its other ways.
const STRANGERS_MAX: usize = 4096;
const STRANGERS_PER_NETWORK_MAX: usize = 256;
/// Connections accepted before those that are open are looked at again.
const ACCEPTS_MAX: usize = 64;
/// How long to wait when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The first tokens are the listeners', one per address family; then comes the waker.
const WAKER: Token = Token(2);
const FIRST_STRANGER: usize = 3;

/// What others share with the doorman.
#[derive(Debug)]
pub(crate) struct Bell {
    stop: AtomicBool,
    waker: Waker,
    stats: Mutex<TcpStats>,
    turnstile: Turnstile,
}

impl Bell {
    /// Sends the doorman home.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // It fails only for a thread that is gone.
        let _ = self.waker.wake();
    }

    /// What it counted, and how many connections are open.
    pub(crate) fn stats(&self) -> TcpStats {
        let mut stats = *self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.tcp_connections = self.turnstile.open() as u64;
        stats
    }
}

/// The listening thread.
pub(crate) struct Doorman {
    poll: Poll,
    listeners: Vec<TcpListener>,
    strangers: HashMap<usize, Stranger>,
    by_network: HashMap<IpAddr, usize>,
    next_token: usize,
    next_shard: usize,
    /// Listeners that had no descriptor left are asked again then.
    accept_again: Option<Instant>,
    claims: Arc<Claims>,
    doors: Arc<[Door]>,
    bell: Arc<Bell>,
    stats: TcpStats,
}

/// A connection that has not said whose it is.
struct Stranger {
    stream: TcpStream,
    remote: SocketAddr,
    local: IpAddr,
    bytes: Vec<u8>,
    until: Instant,
    ticket: Ticket,
}

/// What is known of a stranger now.
enum Heard {
    /// Not enough.
    Nothing,
    /// Its first frame is a check for a Peer of that shard.
    For(usize),
    /// Nothing that it could be waited for.
    Nonsense,
}

impl Doorman {
    pub(crate) fn new(
        listeners: Vec<std::net::TcpListener>,
        claims: Arc<Claims>,
        doors: Arc<[Door]>,
    ) -> Result<(Self, Arc<Bell>), Error> {
        let failed = |source| Error::System { attempt: "watch the TCP port", source };
        let poll = Poll::new().map_err(failed)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(failed)?;
        let mut open = Vec::new();
        for (token, listener) in listeners.into_iter().enumerate() {
            listener.set_nonblocking(true).map_err(failed)?;
            let mut listener = TcpListener::from_std(listener);
            poll.registry().register(&mut listener, Token(token), Interest::READABLE).map_err(failed)?;
            open.push(listener);
        }
        let bell = Arc::new(Bell {
            stop: AtomicBool::new(false),
            waker,
            stats: Mutex::default(),
            turnstile: Turnstile::default(),
        });
        let doorman = Self {
            poll,
            listeners: open,
            strangers: HashMap::new(),
            by_network: HashMap::new(),
            next_token: FIRST_STRANGER,
            next_shard: 0,
            accept_again: None,
            claims,
            doors,
            bell: Arc::clone(&bell),
            stats: TcpStats::default(),
        };
        Ok((doorman, bell))
    }

    /// Works until it is told to stop. To be called on a thread of its own.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(ACCEPTS_MAX);
        let mut waiting: Vec<usize> = (0..self.listeners.len()).collect();
        while !self.bell.stop.load(Ordering::Acquire) {
            let timeout = if waiting.is_empty() { self.patience() } else { Some(Duration::ZERO) };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                warn!(%error, "ICE-TCP stops: its port cannot be watched");
                return;
            }
            let now = clock();
            for token in events.iter().map(|event| event.token().0) {
                if token < self.listeners.len() {
                    waiting.push(token);
                } else if token >= FIRST_STRANGER {
                    self.hear(token);
                }
            }
            if self.accept_again.is_some_and(|at| at <= now) {
                self.accept_again = None;
                waiting = (0..self.listeners.len()).collect();
            }
            // Readiness is told once: a listener is asked until there is nobody.
            waiting.sort_unstable();
            waiting.dedup();
            waiting.retain(|listener| self.accept(now, *listener));
            self.expire(now);
            *self.bell.stats.lock().unwrap_or_else(PoisonError::into_inner) = self.stats;
        }
    }

    fn patience(&self) -> Option<Duration> {
        let first = self.strangers.values().map(|stranger| stranger.until).min();
        let due = [first, self.accept_again].into_iter().flatten().min()?;
        Some(due.saturating_duration_since(clock()))
    }

    /// Accepts some. True: there may be more.
    fn accept(&mut self, now: Instant, listener: usize) -> bool {
        for _ in 0..ACCEPTS_MAX {
            match self.listeners[listener].accept() {
                Ok((stream, remote)) => self.welcome(now, stream, remote),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return false,
                    // It was gone before we looked.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => {
                        // Most likely the process has no descriptor left; viewers go by UDP meanwhile.
                        self.stats.tcp_refused += 1;
                        if self.accept_again.is_none() {
                            warn!(%error, "cannot accept TCP connections: raise the limit of open files");
                        }
                        self.accept_again = Some(now + ACCEPT_PAUSE);
                        return false;
                    }
                },
            }
        }
        true
    }

    fn welcome(&mut self, now: Instant, mut stream: TcpStream, remote: SocketAddr) {
        self.stats.tcp_accepted += 1;
        let network = network_of(remote.ip());
        let neighbours = self.by_network.get(&network).copied().unwrap_or(0);
        let room = self.strangers.len() < STRANGERS_MAX && neighbours < STRANGERS_PER_NETWORK_MAX;
        let ticket = if room { self.bell.turnstile.enter() } else { None };
        let (Some(ticket), Ok(local)) = (ticket, stream.local_addr()) else {
            self.stats.tcp_refused += 1;
            return;
        };
        let token = self.next_token;
        self.next_token += 1;
        let ready = prepare(&stream)
            .and_then(|()| self.poll.registry().register(&mut stream, Token(token), Interest::READABLE));
        if ready.is_err() {
            self.stats.tcp_refused += 1;
            return;
        }
        let until = now + FIRST_FRAME_MAX;
        let stranger = Stranger { stream, remote, local: local.ip(), bytes: Vec::new(), until, ticket };
        self.strangers.insert(token, stranger);
        *self.by_network.entry(network).or_insert(0) += 1;
        // What it has sent already was told to nobody.
        self.hear(token);
    }

    fn hear(&mut self, token: usize) {
        let Some(stranger) = self.strangers.get_mut(&token) else { return };
        let heard = stranger.read().map(|()| stranger.judge(&self.claims, &mut self.next_shard));
        match heard {
            Ok(Ok(Heard::Nothing)) => {}
            Ok(Ok(Heard::For(shard))) => {
                let Some(mut stranger) = self.forget(token) else { return };
                let _ = self.poll.registry().deregister(&mut stranger.stream);
                let Stranger { stream, remote, local, bytes, ticket, .. } = stranger;
                let arrival = Arrival { stream, remote, local, bytes, hops: 0, ticket };
                if !self.doors.get(shard % self.doors.len()).is_some_and(|door| door.mailbox.arrival(arrival))
                {
                    self.stats.tcp_refused += 1;
                }
            }
            Ok(Ok(Heard::Nonsense)) => {
                self.stats.tcp_refused += 1;
                self.forget(token);
            }
            Ok(Err(framing::BadLength)) => {
                self.stats.tcp_bad_frames += 1;
                self.forget(token);
            }
            // It left, which is its right.
            Err(_) => drop(self.forget(token)),
        }
    }

    fn forget(&mut self, token: usize) -> Option<Stranger> {
        let stranger = self.strangers.remove(&token)?;
        let network = network_of(stranger.remote.ip());
        if let Some(count) = self.by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&network);
            }
        }
        Some(stranger)
    }

    fn expire(&mut self, now: Instant) {
        let late = self.strangers.iter().filter(|(_, stranger)| stranger.until <= now);
        let late: Vec<usize> = late.map(|(token, _)| *token).collect();
        self.stats.tcp_silent += late.len() as u64;
        for token in late {
            self.forget(token);
        }
    }
}

impl Stranger {
    /// Reads what is there, at most one frame.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; PREFIX + FRAME_MAX];
        loop {
            let room = buffer.len() - self.bytes.len();
            if room == 0 {
                return Ok(());
            }
            match self.stream.read(&mut buffer[..room]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whose it is, by the ufrag in its first frame. That it may have it, the shard checks.
    fn judge(&self, claims: &Claims, next_shard: &mut usize) -> Result<Heard, framing::BadLength> {
        let Some((from, to)) = framing::frame_at(&self.bytes, 0)? else { return Ok(Heard::Nothing) };
        let Some(check) = Check::parse(&self.bytes[from..to]) else { return Ok(Heard::Nonsense) };
        Ok(match claims.whereabouts(check.local_ufrag()) {
            Whereabouts::At(shard) => Heard::For(shard),
            // Nobody has claimed that Peer yet: the shards take turns.
            Whereabouts::Waited => {
                *next_shard = next_shard.wrapping_add(1);
                Heard::For(*next_shard)
            }
            Whereabouts::Gone => Heard::Nonsense,
        })
    }
}
