use std::collections::HashMap;

use rml_rtmp::handshake::Handshake;
use secrecy::ExposeSecret;

use super::*;

/// An encoder at the other end of the bytes.
struct Encoder {
    session: Session,
    writer: ChunkWriter,
    reader: ChunkReader,
}

impl Encoder {
    /// After the handshake.
    fn new() -> Self {
        let mut session = Session::new();
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().unwrap();
        assert!(session.handle_input(&mut &hello[..]).unwrap().is_none());
        let mut answer = Vec::new();
        while let Some(bytes) = session.poll_output() {
            answer.extend(bytes);
        }
        let Ok(HandshakeProcessResult::Completed { response_bytes, .. }) = handshake.process_bytes(&answer)
        else {
            panic!("the handshake of the server is whole");
        };
        assert!(session.handle_input(&mut &response_bytes[..]).unwrap().is_none());
        let mut reader = ChunkReader::new();
        reader.trust();
        Self { session, writer: ChunkWriter::new(), reader }
    }

    fn send(&mut self, type_id: u8, stream_id: u32, data: Vec<u8>) -> Result<Option<Event>, Error> {
        self.writer.write(&Message { timestamp: 7, type_id, stream_id, data: data.into() });
        let bytes = self.writer.take();
        let mut input = &bytes[..];
        let event = self.session.handle_input(&mut input);
        assert!(event.is_err() || input.is_empty());
        event
    }

    fn command(&mut self, stream_id: u32, values: &[Amf0Value]) -> Result<Option<Event>, Error> {
        let body = rml_rtmp::rml_amf0::serialize(&values.to_vec()).unwrap();
        self.send(20, stream_id, body)
    }

    fn connect(&mut self, app: &str) {
        let object = HashMap::from([
            ("app".to_owned(), text(app)),
            ("flashVer".to_owned(), text("FMLE/3.0 (compatible; FMSc/1.0)")),
        ]);
        let event = self.command(0, &[text("connect"), Amf0Value::Number(1.0), Amf0Value::Object(object)]);
        assert!(event.unwrap().is_none());
    }

    /// All messages that the server sends.
    fn received(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(bytes) = self.session.poll_output() {
            let mut input = &bytes[..];
            while let Some(message) = self.reader.read(&mut input).unwrap() {
                if let (1, Some(size)) = (message.type_id, message.data.first_chunk()) {
                    self.reader.set_chunk_size(u32::from_be_bytes(*size)).unwrap();
                }
                messages.push(message);
            }
        }
        messages
    }

    /// The commands among them, as values.
    fn commands(&mut self) -> Vec<Vec<Amf0Value>> {
        let messages = self.received();
        messages.iter().filter(|m| m.type_id == 20).map(|m| amf::read_all(&m.data).unwrap()).collect()
    }
}

fn text(text: &str) -> Amf0Value {
    Amf0Value::Utf8String(text.to_owned())
}

fn call(name: &str, transaction: f64, rest: &[Amf0Value]) -> Vec<Amf0Value> {
    [&[text(name), Amf0Value::Number(transaction), Amf0Value::Null][..], rest].concat()
}

fn status<'a>(command: &'a [Amf0Value], field: &str) -> &'a str {
    amf::property(command.last().unwrap(), field).and_then(amf::string).unwrap()
}

#[test]
fn connect_tells_what_we_understand_of_enhanced_rtmp() {
    let mut encoder = Encoder::new();
    encoder.connect("live");
    assert_eq!(encoder.session.encoder(), Some("FMLE/3.0 (compatible; FMSc/1.0)"));
    let commands = encoder.commands();
    let [command] = &commands[..] else { panic!("one answer") };
    assert_eq!(command[..2], [text("_result"), Amf0Value::Number(1.0)]);
    let Some(Amf0Value::StrictArray(codecs)) = amf::property(&command[2], "fourCcList") else {
        panic!("fourCcList")
    };
    assert!(codecs.contains(&text("avc1")) && codecs.contains(&text("Opus")));
    let video = amf::property(&command[2], "videoFourCcInfoMap").unwrap();
    assert!(amf::property(video, "avc1").is_some() && amf::property(video, "hvc1").is_none());
    assert_eq!(amf::property(&command[2], "capsEx").and_then(amf::number), Some(6.0));
    assert_eq!(status(command, "code"), "NetConnection.Connect.Success");
}

#[test]
fn an_encoder_publishes_stops_and_publishes_again() {
    let mut encoder = Encoder::new();
    encoder.connect("live?x=1");
    encoder.received();
    for (name, rest, answer) in [
        ("releaseStream", vec![text("k")], Some(Amf0Value::Undefined)),
        ("FCPublish", vec![text("k")], Some(Amf0Value::Undefined)),
        ("createStream", vec![], Some(Amf0Value::Number(1.0))),
        ("_checkbw", vec![], Some(Amf0Value::Undefined)),
        ("getStreamLength", vec![text("k")], Some(Amf0Value::Number(0.0))),
        ("somethingElse", vec![], None),
    ] {
        assert!(encoder.command(0, &call(name, 4.0, &rest)).unwrap().is_none());
        let commands = encoder.commands();
        assert_eq!(commands.first().and_then(|command| command.last().cloned()), answer, "{name}");
    }
    for _ in 0..2 {
        let event = encoder.command(1, &call("publish", 5.0, &[text("sk_1?a=b"), text("live")])).unwrap();
        let Some(Event::Publish(wanted)) = event else { panic!("{event:?}") };
        assert_eq!(wanted.key.expose_secret(), "sk_1");
        assert_eq!(wanted.params.as_deref(), Some("a=b&x=1"));
        encoder.session.accept().unwrap();
        let commands = encoder.commands();
        assert_eq!(status(&commands[0], "code"), "NetStream.Publish.Start");
        let event = encoder.send(9, 1, vec![1, 2]).unwrap();
        assert!(matches!(event, Some(Event::Video { timestamp: 7, .. })));
        assert!(matches!(encoder.send(8, 1, vec![1]).unwrap(), Some(Event::Audio { .. })));
        // Another stream's end is not ours; then ours, and only once.
        assert!(encoder.command(0, &call("deleteStream", 6.0, &[Amf0Value::Number(9.0)])).unwrap().is_none());
        let event = encoder.command(0, &call("deleteStream", 6.0, &[Amf0Value::Number(1.0)])).unwrap();
        assert!(matches!(event, Some(Event::Unpublished)));
        assert!(encoder.command(0, &call("FCUnpublish", 7.0, &[text("k")])).unwrap().is_none());
        encoder.received();
    }
}

#[test]
fn a_refusal_says_why() {
    let mut encoder = Encoder::new();
    encoder.connect("live");
    encoder.command(1, &call("publish", 5.0, &[text("sk_1")])).unwrap();
    encoder.received();
    encoder.session.refuse(Code::BadName, "Unknown stream key").unwrap();
    let messages = encoder.received();
    assert_eq!(messages[0].stream_id, 1, "on the stream that asked");
    let command = amf::read_all(&messages[0].data).unwrap();
    assert_eq!((status(&command, "level"), status(&command, "code")), ("error", "NetStream.Publish.BadName"));
    assert_eq!(status(&command, "description"), "Unknown stream key");
}

#[test]
fn a_player_is_told_that_this_is_no_place_to_play() {
    let mut encoder = Encoder::new();
    encoder.connect("live");
    encoder.received();
    let event = encoder.command(1, &call("play", 5.0, &[text("ana")])).unwrap();
    assert!(matches!(event, Some(Event::PlayRefused)));
    assert_eq!(status(&encoder.commands()[0], "code"), "NetStream.Play.Failed");
}

#[test]
fn amf3_by_name_is_amf0_behind_a_zero() {
    let mut encoder = Encoder::new();
    encoder.connect("live");
    encoder.received();
    let body = rml_rtmp::rml_amf0::serialize(&call("createStream", 2.0, &[])).unwrap();
    assert!(encoder.send(17, 0, [&[0][..], &body].concat()).unwrap().is_none());
    assert_eq!(encoder.commands()[0].last(), Some(&Amf0Value::Number(1.0)));
}

#[test]
fn pings_are_answered_and_windows_acknowledged() {
    let mut encoder = Encoder::new();
    encoder.send(4, 0, vec![0, 6, 1, 2, 3, 4]).unwrap();
    let messages = encoder.received();
    assert_eq!((messages[0].type_id, &messages[0].data[..]), (4, &[0, 7, 1, 2, 3, 4][..]));
    // Unknown and broken control messages mean nothing.
    for broken in [vec![], vec![0], vec![0, 99, 1, 1, 1, 1], vec![0, 6]] {
        assert!(encoder.send(4, 0, broken).unwrap().is_none());
    }
    encoder.send(5, 0, 1000u32.to_be_bytes().to_vec()).unwrap();
    encoder.received();
    encoder.send(8, 1, vec![0; 2000]).unwrap();
    // The event came before the input was used up; the acknowledgement follows with the next bytes.
    encoder.send(4, 0, vec![]).unwrap();
    let messages = encoder.received();
    assert_eq!(messages.last().map(|message| message.type_id), Some(3), "{messages:?}");
}

#[test]
fn metadata_comes_in_two_wrappings() {
    for wrapped in [true, false] {
        let mut encoder = Encoder::new();
        let object = HashMap::from([
            ("framerate".to_owned(), Amf0Value::Number(29.97)),
            ("encoder".to_owned(), text("obs\u{7}-output")),
        ]);
        let mut values = vec![text("onMetaData"), Amf0Value::Object(object)];
        if wrapped {
            values.insert(0, text("@setDataFrame"));
        }
        let body = rml_rtmp::rml_amf0::serialize(&values).unwrap();
        let event = encoder.send(18, 1, body).unwrap();
        let Some(Event::Metadata { frame_rate, encoder: name }) = event else { panic!("{event:?}") };
        assert_eq!((frame_rate, name.as_deref()), (Some(29.97), Some("obs-output")));
        assert!(encoder.send(18, 1, vec![0xff, 1]).unwrap().is_none(), "garbage is not worth a connection");
    }
}

#[test]
fn commands_out_of_place_end_the_connection() {
    let early = Encoder::new().command(1, &call("publish", 5.0, &[text("sk_1")]));
    assert!(early.is_err(), "before connect");
    let mut encoder = Encoder::new();
    encoder.connect("live");
    assert!(encoder.command(1, &[Amf0Value::Null]).is_err(), "no name");
    // Shorter than rml_rtmp's reader can take without a panic.
    assert!(encoder.command(1, &[text("createStream")]).unwrap().is_none());
    for _ in 1..MESSAGE_STREAMS_MAX {
        encoder.command(0, &call("createStream", 2.0, &[])).unwrap();
    }
    assert!(encoder.command(0, &call("createStream", 2.0, &[])).is_err(), "too many streams");
    encoder.command(1, &call("publish", 5.0, &[text("sk_1")])).unwrap();
    assert!(encoder.command(1, &call("publish", 5.0, &[text("sk_1")])).is_err(), "twice");
    let mut encoder = Encoder::new();
    encoder.connect("live");
    let no_key = encoder.command(1, &call("publish", 5.0, &[text("")]));
    assert!(matches!(no_key, Err(Error::Unsupported(_))));
}

#[test]
fn mutated_conversations_never_panic() {
    let mut writer = ChunkWriter::new();
    let connect = HashMap::from([("app".to_owned(), text("live"))]);
    for (type_id, values) in [
        (20, vec![text("connect"), Amf0Value::Number(1.0), Amf0Value::Object(connect)]),
        (20, call("createStream", 2.0, &[])),
        (20, call("publish", 3.0, &[text("sk_1"), text("live")])),
        (18, vec![text("onMetaData"), Amf0Value::Null]),
    ] {
        let data = rml_rtmp::rml_amf0::serialize(&values).unwrap().into();
        writer.write(&Message { timestamp: 0, type_id, stream_id: 1, data });
    }
    let good = writer.take();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    for _ in 0..2000 {
        let mut bytes = good.to_vec();
        for _ in 0..1 + random() % 4 {
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        let mut session = Session::new();
        session.handshake = None;
        let mut input = &bytes[..];
        while let Ok(Some(event)) = session.handle_input(&mut input) {
            if matches!(event, Event::Publish(_)) {
                session.accept().unwrap();
            }
        }
        while session.poll_output().is_some() {}
    }
}
