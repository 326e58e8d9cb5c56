//! What tells a machine of EC2 of its role (IMDSv2): each time that it is asked it gives out another key for a [`Bucket`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::bucket::{Bucket, Door, Key};

/// Keys that are good at a time: the one before the last is still in use somewhere.
const GOOD: usize = 2;

/// The role of the machine.
const ROLE: &str = "streamer";

/// What a session with it goes by.
const SESSION: &str = "a session of the tests";

/// It, on loopback.
pub struct Machine {
    house: Arc<House>,
    url: String,
    _tasks: JoinSet<()>,
}

struct House {
    door: Door,
    has_role: AtomicBool,
    lasts: Mutex<Duration>,
    given: AtomicU64,
}

impl Machine {
    /// Gives out keys of that bucket, as soon as there is a role.
    pub async fn start(bucket: &Bucket) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let house = Arc::new(House {
            door: bucket.door.clone(),
            has_role: AtomicBool::new(false),
            lasts: Mutex::default(),
            given: AtomicU64::new(0),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&house));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.expect("served") });
        Self { house, url, _tasks: tasks }
    }

    /// The variable of the environment that leads here.
    pub fn variable(&self) -> (&'static str, &str) {
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.url)
    }

    /// There is a role, and from now on its keys say that they are good for so long.
    pub fn give(&self, lasts: Duration) {
        *self.house.lasts.lock().unwrap_or_else(PoisonError::into_inner) = lasts;
        self.house.has_role.store(true, Ordering::Release);
    }

    /// All keys that were given out are good no more, whatever they said.
    pub fn revoke(&self) {
        self.house.door.keys().clear();
    }

    /// Keys that were given out.
    pub fn given(&self) -> u64 {
        self.house.given.load(Ordering::Acquire)
    }
}

async fn answer(State(house): State<Arc<House>>, request: Request) -> Response {
    let session = request.headers().get("x-aws-ec2-metadata-token").map(|it| it.as_bytes());
    let roles = "/latest/meta-data/iam/security-credentials/";
    match (request.method().clone(), request.uri().path()) {
        (Method::PUT, "/latest/api/token") => SESSION.into_response(),
        _ if session != Some(SESSION.as_bytes()) => StatusCode::UNAUTHORIZED.into_response(),
        _ if !house.has_role.load(Ordering::Acquire) => StatusCode::NOT_FOUND.into_response(),
        (Method::GET, path) if path == roles => ROLE.into_response(),
        (Method::GET, path) if path.strip_prefix(roles) == Some(ROLE) => house.give().into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl House {
    #[expect(clippy::disallowed_methods, reason = "keys say by the clock until when they are good")]
    fn give(&self) -> String {
        let number = self.given.fetch_add(1, Ordering::AcqRel);
        let key = Key {
            id: format!("ASIATEST{number}"),
            secret: format!("the secret of key {number}"),
            session: Some(format!("the session of key {number}")),
        };
        let until = SystemTime::now() + *self.lasts.lock().unwrap_or_else(PoisonError::into_inner);
        let said = json!({ "Code": "Success", "AccessKeyId": key.id, "SecretAccessKey": key.secret, "Token": key.session,
                           "Expiration": written(until) });
        let mut keys = self.door.keys();
        keys.push_back(key);
        while keys.len() > GOOD {
            keys.pop_front();
        }
        said.to_string()
    }
}

/// A time as in RFC 3339, in UTC, of this century.
fn written(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut month) = (1970, 1);
    let leaps = |year: u64| year.is_multiple_of(4);
    while days >= 365 + u64::from(leaps(year)) {
        days -= 365 + u64::from(leaps(year));
        year += 1;
    }
    for length in [31, 28 + u64::from(leaps(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        (days, month) = (days - length, month + 1);
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_348_800, "2026-11-22T12:00:00Z"),
        ] {
            assert_eq!(written(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
