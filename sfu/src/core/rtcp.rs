//! RTCP: what viewers report, and our sender reports. Plain bytes in and out; protection is the Peer's.

/// Packets read of one datagram: a browser compounds four. The rest is ignored.
const COMPOUND_MAX: usize = 16;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

const NACK: u8 = 1;
const TRANSPORT_CC: u8 = 15;
const PLI: u8 = 1;
const FIR: u8 = 4;
const APPLICATION: u8 = 15;

/// Something that a viewer told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Feedback<'a> {
    /// How it receives one of our streams (RFC 3550 section 6.4.2).
    Report { ssrc: u32, reception: Reception, last_sr: u32, delay: u32 },
    /// It misses packets (RFC 4585 section 6.2.1).
    Nack { ssrc: u32, lost: Lost<'a> },
    /// It needs a keyframe (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1).
    Keyframe { ssrc: u32 },
    /// It estimates the bandwidth (draft-alvestrand-rmcat-remb).
    Remb { bits_per_second: u64 },
    /// When packets arrived (draft-holmer-rmcat-transport-wide-cc-extensions).
    TransportCc {
        /// What follows the two SSRCs.
        fci: &'a [u8],
    },
    /// It says goodbye to one of its sources.
    Goodbye,
}

/// How well a stream arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reception {
    /// In parts of 256, since the last report.
    pub(crate) fraction_lost: u8,
    /// Since the beginning; duplicates count against it.
    pub(crate) packets_lost: i32,
    /// Highest sequence number received, extended by how often it wrapped around.
    pub(crate) highest: u32,
    /// In ticks of the RTP clock.
    pub(crate) jitter: u32,
}

/// The numbers in a NACK.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lost<'a>(&'a [u8]);

impl Lost<'_> {
    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        let pairs = self.0.chunks_exact(4);
        pairs.map(|pair| 1 + u64::from(pair[2].count_ones()) + u64::from(pair[3].count_ones())).sum()
    }

    /// Each missing number, in the order told.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u16> {
        self.0.chunks_exact(4).flat_map(|pair| {
            let first = u16::from_be_bytes([pair[0], pair[1]]);
            let mask = u16::from_be_bytes([pair[2], pair[3]]);
            let more = (0..16).filter(move |bit| mask & (1 << bit) != 0);
            std::iter::once(first).chain(more.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

/// Walks a compound packet; calls `each` for what we understand. Total: whatever does not fit ends the walk.
pub(crate) fn read<'a>(compound: &'a [u8], mut each: impl FnMut(Feedback<'a>)) {
    let mut rest = compound;
    for _ in 0..COMPOUND_MAX {
        let Some(header) = rest.get(..4) else { return };
        let length = 4 * (usize::from(u16::from_be_bytes([header[2], header[3]])) + 1);
        let Some(body) = rest.get(4..length) else { return };
        let count = header[0] & 31;
        match (header[1], count) {
            (SENDER_REPORT, _) => reports(body.get(24..).unwrap_or(&[]), count, &mut each),
            (RECEIVER_REPORT, _) => reports(body.get(4..).unwrap_or(&[]), count, &mut each),
            (GOODBYE, _) => each(Feedback::Goodbye),
            (TRANSPORT_FEEDBACK, NACK) => {
                if let (Some(ssrc), Some(lost)) = (u32_at(body, 4), body.get(8..)) {
                    each(Feedback::Nack { ssrc, lost: Lost(lost) });
                }
            }
            (TRANSPORT_FEEDBACK, TRANSPORT_CC) => {
                if let Some(fci) = body.get(8..) {
                    each(Feedback::TransportCc { fci });
                }
            }
            (PAYLOAD_FEEDBACK, PLI) => {
                if let Some(ssrc) = u32_at(body, 4) {
                    each(Feedback::Keyframe { ssrc });
                }
            }
            (PAYLOAD_FEEDBACK, FIR) => {
                for entry in body.get(8..).unwrap_or(&[]).chunks_exact(8) {
                    if let Some(ssrc) = u32_at(entry, 0) {
                        each(Feedback::Keyframe { ssrc });
                    }
                }
            }
            (PAYLOAD_FEEDBACK, APPLICATION) => {
                if let Some(bits_per_second) = remb(body) {
                    each(Feedback::Remb { bits_per_second });
                }
            }
            _ => {}
        }
        rest = &rest[length..];
    }
}

fn reports<'a>(blocks: &'a [u8], count: u8, each: &mut impl FnMut(Feedback<'a>)) {
    for block in blocks.chunks_exact(24).take(usize::from(count)) {
        let word = |at| u32_at(block, at);
        if let (Some(ssrc), Some(lost), Some(highest), Some(jitter), Some(last_sr), Some(delay)) =
            (word(0), word(4), word(8), word(12), word(16), word(20))
        {
            // 24 bits with a sign.
            let packets_lost = (lost << 8) as i32 >> 8;
            let reception = Reception { fraction_lost: block[4], packets_lost, highest, jitter };
            each(Feedback::Report { ssrc, reception, last_sr, delay });
        }
    }
}

fn remb(body: &[u8]) -> Option<u64> {
    if body.get(8..12)? != b"REMB" {
        return None;
    }
    let word = u32_at(body, 12)?;
    let (exponent, mantissa) = (word >> 18 & 0x3f, u64::from(word & 0x3_ffff));
    mantissa.checked_shl(exponent).filter(|bits| bits >> exponent == mantissa)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

/// What a sender report says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SenderReport {
    pub(crate) ssrc: u32,
    /// Wall clock of a moment, and the RTP timestamp of the same moment.
    pub(crate) ntp: u64,
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

/// Writes a sender report and the source description that goes with it (RFC 3550 section 6.1).
pub(crate) fn write_sender_report(report: &SenderReport, cname: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80, SENDER_REPORT, 0, 6]);
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    out.extend_from_slice(&report.ntp.to_be_bytes());
    out.extend_from_slice(&report.timestamp.to_be_bytes());
    out.extend_from_slice(&report.packets.to_be_bytes());
    out.extend_from_slice(&report.octets.to_be_bytes());
    // One chunk: SSRC, CNAME item, at least one zero, padded to 32 bits.
    let name = &cname.as_bytes()[..cname.len().min(255)];
    let chunk = (4 + 2 + name.len() + 1).next_multiple_of(4);
    out.extend_from_slice(&[0x81, SOURCE_DESCRIPTION]);
    out.extend_from_slice(&((chunk / 4) as u16).to_be_bytes());
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    out.extend_from_slice(&[1, name.len() as u8]);
    out.extend_from_slice(name);
    out.resize(out.len() + chunk - 6 - name.len(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(bytes: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        read(bytes, |feedback| {
            all.push(match feedback {
                Feedback::Nack { ssrc, lost } => {
                    let numbers: Vec<u16> = lost.numbers().collect();
                    assert_eq!(lost.count(), numbers.len() as u64);
                    format!("nack {ssrc} {numbers:?}")
                }
                other => format!("{other:?}"),
            });
        });
        all
    }

    #[test]
    fn a_compound_is_read() {
        let mut bytes = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
        bytes.extend_from_slice(&[
            0, 0, 0, 5, 128, 0xff, 0xff, 0xfe, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8,
        ]);
        bytes.extend_from_slice(&[0x81, 205, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0xff, 0xff, 0x80, 0x01]);
        bytes.extend_from_slice(&[0x81, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 5]);
        bytes.extend_from_slice(&[0x84, 206, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0, 0]);
        bytes.extend_from_slice(&[0x8f, 206, 0, 5, 0, 0, 0, 9, 0, 0, 0, 0]);
        bytes.extend_from_slice(b"REMB");
        bytes.extend_from_slice(&[1, 0x0b, 0xff, 0xff, 0, 0, 0, 5]);
        assert_eq!(
            collect(&bytes),
            [
                "Report { ssrc: 5, reception: Reception { fraction_lost: 128, packets_lost: -2, highest: 1, \
                 jitter: 6 }, last_sr: 7, delay: 8 }",
                "nack 5 [65535, 0, 15]",
                "Keyframe { ssrc: 5 }",
                "Keyframe { ssrc: 6 }",
                "Remb { bits_per_second: 1048572 }",
            ]
        );
    }

    #[test]
    fn broken_packets_end_the_walk() {
        for bytes in
            [&[][..], &[0x80], &[0x81, 205, 0xff, 0xff, 0, 0], &[0x81, 201, 0, 0], &[0x81, 205, 0, 0]]
        {
            assert!(collect(bytes).is_empty(), "{bytes:?}");
        }
        let endless = [0x80, 203, 0, 0].repeat(1000);
        assert_eq!(collect(&endless).len(), COMPOUND_MAX);
    }

    #[test]
    fn a_sender_report_is_a_whole_compound() {
        for cname in ["", "a", "abcd", "abcdefg"] {
            let mut out = Vec::new();
            let report = SenderReport { ssrc: 1, ntp: 2, timestamp: 3, packets: 4, octets: 5 };
            write_sender_report(&report, cname, &mut out);
            assert_eq!(out.len() % 4, 0);
            let length = 4 * (usize::from(u16::from_be_bytes([out[30], out[31]])) + 1);
            assert_eq!(28 + length, out.len(), "{cname}");
            assert_eq!(out.last(), Some(&0), "the list ends with a zero");
        }
    }
}
