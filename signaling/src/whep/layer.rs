//! Choosing a Layer by HTTP: the layer extension of WHEP (draft-ietf-wish-whep section 4.6.2).

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ingest::whip::http::Problem;
use media::Rid;
use serde::Deserialize;
use sfu::{Error, LayerChoice, PeerHandle};

/// How the answer calls it.
pub(super) const RELATION: &str = "urn:ietf:params:whep:ext:core:layer";

/// The body of the request. What it does not say is chosen by the line.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Choice {
    #[serde(alias = "rid")]
    encoding_id: Option<String>,
    max_height: Option<u32>,
    // There is one picture, so `mediaId` says nothing. These would say something that we cannot do:
    max_width: Option<u32>,
    max_spatial_layer_id: Option<u32>,
    spatial_layer_id: Option<u32>,
    temporal_layer_id: Option<u32>,
    max_temporal_layer_id: Option<u32>,
}

/// Does what the body asks of the Peer.
pub(super) fn choose(peer: &PeerHandle, body: &str) -> Result<Response, Problem> {
    peer.set_layer(choice(body)?).map_err(|error| match error {
        Error::NoLayer { .. } => Problem::new(StatusCode::NOT_FOUND, "layer-unavailable", error.to_string()),
        other => Problem::of_sfu(&other),
    })?;
    Ok(StatusCode::OK.into_response())
}

fn choice(body: &str) -> Result<LayerChoice, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "layer-choice", detail);
    let choice: Choice = serde_json::from_str(body).map_err(|error| bad(error.to_string()))?;
    let unknown = [
        choice.max_width,
        choice.max_spatial_layer_id,
        choice.spatial_layer_id,
        choice.temporal_layer_id,
        choice.max_temporal_layer_id,
    ];
    if unknown.iter().any(Option::is_some) {
        let detail = "A layer is chosen by encodingId or maxHeight: those of this server have no parts";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "layer-choice", detail));
    }
    match (choice.encoding_id, choice.max_height) {
        (None, max_height) => Ok(LayerChoice::Auto { max_height }),
        (Some(_), Some(_)) => Err(bad("encodingId and maxHeight exclude each other".to_owned())),
        (Some(rid), None) => Rid::parse(&rid).map(LayerChoice::Layer).map_err(|error| bad(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_choice() {
        let layer = LayerChoice::Layer(Rid::parse("h").unwrap());
        for (body, expected) in [
            (r#"{"mediaId":"0","encodingId":"h"}"#, Ok(layer.clone())),
            (r#"{"mediaId":"0","rid":"h"}"#, Ok(layer)),
            (r#"{"mediaId":"0","maxHeight":360}"#, Ok(LayerChoice::Auto { max_height: Some(360) })),
            (r#"{"mediaId":"0"}"#, Ok(LayerChoice::Auto { max_height: None })),
            (r#"{"encodingId":"h","maxHeight":360}"#, Err(StatusCode::BAD_REQUEST)),
            (r#"{"encodingId":"h h"}"#, Err(StatusCode::BAD_REQUEST)),
            (r#"{"maxWidth":640}"#, Err(StatusCode::UNPROCESSABLE_ENTITY)),
            (r#"{"temporalLayerId":1}"#, Err(StatusCode::UNPROCESSABLE_ENTITY)),
            ("[]", Err(StatusCode::BAD_REQUEST)),
            ("", Err(StatusCode::BAD_REQUEST)),
        ] {
            assert_eq!(choice(body).map_err(|problem| problem.status()), expected, "{body}");
        }
    }
}
