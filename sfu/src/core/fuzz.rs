//! Entries of the fuzz targets in `tests/fuzz`: what strangers, viewers and publishers may send.

mod datagram;
#[cfg(test)]
#[path = "../../../tests/fuzz/replay.rs"]
mod replay;
#[path = "../../../tests/fuzz/script.rs"]
pub(super) mod script;
mod source;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use media::{Hub, NtpTime, Publication};

use self::script::Script;
use self::source::{Source, check_answer, identity};
use super::challenge::{Answer, write_challenge};
use super::credentials::{Credentials, Halves};
use super::dtls_guard::{Guard, Verdict};
use super::ice_lite::Check;
use super::peer::{Local, Peer};
use super::rtcp::{self, Feedback};
use super::viewer::Spec;
use crate::PeerId;
use crate::bwe::Congestion;
use crate::candidate::Candidate;
use crate::egress::seal::Profile;
use crate::sdp::{Fragment, SubscribeOffer};
use crate::sdp_publish::PublishOffer;

pub use super::peer::fuzz::uplink;
pub use datagram::datagram;

/// A STUN message, before anything of it is believed: a check and the response to it, or the answer to a challenge.
pub fn check(_start: Instant, data: &[u8]) {
    static OURS: OnceLock<Credentials> = OnceLock::new();
    let ours = OURS.get_or_init(|| Credentials::new("ours".to_owned(), "a password that nobody guesses"));
    if let Some(answer) = Answer::parse(data) {
        assert!(!answer.is_authentic(ours), "nobody knows the password");
        assert_eq!(answer.transaction_id(), data[8..20]);
        let halves = Halves { ours: ours.clone(), theirs: ours.clone() };
        let challenge = write_challenge(&halves, answer.transaction_id(), [7; 8]);
        assert!(Check::parse(&challenge).is_some_and(|check| check.is_authentic(ours) && !check.nominates));
        assert!(Check::parse(data).is_none(), "a response is no request");
    }
    let Some(check) = Check::parse(data) else { return };
    assert!(check.local_ufrag().len() <= data.len());
    assert!(!check.is_authentic(ours), "nobody knows the password");
    for from in ["192.0.2.7:4242", "[2001:db8::7]:4242", "[::ffff:192.0.2.7]:4242"] {
        let mut response = Vec::new();
        check.write_response(from.parse::<SocketAddr>().expect("an address"), ours, &mut response);
        assert!(Check::parse(&response).is_none(), "a response is no request");
        assert!(
            Answer::parse(&response).is_some_and(|answer| answer.is_authentic(ours)),
            "what we write we read"
        );
        assert_eq!(response[8..20], data[8..20], "it has the request's transaction id");
    }
}

/// A compound of RTCP from a viewer, decrypted; there were 200 packets for its transport-wide
/// feedback to be about.
pub fn rtcp(start: Instant, data: &[u8]) {
    let mut numbers = 0;
    let mut congestion = Congestion::new(start, 1_000_000);
    let mut now = start;
    for number in 0..200 {
        now += Duration::from_millis(1);
        congestion.sent(now, number, 1200);
    }
    rtcp::read(data, |said| match said {
        Feedback::Nack { lost, .. } => numbers += lost.numbers().count(),
        Feedback::TransportCc { fci } => {
            now += Duration::from_millis(50);
            congestion.handle_transport_cc(now, fci);
        }
        _ => {}
    });
    // A NACK says 17 numbers in four bytes.
    assert!(numbers <= 17 * data.len() / 4);
}

/// DTLS datagrams in front of the library: for each one byte, how much time has passed, and a block.
pub fn dtls_guard(start: Instant, data: &[u8]) {
    let (mut guard, mut script, mut now) = (Guard::new(), Script(data), start);
    let (mut began, mut passed, mut bytes) = (None, 0, 0);
    while let (Some(step), Some(datagram)) = (script.byte(), script.block()) {
        now += Duration::from_millis(20) * u32::from(step & 0x7f);
        match guard.inspect(now, datagram) {
            Ok(Verdict::Pass) => (passed, bytes) = (passed + 1, bytes + datagram.len()),
            Ok(Verdict::Ignore) => {}
            Err(_) => return,
        }
        let _offered = guard.profile(&Profile::ALL);
        assert!(now - *began.get_or_insert(now) <= Duration::from_secs(10), "a handshake ends");
        assert!(passed <= 64 && bytes <= 16 * 1024, "{passed} datagrams, {bytes} bytes of a stranger passed");
        if step & 0x80 != 0 {
            // It was the last one of the handshake: from here on the budget is what is left.
            guard.finish();
            for (step, datagram) in std::iter::from_fn(|| Some((script.byte()?, script.block()?))) {
                now += Duration::from_millis(20) * u32::from(step);
                assert!(guard.inspect(now, datagram).is_ok(), "nothing ends a finished association");
            }
            return;
        }
    }
}

/// The offer of a viewer, and our answer.
pub fn subscribe_offer(start: Instant, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(offer) = SubscribeOffer::parse(text) else { return };
    let candidates = Candidate::of(&["192.0.2.1:8189".parse().expect("an address")], true);
    let stream = Source::new(start).stream();
    let (spec, answer) = Spec::negotiate(PeerId(1), stream, &offer, identity(), &candidates, &[7; 96]);
    check_answer(text, &answer);
    assert!(!spec.ufrag().is_empty());
}

/// The offer of a publisher, and our answer; the library below takes it too.
pub fn publish_offer(start: Instant, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(offer) = PublishOffer::parse(text) else { return };
    let hub = Hub::new(Duration::from_secs(1));
    let channel = media::ChannelName::parse("ana").expect("a name");
    let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
    let writer = hub.publish(&channel, Publication::default(), start, wall).expect("free");
    let local = Local {
        candidates: Candidate::of(&["192.0.2.1:8189".parse().expect("an address")], true),
        start_bitrate_bps: 2_500_000,
        bitrate_max_bps: Some(8_000_000),
    };
    let Ok((_, answer)) = Peer::negotiate(start, PeerId(1), writer, &offer, &local) else { return };
    check_answer(text, &answer);
}

/// The body of a PATCH: candidates, or the credentials of an ICE restart.
pub fn fragment(_start: Instant, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(fragment) = Fragment::parse(text) else { return };
    let ufrag = fragment.credentials.ufrag();
    assert!(!ufrag.contains('\n') && (1..=256).contains(&ufrag.len()));
}

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn the_corpora_are_replayed() {
        replay("check", super::check);
        replay("rtcp", super::rtcp);
        replay("dtls_guard", super::dtls_guard);
        replay("subscribe_offer", super::subscribe_offer);
        replay("publish_offer", super::publish_offer);
        replay("fragment", super::fragment);
        replay("uplink", super::uplink);
        replay("datagram", super::datagram);
    }
}
