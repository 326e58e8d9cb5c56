//! Packets that are sent only to see whether the line takes them.

use super::{DownTrack, Header, Outcome, Outlet, RTX_SLOT};
use crate::core::history::History;
use crate::egress::batch::Batch;

/// Longest padding: its length is one byte (RFC 3550 section 5.1).
const PADDING_MAX: usize = 255;
/// Packets among which the one to be repeated is chosen in turn.
const RECENT: u64 = 16;

impl DownTrack {
    /// Whether there is an SSRC for probe packets, and feedback that they are worth sending for.
    pub(crate) fn can_probe(&self) -> bool {
        self.line.transport_cc.is_some() && self.format.is_some_and(|format| format.rtx.is_some())
    }

    /// Sends a packet of about that many bytes: a recent one again, or padding.
    pub(crate) fn send_probe(
        &mut self,
        bytes: usize,
        history: Option<&History>,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        let Some(payload_type) = self.format.and_then(|format| format.rtx) else { return Outcome::Skipped };
        let overhead = self.rtx_header(payload_type, false, 0, outlet).len() + outlet.sealer.tag_len();
        if bytes > overhead + PADDING_MAX
            && let Some(history) = history
        {
            let back = 1 + self.rtx_next % RECENT;
            let index = self.rewriter.next_index().saturating_sub(back);
            // The history is that of the present source: numbers of the one before mean other packets there.
            let sent = self.sent.get(index).copied().filter(|sent| sent.source == self.source);
            let sent = sent.filter(|_| self.pictures.knows(index));
            let format = sent.and_then(|sent| self.format_of(&sent)).filter(|format| format.rtx.is_some());
            let packet = sent.and_then(|sent| history.get(sent.seq));
            if let (Some(sent), Some(format), Some(packet)) = (sent, format, packet) {
                return self.resend_rtx(index, sent.timestamp, &format, packet, batch, outlet);
            }
        }
        let padding = bytes.saturating_sub(overhead).clamp(1, PADDING_MAX);
        self.send_padding(payload_type, padding, batch, outlet)
    }

    fn send_padding(
        &mut self,
        payload_type: u8,
        padding: usize,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        let timestamp = self.newest_timestamp;
        let header = Header { padding: true, ..self.rtx_header(payload_type, false, timestamp, outlet) };
        let header_len = header.len();
        let plain = header_len + padding;
        let Some(buf) = batch.push(outlet.dest, plain + outlet.sealer.tag_len()) else {
            return Outcome::Full;
        };
        header.write(buf);
        buf[header_len..plain].fill(0);
        buf[plain - 1] = padding as u8;
        let sealed = outlet.sealer.seal(RTX_SLOT, self.line.rtx_ssrc, self.rtx_next, header_len, buf);
        self.rtx_next += 1;
        if sealed.is_err() {
            batch.take_back();
            outlet.counters.nonce_refused += 1;
            return Outcome::Skipped;
        }
        self.count(plain, outlet);
        outlet.count_numbered(plain + outlet.sealer.tag_len());
        Outcome::Sent
    }
}
