//! A check of our own (RFC 8445 section 7.2.2): who answers it receives what we send there. A lite agent needs none
//! to connect; this is how a way proves itself that may be somebody else's address.

use std::fmt;

use aws_lc_rs::hmac;

use super::credentials::{Credentials, Halves};
use super::stun::{
    self, BINDING_REQUEST, BINDING_SUCCESS, END_BYTES, HEADER_BYTES, ICE_CONTROLLED, Message, PRIORITY,
    TransactionId, USERNAME,
};

/// That of a peer-reflexive candidate of the first component (RFC 8445 section 5.1.2.1): what the answer may teach us is no
/// candidate that we have told.
const PRIORITY_OF_CHECK: u32 = (110 << 24) | (65_535 << 8) | 255;

/// The seed of a Peer's [`Transactions`]: random, and known to this server alone.
pub(crate) type Seed = [u8; 16];

/// Transaction ids that nobody else can guess (RFC 8489 section 5), and no two the same. They come of a secret and a
/// number, so that no random numbers are needed on the way.
pub(crate) struct Transactions {
    seed: Seed,
    made: u64,
}

impl Transactions {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { seed, made: 0 }
    }

    /// The next one.
    pub(crate) fn id(&mut self) -> TransactionId {
        self.made += 1;
        self.secret(self.made)
    }

    /// Of the ICE role, the same in every challenge (RFC 8445 section 16.1). We never give way: who is lite is controlled.
    pub(crate) fn tie_breaker(&self) -> [u8; 8] {
        self.secret(0)
    }

    fn secret<const N: usize>(&self, number: u64) -> [u8; N] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.seed);
        let tag = hmac::sign(&key, &number.to_be_bytes());
        let mut out = [0; N];
        out.copy_from_slice(&tag.as_ref()[..N]);
        out
    }
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").field("made", &self.made).finish_non_exhaustive()
    }
}

/// How many bytes [`write_challenge`] writes.
pub(crate) fn challenge_bytes(halves: &Halves) -> usize {
    let username = halves.theirs.ufrag().len() + 1 + halves.ours.ufrag().len();
    HEADER_BYTES + 4 + username.next_multiple_of(4) + 8 + 12 + END_BYTES
}

/// A challenge: no more than a check must have, so that it is not longer than what it follows.
pub(crate) fn write_challenge(halves: &Halves, id: TransactionId, tie_breaker: [u8; 8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(challenge_bytes(halves));
    stun::begin(&mut out, BINDING_REQUEST, id);
    let username = format!("{}:{}", halves.theirs.ufrag(), halves.ours.ufrag());
    stun::push_attribute(&mut out, USERNAME, username.as_bytes());
    stun::push_attribute(&mut out, PRIORITY, &PRIORITY_OF_CHECK.to_be_bytes());
    stun::push_attribute(&mut out, ICE_CONTROLLED, &tie_breaker);
    stun::end(&mut out, halves.theirs.key());
    out
}

/// A binding success response that is well-formed; nothing is believed before [`Answer::is_authentic`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a>(Message<'a>);

impl<'a> Answer<'a> {
    /// Reads a datagram; `None` if it is no success response with MESSAGE-INTEGRITY. XOR-MAPPED-ADDRESS is not asked for:
    /// ffmpeg leaves it out, and we know where we are.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        Message::parse(BINDING_SUCCESS, datagram).map(Self)
    }

    /// Which challenge it answers.
    pub(crate) fn transaction_id(&self) -> TransactionId {
        self.0.transaction_id()
    }

    /// Whether the Peer made it.
    pub(crate) fn is_authentic(&self, theirs: &Credentials) -> bool {
        self.0.is_signed_with(theirs.key())
    }
}

/// The answer as the other side would send it.
#[cfg(any(test, fuzzing))]
pub(crate) fn answer(id: TransactionId, theirs: &Credentials) -> Vec<u8> {
    let mut out = Vec::new();
    stun::begin(&mut out, BINDING_SUCCESS, id);
    stun::push_xor_address(&mut out, ([192, 0, 2, 1], 8189).into());
    stun::end(&mut out, theirs.key());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ice_lite::Check;

    fn halves() -> Halves {
        let of = |ufrag: &str| Credentials::new(ufrag.to_owned(), &format!("password of {ufrag}"));
        Halves { ours: of("ours"), theirs: of("theirs") }
    }

    #[test]
    fn a_challenge_is_a_check_under_the_password_of_the_peer() {
        let (halves, mut transactions) = (halves(), Transactions::new([1; 16]));
        let id = transactions.id();
        let datagram = write_challenge(&halves, id, transactions.tie_breaker());
        assert_eq!(datagram.len(), challenge_bytes(&halves));
        let check = Check::parse(&datagram).expect("well-formed");
        assert_eq!((check.local_ufrag(), check.nominates), ("theirs", false));
        assert!(check.is_authentic(&halves.theirs) && !check.is_authentic(&halves.ours));
        assert_eq!(datagram[8..20], id);
        // RFC 8445 section 7.2.2: PRIORITY; ICE-CONTROLLED, as nobody else says here.
        let attributes =
            [&[0, 0x24, 0, 4, 110, 255, 255, 255, 0x80, 0x29, 0, 8][..], &transactions.tie_breaker()];
        assert!(datagram.windows(20).any(|window| window == attributes.concat()));
        // The least that browsers send is as long: USERNAME, ICE-CONTROLLING, PRIORITY, integrity and fingerprint.
        assert_eq!(datagram.len(), 20 + (4 + 12) + 12 + 8 + 24 + 8);
    }

    #[test]
    fn an_answer_is_believed_of_who_has_the_password_and_not_a_bit_of_it_may_change() {
        let halves = halves();
        let whole = answer([9; 12], &halves.theirs);
        let parsed = Answer::parse(&whole).expect("well-formed");
        assert_eq!(parsed.transaction_id(), [9; 12]);
        assert!(parsed.is_authentic(&halves.theirs) && !parsed.is_authentic(&halves.ours));
        for cut in 0..whole.len() {
            assert!(Answer::parse(&whole[..cut]).is_none(), "{cut}");
        }
        for at in 0..whole.len() - 8 {
            let mut broken = whole.clone();
            broken[at] ^= 0x55;
            let believed = Answer::parse(&broken).is_some_and(|answer| answer.is_authentic(&halves.theirs));
            assert!(!believed, "{at}");
        }
        let request = crate::core::ice_lite::request("ours:theirs", &halves.theirs, false);
        assert!(Answer::parse(&request).is_none(), "a request is no answer");
    }

    #[test]
    fn ids_differ_and_come_of_the_seed() {
        let ids = |seed: Seed| {
            let mut transactions = Transactions::new(seed);
            (0..100).map(move |_| transactions.id()).collect::<std::collections::HashSet<_>>()
        };
        assert_eq!(ids([1; 16]).len(), 100);
        assert_eq!(ids([1; 16]), ids([1; 16]));
        assert!(ids([1; 16]).is_disjoint(&ids([2; 16])));
        assert!(!format!("{:?}", Transactions::new([0xab; 16])).contains("171"));
    }
}
