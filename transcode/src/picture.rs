//! A picture in memory.

/// A picture in I420: luma in full size, both chroma planes in half width and half height, without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct I420 {
    width: usize,
    height: usize,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

/// Black in the limited range of ITU-R BT.709.
const BLACK: (u8, u8, u8) = (16, 128, 128);

impl I420 {
    /// A black picture. Odd sizes are rounded up: chroma covers two by two pixels.
    pub fn new(width: usize, height: usize) -> Self {
        let (width, height) = (width.next_multiple_of(2), height.next_multiple_of(2));
        let (luma, chroma) = (width * height, width * height / 4);
        Self { width, height, y: vec![BLACK.0; luma], u: vec![BLACK.1; chroma], v: vec![BLACK.2; chroma] }
    }

    /// Width in pixels, even.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, even.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Luma, `width` bytes per row.
    pub fn y(&self) -> &[u8] {
        &self.y
    }

    /// Blue difference, `width / 2` bytes per row.
    pub fn u(&self) -> &[u8] {
        &self.u
    }

    /// Red difference, `width / 2` bytes per row.
    pub fn v(&self) -> &[u8] {
        &self.v
    }

    /// One row of luma, to draw on. Past the last row it is empty.
    pub fn row_y_mut(&mut self, row: usize) -> &mut [u8] {
        row_mut(&mut self.y, self.width, row)
    }

    /// One row of each chroma plane, to draw on: `row` counts rows of chroma. Past the last it is empty.
    pub fn rows_uv_mut(&mut self, row: usize) -> (&mut [u8], &mut [u8]) {
        (row_mut(&mut self.u, self.width / 2, row), row_mut(&mut self.v, self.width / 2, row))
    }

    /// Copies the rows `from..to` of `other`, a picture of the same size. Rounded outwards to even rows.
    pub fn copy_rows(&mut self, other: &Self, from: usize, to: usize) {
        let (from, to) = (from / 2 * 2, to.next_multiple_of(2).min(self.height));
        if (other.width, other.height) != (self.width, self.height) || from >= to {
            return;
        }
        let luma = from * self.width..to * self.width;
        let chroma = from / 2 * self.width / 2..to / 2 * self.width / 2;
        self.y[luma.clone()].copy_from_slice(&other.y[luma]);
        self.u[chroma.clone()].copy_from_slice(&other.u[chroma.clone()]);
        self.v[chroma.clone()].copy_from_slice(&other.v[chroma]);
    }
}

fn row_mut(plane: &mut [u8], width: usize, row: usize) -> &mut [u8] {
    plane.get_mut(row * width..(row + 1) * width).unwrap_or_default()
}

impl std::fmt::Debug for I420 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "I420 {}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_are_rounded_up_and_rows_end_where_the_picture_does() {
        let mut picture = I420::new(5, 3);
        assert_eq!((picture.width(), picture.height(), picture.y().len(), picture.u().len()), (6, 4, 24, 6));
        assert_eq!(picture.row_y_mut(3).len(), 6);
        assert!(picture.row_y_mut(4).is_empty());
        assert!(picture.rows_uv_mut(2).0.is_empty());
    }

    #[test]
    fn rows_are_copied_with_their_chroma() {
        let mut from = I420::new(4, 8);
        (0..8).for_each(|row| from.row_y_mut(row).fill(row as u8));
        (0..4).for_each(|row| from.rows_uv_mut(row).0.fill(row as u8));
        let mut to = I420::new(4, 8);
        to.copy_rows(&from, 3, 5);
        assert_eq!([to.y()[4], to.y()[8], to.y()[20], to.y()[24]], [16, 2, 5, 16]);
        assert_eq!(to.u()[..], [128, 128, 1, 1, 2, 2, 128, 128]);
    }
}
