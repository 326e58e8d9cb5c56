//! What a server answers to commands (RTMP 1.0 section 7.2, Enhanced RTMP v2 "Enhancing NetConnection
//! connect Command").

use std::collections::HashMap;

use rml_rtmp::messages::RtmpMessage;
use rml_rtmp::rml_amf0::Amf0Value;

/// Enhanced RTMP `capsEx`: we read multitrack (track 0 of it) and ModEx packets.
const CAPS_EX: f64 = (0x02 | 0x04) as f64;

/// Enhanced RTMP `FourCcInfoMask`: we forward it.
const CAN_FORWARD: f64 = 0x04 as f64;

/// `_result` of a command.
pub(super) fn result(transaction_id: f64, command_object: Amf0Value, argument: Amf0Value) -> RtmpMessage {
    RtmpMessage::Amf0Command {
        command_name: "_result".to_owned(),
        transaction_id,
        command_object,
        additional_arguments: vec![argument],
    }
}

/// `_result` of `connect`, with what we understand of Enhanced RTMP.
pub(super) fn connected(transaction_id: f64) -> RtmpMessage {
    let forward = |names: &[&str]| {
        object(names.iter().map(|name| (*name, Amf0Value::Number(CAN_FORWARD))).collect::<Vec<_>>())
    };
    let four_ccs = ["avc1", "mp4a", "Opus"].into_iter().map(string).collect();
    let properties = object([
        ("fmsVer", string("FMS/3,0,1,123")),
        ("capabilities", Amf0Value::Number(31.0)),
        ("fourCcList", Amf0Value::StrictArray(four_ccs)),
        ("videoFourCcInfoMap", forward(&["avc1"])),
        ("audioFourCcInfoMap", forward(&["mp4a", "Opus"])),
        ("capsEx", Amf0Value::Number(CAPS_EX)),
    ]);
    let information = object([
        ("level", string("status")),
        ("code", string("NetConnection.Connect.Success")),
        ("description", string("Connected")),
        ("objectEncoding", Amf0Value::Number(0.0)),
    ]);
    result(transaction_id, properties, information)
}

/// `onStatus`.
pub(super) fn status(level: &str, code: &str, description: &str) -> RtmpMessage {
    let information =
        object([("level", string(level)), ("code", string(code)), ("description", string(description))]);
    RtmpMessage::Amf0Command {
        command_name: "onStatus".to_owned(),
        transaction_id: 0.0,
        command_object: Amf0Value::Null,
        additional_arguments: vec![information],
    }
}

fn object<'a>(properties: impl IntoIterator<Item = (&'a str, Amf0Value)>) -> Amf0Value {
    Amf0Value::Object(
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<HashMap<_, _>>(),
    )
}

fn string(text: &str) -> Amf0Value {
    Amf0Value::Utf8String(text.to_owned())
}
