//! What is told to webhooks: the outbox, and who gets how much of it.

use super::*;

/// What began and ended is told of once, whoever notices the end.
pub(super) async fn ends_are_told(place: Place<'_>) {
    let db = place.open().await;
    let (_, channel) = ana(&db).await;
    let lease = LEASE.as_millis() as i64;
    let hook = |channel_id, events| NewHook { channel_id, url: "https://x", events, secret_sealed: "s" };
    let all = db.add_hook(hook(None, "*"), NOW).await.expect("added");
    let offline = db.add_hook(hook(Some(&channel.id), "stream.offline"), NOW).await.expect("added");
    let begin = async |node: &str, now: i64| {
        let id = db.go_live(claim(&channel, node, false), now).await.expect("asked").expect("free");
        let begun = Broadcast {
            stream: format!("s_{id}"),
            id,
            channel_id: channel.id.clone(),
            channel: "ana".to_owned(),
            title: "Ana".to_owned(),
            started_at: now,
        };
        assert_eq!(db.name_live_stream(&begun, now).await.expect("named"), 1, "one wants to hear of it");
        begun
    };
    // Its own node, twice.
    let first = begin("a", NOW).await;
    assert_eq!(db.end_live_stream(&first.id, "cut", Some(&first), NOW + 1).await.expect("ended"), 2);
    assert_eq!(db.end_live_stream(&first.id, "cut", Some(&first), NOW + 1).await.expect("ended"), 0);
    // Its node, in its next life; then nobody finds it any more.
    let second = begin("a", NOW + 10).await;
    let ended = db.end_streams_of("a", NOW + 20).await.expect("ended");
    assert_eq!((ended.streams, ended.told), (1, 2));
    assert_eq!(db.renew_lease("b", NOW + 20 + 2 * lease).await.expect("renewed").told, 0);
    assert_eq!(db.end_live_stream(&second.id, "ended", Some(&second), NOW + 30).await.expect("ended"), 0);
    // Another node, after the lease; and whoever takes the Channel.
    let third = begin("a", NOW + 40).await;
    let ended = db.renew_lease("b", NOW + 41 + lease).await.expect("renewed");
    assert_eq!((ended.streams, ended.told), (1, 2));
    let fourth = begin("a", NOW + 50).await;
    let fifth = begin("b", NOW + 51 + lease).await;
    // One that never had a name: nobody heard of it.
    db.end_live_stream(&fifth.id, "ended", Some(&fifth), NOW + 60 + lease).await.expect("ended");
    db.go_live(claim(&channel, "c", false), NOW).await.expect("asked").expect("free");
    let ended = db.end_streams_of("c", NOW).await.expect("ended");
    assert_eq!((ended.streams, ended.told), (1, 0));
    // The Channel goes while it is live, and its own hook with it.
    let sixth = begin("a", NOW + 100).await;
    let log = db.deliveries(&offline.id, &Page::first(100)).await.expect("listed");
    assert_eq!(log.len(), 5);
    db.remove_channel(&channel.id, NOW + 101).await.expect("removed");
    let log = db.deliveries(&all.id, &Page::first(100)).await.expect("listed");
    for (begun, reason) in [
        (&first, "cut"),
        (&second, "node_lost"),
        (&third, "node_lost"),
        (&fourth, "node_lost"),
        (&fifth, "ended"),
        (&sixth, "removed"),
    ] {
        let about: Vec<_> = log.iter().filter(|it| it.payload.contains(&begun.stream)).collect();
        let types: Vec<&str> = about.iter().map(|it| it.event_type.as_str()).collect();
        assert_eq!(types, ["stream.offline", "stream.online"], "{reason}");
        let data: serde_json::Value = serde_json::from_str(&about[0].payload).expect("JSON");
        assert_eq!(data["data"]["reason"], reason, "{data}");
        assert_eq!(data["data"]["startedAt"], begun.started_at, "{data}");
    }
    assert_eq!(log.len(), 12);
}

pub(super) async fn outbox(place: Place<'_>) {
    let db = place.open().await;
    let (_, channel) = ana(&db).await;
    let new = NewHook {
        channel_id: Some(&channel.id),
        url: "https://x",
        events: "stream.online",
        secret_sealed: "s",
    };
    let hook = db.add_hook(new, NOW).await.expect("added");
    assert!(db.hooks(None).await.expect("listed").is_empty());
    let event = NewDelivery { hook_id: &hook.id, event_id: "e1", event_type: "stream.online", payload: "{}" };
    db.add_deliveries(&[event.clone(), event], NOW).await.expect("added once");
    assert_eq!(db.deliveries_pending().await.expect("counted"), 1);
    let due = db.take_due_deliveries(10, NOW + 15, NOW).await.expect("taken");
    assert_eq!(due.len(), 1);
    assert!(db.take_due_deliveries(10, NOW + 15, NOW).await.expect("taken").is_empty(), "leased");
    assert_eq!(
        db.take_due_deliveries(10, NOW + 30, NOW + 15).await.expect("taken").len(),
        1,
        "its node died"
    );
    let failed = Attempt {
        state: DeliveryState::Pending,
        next_at: NOW + 100,
        status: Some(503),
        error: Some("busy"),
        took_ms: 4,
    };
    db.note_attempt(&due[0], failed.clone(), NOW + 20).await.expect("noted");
    let hook = db.hook(&hook.id).await.expect("there");
    assert_eq!((hook.failures, hook.failing_since), (1, Some(NOW + 20)));
    assert!(db.take_due_deliveries(10, NOW + 150, NOW + 99).await.expect("taken").is_empty());
    let done = Attempt { state: DeliveryState::Delivered, status: Some(200), error: None, ..failed };
    db.note_attempt(&due[0], done, NOW + 120).await.expect("noted");
    let log = db.deliveries(&hook.id, &Page::first(10)).await.expect("listed");
    assert_eq!((log[0].state, log[0].attempt, log[0].last_status), (DeliveryState::Delivered, 2, Some(200)));
    db.replay_delivery(&hook.id, &log[0].id, NOW).await.expect("again");
    db.enable_hook(&hook.id, Some("gone")).await.expect("off");
    assert!(db.take_due_deliveries(10, NOW + 9, NOW).await.expect("taken").is_empty(), "off");
    db.enable_hook(&hook.id, None).await.expect("on");
    assert_eq!(db.take_due_deliveries(10, NOW + 9, NOW).await.expect("taken").len(), 1);
    assert_eq!(db.forget_deliveries(NOW + 999).await.expect("forgotten"), 0, "pending ones stay");
    db.remove_hook(&hook.id).await.expect("removed");
    assert_eq!(db.deliveries_pending().await.expect("counted"), 0);
}

pub(super) async fn one_hook_leaves_room_for_others(place: Place<'_>) {
    let db = place.open().await;
    let new = NewHook { channel_id: None, url: "https://x", events: "*", secret_sealed: "s" };
    let busy = db.add_hook(new.clone(), NOW).await.expect("added").id;
    let quiet = db.add_hook(new, NOW).await.expect("added").id;
    let delivery =
        |hook_id, event_id| NewDelivery { hook_id, event_id, event_type: "stream.online", payload: "{}" };
    let events: Vec<String> = (0..50).map(|n| format!("e{n}")).collect();
    for (event, at) in events.iter().zip(NOW..) {
        db.add_deliveries(&[delivery(&busy, event)], at).await.expect("added");
    }
    db.add_deliveries(&[delivery(&quiet, "q")], NOW + 50).await.expect("the last");
    let take = async |limit, now| {
        let taken = db.take_due_deliveries(limit, now + 30, now).await.expect("taken");
        let mut events: Vec<String> = taken.iter().map(|it| it.event_id.clone()).collect();
        events.sort();
        (taken, events)
    };
    // One under way counts, so only three more of them are taken.
    let (taken, events) = take(1, NOW + 60).await;
    assert_eq!(events, ["e0"]);
    assert_eq!(take(32, NOW + 61).await.1, ["e1", "e2", "e3", "q"]);
    assert!(take(32, NOW + 62).await.1.is_empty(), "four are under way");
    // One that ended makes room for one, and so does one whose node died.
    let done =
        Attempt { state: DeliveryState::Delivered, next_at: NOW, status: Some(200), error: None, took_ms: 1 };
    db.note_attempt(&taken[0], done, NOW + 63).await.expect("noted");
    assert_eq!(take(32, NOW + 63).await.1, ["e4"]);
    assert_eq!(take(32, NOW + 91).await.1, ["e1", "e2", "e3", "q"], "their leases are over");
}
