//! The RTP header of an outgoing packet, with the extensions that were negotiated.

use super::extensions::Elements;

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
    pub(super) elements: Elements,
}

impl Header<'_> {
    fn elements_len(&self) -> usize {
        let mid = self.mid.map_or(0, |(_, mid)| 1 + mid.len().clamp(1, MID_BYTES_MAX));
        let Elements { playout_delay, capture_time, send_time } = self.elements;
        (if self.transport_cc.is_some() { 3 } else { 0 })
            + mid
            + (if playout_delay.is_some() { 4 } else { 0 })
            + (if capture_time.is_some() { 9 } else { 0 })
            + (if send_time.is_some() { 4 } else { 0 })
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
        let mut rest = &mut buf[16..16 + padded];
        if let Some((id, number)) = self.transport_cc {
            rest = put(rest, id, &number.to_be_bytes());
        }
        if let Some((id, delay)) = self.elements.playout_delay {
            rest = put(rest, id, &delay);
        }
        if let Some((id, time)) = self.elements.send_time {
            rest = put(rest, id, &time);
        }
        if let Some((id, time)) = self.elements.capture_time {
            rest = put(rest, id, &time.to_be_bytes());
        }
        if let Some((id, mid)) = self.mid {
            rest = put(rest, *id, &mid[..mid.len().min(MID_BYTES_MAX)]);
        }
        rest.fill(0);
    }
}

/// Writes an element of the one-byte form (RFC 8285 section 4.2); what follows it comes back.
fn put<'b>(buf: &'b mut [u8], id: u8, data: &[u8]) -> &'b mut [u8] {
    let (element, rest) = buf.split_at_mut(1 + data.len());
    element[0] = id << 4 | (data.len().max(1) - 1) as u8;
    element[1..].copy_from_slice(data);
    rest
}
