//! Writing boxes, and the flags of samples.

use mp4_atom::Encode;

use crate::Error;

/// `sample_depends_on = 2`: an I picture, a sync sample (ISO/IEC 14496-12 section 8.8.3.1).
pub(super) const FLAGS_SYNC: u32 = 0x0200_0000;
/// `sample_depends_on = 1`, not a sync sample.
pub(super) const FLAGS_DELTA: u32 = 0x0101_0000;
/// `sample_is_depended_on = 2`: nobody refers to it.
pub(super) const FLAG_DISPOSABLE: u32 = 0x0080_0000;

/// The size of an `mdat` header with a 32-bit length.
pub(super) const MDAT_HEADER_BYTES: usize = 8;

/// Encodes one box.
pub(super) fn encode<T: Encode>(atom: &T) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(1024);
    atom.encode(&mut out)?;
    Ok(out)
}

/// Appends the header of an `mdat` with `length` bytes behind it.
pub(super) fn put_mdat_header(out: &mut Vec<u8>, length: usize) {
    // A part is far below 4 GiB: the Track's ring holds 16 MiB.
    let size = u32::try_from(MDAT_HEADER_BYTES + length).unwrap_or(u32::MAX);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(b"mdat");
}
