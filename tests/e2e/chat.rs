//! A room by the gateway: members, history, the exact limit, and what is told of the Stream.

use serde_json::{Value, json};
use tests::stage::CHANNEL;
use tests::{Gateway, Stage, source};

fn ch() -> String {
    format!("stream:{CHANNEL}")
}

fn message(text: &str) -> Value {
    json!({ "type": "message", "ch": ch(), "text": text })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_talk_and_who_comes_back_gets_what_was_missed() {
    let stage = Stage::shared().await;
    let (mut ana, mut bo) = (Gateway::hello(&stage).await, Gateway::hello(&stage).await);
    let joined = ana.join(&ch()).await;
    assert_eq!((&joined["seq"], &joined["history"], &joined["live"]), (&json!(0), &json!([]), &Value::Null));
    bo.join(&ch()).await;
    for (text, seq) in [("hello https://a.example/x", 1), ("second", 2)] {
        let ack = ana.ask(message(text)).await;
        assert_eq!((&ack["type"], &ack["seq"]), (&json!("ack"), &json!(seq)), "{ack}");
        for member in [&mut ana, &mut bo] {
            let heard = member.until("message").await;
            assert_eq!(
                (&heard["text"], &heard["seq"], &heard["id"]),
                (&json!(text), &json!(seq), &ack["id"])
            );
        }
    }
    for (text, code) in [(" \u{7} ".to_owned(), "bad_request"), ("x".repeat(501), "too_long")] {
        let refused = ana.ask(message(&text)).await;
        assert_eq!(refused["error"]["code"], code, "{refused}");
    }
    assert_eq!(ana.ask(message(&"\u{1f30a}".repeat(500))).await["seq"], 3);

    // Another life of Bo: what it missed since 1, and nothing twice.
    let epoch = joined["epoch"].clone();
    drop(bo);
    let mut bo = Gateway::hello(&stage).await;
    let since = |epoch: &Value| json!({ "type": "join", "ch": ch(), "since": { "epoch": epoch, "seq": 1 }, "history": 1 });
    let again = bo.ask(since(&epoch)).await;
    assert_eq!((&again["recovered"], seqs(&again)), (&json!(true), vec![2, 3]), "{again}");
    // Of another life of the room there is only the newest.
    let hole = bo.ask(since(&json!("another"))).await;
    assert_eq!((&hole["recovered"], seqs(&hole)), (&json!(false), vec![3]), "{hole}");
    stage.stop().await;
}

/// A lonely viewer who reloads the page is a member for the first time again and again.
#[tokio::test(flavor = "multi_thread")]
async fn every_message_comes_once_however_often_the_room_was_empty() {
    let stage = Stage::shared().await;
    let mut ana = Gateway::hello(&stage).await;
    for _ in 0..5 {
        ana.join(&ch()).await;
        ana.ask(json!({ "type": "leave", "ch": ch() })).await;
    }
    ana.join(&ch()).await;
    for seq in 1..=3 {
        assert_eq!(ana.ask(message("x")).await["seq"], seq);
    }
    ana.find("the last one", |frame| frame["type"] == "message" && frame["seq"] == 3).await;
    assert_eq!(ana.ask(message("y")).await["seq"], 4);
    ana.find("one more", |frame| frame["type"] == "message" && frame["seq"] == 4).await;
    let heard = ana.taken("message");
    let heard: Vec<u64> = heard.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert_eq!(heard, [1, 2], "what was not looked for: each once");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_twenty_first_message_of_a_window_has_to_wait() {
    // By default five seconds, which a busy machine needs for twenty answers.
    let stage = Stage::shared_with(|config| config.chat.window_ms = 60_000).await;
    let (mut ana, mut bo) = (Gateway::hello(&stage).await, Gateway::hello(&stage).await);
    ana.join(&ch()).await;
    bo.join(&ch()).await;
    for seq in 1..=20 {
        assert_eq!(ana.ask(message("fast")).await["seq"], seq);
    }
    let mut refused = ana.ask(message("too fast")).await;
    let wait = refused["waitMs"].take().as_u64().expect("milliseconds");
    assert!((1..=60_000).contains(&wait), "{wait}");
    // Exactly this, and the number of the request.
    let re = refused["re"].take();
    assert!(re.is_number());
    assert_eq!(refused, json!({ "type": "slowmode", "waitMs": null, "ch": ch(), "re": null }));
    // It is a limit per person.
    assert_eq!(bo.ask(message("my turn")).await["seq"], 21);
    let heard = bo.find("his own", |frame| frame["seq"] == 21 && frame["type"] == "message").await;
    assert_eq!(heard["text"], "my turn");
    assert!(bo.taken("message").iter().all(|frame| frame["text"] == "fast"));
    stage.stop().await;
}

/// A room whose newest messages are as long as they can be: the answer to a join must still be sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_cut_and_not_the_socket() {
    let stage = Stage::shared_with(|config| {
        (config.chat.messages_max, config.chat.window_ms) = (1000, 1000);
    })
    .await;
    let text = "\u{1f30a}".repeat(500);
    let mut said = 0;
    for _ in 0..3 {
        let mut speaker = Gateway::hello(&stage).await;
        speaker.join(&ch()).await;
        for _ in 0..50 {
            speaker.ask(message(&text)).await;
            said += 1;
        }
    }
    let mut late = Gateway::hello(&stage).await;
    let epoch = late.join(&ch()).await["epoch"].clone();
    let joined = late.ask(json!({ "type": "join", "ch": ch(), "history": 1000 })).await;
    let got = seqs(&joined);
    assert_eq!((got.last(), joined["seq"].as_u64()), (Some(&said), Some(said)));
    assert!(got.len() > 10, "{}", got.len());
    // Who asks for more than can be sent is told that there is a hole.
    let since = json!({ "type": "join", "ch": ch(), "since": { "epoch": epoch, "seq": 1 } });
    let joined = late.ask(since).await;
    assert_eq!((&joined["recovered"], seqs(&joined).last()), (&json!(false), Some(&said)));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_live_and_ending_are_told_to_the_channel_and_to_home() {
    let stage = Stage::shared_with(|config| config.publish.reconnect_grace_s = 1).await;
    let (mut ana, mut home) = (Gateway::hello(&stage).await, Gateway::hello(&stage).await);
    ana.join(&ch()).await;
    assert_eq!(home.join("home").await["live"], json!([]));
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    for member in [&mut ana, &mut home] {
        let online = member.until("stream.online").await;
        assert_eq!((&online["ch"], &online["channel"]["name"]), (&json!(ch()), &json!(CHANNEL)), "{online}");
        assert_eq!(online["hls"], format!("/hls/{CHANNEL}/master.m3u8"));
    }
    // Who comes later sees it in the answer.
    let mut late = Gateway::hello(&stage).await;
    assert_eq!(late.join(&ch()).await["live"]["channel"]["name"], CHANNEL);
    assert_eq!(late.join("home").await["live"][0]["ch"], ch());
    publisher.kill();
    for member in [&mut ana, &mut home] {
        assert_eq!(member.until("stream.offline").await["channel"]["name"], CHANNEL);
    }
    stage.stop().await;
}

fn seqs(joined: &Value) -> Vec<u64> {
    let history = joined["history"].as_array().expect("a list");
    history.iter().filter_map(|message| message["seq"].as_u64()).collect()
}
