//! Our end of ICE for one Peer: a lite agent (RFC 8445 section 2.5). It answers checks, remembers the ways that
//! have proven themselves, and goes where the other side nominates.
//!
//! ```text
//!   check ──► authentic? ──► a way learned ──► nominated? ──► destination of everything that we send
//!                                                ▲
//!   media that decrypts, from a way checked later (a NAT gave it another port)
//! ```

use std::time::{Duration, Instant};

use super::demux::Tuple;
use super::ice_lite::{Check, Credentials};
use crate::egress::batch::Dest;

/// Ways to a Peer: some interfaces times some of our addresses. The one not checked for longest is forgotten
/// for a new one.
pub(crate) const PATHS_MAX: usize = 8;
/// Without any authentic sign of life a Peer is gone. RFC 7675 section 5.1 allows 30 s at most; it is looked
/// at every 50 ms.
pub(crate) const CONSENT: Duration = Duration::from_millis(29_900);

/// The ICE of one Peer.
#[derive(Debug)]
pub(crate) struct IceAgent {
    current: Credentials,
    /// Of an ICE restart that has not nominated yet: until then the old session goes on (RFC 8445 section 9).
    next: Option<Credentials>,
    paths: Vec<Path>,
    dest: Option<Dest>,
    heard: Instant,
}

#[derive(Debug)]
struct Path {
    tuple: Tuple,
    checked: Instant,
}

/// What came of an authentic check.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The way was not known before.
    pub(crate) learned: bool,
    /// The way that had to go for it.
    pub(crate) forgotten: Option<Tuple>,
    /// The ufrag of the ICE session that it ended, by nominating in the next.
    pub(crate) retired: Option<String>,
}

impl IceAgent {
    pub(crate) fn new(now: Instant, credentials: Credentials) -> Self {
        Self { current: credentials, next: None, paths: Vec::new(), dest: None, heard: now }
    }

    /// Our ufrag in every session that is alive.
    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &str> {
        [Some(&self.current), self.next.as_ref()].into_iter().flatten().map(|session| session.ufrag.as_str())
    }

    /// The ways that have proven themselves.
    pub(crate) fn tuples(&self) -> impl Iterator<Item = Tuple> {
        self.paths.iter().map(|path| path.tuple)
    }

    /// Where everything goes that we send.
    pub(crate) fn dest(&self) -> Option<&Dest> {
        self.dest.as_ref()
    }

    /// When it last gave an authentic sign of life.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// Takes a check and writes the answer to it into `out`, which is empty. `None`: whoever sent it does not
    /// know our password, so nothing is believed and nothing is said.
    pub(crate) fn handle_check(
        &mut self,
        now: Instant,
        tuple: Tuple,
        check: &Check<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Checked> {
        let newer = self.next.as_ref().is_some_and(|next| next.ufrag == check.local_ufrag());
        let session = if newer { self.next.as_ref()? } else { &self.current };
        if !check.is_authentic(session) {
            return None;
        }
        check.write_response(tuple.remote, session, out);
        self.heard = now;
        let (learned, forgotten) = self.learn(now, tuple);
        let mut retired = None;
        // The latest nomination is followed (RFC 8445 section 8.1.1); until there is one, the first way.
        if check.nominates || self.dest.is_none() {
            self.dest = Some(Dest::of(tuple));
        }
        if check.nominates
            && newer
            && let Some(next) = self.next.take()
        {
            retired = Some(std::mem::replace(&mut self.current, next).ufrag);
        }
        Some(Checked { learned, forgotten, retired })
    }

    fn learn(&mut self, now: Instant, tuple: Tuple) -> (bool, Option<Tuple>) {
        if let Some(path) = self.paths.iter_mut().find(|path| path.tuple == tuple) {
            path.checked = now;
            return (false, None);
        }
        let forgotten = if self.paths.len() == PATHS_MAX { self.forget_oldest() } else { None };
        self.paths.push(Path { tuple, checked: now });
        (true, forgotten)
    }

    fn forget_oldest(&mut self) -> Option<Tuple> {
        let in_use = self.dest.as_ref().map(Dest::tuple);
        let spare = self.paths.iter().enumerate().filter(|(_, path)| Some(path.tuple) != in_use);
        let (oldest, _) = spare.min_by_key(|(_, path)| path.checked)?;
        Some(self.paths.swap_remove(oldest).tuple)
    }

    /// Something that only the Peer can have made came that way: it is alive, and it listens where it speaks.
    ///
    /// Clients that nominate once and not again (RFC 8445 section 8.1.1) are followed by this to another port
    /// of their NAT. A packet of the old way that a nomination overtook is older than the check of the new one.
    pub(crate) fn note_media(&mut self, now: Instant, tuple: Tuple) {
        self.heard = now;
        let Some(in_use) = self.dest.as_ref().map(Dest::tuple).filter(|in_use| *in_use != tuple) else {
            return;
        };
        let checked =
            |tuple: Tuple| self.paths.iter().find(|path| path.tuple == tuple).map(|path| path.checked);
        if checked(tuple).is_none_or(|at| Some(at) >= checked(in_use)) {
            self.dest = Some(Dest::of(tuple));
        }
    }

    /// An ICE restart: checks under these credentials are answered too, and the first nomination among them
    /// ends the session before. Returns the ufrag of an earlier restart that came to nothing.
    pub(crate) fn restart(&mut self, credentials: Credentials) -> Option<String> {
        self.next.replace(credentials).map(|earlier| earlier.ufrag)
    }

    /// Begins with other credentials: nobody has used the first ones.
    pub(crate) fn replace(&mut self, credentials: Credentials) {
        self.current = credentials;
    }

    /// That way is gone: its TCP connection ended. What is sent goes the way that was checked last, if any.
    pub(crate) fn hang_up(&mut self, tuple: Tuple) {
        self.paths.retain(|path| path.tuple != tuple);
        if self.dest.as_ref().is_some_and(|dest| dest.tuple() == tuple) {
            let newest = self.paths.iter().max_by_key(|path| path.checked);
            self.dest = newest.map(|path| Dest::of(path.tuple));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::core::ice_lite::request;
    use crate::core::up_track::beginning;
    use crate::egress::batch::Transport;

    fn tuple(port: u16) -> Tuple {
        let remote = SocketAddr::new(IpAddr::from([198, 51, 100, 7]), port);
        Tuple { remote, local: IpAddr::from([192, 0, 2, 1]), transport: Transport::Udp }
    }

    fn credentials(ufrag: &str) -> Credentials {
        Credentials::new(ufrag.to_owned(), &format!("password of {ufrag}"))
    }

    struct Table {
        agent: IceAgent,
        now: Instant,
    }

    impl Table {
        fn new() -> Self {
            let now = beginning();
            Self { agent: IceAgent::new(now, credentials("one")), now }
        }

        /// A second later, a check of that session from that port.
        fn check(&mut self, ufrag: &str, port: u16, nominates: bool) -> Option<Checked> {
            self.now += Duration::from_secs(1);
            let datagram = request(&format!("{ufrag}:theirs"), &credentials(ufrag), nominates);
            let check = Check::parse(&datagram).expect("well-formed");
            self.agent.handle_check(self.now, tuple(port), &check, &mut Vec::new())
        }

        fn port(&self) -> Option<u16> {
            self.agent.dest().map(|dest| dest.to.port())
        }
    }

    #[test]
    fn the_first_way_is_taken_and_then_the_latest_nomination() {
        let mut table = Table::new();
        for (port, nominates, goes_to) in
            [(1, false, 1), (2, false, 1), (2, true, 2), (1, false, 2), (3, true, 3), (1, true, 1)]
        {
            assert!(table.check("one", port, nominates).is_some());
            assert_eq!(table.port(), Some(goes_to), "{port} {nominates}");
        }
        assert_eq!(table.agent.tuples().count(), 3);
    }

    #[test]
    fn media_shows_where_a_client_listens_that_does_not_nominate_again() {
        let mut table = Table::new();
        table.check("one", 1, true);
        // Its NAT gave it another port: the same checks, without the nomination, and its RTCP.
        table.check("one", 2, false);
        assert_eq!(table.port(), Some(1));
        let now = table.now;
        table.agent.note_media(now, tuple(2));
        assert_eq!(table.port(), Some(2));
        // A packet that was on its way the old way changes nothing.
        table.agent.note_media(now, tuple(1));
        assert_eq!(table.port(), Some(2));
    }

    #[test]
    fn a_restart_takes_over_with_its_first_nomination() {
        let mut table = Table::new();
        table.check("one", 1, true);
        assert_eq!(table.agent.restart(credentials("two")), None);
        // Restarted again before anything came of it.
        assert_eq!(table.agent.restart(credentials("three")).as_deref(), Some("two"));
        assert!(table.check("two", 9, true).is_none(), "given up");
        let checked = table.check("three", 2, false).expect("authentic");
        assert!(checked.learned && checked.retired.is_none());
        // Both are alive until the new one nominates, and the old one is in use.
        assert!(table.check("one", 1, true).is_some());
        assert_eq!((table.port(), table.agent.ufrags().count()), (Some(1), 2));
        let checked = table.check("three", 2, true).expect("authentic");
        assert_eq!((checked.retired.as_deref(), table.port()), (Some("one"), Some(2)));
        assert!(table.check("one", 1, true).is_none(), "its session is over");
        assert_eq!(table.port(), Some(2));
    }

    #[test]
    fn a_way_that_is_gone_is_left_for_the_one_checked_last() {
        let mut table = Table::new();
        for (port, nominates) in [(1, true), (2, false), (3, false), (2, false)] {
            table.check("one", port, nominates);
        }
        table.agent.hang_up(tuple(1));
        assert_eq!(table.port(), Some(2));
        table.agent.hang_up(tuple(3));
        assert_eq!(table.port(), Some(2));
        table.agent.hang_up(tuple(2));
        assert_eq!(table.port(), None);
        table.check("one", 4, false);
        assert_eq!(table.port(), Some(4));
    }

    #[test]
    fn ways_are_bounded_and_the_one_in_use_stays() {
        let mut table = Table::new();
        table.check("one", 1, true);
        for port in 2..=PATHS_MAX as u16 {
            table.check("one", port, false);
        }
        let checked = table.check("one", 100, false).expect("authentic");
        assert_eq!((checked.learned, checked.forgotten), (true, Some(tuple(2))));
        assert_eq!((table.agent.tuples().count(), table.port()), (PATHS_MAX, Some(1)));
    }

    #[test]
    fn only_what_is_authentic_is_a_sign_of_life() {
        let mut table = Table::new();
        table.check("one", 1, true);
        let heard = table.agent.heard();
        assert!(table.check("other", 1, true).is_none());
        assert_eq!(table.agent.heard(), heard);
        assert!(table.check("one", 1, false).is_some());
        assert!(table.agent.heard() > heard);
    }
}
