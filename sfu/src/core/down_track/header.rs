//! The RTP header of an outgoing packet, with the extensions that were negotiated.

/// Longest MID written: a one-byte extension holds 16 (RFC 8285 section 4.2). Longer ones are left out.
const MID_BYTES_MAX: usize = 16;

/// An RTP header with the extensions that we write (RFC 3550 section 5.1, RFC 8285 section 4.2).
pub(super) struct Header<'a> {
    pub(super) marker: bool,
    /// Padding follows; its last byte says how much.
    pub(super) padding: bool,
    pub(super) payload_type: u8,
    pub(super) number: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    pub(super) transport_cc: Option<(u8, u16)>,
    pub(super) mid: Option<&'a (u8, Vec<u8>)>,
}

impl Header<'_> {
    fn elements_len(&self) -> usize {
        let mid = self.mid.map_or(0, |(_, mid)| 1 + mid.len().clamp(1, MID_BYTES_MAX));
        (if self.transport_cc.is_some() { 3 } else { 0 }) + mid
    }

    pub(super) fn len(&self) -> usize {
        match self.elements_len() {
            0 => 12,
            elements => 16 + elements.next_multiple_of(4),
        }
    }

    pub(super) fn write(&self, buf: &mut [u8]) {
        let elements = self.elements_len();
        buf[0] = 0x80 | if elements > 0 { 0x10 } else { 0 } | if self.padding { 0x20 } else { 0 };
        buf[1] = self.payload_type | if self.marker { 0x80 } else { 0 };
        buf[2..4].copy_from_slice(&self.number.to_be_bytes());
        buf[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        buf[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        if elements == 0 {
            return;
        }
        let padded = elements.next_multiple_of(4);
        buf[12..14].copy_from_slice(&[0xbe, 0xde]);
        buf[14..16].copy_from_slice(&((padded / 4) as u16).to_be_bytes());
        let mut at = 16;
        if let Some((id, number)) = self.transport_cc {
            buf[at] = id << 4 | 1;
            buf[at + 1..at + 3].copy_from_slice(&number.to_be_bytes());
            at += 3;
        }
        if let Some((id, mid)) = self.mid {
            let mid = &mid[..mid.len().min(MID_BYTES_MAX)];
            buf[at] = id << 4 | (mid.len().max(1) - 1) as u8;
            buf[at + 1..at + 1 + mid.len()].copy_from_slice(mid);
            at += 1 + mid.len();
        }
        buf[at..16 + padded].fill(0);
    }
}
