//! Buckets and what tells of credentials, by HTTP on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// What credentials say of their end: never, as far as a test sees.
const FAR: &str = "2099-01-01T00:00:00Z";

/// The secret that a container proves itself by, and that of a web identity.
const TOKEN: &str = "the token of this pod";

/// A bucket that lets in the key of the day, and what gives that key to machines, containers and pods.
#[derive(Default)]
struct House {
    /// What every request to the bucket is answered.
    answer: Option<(StatusCode, String)>,
    /// The number of the key that is good, and of the one that is given out.
    good: u32,
    given: u32,
    puts: usize,
    asked: usize,
}

struct Server {
    house: Arc<Mutex<House>>,
    url: String,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let house = Arc::<Mutex<House>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&house));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.expect("served") });
        Self { house, url, _tasks: tasks }
    }

    fn house(&self) -> MutexGuard<'_, House> {
        self.house.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A bucket there, by what this environment leads to.
    fn bucket(&self, environment: &[(&str, &str)]) -> Result<Bucket, Error> {
        bucket_at(&self.url, environment)
    }
}

fn bucket_at(url: &str, environment: &[(&str, &str)]) -> Result<Bucket, Error> {
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    let config = S3Config {
        bucket: Some("recordings".to_owned()),
        endpoint: Some(url.to_owned()),
        allow_http: true,
        ..S3Config::default()
    };
    let bucket = Bucket::open(&config, &|name| environment.get(name).map(|&it| it.to_owned()))?;
    Ok(bucket.expect("there is one"))
}

async fn answer(State(house): State<Arc<Mutex<House>>>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let header = |headers: &HeaderMap, name: &str| {
        headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned()
    };
    let [bearer, session, metadata] = ["authorization", "x-amz-security-token", "x-aws-ec2-metadata-token"]
        .map(|name| header(request.headers(), name));
    let query = request.uri().query().unwrap_or_default().to_owned();
    let _ = axum::body::to_bytes(request.into_body(), usize::MAX).await;
    let mut house = house.lock().unwrap_or_else(PoisonError::into_inner);
    let key = house.given;
    let json = format!(
        r#"{{"AccessKeyId":"KEY{key}","SecretAccessKey":"s3cret","Token":"session{key}","Expiration":"{FAR}"}}"#
    );
    let refused = || StatusCode::UNAUTHORIZED.into_response();
    match (method, path.as_str()) {
        // A machine of EC2 (IMDSv2).
        (Method::PUT, "/latest/api/token") => "of this session".into_response(),
        (_, path) if path.starts_with("/latest/") && metadata != "of this session" => refused(),
        (_, "/latest/meta-data/iam/security-credentials/") => "streamer".into_response(),
        (_, "/latest/meta-data/iam/security-credentials/streamer") => {
            house.asked += 1;
            json.into_response()
        }
        // A pod of EKS.
        (_, "/pod") if bearer != TOKEN => refused(),
        (_, "/pod") => json.into_response(),
        // A web identity.
        (Method::POST, "/sts") if !query.contains(&TOKEN.replace(' ', "+")) => refused(),
        (Method::POST, "/sts") => format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>KEY{key}</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey>\
             <SessionToken>session{key}</SessionToken><Expiration>{FAR}</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )
        .into_response(),
        _ => {
            house.puts += 1;
            if let Some((status, body)) = &house.answer {
                return (*status, body.clone()).into_response();
            }
            let good = house.good;
            if !bearer.contains(&format!("Credential=KEY{good}/")) || session != format!("session{good}") {
                return (StatusCode::FORBIDDEN, "<Error><Code>InvalidAccessKeyId</Code></Error>")
                    .into_response();
            }
            ([("etag", "\"1\"")], Body::empty()).into_response()
        }
    }
}

async fn put(bucket: &Bucket) -> Result<(), Fault> {
    let headers = Headers { content_type: "video/mp4", cache: "no-store", disposition: None };
    bucket.put("video/s0.m4s", Bytes::from_static(b"bytes"), &headers).await
}

#[tokio::test]
async fn a_bucket_that_is_full_is_asked_once_and_one_that_is_not_well_again() {
    let server = Server::start().await;
    let bucket = server.bucket(&[("AWS_ACCESS_KEY_ID", "KEY0"), ("AWS_SECRET_ACCESS_KEY", "s3cret")]);
    let bucket = bucket.expect("opened");
    let full = "<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum</Message></Error>";
    for (status, body, reason, tries) in [
        (507, full.to_owned(), Reason::Full, 1),
        (403, "<Error><Code>QuotaExceeded</Code></Error>".to_owned(), Reason::Full, 1),
        (413, "too large".to_owned(), Reason::Large, 1),
        (403, "<Error><Code>AccessDenied</Code></Error>".to_owned(), Reason::Denied, 1),
        (404, "<Error><Code>NoSuchBucket</Code></Error>".to_owned(), Reason::Missing, 1),
        // Only the beginning of it is read.
        (500, "<p>".repeat(1 << 20), Reason::Other, TRIES_MAX),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        server.house().answer = Some((status, body));
        let before = server.house().puts;
        let fault = put(&bucket).await.expect_err("refused");
        assert_eq!((fault.reason, server.house().puts - before), (reason, tries), "{fault}");
    }
}

#[tokio::test]
async fn what_a_server_says_before_it_has_read_all_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    // It does not read what it refuses, and hangs up.
    let router = Router::new().fallback(async || (StatusCode::INSUFFICIENT_STORAGE, "no room"));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.expect("served") });
    let bucket = bucket_at(&url, &[("AWS_ACCESS_KEY_ID", "KEY0"), ("AWS_SECRET_ACCESS_KEY", "s3cret")]);
    let bucket = bucket.expect("opened");
    let headers = Headers { content_type: "video/mp4", cache: "no-store", disposition: None };
    for len in [1, 100 << 10, PART_BYTES as usize] {
        for _ in 0..10 {
            let fault = bucket.put("video/s0.m4s", vec![7; len].into(), &headers).await.expect_err("refused");
            assert_eq!(fault.reason, Reason::Full, "{len} bytes: {fault}");
        }
    }
}

#[tokio::test]
async fn a_role_is_asked_for_its_key_and_again_when_that_is_taken_back() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    fs::write(&token, TOKEN).expect("written");
    let (token, pod, sts) =
        (token.to_str().expect("text"), format!("{}/pod", server.url), format!("{}/sts", server.url));
    let machine = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url.as_str())];
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", pod.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token),
    ];
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/live"),
        ("AWS_ENDPOINT_URL_STS", sts.as_str()),
    ];
    for environment in [&machine[..], &container, &web] {
        let bucket = server.bucket(environment).expect("opened");
        bucket.look_for_credentials().await.expect("found");
        put(&bucket).await.expect("let in");
        let asked = server.house().asked;
        put(&bucket).await.expect("let in");
        assert_eq!(server.house().asked, asked, "they are remembered");
        // Taken back: the next one is good.
        server.house().good += 1;
        server.house().given += 1;
        assert_eq!(put(&bucket).await.expect_err("refused").reason, Reason::Denied);
        put(&bucket).await.expect("let in by the new key");
    }
}

#[tokio::test]
async fn a_machine_without_a_role_is_told_what_to_do() {
    let server = Server::start().await;
    // Nobody listens there; and somebody does who knows of no role.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    server.house().answer = Some((StatusCode::NOT_FOUND, "no such thing".to_owned()));
    let elsewhere = format!("{}/elsewhere", server.url);
    for endpoint in [closed, elsewhere] {
        let bucket = server.bucket(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)]).expect("opened");
        let before = bucket.look_for_credentials().await.expect_err("there are none");
        let fault = put(&bucket).await.expect_err("there are none");
        assert_eq!((before.reason, fault.reason), (Reason::Keyless, Reason::Keyless), "{fault}");
        let text = fault.to_string();
        for words in ["access_key_id", "the role of this machine", endpoint.as_str()] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}

#[test]
fn a_file_of_authorities_that_is_none_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, words) in [
        (folder.path().join("missing"), "No such file"),
        (file("empty", ""), "no certificate"),
        (file("text", "a certificate"), "no certificate"),
        (file("broken", broken), "can be used"),
    ] {
        let why = http::Connector::new(Some(&path)).expect_err(words).to_string();
        let begin = format!("hls.s3.ca_file = {}: ", path.display());
        assert!(why.starts_with(&begin) && why.contains(words) && why.contains("PEM"), "{why}");
    }
}
