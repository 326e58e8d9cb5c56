//! The whole SFU over real UDP sockets, with viewers by another implementation.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use sfu::sdp::SubscribeOffer;
use sfu::{CloseReason, Config, Error, Limit, PeerEvent, Sfu, Subscription, Transport};
use support::{Source, Viewer};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(20);

fn start(shards: usize) -> Sfu {
    let config = Config {
        port: 0,
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        shards,
        socket_buffer_bytes: 1 << 20,
        ..Config::default()
    };
    Sfu::start(config).unwrap()
}

/// Writes the source until it is dropped.
struct Playing(JoinHandle<()>);

impl Drop for Playing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "Playing owns the task")]
fn play(mut source: Source) -> Playing {
    Playing(tokio::spawn(async move {
        loop {
            let next = source.turn();
            tokio::time::sleep_until(next.into()).await;
        }
    }))
}

async fn watch(sfu: &Sfu, source: &Arc<media::Stream>) -> (Viewer, Subscription) {
    let (mut viewer, offer) = Viewer::new().await;
    let offer = SubscribeOffer::parse(&offer).unwrap();
    let subscription = sfu.subscribe(Arc::clone(source), offer).await.unwrap();
    viewer.accept(&subscription.answer);
    (viewer, subscription)
}

/// The events until `Closed`.
async fn closed(subscription: &mut Subscription) -> CloseReason {
    loop {
        let event = tokio::time::timeout(LONG, subscription.events.recv()).await;
        match event.expect("an event in time").expect("Closed is the last event") {
            PeerEvent::Closed(reason) => return reason,
            _ => continue,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_sound_and_picture_until_its_handle_is_dropped() {
    let sfu = start(1);
    let source = Source::new();
    let stream = Arc::clone(&source.stream);
    let _playing = play(source);
    let (mut viewer, mut subscription) = watch(&sfu, &stream).await;
    assert!(viewer.until(LONG, |seen| seen.video > 100 && seen.audio > 20).await, "{:?}", viewer.seen);
    assert_eq!(viewer.seen.gaps, 0, "{:?}", viewer.seen);
    let event = subscription.events.recv().await.unwrap();
    let PeerEvent::Connected { srtp_profile, remote, transport } = event else { panic!("{event:?}") };
    assert_eq!(srtp_profile, "SRTP_AEAD_AES_128_GCM");
    assert!(remote.ip().is_loopback() && transport == Transport::Udp);

    drop(subscription.peer);
    let mut events = subscription.events;
    assert_eq!(events.recv().await, Some(PeerEvent::Closed(CloseReason::Local)));
    assert_eq!(events.recv().await, None);
    assert!(viewer.until(LONG, |seen| seen.closed).await, "the viewer hears close_notify");

    sfu.stop();
    let stats = sfu.stats();
    assert!(stats.forward_latency.count() >= 20, "{stats:?}");
    assert!(stats.socket.gso_runs > 10 && stats.socket.datagrams_sent > 120, "{stats:?}");
    assert_eq!(
        (stats.core.viewers, stats.socket.send_errors, stats.core.nonce_refused),
        (0, 0, 0),
        "{stats:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_find_their_shard_on_a_shared_port() {
    const VIEWERS: usize = 20;
    let sfu = start(4);
    let source = Source::new();
    let stream = Arc::clone(&source.stream);
    let _playing = play(source);
    let mut watching = tokio::task::JoinSet::new();
    for _ in 0..VIEWERS {
        let (mut viewer, subscription) = watch(&sfu, &stream).await;
        watching.spawn(async move {
            let ok = viewer.until(LONG, |seen| seen.video > 50 && seen.audio > 10).await;
            (ok, viewer.seen, subscription)
        });
    }
    let all = watching.join_all().await;
    assert!(
        all.iter().all(|(ok, seen, _)| *ok && seen.gaps == 0),
        "{:?}",
        all.iter().map(|a| a.1).collect::<Vec<_>>()
    );
}

/// Sends so much to the port every millisecond, of no meaning to anybody.
#[expect(clippy::disallowed_methods, reason = "Playing owns the task")]
fn flood(port: u16, per_millisecond: usize) -> Playing {
    Playing(tokio::spawn(async move {
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut clock = tokio::time::interval(Duration::from_millis(1));
        loop {
            clock.tick().await;
            for _ in 0..per_millisecond {
                let _full = socket.send_to(&[0xff; 40], (Ipv4Addr::LOCALHOST, port)).await;
            }
        }
    }))
}

/// Turns, looks at the sockets and datagrams of a shard with a viewer, to which so much comes every millisecond. The viewer loses
/// nothing.
async fn turns(per_millisecond: usize) -> [u64; 3] {
    let sfu = start(1);
    let source = Source::new();
    let stream = Arc::clone(&source.stream);
    let _playing = play(source);
    let (mut viewer, _subscription) = watch(&sfu, &stream).await;
    let _flood = flood(sfu.port(), per_millisecond);
    // The shard finds within 250 ms that much comes, and tells its numbers every 250.
    assert!(viewer.until(LONG, |seen| seen.audio > 50).await, "{:?}", viewer.seen);
    let before = sfu.stats();
    assert!(viewer.until(LONG, |seen| seen.audio > 150).await, "{:?}", viewer.seen);
    let after = sfu.stats();
    assert_eq!(viewer.seen.gaps, 0, "{:?}", viewer.seen);
    let turns = after.loop_turns - before.loop_turns;
    let calls = after.socket.receive_calls - before.socket.receive_calls;
    let datagrams = after.socket.datagrams_received - before.socket.datagrams_received;
    [turns, calls, datagrams]
}

/// Feedback of viewers is no reason to wake up for each datagram.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_without_publishers_reads_feedback_at_intervals() {
    for per_millisecond in [1, 8] {
        let [turns, calls, datagrams] = turns(per_millisecond).await;
        assert!(datagrams > 2 * calls * per_millisecond as u64, "{datagrams} datagrams by {calls} calls");
        assert!(turns < 2 * calls, "{turns} turns for {calls} times that it looked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_tells_every_viewer() {
    let sfu = start(2);
    let source = Source::new();
    let stream = Arc::clone(&source.stream);
    let _playing = play(source);
    let (mut viewer, mut subscription) = watch(&sfu, &stream).await;
    let (_, mut waiting) = watch(&sfu, &stream).await;
    assert!(viewer.until(LONG, |seen| seen.audio > 3).await, "{:?}", viewer.seen);
    sfu.stop();
    assert_eq!(closed(&mut subscription).await, CloseReason::Stopping);
    assert_eq!(closed(&mut waiting).await, CloseReason::Stopping);
    let (_, offer) = Viewer::new().await;
    let late = sfu.subscribe(stream, SubscribeOffer::parse(&offer).unwrap()).await;
    assert!(matches!(late, Err(Error::Stopping)), "{late:?}");
}

#[tokio::test]
async fn who_never_connected_can_be_closed_and_makes_room() {
    let config = Config {
        port: 0,
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        shards: 1,
        peers_max: 1,
        ..Config::default()
    };
    let sfu = Sfu::start(config).unwrap();
    let stream = Source::new().stream;
    let (_, subscription) = watch(&sfu, &stream).await;
    assert_eq!(sfu.stats().peers_waiting, 1);
    let (_, offer) = Viewer::new().await;
    let offer = SubscribeOffer::parse(&offer).unwrap();
    let refused = sfu.subscribe(Arc::clone(&stream), offer.clone()).await;
    assert!(matches!(refused, Err(Error::Capacity(Limit::Peers))), "{refused:?}");
    let mut events = subscription.events;
    subscription.peer.close();
    assert_eq!(events.recv().await, Some(PeerEvent::Closed(CloseReason::Local)));
    assert!(sfu.subscribe(stream, offer).await.is_ok());
}
