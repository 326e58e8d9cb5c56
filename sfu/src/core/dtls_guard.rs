//! Stands in front of the DTLS library and bounds what an unauthenticated sender can make it do.
//!
//! `rtc-dtls` joins the fragments of a handshake message by recursion and keeps records of a future epoch
//! without a limit: about 1 MB of one-byte fragments overflows the stack and ends the process. So every
//! datagram is walked here first, and a handshake that does not look like one ends its Peer. The guard also
//! reads `use_srtp` from the reassembled ClientHello, because the library would take the client's first
//! profile, and browsers list the dear one first.

use std::time::{Duration, Instant};

use crate::egress::seal::Profile;

/// A handshake takes 4 to 12 datagrams with retransmissions and an RSA chain. Beyond it the Peer ends,
/// counted as `dtls_refused`.
const DATAGRAMS_MAX: u32 = 64;
/// All datagrams of a handshake: two certificate chains of 4 KiB, sent twice. The same end.
const BYTES_MAX: usize = 16 * 1024;
/// A message of 4 KiB at the smallest path MTU (RFC 6347 section 4.1.1.1) has 20. The same end.
const FRAGMENTS_PER_MESSAGE_MAX: u8 = 32;
/// Finished and little else may overtake ChangeCipherSpec. The same end.
const FUTURE_EPOCH_RECORDS_MAX: u32 = 16;
/// Handshake messages of one side: a full one has 8, with a HelloVerifyRequest 9.
const MESSAGES_MAX: usize = 16;
/// From the first datagram to Finished. The same end.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Longest ClientHello reassembled: browsers' have 200 to 400 bytes, post-quantum shares 1.5 KiB.
const CLIENT_HELLO_BYTES_MAX: usize = 4096;

const RECORD_HEADER_BYTES: usize = 13;
const HANDSHAKE_HEADER_BYTES: usize = 12;
const HANDSHAKE_RECORD: u8 = 22;
const ALERT_RECORD: u8 = 21;
const CLIENT_HELLO: u8 = 1;
const USE_SRTP: u16 = 14;

/// Why a Peer's DTLS was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Datagrams,
    Bytes,
    Fragments,
    FutureEpoch,
    Messages,
    TooSlow,
    NoProfile,
}

/// What to do with a datagram that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand it to the library.
    Pass,
    /// It is of no use, or more than a finished association needs: ignore it.
    Ignore,
}

/// One Peer's guard.
#[derive(Debug)]
pub(crate) struct Guard {
    began: Option<Instant>,
    finished: bool,
    datagrams: u32,
    bytes: usize,
    future_epoch_records: u32,
    /// Message number and fragments seen of it.
    fragments: Vec<(u16, u8)>,
    hello: Hello,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self {
            began: None,
            finished: false,
            datagrams: 0,
            bytes: 0,
            future_epoch_records: 0,
            fragments: Vec::new(),
            hello: Hello::default(),
        }
    }

    /// We begin the handshake ourselves: the deadline runs.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// Looks at a datagram before the library does.
    pub(crate) fn inspect(&mut self, now: Instant, datagram: &[u8]) -> Result<Verdict, Refusal> {
        self.begin(now);
        if self.finished {
            return Ok(self.inspect_finished(datagram));
        }
        self.check_deadline(now)?;
        self.datagrams += 1;
        if self.datagrams > DATAGRAMS_MAX {
            return Err(Refusal::Datagrams);
        }
        self.bytes += datagram.len();
        if self.bytes > BYTES_MAX {
            return Err(Refusal::Bytes);
        }
        for record in records(datagram) {
            if record.epoch > 0 {
                self.future_epoch_records += 1;
                if self.future_epoch_records > FUTURE_EPOCH_RECORDS_MAX {
                    return Err(Refusal::FutureEpoch);
                }
            } else if record.kind == HANDSHAKE_RECORD {
                for fragment in fragments(record.body) {
                    self.count_fragment(fragment.message)?;
                    self.hello.take(&fragment);
                }
            }
        }
        Ok(Verdict::Pass)
    }

    /// After the handshake: alerts pass (close_notify), and a repeated last flight as long as the budget of
    /// the handshake lasts. There is no application data here.
    fn inspect_finished(&mut self, datagram: &[u8]) -> Verdict {
        let mut handshake = false;
        for record in records(datagram) {
            match record.kind {
                ALERT_RECORD => {}
                HANDSHAKE_RECORD => handshake = true,
                // ChangeCipherSpec stands before a repeated Finished.
                20 => {}
                _ => return Verdict::Ignore,
            }
        }
        if handshake {
            self.datagrams += 1;
            self.bytes += datagram.len();
            if self.datagrams > DATAGRAMS_MAX || self.bytes > BYTES_MAX {
                return Verdict::Ignore;
            }
            // Encrypted handshake records cannot be looked into: each counts as a fragment of one message.
            for record in records(datagram).filter(|record| record.kind == HANDSHAKE_RECORD) {
                if record.epoch == 0 {
                    for fragment in fragments(record.body) {
                        if self.count_fragment(fragment.message).is_err() {
                            return Verdict::Ignore;
                        }
                    }
                } else if self.count_fragment(u16::MAX).is_err() {
                    return Verdict::Ignore;
                }
            }
        }
        Verdict::Pass
    }

    fn count_fragment(&mut self, message: u16) -> Result<(), Refusal> {
        let messages = self.fragments.len();
        match self.fragments.iter_mut().find(|(number, _)| *number == message) {
            Some((_, count)) if *count >= FRAGMENTS_PER_MESSAGE_MAX => return Err(Refusal::Fragments),
            Some((_, count)) => *count += 1,
            None if messages >= MESSAGES_MAX => return Err(Refusal::Messages),
            None => self.fragments.push((message, 1)),
        }
        Ok(())
    }

    /// Whether the handshake has taken too long.
    pub(crate) fn check_deadline(&self, now: Instant) -> Result<(), Refusal> {
        match self.began {
            Some(began) if !self.finished && now.saturating_duration_since(began) > HANDSHAKE_MAX => {
                Err(Refusal::TooSlow)
            }
            _ => Ok(()),
        }
    }

    /// The first of our profiles that the client offers, once the ClientHello is whole.
    pub(crate) fn profile(&self, ours: &[Profile]) -> Result<Option<Profile>, Refusal> {
        let Some(offered) = self.hello.profiles() else { return Ok(None) };
        let common = ours.iter().find(|profile| offered.contains(&profile.id()));
        common.copied().map(Some).ok_or(Refusal::NoProfile)
    }

    /// The handshake is done.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        self.hello = Hello::default();
    }
}

/// The first ClientHello, reassembled.
#[derive(Debug, Default)]
struct Hello {
    body: Vec<u8>,
    /// One flag per byte: fragments may overlap and come in any order.
    have: Vec<bool>,
    message: Option<u16>,
}

impl Hello {
    fn take(&mut self, fragment: &Fragment<'_>) {
        if fragment.kind != CLIENT_HELLO
            || fragment.length > CLIENT_HELLO_BYTES_MAX
            || self.message.is_some_and(|message| message != fragment.message)
        {
            return;
        }
        if self.message.is_none() {
            self.message = Some(fragment.message);
            self.body = vec![0; fragment.length];
            self.have = vec![false; fragment.length];
        }
        let range = fragment.offset..fragment.offset + fragment.body.len();
        if let (Some(body), Some(have)) = (self.body.get_mut(range.clone()), self.have.get_mut(range)) {
            body.copy_from_slice(fragment.body);
            have.fill(true);
        }
    }

    /// The SRTP profiles that the client offers, once all of it is there; empty if it offers none.
    fn profiles(&self) -> Option<Vec<u16>> {
        if self.message.is_none() || !self.have.iter().all(|have| *have) {
            return None;
        }
        Some(profiles_of(&self.body).unwrap_or_default())
    }
}

/// RFC 6347 section 4.3.2 and RFC 5764 section 4.1.1.
fn profiles_of(hello: &[u8]) -> Option<Vec<u16>> {
    let mut reader = Reader(hello);
    reader.take(2 + 32)?;
    reader.vector8()?;
    reader.vector8()?;
    reader.vector16()?;
    reader.vector8()?;
    let mut extensions = Reader(reader.vector16()?);
    while let Some(kind) = extensions.u16() {
        let body = extensions.vector16()?;
        if kind == USE_SRTP {
            let list = Reader(body).vector16()?;
            return Some(list.chunks_exact(2).map(|id| u16::from_be_bytes([id[0], id[1]])).collect());
        }
    }
    None
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

struct Record<'a> {
    kind: u8,
    epoch: u16,
    body: &'a [u8],
}

fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header = rest.get(..RECORD_HEADER_BYTES)?;
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let body = rest.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length)?;
        let record = Record { kind: header[0], epoch: u16::from_be_bytes([header[3], header[4]]), body };
        rest = &rest[RECORD_HEADER_BYTES + length..];
        Some(record)
    })
}

struct Fragment<'a> {
    kind: u8,
    message: u16,
    length: usize,
    offset: usize,
    body: &'a [u8],
}

fn fragments(record: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    let u24 = |bytes: &[u8]| usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
    let mut rest = record;
    std::iter::from_fn(move || {
        let header = rest.get(..HANDSHAKE_HEADER_BYTES)?;
        let (length, told) = (u24(&header[1..4]), u24(&header[9..12]));
        let body = &rest[HANDSHAKE_HEADER_BYTES..];
        let fragment = Fragment {
            kind: header[0],
            message: u16::from_be_bytes([header[4], header[5]]),
            length,
            offset: u24(&header[6..9]),
            body: &body[..told.min(body.len())],
        };
        // The library steps by the length of the *message*, so a one-byte fragment may hide others behind
        // it from one of us: stepping by the shorter one counts at least as many as it will see.
        rest = &body[told.min(length).min(body.len())..];
        Some(fragment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 0xfe, 0xfd];
        out.extend_from_slice(&epoch.to_be_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&(body.len() as u16).to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn fragment(message: u16, length: usize, offset: usize, body: &[u8]) -> Vec<u8> {
        let u24 = |value: usize| [(value >> 16) as u8, (value >> 8) as u8, value as u8];
        let mut out = vec![CLIENT_HELLO];
        out.extend_from_slice(&u24(length));
        out.extend_from_slice(&message.to_be_bytes());
        out.extend_from_slice(&u24(offset));
        out.extend_from_slice(&u24(body.len()));
        out.extend_from_slice(body);
        out
    }

    fn client_hello(profiles: &[u16]) -> Vec<u8> {
        let mut list = Vec::new();
        for profile in profiles {
            list.extend_from_slice(&profile.to_be_bytes());
        }
        let mut out = vec![0xfe, 0xfd];
        out.extend_from_slice(&[1; 32]);
        out.extend_from_slice(&[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        let mut extension = vec![0, 14];
        extension.extend_from_slice(&((list.len() + 3) as u16).to_be_bytes());
        extension.extend_from_slice(&(list.len() as u16).to_be_bytes());
        extension.extend_from_slice(&list);
        extension.push(0);
        out.extend_from_slice(&(extension.len() as u16).to_be_bytes());
        out.extend_from_slice(&extension);
        out
    }

    #[test]
    fn the_first_common_profile_is_chosen() {
        let (gcm, cm) = (Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80);
        for (ours, offered, chosen) in [
            (&[gcm, cm][..], &[0x0001, 0x0007][..], Ok(Some(gcm))),
            (&[gcm, cm], &[0x0001], Ok(Some(cm))),
            (&[cm, gcm], &[0x0007, 0x0001], Ok(Some(cm))),
            (&[cm], &[0x0007, 0x0001], Ok(Some(cm))),
            (&[gcm], &[0x0001], Err(Refusal::NoProfile)),
            (&[gcm, cm], &[0x0008, 0x0002], Err(Refusal::NoProfile)),
            (&[gcm, cm], &[], Err(Refusal::NoProfile)),
        ] {
            let hello = client_hello(offered);
            let mut guard = Guard::new();
            let datagram = record(HANDSHAKE_RECORD, 0, &fragment(0, hello.len(), 0, &hello));
            assert_eq!(guard.inspect(beginning(), &datagram), Ok(Verdict::Pass));
            assert_eq!(guard.profile(ours), chosen, "{ours:?} {offered:x?}");
        }
    }

    #[test]
    fn a_fragmented_hello_is_joined_in_any_order() {
        let hello = client_hello(&[0x0007]);
        let mut guard = Guard::new();
        let half = hello.len() / 2;
        for (offset, part) in [(half, &hello[half..]), (0, &hello[..half])] {
            assert_eq!(guard.profile(&Profile::ALL), Ok(None));
            let datagram = record(HANDSHAKE_RECORD, 0, &fragment(0, hello.len(), offset, part));
            assert_eq!(guard.inspect(beginning(), &datagram), Ok(Verdict::Pass));
        }
        assert_eq!(guard.profile(&Profile::ALL), Ok(Some(Profile::AeadAes128Gcm)));
    }

    #[test]
    fn floods_are_refused_before_the_library_sees_them() {
        let now = beginning();
        let one_byte = |count: usize| -> Vec<u8> {
            (0..count).flat_map(|at| record(HANDSHAKE_RECORD, 0, &fragment(1, 100_000, at, &[0]))).collect()
        };
        let packed = |count: usize| -> Vec<u8> {
            record(
                HANDSHAKE_RECORD,
                0,
                &(0..count).flat_map(|at| fragment(1, 9, at, &[0])).collect::<Vec<_>>(),
            )
        };
        let future = |count: usize| -> Vec<u8> { (0..count).flat_map(|_| record(23, 1, &[0; 8])).collect() };
        for (name, datagram, refusal) in [
            ("one byte each", one_byte(33), Refusal::Fragments),
            ("packed in one record", packed(33), Refusal::Fragments),
            ("future epoch", future(17), Refusal::FutureEpoch),
            ("bytes", vec![0; BYTES_MAX + 1], Refusal::Bytes),
        ] {
            assert_eq!(Guard::new().inspect(now, &datagram), Err(refusal), "{name}");
        }
        let mut guard = Guard::new();
        for _ in 0..DATAGRAMS_MAX {
            assert_eq!(guard.inspect(now, &[22]), Ok(Verdict::Pass));
        }
        assert_eq!(guard.inspect(now, &[22]), Err(Refusal::Datagrams));
        let mut guard = Guard::new();
        guard.begin(now);
        assert_eq!(guard.inspect(now + HANDSHAKE_MAX * 2, &[22]), Err(Refusal::TooSlow));
    }

    #[test]
    fn a_finished_association_reads_alerts_and_little_else() {
        let now = beginning();
        let mut guard = Guard::new();
        guard.finish();
        assert_eq!(guard.inspect(now, &record(23, 1, &[0; 40])), Ok(Verdict::Ignore));
        let repeats =
            (0..1000).filter(|_| guard.inspect(now, &record(22, 1, &[0; 40])) == Ok(Verdict::Pass)).count();
        assert_eq!(repeats, usize::from(FRAGMENTS_PER_MESSAGE_MAX));
        assert_eq!(guard.inspect(now, &record(ALERT_RECORD, 1, &[0; 26])), Ok(Verdict::Pass));
    }
}
