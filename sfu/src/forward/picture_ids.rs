//! Continuous picture ids for one m-line of a viewer, whatever happens at the source.
//!
//! VP8 (RFC 7741 section 4.2) and VP9 (RFC 9628 section 4.2) count pictures in their payload descriptors, and
//! every encoder and simulcast layer begins at a random number. A receiver that sees the count jump back at a
//! switch takes the new pictures for old ones, and shows none. So every source gets an offset, by which its
//! first picture follows the last one sent.
//!
//! Offsets are kept by output index, like the numbers of the [rewriter](super::rewriter): a packet that is
//! sent again gets the bytes that it had, and one that comes late those that it would have had.

use std::collections::VecDeque;

use media::Codec;
use media::rtp::{vp8, vp9};

/// Stretches remembered: two seconds of every other picture left out at 60 per second. The oldest go; a
/// packet of one of them would get the ids of the next, so nobody is sent it any more ([`PictureIds::knows`]).
const PIECES_MAX: usize = 64;

/// What is counted in a descriptor, or what is added to it.
#[derive(Clone, Copy, Debug, Default)]
struct Ids {
    /// PictureID: 15 bits, of which a 7-bit one has the lowest.
    picture: Option<u16>,
    /// TL0PICIDX.
    base: Option<u8>,
    /// KEYIDX: 5 bits.
    key: Option<u8>,
}

/// A stretch of output indices with the same offsets.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: u64,
    add: Ids,
}

/// One m-line's picture ids. Lives as long as the Peer.
#[derive(Debug, Default)]
pub(crate) struct PictureIds {
    pieces: VecDeque<Piece>,
    /// The next packet is of another source.
    fresh: bool,
    /// What went out last, and under which index.
    last: Ids,
    newest: u64,
    /// The source's id of the newest picture that was sent or left out.
    counted: Option<u16>,
    /// The first index that still has its offsets.
    oldest: u64,
}

impl PictureIds {
    /// The next packet is of another source, or of the same one after a gap that must not be seen.
    pub(crate) fn begin_source(&mut self) {
        self.fresh = true;
    }

    /// Whether the offsets of an index are still known.
    pub(crate) fn knows(&self, index: u64) -> bool {
        index >= self.oldest
    }

    /// Rewrites the descriptor of a packet that goes out under `index` for the first time.
    pub(crate) fn rewrite(&mut self, codec: Codec, index: u64, payload: &mut [u8]) {
        let Some(fields) = Fields::of(codec, payload) else { return };
        if std::mem::take(&mut self.fresh) || self.pieces.is_empty() {
            self.counted = None;
            self.begin_piece(Piece { from: index, add: Ids::default() });
        }
        let last = self.last;
        let Some(piece) = self.pieces.iter_mut().rev().find(|piece| piece.from <= index) else { return };
        let found = fields.read(payload);
        // A field that is new to this source goes on where the last source ended.
        let add = &mut piece.add;
        follow(&mut add.picture, last.picture, found.picture, |last, first| {
            last.wrapping_add(1).wrapping_sub(first)
        });
        follow(&mut add.base, last.base, found.base, |last, first| last.wrapping_add(1).wrapping_sub(first));
        follow(&mut add.key, last.key, found.key, |last, first| last.wrapping_add(1).wrapping_sub(first));
        let sent = fields.add(payload, add);
        if index >= self.newest {
            self.newest = index;
            self.counted = found.picture.or(self.counted);
            self.last.picture = sent.picture.or(last.picture);
            self.last.base = sent.base.or(last.base);
            self.last.key = sent.key.or(last.key);
        }
    }

    /// Rewrites the descriptor of a packet that is sent again, as it was the first time.
    pub(crate) fn repeat(&self, codec: Codec, index: u64, payload: &mut [u8]) {
        if let Some(fields) = Fields::of(codec, payload)
            && let Some(piece) = self.pieces.iter().rev().find(|piece| piece.from <= index)
        {
            fields.add(payload, &piece.add);
        }
    }

    /// A packet is left out on purpose; the next one will go out under `next`. The count closes over its
    /// picture, because a receiver of VP8 waits for each number that it has not seen. Those of VP9 go on as
    /// they were: its references are distances between ids, or places in a group (RFC 9628 section 4.2).
    pub(crate) fn leave_out(&mut self, codec: Codec, next: u64, payload: &[u8]) {
        if codec != Codec::Vp8 || self.fresh {
            return;
        }
        let picture = Fields::of(codec, payload).and_then(|fields| fields.read(payload).picture);
        if picture.is_none() || picture == self.counted {
            return;
        }
        self.counted = picture;
        let Some(piece) = self.pieces.back().copied() else { return };
        let add = Ids { picture: piece.add.picture.map(|add| add.wrapping_sub(1)), ..piece.add };
        self.begin_piece(Piece { from: next, add });
    }

    fn begin_piece(&mut self, piece: Piece) {
        match self.pieces.back_mut().filter(|last| last.from == piece.from) {
            Some(last) => *last = piece,
            None => {
                if self.pieces.len() == PIECES_MAX {
                    self.pieces.pop_front();
                    self.oldest = self.pieces.front().map_or(0, |first| first.from);
                }
                self.pieces.push_back(piece);
            }
        }
    }
}

/// What to add to a field from now on, if it is there for the first time.
fn follow<T: Copy + Default>(
    add: &mut Option<T>,
    last: Option<T>,
    first: Option<T>,
    distance: fn(T, T) -> T,
) {
    if add.is_none()
        && let Some(first) = first
    {
        // Before anything was sent, the numbers of the source are as good as any.
        *add = Some(last.map_or_else(T::default, |last| distance(last, first)));
    }
}

/// Where the ids stand in a payload.
#[derive(Clone, Copy, Debug)]
struct Fields {
    picture: Option<usize>,
    base: Option<usize>,
    key: Option<usize>,
}

impl Fields {
    /// `None`: there is nothing to count.
    fn of(codec: Codec, payload: &[u8]) -> Option<Self> {
        match codec {
            Codec::Vp8 => {
                let descriptor = vp8::Descriptor::parse(payload)?;
                Some(Self {
                    picture: descriptor.picture_id.map(|field| field.offset),
                    base: descriptor.tl0_picture_index.map(|field| field.offset),
                    key: descriptor.key_index.map(|field| field.offset),
                })
            }
            Codec::Vp9 => {
                let descriptor = vp9::Descriptor::parse(payload)?;
                Some(Self {
                    picture: descriptor.picture_id.map(|field| field.offset),
                    base: descriptor.tl0_picture_index.map(|field| field.offset),
                    key: None,
                })
            }
            _ => None,
        }
    }

    fn read(self, payload: &[u8]) -> Ids {
        let byte = |at: usize| payload.get(at).copied().unwrap_or(0);
        Ids {
            picture: self.picture.map(|at| match byte(at) {
                // M: the id has 15 bits.
                high if high & 0x80 != 0 => u16::from_be_bytes([high & 0x7f, byte(at + 1)]),
                low => u16::from(low),
            }),
            base: self.base.map(byte),
            key: self.key.map(|at| byte(at) & 0x1f),
        }
    }

    /// Adds, each field in its own width, and says what stands there then.
    fn add(self, payload: &mut [u8], add: &Ids) -> Ids {
        let mut ids = self.read(payload);
        if let (Some(at), Some(id), Some(add)) = (self.picture, &mut ids.picture, add.picture) {
            *id = id.wrapping_add(add);
            if payload[at] & 0x80 != 0 {
                *id &= 0x7fff;
                payload[at..at + 2].copy_from_slice(&(*id | 0x8000).to_be_bytes());
            } else {
                *id &= 0x7f;
                payload[at] = *id as u8;
            }
        }
        if let (Some(at), Some(base), Some(add)) = (self.base, &mut ids.base, add.base) {
            *base = base.wrapping_add(add);
            payload[at] = *base;
        }
        if let (Some(at), Some(key), Some(add)) = (self.key, &mut ids.key, add.key) {
            *key = key.wrapping_add(add) & 0x1f;
            payload[at] = payload[at] & 0xe0 | *key;
        }
        ids
    }
}

#[cfg(test)]
mod tests;
