//! Layers on the gateway: `rtc.layer` from a viewer, `rtc.layers` to it.

use media::{Kind, Rid, Stream};
use serde_json::{Value, json};
use sfu::{LayerChoice, LayerState, Layers};

/// The rid that means: whatever the line carries.
const AUTO: &str = "auto";
/// The rid that means: sound alone.
const NONE: &str = "none";

/// Reads what a viewer asks for.
///
/// # Errors
/// For people, if the two fields make no choice.
pub(super) fn choice(rid: Option<&str>, max_height: Option<u32>) -> Result<LayerChoice, &'static str> {
    match (rid, max_height) {
        (None | Some(AUTO), max_height) => Ok(LayerChoice::Auto { max_height }),
        (Some(_), Some(_)) => Err("maxHeight goes with the rid auto"),
        (Some(NONE), None) => Ok(LayerChoice::AudioOnly),
        (Some(rid), None) => {
            Rid::parse(rid).map(LayerChoice::Layer).map_err(|_| "rid is auto, none or the rid of a layer")
        }
    }
}

/// The `rtc.layers` frame.
pub(super) fn frame(pc: &str, layers: &Layers) -> Value {
    let rid = |rid: &Option<Rid>| rid.as_ref().map(|rid| rid.as_str().to_owned());
    json!({
        "type": "rtc.layers",
        "pc": pc,
        "layers": layers.layers.iter().map(describe).collect::<Vec<_>>(),
        "current": rid(&layers.current),
        "target": rid(&layers.target),
        "auto": matches!(layers.choice, LayerChoice::Auto { .. }),
        "maxHeight": match &layers.choice {
            LayerChoice::Auto { max_height } => *max_height,
            LayerChoice::Layer(_) | LayerChoice::AudioOnly => None,
        },
        "audioOnly": layers.audio_only.map(sfu::AudioOnly::as_str),
    })
}

fn describe(layer: &LayerState) -> Value {
    json!({
        "rid": layer.rid.as_str(),
        "width": layer.width,
        "height": layer.height,
        "bitrate": layer.bitrate_bps,
        "active": layer.active,
    })
}

/// What there is to choose from, lowest first, at this moment, for `rtc.answer`. What is measured follows in `rtc.layers`.
pub(super) fn known(stream: &Stream) -> Vec<Value> {
    let Some(track) = stream.source(Kind::Video) else { return Vec::new() };
    let mut layers = track.layers();
    layers.sort_by_key(|layer| layer.info().size);
    layers
        .iter()
        .map(|layer| {
            let size = layer.info().size;
            json!({
                "rid": layer.rid().as_str(),
                "width": size.map(|(width, _)| width),
                "height": size.map(|(_, height)| height),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_rid_or_a_height_or_nothing_to_see() {
        let layer = |rid| LayerChoice::Layer(Rid::parse(rid).unwrap());
        for (rid, max_height, choice_is) in [
            (None, None, Some(LayerChoice::Auto { max_height: None })),
            (Some("auto"), Some(480), Some(LayerChoice::Auto { max_height: Some(480) })),
            (Some("none"), None, Some(LayerChoice::AudioOnly)),
            (Some("h"), None, Some(layer("h"))),
            (Some("0"), None, Some(layer("0"))),
            (Some("h"), Some(480), None),
            (Some("none"), Some(480), None),
            (Some("a b"), None, None),
        ] {
            assert_eq!(choice(rid, max_height).ok(), choice_is, "{rid:?} {max_height:?}");
        }
    }

    #[test]
    fn the_frame_says_what_there_is_and_what_is_sent() {
        let layer = |rid: &str, height, active| LayerState {
            rid: Rid::parse(rid).unwrap(),
            width: Some(height * 16 / 9),
            height: Some(height),
            bitrate_bps: Some(500_000),
            active,
        };
        let layers = Layers {
            layers: vec![layer("q", 180, true), layer("h", 360, false)],
            current: Some(Rid::parse("q").unwrap()),
            target: None,
            choice: LayerChoice::Auto { max_height: Some(360) },
            audio_only: None,
        };
        let expected = json!({
            "type": "rtc.layers", "pc": "pc1", "current": "q", "target": null, "auto": true, "maxHeight": 360,
            "audioOnly": null,
            "layers": [
                { "rid": "q", "width": 320, "height": 180, "bitrate": 500_000, "active": true },
                { "rid": "h", "width": 640, "height": 360, "bitrate": 500_000, "active": false },
            ],
        });
        assert_eq!(frame("pc1", &layers), expected);
    }
}
