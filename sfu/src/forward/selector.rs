//! Which Track, Layer and payload type a viewer gets.

use std::sync::Arc;

use media::{Codec, Kind, Layer, Rid, Stream, Track};

/// There is a Track, but in no codec that the viewer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOffered;

/// The Track that a viewer should get of a kind: `offered` says which codecs it can decode.
pub(crate) fn track(
    stream: &Stream,
    kind: Kind,
    offered: impl Fn(Codec) -> bool,
) -> Result<Option<Arc<Track>>, NotOffered> {
    let tracks = stream.tracks();
    let of_kind = || tracks.iter().filter(|track| track.kind() == kind && !track.ended());
    // The source itself, unless only a derived Track is in a codec that the viewer has.
    let fitting = of_kind().filter(|track| offered(track.codec())).min_by_key(|track| track.spec().derived);
    match fitting {
        Some(track) => Ok(Some(Arc::clone(track))),
        // AAC is nothing that a browser could have offered: the Opus made from it is on its way.
        None if kind == Kind::Audio || of_kind().next().is_none() => Ok(None),
        None => Err(NotOffered),
    }
}

/// The Layer of a Track to send: the largest that is there. `None`: it has none yet.
pub(crate) fn layer(track: &Track) -> Option<Rid> {
    let layers = track.layers();
    // The first of several equals: the order in which they appeared.
    layers.iter().rev().max_by_key(|layer| weight(layer)).map(|layer| layer.rid().clone())
}

/// A Layer that is clearly better than the one that is sent: encoders ramp up, so the largest appears last.
pub(crate) fn better_layer(track: &Track, current: &Rid) -> Option<Rid> {
    track.look_at_layers(|layers| better(layers, current))
}

fn better(layers: &[Arc<Layer>], current: &Rid) -> Option<Rid> {
    if layers.len() < 2 {
        return None;
    }
    let (pixels, bytes) = weight(layers.iter().find(|layer| layer.rid() == current)?);
    layers
        .iter()
        .filter(|layer| layer.rid() != current)
        .filter(|layer| {
            let (others, received) = weight(layer);
            // Where no size is known, only a good lead in bytes counts: nobody should be sent to and fro.
            others > pixels || (others == pixels && received > bytes.saturating_mul(2))
        })
        .max_by_key(|layer| weight(layer))
        .map(|layer| layer.rid().clone())
}

/// Pixels, and payload received so far.
fn weight(layer: &Layer) -> (u64, u64) {
    let info = layer.info();
    (info.size.map_or(0, |(width, height)| u64::from(width) * u64::from(height)), info.bytes)
}
