//! The machine-readable strip: each picture says which one it is and when it was made.
//!
//! 80 cells across the top, each `width / 80` wide and `max(8, height / 40)` high; luma 235 is 1, luma 16
//! is 0, without colour. From the left, most significant bit first: 8 bits of sync (`10110010`), 24 bits of
//! frame counter, 40 bits of unix milliseconds, 8 bits of CRC-8 (polynomial 0x07, from 0) over the 8 bytes of
//! counter and clock. A cell is wide enough to survive any encoder that still shows a picture.

use transcode::picture::I420;

/// Cells, one bit each.
pub const CELLS: usize = 80;

const SYNC: u8 = 0b1011_0010;
const COUNTER_MASK: u32 = (1 << 24) - 1;
const CLOCK_MASK: u64 = (1 << 40) - 1;
const LIGHT: u8 = 235;
const DARK: u8 = 16;
const NO_COLOUR: u8 = 128;

/// The 80 bits of a picture, packed into 10 bytes.
pub fn encode(counter: u32, unix_millis: u64) -> [u8; CELLS / 8] {
    let payload = (u64::from(counter & COUNTER_MASK) << 40) | (unix_millis & CLOCK_MASK);
    let mut bits = [SYNC; CELLS / 8];
    bits[1..9].copy_from_slice(&payload.to_be_bytes());
    bits[9] = crc8(&bits[1..9]);
    bits
}

/// What [`encode`] was given (modulo 2^24 and 2^40); `None` if sync or CRC are wrong.
pub fn decode(bits: &[u8; CELLS / 8]) -> Option<(u32, u64)> {
    if bits[0] != SYNC || bits[9] != crc8(&bits[1..9]) {
        return None;
    }
    let payload = bits[1..9].iter().fold(0_u64, |payload, &byte| (payload << 8) | u64::from(byte));
    Some(((payload >> 40) as u32, payload & CLOCK_MASK))
}

/// Rows that the strip takes of a picture of `height`.
pub fn rows(height: usize) -> usize {
    (height / 40).max(8)
}

/// Draws the strip.
pub fn draw(picture: &mut I420, bits: &[u8; CELLS / 8]) {
    let (width, rows) = (picture.width(), rows(picture.height()));
    for row in 0..rows {
        let luma = picture.row_y_mut(row);
        if row > 0 && luma.is_empty() {
            return;
        }
        for cell in 0..CELLS {
            let value = if bits[cell / 8] >> (7 - cell % 8) & 1 == 1 { LIGHT } else { DARK };
            luma[cell * width / CELLS..(cell + 1) * width / CELLS].fill(value);
        }
        let (u, v) = picture.rows_uv_mut(row / 2);
        u.fill(NO_COLOUR);
        v.fill(NO_COLOUR);
    }
}

/// Reads the strip of a decoded picture from its luma plane: the mean of the middle of each cell.
pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<(u32, u64)> {
    let rows = rows(height);
    let mut bits = [0; CELLS / 8];
    for cell in 0..CELLS {
        let (left, right) = (cell * width / CELLS, (cell + 1) * width / CELLS);
        let inset = (right - left) / 4;
        let mut sum = 0;
        let mut count = 0;
        for row in rows / 4..rows - rows / 4 {
            let line = luma.get(row * stride + left + inset..row * stride + right - inset)?;
            sum += line.iter().map(|&value| u32::from(value)).sum::<u32>();
            count += line.len() as u32;
        }
        bits[cell / 8] |= u8::from(count > 0 && sum / count > 125) << (7 - cell % 8);
    }
    decode(&bits)
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written down, so that the decoder in the browser tests can be checked against the same bytes.
    #[test]
    fn the_bits_of_a_known_picture() {
        assert_eq!(crc8(b"123456789"), 0xf4, "the check value of CRC-8/SMBUS");
        let bits = encode(0x0001_0203, 0x01_2345_6789);
        assert_eq!(bits, [0xb2, 0x01, 0x02, 0x03, 0x01, 0x23, 0x45, 0x67, 0x89, crc8(&bits[1..9])]);
        assert_eq!(decode(&bits), Some((0x0001_0203, 0x01_2345_6789)));
    }

    #[test]
    fn one_wrong_cell_is_noticed() {
        let bits = encode(77, 1_795_327_200_123);
        for cell in 0..CELLS {
            let mut wrong = bits;
            wrong[cell / 8] ^= 1 << (cell % 8);
            assert_eq!(decode(&wrong), None, "cell {cell}");
        }
    }

    #[test]
    fn drawn_and_read_back_in_every_size() {
        for (width, height) in [(1280, 720), (640, 360), (1920, 1080), (854, 480), (320, 180)] {
            let mut picture = I420::new(width, height);
            draw(&mut picture, &encode(0x00ff_fffe, 1_795_327_200_123));
            let read = read(picture.y(), picture.width(), picture.width(), picture.height());
            assert_eq!(read, Some((0x00ff_fffe, 1_795_327_200_123 & CLOCK_MASK)), "{width}x{height}");
        }
    }
}
