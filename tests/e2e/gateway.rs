//! The gateway's manners: the first frame, frames that are wrong, limits, slow readers.

use std::time::Duration;

use serde_json::json;
use tests::stage::CHANNEL;
use tests::{Gateway, Stage, eventually};
use tokio::net::TcpSocket;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_frame_must_be_a_hello_of_our_version_and_in_time() {
    let stage = Stage::shared().await;
    // Says nothing: closed after 5 s, while the others are served.
    let mut silent = Gateway::open(&stage).await;

    let mut polite = Gateway::open(&stage).await;
    polite.send(&json!({ "type": "hello", "v": 1, "name": " Ana  B " })).await;
    let welcome = polite.until("welcome").await;
    assert_eq!((&welcome["resumed"], &welcome["maxFrame"]), (&json!(false), &json!(65536)), "{welcome}");
    assert_eq!(welcome["user"]["display"], "Ana B");
    assert_eq!(welcome["limits"], json!({ "msgs": 20, "windowMs": 5000, "textMax": 500 }));

    for (first, code) in [
        (json!({ "type": "hello", "v": 2 }).to_string(), 4502),
        (json!({ "type": "hello" }).to_string(), 4501),
        (json!({ "type": "join", "id": 1, "ch": "home" }).to_string(), 4501),
        ("{".to_owned(), 4501),
        (String::new(), 4501),
    ] {
        let mut wrong = Gateway::open(&stage).await;
        wrong.say(&first).await;
        assert_eq!(wrong.closed().await, Some(code), "{first}");
    }
    assert_eq!(silent.closed().await, Some(4003));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_frames_are_answered_and_the_socket_lives() {
    let stage = Stage::shared().await;
    let mut member = Gateway::hello(&stage).await;
    let ch = format!("stream:{CHANNEL}");
    for (request, code) in [
        (json!({ "type": "nope" }), "unknown_type"),
        (json!({ "type": "join" }), "bad_request"),
        (json!({ "type": "join", "ch": "stream:nobody" }), "not_found"),
        (json!({ "type": "join", "ch": "stage" }), "bad_request"),
        (json!({ "type": "join", "ch": "stream:STAGE" }), "bad_request"),
        (json!({ "type": "message", "ch": ch, "text": "x" }), "not_joined"),
        (json!({ "type": "name", "name": "<b>" }), "bad_request"),
        (json!({ "type": "rtc.play", "ch": ch, "sdp": "v=0" }), "no_publisher"),
        (json!({ "type": "rtc.pause", "pc": "pc9", "kind": "video" }), "not_found"),
        (json!({ "type": "rtc.pause", "pc": "pc9", "kind": "smell" }), "bad_request"),
        (json!({ "type": "rtc.layer", "pc": "pc9", "rid": "auto" }), "not_found"),
        (json!({ "type": "rtc.layer", "pc": "pc9", "rid": "h", "maxHeight": 360 }), "bad_request"),
    ] {
        let answer = member.ask(request.clone()).await;
        assert_eq!(answer["error"]["code"], code, "{request}: {answer}");
    }
    for text in ["{", "[]", "\"hello\"", "nonsense", "{\"type\":7}", "{\"type\":\"hello\",\"v\":1}"] {
        member.say(text).await;
        let answer = member.until("error").await;
        assert_eq!(answer["error"]["code"], "bad_request", "{text}: {answer}");
        assert_eq!(answer["re"], serde_json::Value::Null, "{answer}");
    }
    // Several frames in one message, an empty line between them; unknown keys are no harm.
    member.say("{\"type\":\"pong\"}\n\n{\"type\":\"join\",\"id\":\"a\",\"ch\":\"home\",\"new\":1}").await;
    assert_eq!(member.until("joined").await["re"], "a");
    assert!(stage.metric("swiftwater_gateway_bad_frames_total").await >= 16.0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_64_kib_is_read_and_a_longer_one_ends_the_socket() {
    let stage = Stage::shared().await;
    let frame = |length: usize| {
        let bare = json!({ "type": "nope", "id": 1, "pad": "" }).to_string();
        json!({ "type": "nope", "id": 1, "pad": "x".repeat(length - bare.len()) }).to_string()
    };
    let mut member = Gateway::hello(&stage).await;
    member.say(&frame(64 * 1024)).await;
    assert_eq!(member.until("error").await["error"]["code"], "unknown_type");
    member.say(&frame(64 * 1024 + 1)).await;
    // The close frame is lost if the rest of the long one is on its way when the server hangs up.
    let code = member.closed().await;
    assert!(matches!(code, Some(4501) | None), "{code:?}");
    let mut other = Gateway::hello(&stage).await;
    other.join("home").await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_to_wait() {
    let stage = Stage::shared().await;
    let mut hasty = Gateway::hello(&stage).await;
    let many = vec![json!({ "type": "nope" }).to_string(); 200].join("\n");
    hasty.say(&many).await;
    hasty.say(&json!({ "type": "nope", "id": "last" }).to_string()).await;
    let limited = hasty.find("a refusal", |frame| frame["error"]["code"] == "rate_limited").await;
    assert_eq!(limited["error"]["retryable"], true);
    stage.stop().await;
}

/// A page whose tab sleeps, or a network that stalls: it does not read while others talk.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_read_gets_a_gap_or_is_closed() {
    let stage = Stage::shared_with(|config| {
        (config.chat.messages_max, config.chat.window_ms) = (1000, 1000);
    })
    .await;
    let ch = format!("stream:{CHANNEL}");
    // Not much smaller: small windows with their delayed acknowledgements would take minutes to drain.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("a size that every kernel allows");
    let tcp = socket.connect(stage.http_address()).await.expect("HTTP listens");
    let mut slow = Gateway::over(tcp, &stage).await;
    slow.send(&json!({ "type": "hello", "v": 1 })).await;
    slow.until("welcome").await;

    // Long messages, and answers full of them: what the slow one does not read fills its connection, which
    // holds 4 MiB at most.
    let text = "\u{1f30a}".repeat(500);
    let mut speakers = Vec::new();
    for _ in 0..6 {
        let mut speaker = Gateway::hello(&stage).await;
        speaker.join(&ch).await;
        speakers.push(speaker);
    }
    for _ in 0..57 {
        speakers[0].ask(json!({ "type": "message", "ch": ch, "text": text })).await;
    }
    for _ in 0..55 {
        slow.send(&json!({ "type": "join", "id": 1, "ch": ch, "history": 1000 })).await;
    }
    slow.send(&json!({ "type": "leave", "id": "end", "ch": "home" })).await;
    // It is stuck when no request of its is taken any more.
    let mut looks = (0.0, 0);
    eventually("the connection is full", Duration::from_secs(20), async || {
        let read = stage.metric("swiftwater_gateway_frames_in_total").await;
        looks = if read == looks.0 { (read, looks.1 + 1) } else { (read, 0) };
        (looks.1 == 20).then_some(())
    })
    .await;
    let talk = json!({ "type": "message", "ch": ch, "text": "short" });
    for _ in 0..57 {
        for speaker in &mut speakers[1..] {
            speaker.send(&talk).await;
        }
    }
    speakers[1].find("the last message", |frame| frame["type"] == "message" && frame["seq"] == 342).await;
    // Now it reads again: either it hears of the hole, or it has been given up.
    let gap = slow.find_or_closed(|frame| frame["type"] == "gap" || frame["re"] == "end");
    let heard = tokio::time::timeout(Duration::from_secs(60), gap).await.expect("it is answered or closed");
    match heard {
        Ok(gap) => {
            assert_eq!((&gap["ch"], &gap["reason"]), (&json!(ch), &json!("slow_consumer")), "{gap}");
            let (from, to) = (gap["from"].as_u64().expect("a number"), gap["to"].as_u64().expect("a number"));
            assert!(from >= 1 && to >= from, "{gap}");
        }
        Err(_code) => assert_eq!(stage.metric("swiftwater_gateway_slow_consumers_total").await, 1.0),
    }
    // Nobody else noticed.
    let last = speakers[1].ask(json!({ "type": "message", "ch": ch, "text": "still here" })).await;
    assert_eq!(last["type"], "ack", "{last}");
    speakers[2].find("the last message", |frame| frame["text"] == "still here").await;
    stage.stop().await;
}
