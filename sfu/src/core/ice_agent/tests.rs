use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::core::challenge::answer;
use crate::core::credentials::Credentials;
use crate::core::ice_lite::request;
use crate::core::up_track::beginning;
use crate::egress::batch::Transport;

/// The first byte after the header, of every check that we send: USERNAME of so many bytes follows it.
const USERNAME_AT: usize = 24;

fn tuple(port: u16) -> Tuple {
    let remote = SocketAddr::new(IpAddr::from([198, 51, 100, 7]), port);
    Tuple { remote, local: IpAddr::from([192, 0, 2, 1]), transport: Transport::Udp }
}

fn tcp(port: u16) -> Tuple {
    Tuple { transport: Transport::Tcp, ..tuple(port) }
}

fn credentials(ufrag: &str) -> Credentials {
    Credentials::new(ufrag.to_owned(), &format!("password of {ufrag}"))
}

/// Those of a session: ours of that name, and theirs.
fn halves(ufrag: &str) -> Halves {
    Halves { ours: credentials(ufrag), theirs: credentials(&format!("{ufrag}'s")) }
}

/// As long as the shortest of browsers: they have 20 bytes of ICE-CONTROLLING and PRIORITY besides.
fn browsers_check(ufrag: &str, nominates: bool) -> Vec<u8> {
    request(&format!("{ufrag}:{ufrag}'s{}", "-".repeat(20)), &credentials(ufrag), nominates)
}

struct Table {
    agent: IceAgent,
    now: Instant,
    /// Challenges that went out, by port.
    challenges: Vec<(u16, Vec<u8>)>,
    /// Bytes from and to each port: all that the agent says by itself.
    came: [usize; 200],
    went: [usize; 200],
}

impl Table {
    fn new() -> Self {
        let now = beginning();
        let agent = IceAgent::new(now, halves("one"), [7; 16]);
        Self { agent, now, challenges: Vec::new(), came: [0; 200], went: [0; 200] }
    }

    /// A second later, a check of that session that way.
    fn check_by(&mut self, ufrag: &str, tuple: Tuple, nominates: bool) -> Option<Checked> {
        self.now += Duration::from_secs(1);
        let datagram = browsers_check(ufrag, nominates);
        let check = Check::parse(&datagram).expect("well-formed");
        let mut out = Vec::new();
        let checked = self.agent.handle_check(self.now, tuple, &check, &mut out);
        let port = usize::from(tuple.remote.port());
        self.came[port] += datagram.len();
        self.went[port] += out.len();
        self.poll();
        checked
    }

    fn check(&mut self, ufrag: &str, port: u16, nominates: bool) -> Option<Checked> {
        self.check_by(ufrag, tuple(port), nominates)
    }

    fn media(&mut self, port: u16, bytes: usize) {
        self.agent.note_media(self.now, tuple(port), bytes);
        self.came[usize::from(port)] += bytes;
        self.poll();
    }

    fn poll(&mut self) -> bool {
        let Some(challenge) = self.agent.poll_challenge() else { return false };
        let port = challenge.to.remote.port();
        self.went[usize::from(port)] += challenge.data.len();
        self.challenges.push((port, challenge.data));
        challenge.unheeded
    }

    /// The last challenge to that port.
    fn asked(&self, port: u16) -> Option<&[u8]> {
        self.challenges.iter().rev().find(|(to, _)| *to == port).map(|(_, data)| &data[..])
    }

    /// The answer to a challenge, by whoever has those credentials, comes that way.
    fn hear(&mut self, challenge: &[u8], theirs: &Credentials, tuple: Tuple) -> bool {
        let id = challenge[8..20].try_into().expect("12 bytes");
        let datagram = answer(id, theirs);
        self.agent.handle_answer(self.now, tuple, &Answer::parse(&datagram).expect("well-formed"))
    }

    /// Whoever is there answers the challenge that it got.
    fn prove(&mut self, ufrag: &str, port: u16) -> bool {
        let challenge = self.asked(port).expect("it was challenged").to_vec();
        self.hear(&challenge, &halves(ufrag).theirs, tuple(port))
    }

    /// A Peer whose DTLS is done, at port 1.
    fn secured() -> Self {
        let mut table = Self::new();
        table.check("one", 1, true);
        table.agent.secure();
        table
    }

    fn port(&self) -> Option<u16> {
        self.agent.dest().map(|dest| dest.to.port())
    }
}

#[test]
fn the_first_way_is_taken_and_then_the_latest_nomination_once_it_has_proven_itself() {
    let mut table = Table::new();
    for (port, nominates, goes_to, then) in [
        (1, false, 1, 1),
        (2, false, 1, 1),
        (2, true, 1, 2),
        (1, false, 2, 2),
        (3, true, 2, 3),
        (1, true, 3, 1),
    ] {
        assert!(table.check("one", port, nominates).is_some());
        if table.port() != Some(then) || nominates {
            assert_eq!(table.port(), Some(goes_to), "{port} {nominates}");
            table.prove("one", port);
        }
        assert_eq!(table.port(), Some(then), "{port} {nominates}");
    }
    assert_eq!(table.agent.tuples().count(), 3);
}

#[test]
fn a_way_that_has_proven_itself_is_gone_back_to_at_once() {
    let mut table = Table::secured();
    table.check("one", 2, true);
    assert!(table.prove("one", 2));
    for port in [1, 2, 1] {
        table.check("one", port, true);
        assert_eq!(table.port(), Some(port));
    }
    assert_eq!(table.challenges.len(), 1);
}

#[test]
fn a_forged_nomination_costs_who_is_there_no_more_than_its_sender() {
    let mut table = Table::secured();
    // Ten minutes of checks with a source address that is somebody else's. It answers none.
    let mut unheeded = 0;
    for _ in 0..600 {
        table.now += Duration::from_secs(1);
        let datagram = browsers_check("one", true);
        let check = Check::parse(&datagram).expect("well-formed");
        let mut out = Vec::new();
        table.agent.handle_check(table.now, tuple(2), &check, &mut out).expect("authentic");
        table.came[2] += datagram.len();
        table.went[2] += out.len();
        unheeded += u32::from(table.poll());
        assert_eq!(table.port(), Some(1));
    }
    assert_eq!(unheeded, 1, "told once");
    let challenges: usize = table.challenges.iter().map(|(_, data)| data.len()).sum();
    assert!(challenges * 8 < table.came[2], "{challenges} bytes for {}", table.came[2]);
    assert!(table.went[2] <= table.came[2], "{} bytes for {}", table.went[2], table.came[2]);
    // Its media, forged from there too: what the attacker sends is not sent back.
    for _ in 0..1000 {
        table.media(2, 60);
    }
    assert!((table.port(), table.went[2]) <= (Some(1), table.came[2]));
}

#[test]
fn a_single_forged_check_brings_less_than_twice_its_size() {
    let mut table = Table::secured();
    // More addresses than are remembered, each named once.
    for port in 2..200 {
        table.check("one", port, true);
        let (came, went) = (table.came[usize::from(port)], table.went[usize::from(port)]);
        assert!(went < 2 * came, "{went} bytes for {came}");
    }
    assert_eq!((table.challenges.len(), table.port()), (198, Some(1)));
}

#[test]
fn a_challenge_is_never_more_than_what_came_before_it() {
    let mut table = Table::secured();
    // The shortest check that there is: no PRIORITY, no role.
    let datagram = request("one:", &credentials("one"), true);
    let (mut came, mut went) = (0, 0);
    for _ in 0..20 {
        table.now += Duration::from_secs(20);
        let check = Check::parse(&datagram).expect("well-formed");
        table.agent.handle_check(table.now, tuple(2), &check, &mut Vec::new()).expect("authentic");
        came += datagram.len();
        went += table.agent.poll_challenge().map_or(0, |challenge| challenge.data.len());
        assert!(went <= came, "{went} bytes for {came}");
    }
    assert!(2 * went > came, "it is asked all the same");
}

#[test]
fn challenges_come_at_growing_distances_and_are_one_message() {
    let mut table = Table::secured();
    let begun = table.now;
    let mut at = Vec::new();
    for millisecond in 0..40_000 {
        table.now = begun + Duration::from_millis(millisecond);
        let datagram = browsers_check("one", millisecond == 0);
        let check = Check::parse(&datagram).expect("well-formed");
        table.agent.handle_check(table.now, tuple(2), &check, &mut Vec::new()).expect("authentic");
        let before = table.challenges.len();
        if table.poll() {
            assert_eq!(at.len(), 4, "the fifth says that four were not answered");
        }
        if table.challenges.len() > before {
            at.push(millisecond);
        }
    }
    assert_eq!(at, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    assert!(table.challenges.iter().all(|(_, data)| *data == table.challenges[0].1));
    // It is there after all: any of them may be answered.
    assert!(table.prove("one", 2));
    assert_eq!(table.port(), Some(2));
}

#[test]
fn only_the_answer_to_its_own_challenge_proves_a_way() {
    let mut table = Table::secured();
    table.check("one", 2, true);
    table.check("one", 3, true);
    let (second, third) = (table.asked(2).expect("one").to_vec(), table.asked(3).expect("one").to_vec());
    assert_ne!(second[8..20], third[8..20]);
    let theirs = halves("one").theirs;
    let mut guessed = third.clone();
    guessed[8] ^= 1;
    for (what, challenge, by, way) in [
        ("by who does not know the password", &third, credentials("guess"), tuple(3)),
        ("by our own password, which the forger knows", &third, credentials("one"), tuple(3)),
        ("under another id", &guessed, theirs.clone(), tuple(3)),
        ("of another way's challenge", &second, theirs.clone(), tuple(3)),
        ("from another port", &third, theirs.clone(), tuple(2)),
        ("from a port that nothing came from", &third, theirs.clone(), tuple(9)),
        ("by TCP", &third, theirs.clone(), tcp(3)),
        (
            "to another address of ours",
            &third,
            theirs.clone(),
            Tuple { local: IpAddr::from([192, 0, 2, 9]), ..tuple(3) },
        ),
    ] {
        assert!(!table.hear(challenge, &by, way), "{what}");
        assert_eq!(table.port(), Some(1), "{what}");
    }
    // What it challenged with before does not sign an answer, and neither does the challenge sent back.
    assert!(Answer::parse(&third).is_none());
    assert!(table.hear(&third, &theirs, tuple(3)));
    assert_eq!(table.port(), Some(3));
    assert!(!table.hear(&third, &theirs, tuple(3)), "once");
}

#[test]
fn an_answer_of_before_proves_nothing_again() {
    let mut table = Table::secured();
    table.check("one", 2, true);
    let old = table.asked(2).expect("one").to_vec();
    // The way is forgotten for others, and comes again.
    table.check("one", 1, true);
    for port in 3..=PATHS_MAX as u16 + 2 {
        table.check("one", port, false);
    }
    assert!(!table.agent.tuples().any(|known| known == tuple(2)));
    table.check("one", 2, true);
    assert_ne!(table.asked(2).expect("one")[8..20], old[8..20]);
    assert!(!table.hear(&old, &halves("one").theirs, tuple(2)), "a replay");
    assert_eq!(table.port(), Some(1));
    assert!(table.prove("one", 2));
    assert_eq!(table.port(), Some(2));
}

#[test]
fn the_same_holds_during_the_handshake() {
    let mut table = Table::new();
    table.check("one", 1, true);
    table.check("one", 2, true);
    // The handshake ends before the second way has said anything: the first one is proven by it.
    table.agent.secure();
    assert_eq!(table.port(), Some(1));
    table.check("one", 2, true);
    assert_eq!(table.port(), Some(1));
    assert!(table.prove("one", 2));
    assert_eq!(table.port(), Some(2));

    // The first way was forged: DTLS cannot end there, but where somebody answers.
    let mut table = Table::new();
    table.check("one", 1, true);
    table.check("one", 2, true);
    assert!(table.prove("one", 2));
    table.agent.secure();
    table.check("one", 1, true);
    assert_eq!(table.port(), Some(2), "it has proven nothing");
}

#[test]
fn tcp_has_proven_itself() {
    let mut table = Table::secured();
    table.check_by("one", tcp(2), true);
    assert_eq!((table.port(), table.challenges.len()), (Some(2), 0));
}

#[test]
fn media_shows_where_a_client_listens_that_does_not_nominate_again() {
    let mut table = Table::secured();
    // Its NAT gave it another port: the same checks, without the nomination, and its RTCP.
    table.check("one", 2, false);
    assert_eq!(table.port(), Some(1));
    table.media(2, 60);
    assert_eq!(table.port(), Some(1), "it might be anybody's");
    assert!(table.prove("one", 2));
    assert_eq!(table.port(), Some(2));
    // A packet that was on its way the old way changes nothing.
    table.media(1, 60);
    assert_eq!(table.port(), Some(2));

    // Proven before its media came, by the challenge that followed the check.
    let mut table = Table::secured();
    table.check("one", 2, false);
    assert!(table.prove("one", 2));
    assert_eq!(table.port(), Some(1));
    table.media(2, 60);
    assert_eq!(table.port(), Some(2));
}

#[test]
fn media_brings_the_next_challenge_when_one_was_lost() {
    let mut table = Table::secured();
    table.check("one", 2, false);
    for _ in 0..20 {
        table.now += Duration::from_millis(50);
        table.media(2, 60);
    }
    assert_eq!(table.challenges.len(), 2, "after 500 ms, and not with each packet");
    assert!(table.prove("one", 2));
    assert_eq!(table.port(), Some(2));
}

#[test]
fn a_way_that_is_wanted_is_given_up_for_the_one_in_use() {
    let mut table = Table::secured();
    table.check("one", 2, true);
    table.check("one", 1, true);
    assert!(table.prove("one", 2));
    assert_eq!(table.port(), Some(1), "the latest nomination");
    // And a way that only proves itself is not gone to.
    table.check("one", 3, false);
    assert!(table.prove("one", 3));
    assert_eq!(table.port(), Some(1));
}

#[test]
fn a_restart_takes_over_with_its_first_nomination() {
    let mut table = Table::secured();
    assert_eq!(table.agent.restart(halves("two")), None);
    // Restarted again before anything came of it.
    assert_eq!(table.agent.restart(halves("three")).as_deref(), Some("two"));
    assert!(table.check("two", 9, true).is_none(), "given up");
    let checked = table.check("three", 2, false).expect("authentic");
    assert!(checked.learned && checked.retired.is_none());
    let asked = table.asked(2).expect("a challenge in the new session").to_vec();
    assert_eq!(&asked[USERNAME_AT..USERNAME_AT + 13], b"three's:three");
    // Both are alive until the new one nominates, and the old one is in use.
    assert!(table.check("one", 1, true).is_some());
    assert_eq!((table.port(), table.agent.ufrags().count()), (Some(1), 2));
    let checked = table.check("three", 2, true).expect("authentic");
    assert_eq!((checked.retired.as_deref(), table.port()), (Some("one"), Some(1)));
    assert!(table.check("one", 1, true).is_none(), "its session is over");
    assert!(!table.hear(&asked, &halves("one").theirs, tuple(2)), "and its password counts no more");
    assert!(table.prove("three", 2));
    assert_eq!(table.port(), Some(2));
}

#[test]
fn a_restart_on_the_same_way_needs_no_proof() {
    let mut table = Table::secured();
    table.agent.restart(halves("two"));
    table.check("two", 1, true);
    assert_eq!((table.port(), table.challenges.len()), (Some(1), 0));
    // A challenge of the session before that is answered after its end is worth nothing: the next check brings another.
    table.agent.restart(halves("three"));
    table.check("two", 2, true);
    let old = table.asked(2).expect("one").to_vec();
    table.check("three", 1, true);
    assert!(!table.hear(&old, &halves("two").theirs, tuple(2)));
    table.check("three", 2, true);
    assert!(table.prove("three", 2));
    assert_eq!(table.port(), Some(2));
}

#[test]
fn a_way_that_is_gone_is_left_for_the_one_checked_last() {
    let mut table = Table::new();
    for (port, nominates) in [(1, true), (2, false), (3, false), (2, false)] {
        table.check_by("one", tcp(port), nominates);
    }
    table.agent.hang_up(tcp(1));
    assert_eq!(table.port(), Some(2));
    table.agent.hang_up(tcp(3));
    assert_eq!(table.port(), Some(2));
    table.agent.hang_up(tcp(2));
    assert_eq!(table.port(), None);
    table.check_by("one", tcp(4), false);
    assert_eq!(table.port(), Some(4));
}

#[test]
fn a_connection_that_ends_leaves_nothing_to_who_has_proven_nothing() {
    for secured in [true, false] {
        let mut table = Table::new();
        table.check_by("one", tcp(1), true);
        if secured {
            table.agent.secure();
        }
        table.check("one", 2, false);
        table.check("one", 3, false);
        table.agent.hang_up(tcp(1));
        assert_eq!(table.port(), None);
        table.check("one", 2, true);
        table.media(3, 60);
        assert_eq!(table.port(), None);
        assert!(table.prove("one", 3), "whoever is first");
        assert_eq!(table.port(), Some(3));
        assert!(table.prove("one", 2), "and then whom it wants");
        assert_eq!(table.port(), Some(2));
    }
}

#[test]
fn ways_are_bounded_and_the_one_in_use_and_the_one_wanted_stay() {
    let mut table = Table::secured();
    table.check("one", 2, true);
    for port in 3..=PATHS_MAX as u16 {
        table.check("one", port, false);
    }
    let checked = table.check("one", 100, false).expect("authentic");
    assert_eq!((checked.learned, checked.forgotten), (true, Some(tuple(3))));
    assert_eq!((table.agent.tuples().count(), table.port()), (PATHS_MAX, Some(1)));
    assert!(table.prove("one", 2));
    assert_eq!(table.port(), Some(2));
}

#[test]
fn only_what_is_authentic_is_a_sign_of_life() {
    let mut table = Table::secured();
    let heard = table.agent.heard();
    assert!(table.check("other", 1, true).is_none());
    assert_eq!(table.agent.heard(), heard);
    assert!(table.check("one", 1, false).is_some());
    assert!(table.agent.heard() > heard);
    table.check("one", 2, false);
    let heard = table.agent.heard();
    table.now += Duration::from_secs(1);
    let asked = table.asked(2).expect("one").to_vec();
    assert!(!table.hear(&asked, &credentials("guess"), tuple(2)));
    assert_eq!(table.agent.heard(), heard);
    assert!(table.hear(&asked, &halves("one").theirs, tuple(2)));
    assert!(table.agent.heard() > heard);
}
