//! What every engine must keep: the same tests on SQLite and on a real PostgreSQL.

#[path = "../../tests/src/postgres.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest of it")]
mod postgres;

#[path = "database/deliveries.rs"]
mod deliveries;

use control::Rewind;
use control::db::*;
use control::hooks::Broadcast;
use deliveries::{ends_are_told, one_hook_leaves_room_for_others, outbox};
use postgres::Postgres;
use tempfile::TempDir;

/// Any moment; times are arguments.
const NOW: i64 = 1_700_000_000_000;

/// How a test gets an empty database, and opens it a second time.
struct Place<'a> {
    postgres: Option<&'a Postgres>,
    data: TempDir,
    url: Option<String>,
}

impl<'a> Place<'a> {
    fn new(postgres: Option<&'a Postgres>) -> Self {
        let url = postgres.map(Postgres::database);
        Self { postgres, data: tempfile::tempdir().expect("a directory"), url }
    }

    async fn open(&self) -> Database {
        Database::open(self.url.as_deref(), self.data.path()).await.expect("opens")
    }
}

async fn keeps_the_contract(postgres: Option<&Postgres>) {
    accounts(Place::new(postgres)).await;
    sessions_and_tokens(Place::new(postgres)).await;
    channels(Place::new(postgres)).await;
    keys(Place::new(postgres)).await;
    one_live_stream(Place::new(postgres)).await;
    ends_are_told(Place::new(postgres)).await;
    many_go_live_at_once(Place::new(postgres)).await;
    followers(Place::new(postgres)).await;
    outbox(Place::new(postgres)).await;
    one_hook_leaves_room_for_others(Place::new(postgres)).await;
    grant_keys(Place::new(postgres)).await;
    chats(Place::new(postgres)).await;
    a_look_changes_nothing(Place::new(postgres)).await;
    many_start_at_once(Place::new(postgres)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    keeps_the_contract(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    let postgres = Postgres::start();
    keeps_the_contract(Some(&postgres)).await;
}

fn person(login: &str) -> NewUser<'_> {
    NewUser { login, display_name: "Somebody", password_hash: "$argon2id$x", role: Role::User }
}

async fn ana(db: &Database) -> (User, Channel) {
    let user = db.add_user(person("ana"), NOW).await.expect("added");
    let new = NewChannel { owner_id: &user.id, name: "ana", title: "Ana", visibility: Visibility::Public };
    let channel = db.add_channel(new, NOW).await.expect("added");
    (user, channel)
}

async fn accounts(place: Place<'_>) {
    let db = place.open().await;
    assert!(!db.has_users().await.expect("asked"));
    let first = db.add_first_user(person("ana"), NOW).await.expect("the first");
    assert!(matches!(db.add_first_user(person("bo"), NOW).await, Err(Error::Taken(_))));
    assert!(matches!(db.add_user(person("ana"), NOW).await, Err(Error::Taken(_))));
    for login in ["cy", "bo", "di"] {
        db.add_user(person(login), NOW).await.expect("added");
    }
    let logins = |users: Vec<User>| users.into_iter().map(|user| user.login).collect::<Vec<_>>();
    assert_eq!(logins(db.users(&Page::first(2)).await.expect("listed")), ["ana", "bo"]);
    let rest = Page { after: Some("bo".to_owned()), limit: 2 };
    assert_eq!(logins(db.users(&rest).await.expect("listed")), ["cy", "di"]);
    db.set_user(&first.id, Role::Admin, Status::Suspended, NOW).await.expect("changed");
    let (user, hash) = db.user_with_password("ana").await.expect("asked").expect("there");
    assert_eq!((user.role, user.status, hash.as_str()), (Role::Admin, Status::Suspended, "$argon2id$x"));
    assert!(matches!(db.user("nobody").await, Err(Error::Missing(_))));

    db.add_invite("code", &first.id, NOW + 10, NOW).await.expect("added");
    assert!(!db.use_invite("code", NOW + 10).await.expect("asked"), "too old");
    assert!(db.use_invite("code", NOW + 9).await.expect("asked"));
    assert!(!db.use_invite("code", NOW + 9).await.expect("asked"), "used");
    db.return_invite("code").await.expect("returned");
    assert!(db.use_invite("code", NOW + 9).await.expect("asked"));
    db.audit("ana", "user.create", "bo", None, NOW).await.expect("noted");
    assert_eq!(db.audit_log(&Page::first(10)).await.expect("listed")[0].target, "bo");
    assert_eq!(db.forget_audit(NOW + 1).await.expect("forgotten"), 1);
}

async fn sessions_and_tokens(place: Place<'_>) {
    let db = place.open().await;
    let (user, _) = ana(&db).await;
    db.add_session("cookie", &user.id, NOW + 100, NOW).await.expect("added");
    assert!(db.session("other", NOW).await.expect("asked").is_none());
    assert!(db.session("cookie", NOW + 100).await.expect("asked").is_none(), "expired");
    assert_eq!(db.session("cookie", NOW).await.expect("asked").expect("there").user.login, "ana");
    db.touch_session("cookie", NOW + 200, NOW + 50).await.expect("touched");
    assert_eq!(db.session("cookie", NOW + 150).await.expect("asked").expect("there").last_seen_at, NOW + 50);

    let token = |hash: &'static str, expires_at| NewApiToken {
        user_id: &user.id,
        name: "bot",
        hint: "abcd",
        hash,
        scopes: "stream:read",
        expires_at,
    };
    let kept = db.add_api_token(token("kept", None), NOW).await.expect("added");
    db.add_api_token(token("brief", Some(NOW + 5)), NOW).await.expect("added");
    assert!(db.api_token("brief", NOW + 5).await.expect("asked").is_none());
    let (owner, found) = db.api_token("kept", NOW).await.expect("asked").expect("there");
    assert_eq!((owner.login.as_str(), found.scopes.as_str()), ("ana", "stream:read"));
    db.touch_api_token(&kept.id, NOW + 1).await.expect("touched");
    assert_eq!(db.api_tokens(&user.id).await.expect("listed")[0].last_used_at, Some(NOW + 1));
    db.revoke_api_token(&user.id, &kept.id, NOW).await.expect("revoked");
    assert!(matches!(db.revoke_api_token(&user.id, &kept.id, NOW).await, Err(Error::Missing(_))));
    assert!(db.api_token("kept", NOW).await.expect("asked").is_none());

    db.set_user(&user.id, Role::User, Status::Suspended, NOW).await.expect("suspended");
    assert!(db.session("cookie", NOW).await.expect("asked").is_none());
    db.add_session("again", &user.id, NOW + 100, NOW).await.expect("added");
    assert!(db.session("again", NOW).await.expect("asked").is_none(), "suspended");
    assert_eq!(db.forget_sessions(NOW + 100).await.expect("forgotten"), 1);
}

async fn channels(place: Place<'_>) {
    let db = place.open().await;
    let (user, channel) = ana(&db).await;
    let again = NewChannel { owner_id: &user.id, name: "ana", title: "", visibility: Visibility::Public };
    assert!(matches!(db.add_channel(again, NOW).await, Err(Error::Taken(_))));
    let change =
        ChannelChange { visibility: Some(Visibility::Signed), next_epoch: true, ..Default::default() };
    db.change_channel(&channel.id, change, NOW).await.expect("changed");
    let none = Rewind::default();
    db.import_channel("main", "Main", Rewind { seconds: Some(60), mib: None }, NOW).await.expect("imported");
    let main = db.channel("main").await.expect("there");
    assert_eq!(main.rewind, Rewind { seconds: Some(60), mib: None });
    db.import_channel("main", "Main stage", none, NOW).await.expect("imported again");
    assert_eq!(db.channel("main").await.expect("there").rewind, none, "as the file has it");
    assert!(matches!(db.import_channel("ana", "", none, NOW).await, Err(Error::Taken(_))));
    // What is not named stays; what is named may be nothing again.
    for (rewind_s, rewind_mib, wanted) in [
        (Some(Some(600)), Some(Some(64)), (Some(600), Some(64))),
        (None, Some(None), (Some(600), None)),
        (Some(Some(0)), None, (Some(0), None)),
        (None, None, (Some(0), None)),
        (Some(None), None, (None, None)),
    ] {
        let change = ChannelChange { rewind_s, rewind_mib, ..Default::default() };
        db.change_channel(&channel.id, change, NOW).await.expect("changed");
        let found = db.channel("ana").await.expect("there").rewind;
        assert_eq!((found.seconds, found.mib), wanted);
    }
    let all = db.channels(None, &Page::first(10)).await.expect("listed");
    let seen: Vec<_> =
        all.iter().map(|it| (it.name.as_str(), it.title.as_str(), it.visibility, it.grant_epoch)).collect();
    let expected = [("ana", "Ana", Visibility::Signed, 1), ("main", "Main stage", Visibility::Public, 0)];
    assert_eq!(seen, expected);
    assert_eq!(db.channels(Some(&user.id), &Page::first(10)).await.expect("listed").len(), 1);
    let (bo, moderator) = (db.add_user(person("bo"), NOW).await.expect("added"), ChannelRole::Moderator);
    db.set_channel_role(&channel.id, &bo.id, ChannelRole::Vip, NOW).await.expect("set");
    db.set_channel_role(&channel.id, &bo.id, moderator, NOW).await.expect("set");
    assert_eq!(db.channel_role(&channel.id, &bo.id).await.expect("asked"), Some(moderator));
    assert_eq!(db.channel_roles(&channel.id, &Page::first(10)).await.expect("listed")[0].login, "bo");
    db.remove_channel_role(&channel.id, &bo.id).await.expect("removed");
    assert_eq!(db.channel_role(&channel.id, &bo.id).await.expect("asked"), None);
    db.remove_channel(&channel.id, NOW).await.expect("removed");
    assert!(matches!(db.remove_channel(&channel.id, NOW).await, Err(Error::Missing(_))));
    for n in 0..20 {
        let name = format!("c{n}");
        let new = NewChannel { owner_id: &user.id, name: &name, title: "", visibility: Visibility::Public };
        db.add_channel(new, NOW).await.expect("below the limit");
    }
    let one_more = NewChannel { owner_id: &user.id, name: "more", title: "", visibility: Visibility::Public };
    assert!(matches!(db.add_channel(one_more, NOW).await, Err(Error::Full(_))));
}

async fn keys(place: Place<'_>) {
    let db = place.open().await;
    let (user, channel) = ana(&db).await;
    let key = |hash: &'static str| NewStreamKey {
        channel_id: &channel.id,
        name: "OBS",
        hash,
        hint: "wxyz",
        expires_at: None,
    };
    let old = db.add_stream_key(key("old"), NOW).await.expect("added");
    assert!(matches!(db.add_stream_key(key("old"), NOW).await, Err(Error::Taken(_))));
    let owner = db.key_owner("old", NOW).await.expect("asked").expect("there");
    assert_eq!((owner.channel.as_str(), owner.key_id.as_str()), ("ana", old.id.as_str()));
    db.touch_stream_key(&old.id, NOW + 1).await.expect("touched");
    assert_eq!(db.stream_keys(&channel.id).await.expect("listed")[0].last_used_at, Some(NOW + 1));

    let live = Claim { key_id: Some(&old.id), ..claim(&channel, "a", false) };
    let live = db.go_live(live, NOW).await.expect("asked").expect("free");
    assert_eq!(db.standing_streams("a").await.expect("asked"), [live]);
    assert!(db.standing_streams("b").await.expect("asked").is_empty());

    let new = db.rotate_stream_key(&old.id, key("new"), NOW + 60, NOW).await.expect("rotated");
    assert!(db.key_owner("old", NOW + 59).await.expect("asked").is_some(), "both work for a while");
    assert!(db.key_owner("new", NOW + 59).await.expect("asked").is_some());
    assert!(db.key_owner("old", NOW + 60).await.expect("asked").is_none());
    assert!(db.key_stands(&old.id).await.expect("asked"), "who is live with it stays");
    db.revoke_stream_key(&channel.id, &new.id, NOW).await.expect("revoked");
    assert!(db.key_owner("new", NOW).await.expect("asked").is_none());
    assert!(!db.key_stands(&new.id).await.expect("asked"));
    assert!(matches!(db.revoke_stream_key("chn_other", &old.id, NOW).await, Err(Error::Missing(_))));
    assert_eq!(db.standing_streams("a").await.expect("asked").len(), 1);
    db.set_user(&user.id, Role::User, Status::Suspended, NOW).await.expect("suspended");
    assert!(db.standing_streams("a").await.expect("asked").is_empty());
    db.set_user(&user.id, Role::User, Status::Active, NOW).await.expect("back");
    db.revoke_stream_key(&channel.id, &old.id, NOW).await.expect("revoked");
    assert!(db.standing_streams("a").await.expect("asked").is_empty());
    db.set_user(&user.id, Role::User, Status::Suspended, NOW).await.expect("suspended");
    assert!(db.key_owner("old", NOW).await.expect("asked").is_none());
    assert!(!db.key_stands(&old.id).await.expect("asked"));
}

fn claim<'a>(channel: &'a Channel, node_id: &'a str, continues: bool) -> Claim<'a> {
    Claim { channel_id: &channel.id, key_id: None, node_id, transport: "rtmp", continues }
}

async fn one_live_stream(place: Place<'_>) {
    let db = place.open().await;
    let (_, channel) = ana(&db).await;
    let lease = LEASE.as_millis() as i64;
    let first = db.go_live(claim(&channel, "a", false), NOW).await.expect("asked").expect("free");
    let told = |id: &str| Broadcast {
        id: id.to_owned(),
        channel_id: channel.id.clone(),
        channel: "ana".to_owned(),
        title: "Ana".to_owned(),
        stream: "s1".to_owned(),
        started_at: NOW,
    };
    assert_eq!(db.name_live_stream(&told(&first), NOW).await.expect("named"), 0, "nobody wants to hear it");
    assert_eq!(db.go_live(claim(&channel, "b", false), NOW + lease).await.expect("asked"), None, "busy");
    assert_eq!(
        db.go_live(claim(&channel, "a", true), NOW + 1).await.expect("asked"),
        Some(first.clone()),
        "its encoder came back"
    );
    // The node was killed and started again: at once.
    let second = db.go_live(claim(&channel, "a", false), NOW + 2).await.expect("asked").expect("at once");
    assert_ne!(first, second);
    // It is dead: another one takes over after the lease.
    let third = db.go_live(claim(&channel, "b", false), NOW + lease + 3).await.expect("asked").expect("free");
    let past = db.past_streams(&channel.id, &Page::first(10)).await.expect("listed");
    let seen: Vec<_> =
        past.iter().map(|it| (it.id.as_str(), it.ended_at, it.end_reason.as_deref())).collect();
    let expected = [
        (third.as_str(), None, None),
        (second.as_str(), Some(NOW + 2), Some("node_lost")),
        (first.as_str(), Some(NOW + 1), Some("node_lost")),
    ];
    assert_eq!(seen, expected);
    assert_eq!(db.renew_lease("b", NOW + lease + 4).await.expect("renewed").streams, 0);
    let ended = db.renew_lease("c", NOW + 2 * lease + 5).await.expect("renewed");
    assert_eq!(ended.streams, 1, "b is dead");
    let fourth = db.go_live(claim(&channel, "c", false), NOW).await.expect("asked").expect("free");
    db.end_live_stream(&fourth, "ended", None, NOW + 1).await.expect("ended");
    db.go_live(claim(&channel, "d", false), NOW + 2).await.expect("asked").expect("free");
    assert_eq!(db.end_streams_of("d", NOW + 3).await.expect("ended").streams, 1);
}

async fn many_go_live_at_once(place: Place<'_>) {
    let (one, other) = (place.open().await, place.open().await);
    let (_, channel) = ana(&one).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (db, channel) = (if n % 2 == 0 { one.clone() } else { other.clone() }, channel.clone());
        tasks.spawn(async move {
            let node = format!("node{n}");
            db.go_live(claim(&channel, &node, false), NOW)
                .await
                .expect("no error, whoever is first")
                .is_some()
        });
    }
    let winners = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1);
}

async fn followers(place: Place<'_>) {
    let db = place.open().await;
    let (_, channel) = ana(&db).await;
    let bo = db.add_user(person("bo"), NOW).await.expect("added");
    let cy = db.add_user(person("cy"), NOW).await.expect("added");
    db.follow(&bo.id, &channel.id, true, NOW).await.expect("follows");
    db.follow(&bo.id, &channel.id, true, NOW).await.expect("twice is once");
    db.follow(&cy.id, &channel.id, false, NOW).await.expect("quietly");
    assert_eq!(
        db.followers_to_tell(&channel.id, &Page::first(10)).await.expect("listed"),
        std::slice::from_ref(&bo.id)
    );
    assert_eq!(db.follower_count(&channel.id).await.expect("counted"), 2);
    assert_eq!(db.followed(&bo.id, &Page::first(10)).await.expect("listed"), ["ana"]);
    db.unfollow(&bo.id, &channel.id).await.expect("unfollows");
    assert!(!db.follows(&bo.id, &channel.id).await.expect("asked"));
    assert!(db.follows(&cy.id, &channel.id).await.expect("asked"));
    db.subscribe(&bo.id, &channel.id, 1, NOW + 10, NOW).await.expect("subscribes");
    db.subscribe(&bo.id, &channel.id, 2, NOW + 20, NOW).await.expect("renews");
    assert_eq!(db.subscribed_until(&bo.id, &channel.id, NOW + 19).await.expect("asked"), Some(NOW + 20));
    assert_eq!(db.subscribed_until(&bo.id, &channel.id, NOW + 20).await.expect("asked"), None);
    db.unsubscribe(&bo.id, &channel.id).await.expect("ends");
    assert_eq!(db.subscribed_until(&bo.id, &channel.id, NOW).await.expect("asked"), None);
}

async fn chats(place: Place<'_>) {
    let db = place.open().await;
    let (ana, channel) = ana(&db).await;
    let bo = db.add_user(person("bo"), NOW).await.expect("added");
    assert_eq!(db.chat_settings(&channel.id).await.expect("asked"), ChatSettings::default());
    for slow_ms in [1000, 2000] {
        let settings = ChatSettings { slow_ms, followers_only_min: Some(10), subscribers_only: true };
        db.set_chat_settings(&channel.id, settings, NOW).await.expect("set");
        assert_eq!(db.chat_settings(&channel.id).await.expect("asked"), settings);
    }
    let standing =
        async |user: &User, now: i64| db.chat_standing(&channel.id, &user.id, now).await.expect("asked");
    let known = ChatStanding { changed_at: NOW, instance_role: Some(Role::User), ..ChatStanding::default() };
    assert_eq!(standing(&ana, NOW).await, ChatStanding { owner: true, ..known.clone() });
    assert_eq!(standing(&bo, NOW).await, known);
    db.follow(&bo.id, &channel.id, false, NOW).await.expect("follows");
    db.subscribe(&bo.id, &channel.id, 1, NOW + 50, NOW).await.expect("subscribes");
    db.set_channel_role(&channel.id, &bo.id, ChannelRole::Vip, NOW).await.expect("set");
    let ban = |until, reason| NewBan {
        channel_id: &channel.id,
        user_id: &bo.id,
        moderator_id: &ana.id,
        reason,
        until,
    };
    db.ban(ban(Some(NOW + 10), "spam"), NOW).await.expect("banned");
    let expected = ChatStanding {
        role: Some(ChannelRole::Vip),
        follows_since: Some(NOW),
        subscribed_until: Some(NOW + 50),
        ban: Some(Ban { until: Some(NOW + 10), reason: "spam".to_owned() }),
        ..known
    };
    assert_eq!(standing(&bo, NOW).await, expected);
    assert_eq!(standing(&bo, NOW + 10).await.ban, None, "over");
    db.ban(ban(None, "again"), NOW + 10).await.expect("in place of the other");
    let listed = db.bans(&channel.id, &Page::first(10), NOW + 10).await.expect("listed");
    let seen: Vec<_> = listed.iter().map(|it| (it.login.as_str(), it.ban.reason.as_str())).collect();
    assert_eq!((seen, listed[0].moderator.as_deref()), (vec![("bo", "again")], Some("ana")));
    db.lift_ban(&channel.id, &bo.id, NOW + 11).await.expect("lifted");
    assert!(matches!(db.lift_ban(&channel.id, &bo.id, NOW + 11).await, Err(Error::Missing(_))));
    assert_eq!(standing(&bo, NOW + 11).await.ban, None);
    assert!(db.bans(&channel.id, &Page::first(10), NOW + 11).await.expect("listed").is_empty());
    assert!(!standing(&bo, NOW).await.closed);
    db.set_password(&bo.id, "another", NOW + 12).await.expect("set");
    assert_eq!(standing(&bo, NOW).await.changed_at, NOW + 12);
    db.set_user(&bo.id, Role::Moderator, Status::Suspended, NOW).await.expect("suspended");
    assert!(standing(&bo, NOW).await.closed);
    let nobody = db.chat_standing(&channel.id, "usr_gone", NOW).await.expect("asked");
    assert!(nobody.closed, "an account that is gone");
}

async fn grant_keys(place: Place<'_>) {
    let db = place.open().await;
    let revision = db.revisions().await.expect("asked");
    assert!(db.grant_keys(NOW).await.expect("listed").is_empty());
    let new = |id: &'static str, from: i64| NewGrantKey {
        id,
        secret_sealed: "s",
        signs_from: from,
        others_retire_at: from + 100,
        derived: "first",
    };
    let seen = async |now: i64| -> Vec<(String, Option<i64>)> {
        let keys = db.grant_keys(now).await.expect("listed");
        keys.into_iter().map(|key| (key.id, key.retires_at)).collect()
    };
    let key = |id: &str, until: Option<i64>| (id.to_owned(), until);
    assert!(matches!(db.revoke_grant_key("first").await, Err(Error::Missing(_))));
    db.rotate_grant_keys(new("second", NOW + 10), NOW).await.expect("rotated");
    assert_eq!(seen(NOW).await, [key("first", Some(NOW + 110)), key("second", None)]);
    assert_eq!(db.revisions().await.expect("asked"), (revision.0, revision.1 + 1));
    assert!(matches!(db.revoke_grant_key("second").await, Err(Error::Missing(_))), "nothing would sign");
    db.rotate_grant_keys(new("third", NOW + 50), NOW + 50).await.expect("rotated");
    let all = [key("first", Some(NOW + 110)), key("second", Some(NOW + 150)), key("third", None)];
    assert_eq!(seen(NOW + 109).await, all);
    assert_eq!(seen(NOW + 110).await, all[1..], "what it signed has expired");
    db.revoke_grant_key("second").await.expect("revoked");
    assert_eq!(seen(NOW).await, [all[0].clone(), all[2].clone()]);
    // What is retired goes with the next rotation, and there are not too many at a time.
    for n in 0..14 {
        let id: &'static str = Box::leak(format!("more{n}").into_boxed_str());
        db.rotate_grant_keys(new(id, NOW + 200), NOW + 120).await.expect("rotated");
    }
    assert_eq!(seen(0).await.len(), 15);
    db.rotate_grant_keys(new("last", NOW + 200), NOW + 120).await.expect("rotated");
    let full = db.rotate_grant_keys(new("over", NOW + 200), NOW + 120).await;
    assert!(matches!(full, Err(Error::Full(_))), "{full:?}");
}

async fn a_look_changes_nothing(place: Place<'_>) {
    let look = async || Database::look(place.url.as_deref(), place.data.path()).await;
    match look().await.expect("it answers") {
        // SQLite: there is no file, and it does not make one.
        None => assert_eq!(std::fs::read_dir(place.data.path()).expect("there").count(), 0),
        Some(look) => assert_eq!((look.schema, look.unwritable), (0, None)),
    }
    let db = place.open().await;
    let look = look().await.expect("it answers").expect("it is there");
    assert_eq!((look.engine, look.schema, look.damage), (db.engine(), look.schema_known, None));
    assert_eq!(look.unwritable, None);
    assert!(look.version.starts_with(|it: char| it.is_ascii_digit()), "{}", look.version);
    assert_eq!(look.version_number.is_some(), place.postgres.is_some());
    let dir = place.data.path().join("none");
    let wrong = Database::look(Some("postgres://nobody@127.0.0.1:1/none"), &dir).await;
    assert!(matches!(wrong, Err(Error::Open(_))), "{wrong:?}");
}

async fn many_start_at_once(place: Place<'_>) {
    let (url, data) = (place.url.clone(), place.data.path().to_owned());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (url, data) = (url.clone(), data.clone());
        tasks.spawn(async move { Database::open(url.as_deref(), &data).await.map(drop) });
    }
    for opened in tasks.join_all().await {
        opened.expect("one brings the schema up to date, the others wait");
    }
    let db = place.open().await;
    db.ping().await.expect("it answers");
    if place.postgres.is_none() {
        ana(&db).await;
        let copy = place.data.path().join("copy.db");
        db.backup(&copy).await.expect("copied while open");
        assert!(matches!(db.backup(&copy).await, Err(Error::Backup(_))), "never over another one");
        let restored = Database::open(Some(&format!("sqlite:{}", copy.display())), place.data.path())
            .await
            .expect("opens");
        assert_eq!(restored.user("ana").await.expect("there").login, "ana");
        use std::os::unix::fs::PermissionsExt;
        for file in
            [copy, place.data.path().join("swiftwater.db"), place.data.path().join("swiftwater.db-wal")]
        {
            let mode = std::fs::metadata(&file).expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is for its owner only", file.display());
        }
    }
    db.close().await;
    let wrong = Database::open(Some("mysql://x"), place.data.path()).await;
    assert!(matches!(wrong, Err(Error::Scheme)));
}
