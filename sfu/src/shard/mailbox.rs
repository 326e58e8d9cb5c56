//! What other threads leave for a shard: commands of handles, datagrams of its Peers that came to another
//! shard, TCP connections, questions about its Peers. All wake it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::socket::EventFd;
use super::tcp::Arrival;
use crate::core::Command;
use crate::core::snapshot::Who;
use crate::peer_stats::PeerStats;

/// Commands that wait, beyond which a pause or resume is dropped: the player repeats it. `Close` and `Stop`
/// always fit: there is one per handle.
const COMMANDS_MAX: usize = 16_384;

/// Datagrams that wait. They are STUN, DTLS and SRTCP of viewers, and media of a few publishers, taken with
/// every turn of the loop; what does not fit is dropped, counted in `forward_queue_full`, and sent again by
/// its protocol.
const DATAGRAMS_MAX: usize = 1024;

/// Questions that wait, beyond which whoever asks is told to ask later: people and their dashboards ask, now and then.
const QUESTIONS_MAX: usize = 64;

/// A question about Peers of the shard.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) who: Who,
    pub(crate) reply: oneshot::Sender<Vec<PeerStats>>,
}
/// TCP connections that wait, taken with every turn too. One more is closed, counted in `tcp_refused`.
const ARRIVALS_MAX: usize = 256;

/// A datagram of a Peer on another shard than the one whose socket it came to.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) from: SocketAddr,
    pub(crate) to: IpAddr,
    pub(crate) data: Vec<u8>,
}

/// The ways into a shard from other threads.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) event: Arc<EventFd>,
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    commands: VecDeque<Command>,
    datagrams: VecDeque<Forwarded>,
    questions: VecDeque<Question>,
    arrivals: VecDeque<Arrival>,
}

impl Mailbox {
    pub(crate) fn new(event: Arc<EventFd>) -> Self {
        Self { event, queues: Mutex::new(Queues::default()) }
    }

    /// Leaves a command.
    pub(crate) fn command(&self, command: Command) {
        let mut queues = self.lock();
        let must = matches!(command, Command::Close(_) | Command::Stop);
        if must || queues.commands.len() < COMMANDS_MAX {
            queues.commands.push_back(command);
        }
        drop(queues);
        self.event.signal();
    }

    /// Leaves a datagram. False: no room.
    pub(crate) fn datagram(&self, datagram: Forwarded) -> bool {
        let mut queues = self.lock();
        let room = queues.datagrams.len() < DATAGRAMS_MAX;
        if room {
            queues.datagrams.push_back(datagram);
        }
        drop(queues);
        self.event.signal();
        room
    }

    /// Leaves a TCP connection. False: no room; it is closed.
    pub(crate) fn arrival(&self, arrival: Arrival) -> bool {
        let mut queues = self.lock();
        let room = queues.arrivals.len() < ARRIVALS_MAX;
        if room {
            queues.arrivals.push_back(arrival);
        }
        drop(queues);
        self.event.signal();
        room
    }

    /// Leaves a question. False: no room, and no answer will come.
    pub(crate) fn question(&self, question: Question) -> bool {
        let mut queues = self.lock();
        let room = queues.questions.len() < QUESTIONS_MAX;
        if room {
            queues.questions.push_back(question);
        }
        drop(queues);
        self.event.signal();
        room
    }

    /// The question that has waited for longest.
    pub(crate) fn take_question(&self) -> Option<Question> {
        self.lock().questions.pop_front()
    }

    /// Takes everything but questions: the caller's empty queues are exchanged for the full ones, so nothing allocates.
    ///
    /// True: a question waits.
    pub(crate) fn take(
        &self,
        commands: &mut VecDeque<Command>,
        datagrams: &mut VecDeque<Forwarded>,
        arrivals: &mut VecDeque<Arrival>,
    ) -> bool {
        let mut queues = self.lock();
        std::mem::swap(&mut queues.commands, commands);
        std::mem::swap(&mut queues.datagrams, datagrams);
        std::mem::swap(&mut queues.arrivals, arrivals);
        !queues.questions.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::PeerId;

    #[test]
    fn queues_are_bounded_but_a_close_always_fits() {
        let mailbox = Mailbox::new(Arc::new(EventFd::new().unwrap()));
        let ip = Ipv4Addr::LOCALHOST.into();
        let datagram = || Forwarded { from: SocketAddr::new(ip, 1), to: ip, data: vec![1] };
        assert_eq!((0..2 * DATAGRAMS_MAX).filter(|_| mailbox.datagram(datagram())).count(), DATAGRAMS_MAX);
        let question = || Question { who: Who::Peer(PeerId(1)), reply: oneshot::channel().0 };
        assert_eq!((0..2 * QUESTIONS_MAX).filter(|_| mailbox.question(question())).count(), QUESTIONS_MAX);
        for _ in 0..2 * COMMANDS_MAX {
            mailbox.command(Command::Pause(PeerId(1), media::Kind::Video));
        }
        mailbox.command(Command::Close(PeerId(1)));
        let (mut commands, mut datagrams) = Default::default();
        assert!(mailbox.take(&mut commands, &mut datagrams, &mut VecDeque::new()), "questions wait");
        assert_eq!((commands.len(), datagrams.len()), (COMMANDS_MAX + 1, DATAGRAMS_MAX));
        assert_eq!(commands.back(), Some(&Command::Close(PeerId(1))));
    }
}
