//! Datagrams in a stream: two bytes of length before each (RFC 4571 section 2).

/// Bytes of the length.
pub(super) const PREFIX: usize = 2;
/// Longest frame: what UDP takes too. DTLS, STUN and RTP stay below a path MTU of 1500.
pub(super) const FRAME_MAX: usize = 2048;

/// A length that no datagram of WebRTC has: whatever follows would be misread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLength;

/// The frame that begins at `at`, and where the next begins. `None`: it is not all there yet.
pub(super) fn frame_at(bytes: &[u8], at: usize) -> Result<Option<(usize, usize)>, BadLength> {
    let Some(prefix) = bytes.get(at..at + PREFIX) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([prefix[0], prefix[1]]));
    if length == 0 || length > FRAME_MAX {
        return Err(BadLength);
    }
    let (from, to) = (at + PREFIX, at + PREFIX + length);
    Ok((to <= bytes.len()).then_some((from, to)))
}

/// Appends a frame. `datagram` is shorter than 64 KiB: it went into a batch as a datagram of UDP.
pub(super) fn push(datagram: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
    out.extend_from_slice(datagram);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_a_read_ends() {
        let mut bytes = Vec::new();
        for datagram in [&[1, 2, 3][..], &[4], &[5; FRAME_MAX]] {
            push(datagram, &mut bytes);
        }
        assert_eq!(frame_at(&bytes, 0), Ok(Some((2, 5))));
        assert_eq!(frame_at(&bytes, 5), Ok(Some((7, 8))));
        assert_eq!(frame_at(&bytes, 8), Ok(Some((10, 10 + FRAME_MAX))));
        assert_eq!(frame_at(&bytes, bytes.len()), Ok(None));
        for cut in 0..5 {
            assert_eq!(frame_at(&bytes[..cut], 0), Ok(None), "{cut}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for prefix in [[0, 0], [8, 1], [0xff, 0xff], *b"GE"] {
            assert_eq!(frame_at(&prefix, 0), Err(BadLength), "{prefix:?}");
        }
    }
}
