//! The whole core in virtual time: a viewer that watches, one that shakes hands, a publisher that does, and a
//! stranger. Whatever they send, nothing panics, nothing goes to an address without a check, and no media to one that has
//! not proven that it receives it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use media::{ChannelName, Hub, Kind, NtpTime, Publication, RtpPacket, TrackReader};

use super::script::Script;
use super::source::{Source, identity};
use crate::PeerId;
use crate::candidate::Candidate;
use crate::core::challenge::answer;
use crate::core::credentials::Credentials;
use crate::core::demux::Home;
use crate::core::peer::{Local, Peer};
use crate::core::stun::TransactionId;
use crate::core::viewer::{Identity, Spec};
use crate::core::{Action, Claim, Command, Core, FeedId, Negotiated};
use crate::egress::batch::Batch;
use crate::egress::seal::Profile;
use crate::egress::srtcp::Srtcp;
use crate::sdp::SubscribeOffer;
use crate::sdp_publish::PublishOffer;

const SERVER: &str = "192.0.2.1:8189";
const STRANGER: &str = "203.0.113.9:9";
const CHROMIUM: &str = include_str!("../../../tests/fixtures/offers/chromium-h264.offer.sdp");
/// What the viewer's handshake would have agreed on.
const OURS: (&[u8], &[u8]) = (&[1; 16], &[2; 12]);
const THEIRS: (&[u8], &[u8]) = (&[3; 16], &[4; 12]);
/// Stands in a ClientHello for the cookie that the server asked for.
const COOKIE: &[u8; 20] = b"<<the cookie goes>>!";

/// One byte says what happens, the next bytes what exactly; and so on.
pub fn datagram(start: Instant, data: &[u8]) {
    let mut world = World::new(start);
    let mut script = Script(data);
    while let Some(step) = script.byte() {
        let done = match step & 7 {
            0 => script.byte().map(|time| world.pass(time)),
            1 if step & 8 != 0 => script.byte().map(|which| world.answer(which, step & 16 != 0)),
            1 => script.block().map(|block| world.send(STRANGER.parse().expect("an address"), block)),
            2..=4 => script.block().map(|block| world.speak(usize::from(step & 7) - 2, step >> 3, block)),
            5 => script.block().map(|block| world.check(usize::from(step >> 3 & 3), step >> 5, block)),
            6 => script.block().map(|block| world.report(block)),
            _ => script.byte().map(|what| world.source(step >> 3, what)),
        };
        if done.is_none() {
            break;
        }
        world.settle();
    }
    world.end();
}

/// Somebody with a ufrag here.
struct Party {
    address: SocketAddr,
    ufrag: String,
    key: hmac::Key,
}

struct World {
    now: Instant,
    core: Core,
    source: Source,
    parties: Vec<Party>,
    waiting: HashMap<String, Box<Negotiated>>,
    /// The watching viewer's end of SRTCP.
    reports: Srtcp,
    feeds: HashMap<FeedId, TrackReader<RtpPacket>>,
    batch: Batch,
    /// Where checks came from, and with how many bytes.
    checked: HashMap<SocketAddr, usize>,
    /// Challenges: to where, and how many bytes of them.
    challenges: Vec<(SocketAddr, TransactionId)>,
    challenged: HashMap<SocketAddr, usize>,
    /// Who has answered one, or ended a handshake.
    proven: HashSet<SocketAddr>,
    /// The password of everybody who offers.
    theirs: Credentials,
    cookie: Vec<u8>,
    /// What was sealed under each SSRC and number.
    sealed: HashMap<(SocketAddr, [u8; 6]), Vec<u8>>,
    _hub: std::sync::Arc<Hub>,
}

impl World {
    fn new(start: Instant) -> Self {
        let identity: &Identity = identity();
        let source = Source::new(start);
        let hub = Hub::new(Duration::from_secs(1));
        let offer = SubscribeOffer::parse(&CHROMIUM.replace("a=sendonly", "a=recvonly")).expect("good SDP");
        let mut world = Self {
            now: start,
            core: Core::new(),
            source,
            parties: Vec::new(),
            waiting: HashMap::new(),
            reports: Srtcp::new(Profile::AeadAes128Gcm, THEIRS, OURS),
            feeds: HashMap::new(),
            batch: Batch::new(),
            checked: HashMap::new(),
            challenges: Vec::new(),
            challenged: HashMap::new(),
            proven: HashSet::new(),
            theirs: offer.credentials(),
            cookie: Vec::new(),
            sealed: HashMap::new(),
            _hub: hub,
        };
        let candidates = Candidate::of(&[SERVER.parse().expect("an address")], true);
        for id in [1, 2] {
            let stream = world.source.stream();
            let (spec, answer) =
                Spec::negotiate(PeerId(id), stream, &offer, identity, &candidates, &[id as u8; 96]);
            world.expect_party(Negotiated::Viewer(spec), &answer);
        }
        // The first viewer is there already, and its handshake done.
        world.check(0, 0, &[]);
        let Some(Home::Viewer(slot)) = world.core.routes.by_id(PeerId(1)) else {
            panic!("an authentic check lets a viewer in")
        };
        if let Some(viewer) = world.core.viewers.get_mut(slot) {
            viewer.key(start, Profile::AeadAes128Gcm, OURS, THEIRS);
        }
        world.proven.insert(world.parties[0].address);
        world.core.after_dtls(start, slot, Ok(None));
        world.settle();
        world
    }

    fn expect_party(&mut self, negotiated: Negotiated, answer: &str) {
        let pwd =
            answer.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).expect("every answer has one");
        self.parties.push(Party {
            address: format!("198.51.100.{}:40000", self.parties.len() + 1).parse().expect("an address"),
            ufrag: negotiated.ufrag().to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.trim().as_bytes()),
        });
        self.waiting.insert(negotiated.ufrag().to_owned(), Box::new(negotiated));
    }

    /// A publisher costs a peer connection: only inputs that have something to say to it make one.
    fn invite_publisher(&mut self) {
        if self.parties.len() > 2 {
            return;
        }
        let offer = PublishOffer::parse(CHROMIUM).expect("good SDP");
        let channel = ChannelName::parse("bob").expect("a name");
        let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
        let writer = self._hub.publish(&channel, Publication::default(), self.now, wall).expect("free");
        let local = Local {
            candidates: Candidate::of(&[SERVER.parse().expect("an address")], true),
            start_bitrate_bps: 2_500_000,
            bitrate_max_bps: None,
        };
        let (peer, answer) = Peer::negotiate(self.now, PeerId(3), writer, &offer, &local).expect("accepted");
        self.expect_party(Negotiated::Publisher(peer), &answer);
    }

    /// Time passes.
    fn pass(&mut self, time: u8) {
        self.now += Duration::from_millis(u64::from(time) * u64::from(time));
        self.core.handle_timeout(self.now);
    }

    /// A datagram as it is.
    fn send(&mut self, from: SocketAddr, data: &[u8]) {
        let waiting = &mut self.waiting;
        let to: SocketAddr = SERVER.parse().expect("an address");
        let mut data = data.to_vec();
        let mut claim = |ufrag: &str| waiting.remove(ufrag).map_or(Claim::Unknown, Claim::Yours);
        self.core.handle_datagram(self.now, from, to.ip(), &mut data, &mut claim);
    }

    /// A datagram of somebody who proves the address first if it is said so.
    fn speak(&mut self, party: usize, proves: u8, block: &[u8]) {
        if party == 2 {
            self.invite_publisher();
        }
        if proves & 1 != 0 {
            self.check(party, 0, &[]);
        }
        let mut data = block.to_vec();
        if self.cookie.len() == COOKIE.len()
            && let Some(at) = data.windows(COOKIE.len()).position(|window| window == COOKIE)
        {
            data[at..at + COOKIE.len()].copy_from_slice(&self.cookie);
        }
        self.send(self.parties[party].address, &data);
    }

    /// An authentic check with attributes of the input's choice.
    fn check(&mut self, party: usize, port: u8, attributes: &[u8]) {
        if party >= 2 {
            self.invite_publisher();
        }
        let Some(party) = self.parties.get(party) else { return };
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend_from_slice(b"transaction!");
        let name = format!("{}:them", party.ufrag);
        message.extend_from_slice(&[0, 6, 0, name.len() as u8]);
        message.extend_from_slice(name.as_bytes());
        message.resize(message.len().next_multiple_of(4), 0);
        message.extend_from_slice(&attributes[..attributes.len().min(1024) / 4 * 4]);
        let length = (message.len() - 20 + 24) as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        let tag = hmac::sign(&party.key, &message);
        message.extend_from_slice(&[0, 8, 0, 20]);
        message.extend_from_slice(tag.as_ref());
        let mut from = party.address;
        from.set_port(from.port() + u16::from(port));
        *self.checked.entry(from).or_default() += message.len();
        self.send(from, &message);
    }

    /// A challenge is answered by who got it: one of the last, as it should be or by somebody else's password.
    fn answer(&mut self, which: u8, wrong: bool) {
        let age = usize::from(which) % self.challenges.len().max(1);
        let Some((to, id)) = self.challenges.iter().rev().nth(age).copied() else { return };
        let theirs = if wrong { Credentials::new(String::new(), "a guess") } else { self.theirs.clone() };
        if !wrong {
            self.proven.insert(to);
        }
        self.send(to, &answer(id, &theirs));
    }

    /// RTCP of the viewer that watches.
    fn report(&mut self, plain: &[u8]) {
        let mut packet = plain.to_vec();
        if self.reports.seal(&mut packet) {
            self.send(self.parties[0].address, &packet);
        }
    }

    /// The source and the handle's commands.
    fn source(&mut self, how: u8, what: u8) {
        let id = PeerId(u64::from(what & 3) + 1);
        match how {
            0..=7 => self.source.write(self.now, Kind::Video, what & 31, what & 32 != 0),
            8..=15 => self.source.write(self.now, Kind::Audio, 1, true),
            16..=19 => self.source.skip(what.into()),
            20..=23 => self.core.handle_command(self.now, Command::Pause(id, Kind::Video)),
            24..=27 => self.core.handle_command(self.now, Command::Resume(id, Kind::Video)),
            28..=30 => self.core.handle_command(self.now, Command::Close(id)),
            _ => self.core.handle_command(self.now, Command::Stop),
        }
    }

    /// What the shell does after every datagram.
    fn settle(&mut self) {
        self.act();
        let mut packets = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        for (feed, reader) in &mut self.feeds {
            let _: Poll<()> = reader.poll_drain(&mut cx, &mut packets);
            self.core.handle_packets(self.now, *feed, &mut packets);
        }
        while self.core.next_slice(self.now, &mut self.batch) {
            self.flush();
        }
        self.flush();
        while let Some(transmit) = self.core.poll_transmit() {
            assert!(self.checked.contains_key(&transmit.to), "an answer to {}", transmit.to);
            if transmit.data[..2] == [0, 1] {
                self.challenges.push((transmit.to, transmit.data[8..20].try_into().expect("an id")));
                let challenged = self.challenged.entry(transmit.to).or_default();
                *challenged += transmit.data.len();
                assert!(
                    *challenged <= self.checked[&transmit.to],
                    "challenges to {} have more bytes than its checks",
                    transmit.to
                );
            }
            // HelloVerifyRequest: record and handshake header, version, cookie (RFC 6347 section 4.2.1).
            if transmit.data.len() > 28 && transmit.data[0] == 22 && transmit.data[13] == 3 {
                self.cookie = transmit.data[28..].to_vec();
            }
        }
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::OpenFeed { feed, track, rid } => drop(self.feeds.insert(feed, track.read(&rid))),
                Action::CloseFeed(feed) => drop(self.feeds.remove(&feed)),
                Action::RequestKeyframe(_) | Action::Event(..) | Action::HangUp(_) => {}
            }
        }
    }

    fn flush(&mut self) {
        for run in self.batch.runs() {
            assert!(self.proven.contains(&run.dest.to), "media to {}", run.dest.to);
            for packet in self.batch.bytes(run).chunks(run.segment) {
                let (Some(number), Some(ssrc)) = (packet.get(2..4), packet.get(8..12)) else {
                    panic!("{} bytes are no packet", packet.len())
                };
                let key = [number[0], number[1], ssrc[0], ssrc[1], ssrc[2], ssrc[3]];
                let sealed = self.sealed.entry((run.dest.to, key)).or_insert_with(|| packet.to_vec());
                assert_eq!(sealed, packet, "an index was used for two packets");
            }
        }
        self.batch.clear();
    }

    fn end(self) {
        let counters = self.core.counters();
        assert_eq!((counters.nonce_refused, counters.panics_caught), (0, 0), "{counters:?}");
    }
}
