use super::*;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

struct Setup {
    accounts: Arc<Accounts>,
    _data: tempfile::TempDir,
}

async fn setup(sign_up: SignUp) -> Setup {
    let data = tempfile::tempdir().expect("a directory");
    let database = Database::open(None, data.path()).await.expect("opens");
    let config = Config { sign_up, ..Config::default() };
    Setup { accounts: Accounts::new(database, Secrets::random(), config), _data: data }
}

fn secret(text: &str) -> SecretString {
    text.to_owned().into()
}

const PASSWORD: &str = "correct horse";

#[tokio::test]
async fn the_first_account_needs_the_token_of_the_log_once() {
    let setup = setup(SignUp::Closed).await;
    let accounts = &setup.accounts;
    let token = accounts.offer_setup().await.expect("asked").expect("there is no account");
    let set_up = |token: SecretString| {
        let accounts = Arc::clone(accounts);
        async move { accounts.set_up(&token, "Ana", "", secret(PASSWORD), HOME).await }
    };
    assert!(matches!(set_up(secret("setup_guess")).await, Err(Error::Forbidden(_))));
    let made = set_up(token.clone()).await.expect("made");
    assert_eq!((made.user.login.as_str(), made.user.role), ("ana", Role::Admin));
    assert!(matches!(set_up(token).await, Err(Error::Forbidden(_))), "used");
    assert!(accounts.offer_setup().await.expect("asked").is_none());
    let actor = accounts.session(&made.cookie).await.expect("asked").expect("signed in");
    assert_eq!(actor.user.login, "ana");
    accounts.log_out(&made.cookie).await.expect("signed out");
    assert!(accounts.session(&made.cookie).await.expect("asked").is_none());
}

#[tokio::test]
async fn the_policy_says_who_may_sign_up() {
    let closed = setup(SignUp::Closed).await;
    let sign_up = async |setup: &Setup, login: &str, invite: Option<&SecretString>| {
        setup.accounts.sign_up(login, "", secret(PASSWORD), invite, HOME).await
    };
    assert!(matches!(sign_up(&closed, "bo", None).await, Err(Error::Invalid(_))), "too short");
    assert!(matches!(sign_up(&closed, "bob", None).await, Err(Error::Forbidden(_))));
    let open = setup(SignUp::Open).await;
    let bob = sign_up(&open, "bob", None).await.expect("made").user;
    assert_eq!(bob.role, Role::User);
    assert!(matches!(sign_up(&open, "BOB", None).await, Err(Error::Database(db::Error::Taken(_)))));

    let invited = setup(SignUp::Invite).await;
    let admin = invited.accounts.add_user("ana", "", secret(PASSWORD), Role::Admin).await.expect("made");
    let (code, _) = invited.accounts.invite(&admin).await.expect("invited");
    assert!(matches!(sign_up(&invited, "bob", None).await, Err(Error::Forbidden(_))));
    assert!(matches!(sign_up(&invited, "bob", Some(&secret("inv_x"))).await, Err(Error::Forbidden(_))));
    assert!(sign_up(&invited, "ana", Some(&code)).await.is_err(), "taken; the invitation is not used up");
    sign_up(&invited, "bob", Some(&code)).await.expect("made");
    assert!(matches!(sign_up(&invited, "cyd", Some(&code)).await, Err(Error::Forbidden(_))), "used");
}

#[tokio::test]
async fn guessing_passwords_is_slow_and_tells_nothing() {
    let setup = setup(SignUp::Closed).await;
    let accounts = &setup.accounts;
    accounts.add_user("ana", "", secret(PASSWORD), Role::User).await.expect("made");
    accounts.log_in("Ana", secret(PASSWORD), FAR).await.expect("right");
    for attempt in 0..NETWORK_FAILURES_MAX {
        let login = if attempt % 2 == 0 { "ana" } else { "nobody" };
        let refused = accounts.log_in(login, secret("wrong horse"), FAR).await.expect_err("wrong");
        assert_eq!(refused.to_string(), "login or password is wrong");
    }
    let refused = accounts.log_in("ana", secret(PASSWORD), FAR).await;
    assert!(matches!(refused, Err(Error::TooMany { .. })), "not even the right one: {refused:?}");
    let refused = accounts.token(&secret("swt_guess"), FAR).await;
    assert!(matches!(refused, Err(Error::TooMany { .. })));
    accounts.log_in("ana", secret(PASSWORD), HOME).await.expect("from elsewhere");
    for wrong in ["swt_guess", "something else"] {
        assert!(accounts.token(&secret(wrong), HOME).await.expect("asked").is_none());
    }
    let counted = accounts.stats();
    assert_eq!((counted.tokens_wrong, counted.tokens_limited), (2, 1));
}

#[tokio::test]
async fn secrets_are_in_no_row() {
    let setup = setup(SignUp::Open).await;
    let accounts = &setup.accounts;
    let signed_in = accounts.sign_up("ana", "", secret(PASSWORD), None, HOME).await.expect("made");
    let user = &signed_in.user;
    let (row, token) =
        accounts.add_token(user, "bot", &["key:write".to_owned()], Some(60)).await.expect("made");
    assert!(token.expose_secret().ends_with(&row.hint) && row.hint.len() == 4);
    let actor = accounts.token(&token, HOME).await.expect("asked").expect("good");
    assert_eq!(actor.scopes.as_deref(), Some("key:write"));
    assert!(accounts.add_token(user, "", &["root".to_owned()], None).await.is_err());
    let new =
        db::NewChannel { owner_id: &user.id, name: "ana", title: "", visibility: db::Visibility::Public };
    let channel = accounts.database().add_channel(new, 0).await.expect("made");
    let (key_row, key) = accounts.add_stream_key(&channel.id, "", None).await.expect("made");
    let (_, newer) = accounts.rotate_stream_key(&channel.id, &key_row.id, 60).await.expect("made");
    let (code, _) = accounts.invite(user).await.expect("made");
    accounts.database().close().await;
    let mut file = std::fs::read(setup._data.path().join("swiftwater.db")).expect("there");
    file.extend(std::fs::read(setup._data.path().join("swiftwater.db-wal")).unwrap_or_default());
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains(&channel.id), "the rows are in the file");
    for secret in [
        PASSWORD,
        signed_in.cookie.expose_secret(),
        token.expose_secret(),
        key.expose(),
        newer.expose(),
        code.expose_secret(),
    ] {
        assert!(!text.contains(secret), "a secret lies in the file");
    }
}
