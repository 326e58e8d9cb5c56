//! A session without its socket.

use std::net::{IpAddr, Ipv4Addr};

use control::{Authority, ChannelConfig, Database, Moderation};
use media::Hub;
use sfu::Sfu;
use tokio_util::task::TaskTracker;

use super::*;
use crate::GatewayParts;

const CH: &str = "stream:ana";

fn identity() -> Identity {
    Identity { id: "usr_1".into(), login: "mo".into(), name: "Mo".into(), since: 1 }
}

/// A gateway with the channel `ana`, of no database.
async fn gateway() -> Arc<Gateway> {
    let hub = Hub::new(Duration::from_secs(10));
    let sfu = Sfu::start(sfu::Config {
        port: 0,
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        announce: vec!["127.0.0.1".to_owned()],
        shards: 1,
        ..sfu::Config::default()
    });
    let name = ChannelName::parse("ana").expect("a name");
    let ana =
        ChannelConfig { name, title: String::new(), keys: Vec::new(), rewind_s: None, rewind_mib: None };
    let data = std::env::temp_dir().join(format!("swiftwater-{}", random_hex::<8>()));
    let database = Database::open(None, &data).await.expect("opens");
    // Open files need no name.
    std::fs::remove_dir_all(&data).expect("it is ours");
    Gateway::new(GatewayParts {
        hub,
        sfu: sfu.expect("starts"),
        chat: chat::Service::new(chat::Config::default()),
        authority: Arc::new(Authority::new(&[ana])),
        gate: hooks::Gate::new(hooks::Config::default(), TaskTracker::new()).expect("no hooks"),
        moderation: Moderation::new(database),
    })
}

/// Somebody in the chat, from there.
fn member(remote: &str) -> Session {
    let mut session = Session::new(None);
    session.origin.remote = Some(remote.parse().expect("an address"));
    session.joined.insert(CH.to_owned());
    session
}

/// The type of the answer to a message.
async fn say(session: &mut Session, gateway: &Arc<Gateway>) -> String {
    let (mailbox, id) = (session.mailbox(), serde_json::from_str("1").expect("a number"));
    let message = Request::Message { id: Some(id), ch: CH.to_owned(), text: "x".to_owned() };
    let answer = session.handle(gateway, &mailbox, message).await.map_err(|refusal| refusal.code);
    answer.expect("no error").expect("an answer")["type"].as_str().expect("a type").to_owned()
}

#[tokio::test]
async fn a_thousand_guests_of_one_network_write_no_more_than_five() {
    let gateway = gateway().await;
    let mut sent = 0;
    for _ in 0..150 {
        sent += usize::from(say(&mut member("192.0.2.1"), &gateway).await == "ack");
    }
    assert_eq!((sent, gateway.stats().guests_slowed), (100, 50));
    let mut account = member("192.0.2.1");
    account.identify(Some(identity()), None);
    assert_eq!(say(&mut account, &gateway).await, "ack", "an account does not count");
    assert_eq!(say(&mut member("192.0.2.2"), &gateway).await, "ack", "nor who comes from elsewhere");
    gateway.parts.sfu.stop();
}

#[tokio::test]
async fn what_a_guest_was_refused_costs_the_neighbours_nothing() {
    let gateway = gateway().await;
    let mut loud = member("192.0.2.1");
    for n in 0..200 {
        assert_eq!(say(&mut loud, &gateway).await, if n < 20 { "ack" } else { "slowmode" }, "{n}");
    }
    assert_eq!(say(&mut member("192.0.2.1"), &gateway).await, "ack");
    assert_eq!(gateway.stats().guests_slowed, 0);
    gateway.parts.sfu.stop();
}

#[test]
fn who_shows_no_account_does_not_go_on_as_one() {
    let mut session = Session::new(Some("Ana B"));
    let (secret, guest) = (session.id().to_owned(), session.user().clone());
    session.identify(None, None);
    assert_eq!(session.user(), &guest, "a guest stays the same one");
    session.identify(Some(identity()), None);
    assert_eq!((session.user().id.as_str(), session.signed_in), ("usr_1", true));
    session.identify(None, Some("Somebody"));
    let user = session.user();
    assert!(user.id.starts_with("gst_") && user.id != guest.id, "{user:?}");
    assert_eq!((user.display.as_str(), session.signed_in, session.id()), ("Somebody", false, &*secret));
}

#[test]
fn guest_names_are_cleaned() {
    for (from, to) in [
        (" Ana  B ", Some("Ana B")),
        ("Ünï-9_", Some("Ünï-9_")),
        ("", None),
        ("<b>", None),
        ("a\u{202e}b", None),
        ("abcdefghijklmnopqrstuvwxyz", None),
    ] {
        assert_eq!(clean_name(from).as_deref(), to, "{from}");
    }
}
