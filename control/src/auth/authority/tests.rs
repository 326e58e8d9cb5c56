use super::*;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("valid")
}

fn channel(channel: &str, key: &str) -> ChannelConfig {
    ChannelConfig {
        name: name(channel),
        title: String::new(),
        keys: vec![key.to_owned().into()],
        rewind_s: None,
        rewind_mib: None,
    }
}

async fn publish(
    authority: &Authority,
    key: &str,
    channel: Option<&str>,
    from: IpAddr,
) -> Result<String, Denied> {
    let (key, channel) = (StreamKey::new(key.to_owned().into()), channel.map(name));
    let request = Request::Publish { key: &key, channel: channel.as_ref(), remote: from };
    authority.authorize(request).await.map(|grant| grant.channel.to_string())
}

#[tokio::test]
async fn a_key_opens_its_own_channel_only() {
    let authority = Authority::new(&[channel("ana", "k1"), channel("bo", "k2")]);
    let publish = |key: &'static str, channel: Option<&'static str>| publish(&authority, key, channel, HOME);
    assert_eq!(publish("k1", None).await, Ok("ana".into()));
    assert_eq!(publish("k2", Some("bo")).await, Ok("bo".into()));
    assert_eq!(publish("k2", Some("ana")).await, Err(Denied::OtherChannel { channel: name("ana") }));
    assert_eq!(publish("k3", None).await, Err(Denied::KeyUnknown));
    assert_eq!(publish("", None).await, Err(Denied::KeyMissing));
    assert_eq!(self::publish(&authority, &"k".repeat(10_000), None, HOME).await, Err(Denied::KeyUnknown));
    assert!(authority.play(&name("ana"), None).is_ok());
    assert_eq!(authority.play(&name("eve"), None), Err(Denied::NoChannel { channel: name("eve") }));
}

#[tokio::test]
async fn guessing_keys_is_slow() {
    let authority = Authority::new(&[channel("ana", "k1")]);
    let guesser: IpAddr = "192.0.2.7".parse().expect("an address");
    for _ in 0..KEY_FAILURES_MAX {
        assert_eq!(publish(&authority, "wrong", None, guesser).await, Err(Denied::KeyUnknown));
    }
    // Not even a good guess would be told from a bad one.
    for key in ["wrong", "k1"] {
        assert!(matches!(publish(&authority, key, None, guesser).await, Err(Denied::TooMany { .. })));
    }
    let neighbour = "192.0.2.8".parse().expect("an address");
    assert_eq!(publish(&authority, "k1", None, neighbour).await, Ok("ana".into()));
    assert_eq!((authority.stats().keys_unknown, authority.stats().keys_limited), (20, 2));
}
