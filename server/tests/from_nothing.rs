//! The binary alone, from an empty directory to a stream on the air: by the API with the token of its log, and by commands.
//! The encoder is the binary too, so that nothing else is installed.

#[path = "../../tests/src/postgres.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest of it")]
mod postgres;
#[path = "../../tests/src/wait.rs"]
#[allow(unreachable_pub, reason = "of the crate of tests")]
mod wait;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use postgres::Postgres;
use wait::eventually;

const BINARY: &str = env!("CARGO_BIN_EXE_swiftwater");

/// For a machine that compiles beside it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A child of ours, which ends with its handle.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary with this data directory, and this database if it is not the file in there.
fn swiftwater(data: &Path, url: Option<&str>, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    let (first, rest) = arguments.split_first().expect("a command");
    command.arg(first).arg("--data").arg(data).args(rest).stdin(Stdio::null());
    if let Some(url) = url {
        command.env("SWIFTWATER__DATABASE__URL", url);
    }
    command
}

/// Runs a command to its end; what it printed.
fn run(data: &Path, url: Option<&str>, arguments: &[&str]) -> String {
    let output = swiftwater(data, url, arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// What stands behind `before` in a text, up to a space, a comma or the end of the line.
fn behind<'a>(text: &'a str, before: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}")).1;
    rest.split([' ', ',', '\n']).next().expect("a piece")
}

/// A server, and what it said when it was up.
fn serve(data: &Path, url: Option<&str>) -> (Running, String) {
    let ports = ["serve", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtc-port", "0"];
    let mut command = swiftwater(data, url, &ports);
    let mut server =
        Running(command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts"));
    let mut lines = BufReader::new(server.0.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let mut greeting = String::new();
    // The last of its lines at the first start.
    while !greeting.contains("no account yet") {
        greeting.push_str(&lines.next().unwrap_or_else(|| panic!("it ended: {greeting}")));
        greeting.push('\n');
    }
    // Whoever writes into a closed pipe dies of it.
    std::thread::spawn(move || lines.for_each(drop));
    (server, greeting)
}

/// The page at `http`, for one person.
struct Api {
    http: String,
    cookie: String,
}

impl Api {
    /// Asks; what was answered, which sets the cookie if it signs somebody in.
    async fn ask(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut socket = TcpStream::connect(&self.http).await.expect("HTTP listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncookie: {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.http,
            self.cookie,
            body.len()
        );
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        if head.contains("set-cookie: ") {
            self.cookie = behind(head, "set-cookie: ").trim_end_matches(';').to_owned();
        }
        // It may come in chunks.
        let (begin, end) = (body.find('{').expect("JSON"), body.rfind('}').expect("JSON"));
        serde_json::from_str(&body[begin..=end]).expect("JSON")
    }

    async fn live(&mut self, channel: &str) {
        let what = format!("{channel} is live");
        eventually(&what, PATIENCE, async || {
            let listed = self.ask("GET", "/api/v1/streams", &json!({})).await;
            let items = listed["items"].as_array().expect("a list");
            items.iter().any(|it| it["channel"] == channel).then_some(())
        })
        .await;
    }
}

/// Publishes what the server is told to take from an encoder.
fn publish(server: &str, key: &str) -> Running {
    let mut demo = Command::new(BINARY);
    demo.args(["demo", "--url", server]).env("SWIFTWATER_STREAM_KEY", key);
    demo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(demo.spawn().expect("it starts"))
}

async fn from_nothing_to_live(url: Option<&str>) {
    let data = tempfile::tempdir().expect("an empty directory");
    let (_server, greeting) = serve(data.path(), url);
    let http = behind(&greeting, "open http://localhost:").trim_end_matches('/');
    let mut api = Api { http: format!("127.0.0.1:{http}"), cookie: String::new() };
    let rtmp = behind(&greeting, "OBS server ").replace("localhost", "127.0.0.1");

    // By the API: the token of the log, an account, a channel, a key, an encoder.
    let token = behind(&greeting, "with the token ");
    let account = json!({ "token": token, "login": "ana", "password": "correct horse" });
    assert_eq!(api.ask("POST", "/api/v1/setup", &account).await["role"], "admin");
    api.ask("POST", "/api/v1/channels", &json!({ "name": "ana" })).await;
    let made = api.ask("POST", "/api/v1/channels/ana/keys", &json!({})).await;
    let by_api = publish(&rtmp, made["secret"].as_str().expect("shown once"));
    api.live("ana").await;

    // By commands, beside the server.
    let run = |arguments: &[&str]| run(data.path(), url, arguments);
    assert!(run(&["user", "add", "bob"]).contains("password: "));
    run(&["channel", "add", "bob", "--owner", "bob"]);
    let printed = run(&["key", "add", "bob"]);
    let by_command = publish(&rtmp, behind(&printed, "stream key, shown this once: "));
    api.live("bob").await;

    // With the key of the first start, without any account.
    let first = publish(&rtmp, behind(&greeting, "stream key "));
    api.live("main").await;
    drop((by_api, by_command, first));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    from_nothing_to_live(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let postgres = Postgres::start();
    let url = postgres.database();
    from_nothing_to_live(Some(&url)).await;
}
