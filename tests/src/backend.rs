//! Hook backends: a real one, written for SRS with FastAPI, and broken ones.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use control::hooks::HookUrl;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::process::setting;

/// `tests/hooks/backend.py`, served by uvicorn on a port of the kernel's choice.
pub struct HookBackend {
    server: Child,
    base: String,
}

impl HookBackend {
    /// Starts it and waits until it listens.
    pub async fn start() -> Self {
        tokio::task::spawn_blocking(Self::start_blocking).await.expect("it ran")
    }

    fn start_blocking() -> Self {
        let python = setting("SWIFTWATER_TEST_HOOKS_PYTHON").unwrap_or_else(|| {
            let home = setting("HOME").unwrap_or_default();
            format!("{home}/.cache/swiftwater/hooks/bin/python")
        });
        let mut server = Command::new(&python)
            .args(["-m", "uvicorn", "backend:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{python}: {error}; bin/test installs it"));
        let mut said = Vec::new();
        let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines();
        let base = loop {
            let Some(Ok(line)) = lines.next() else { panic!("the backend ended: {said:?}") };
            if let Some((_, rest)) = line.split_once("running on http://") {
                break format!("http://{}", rest.split_whitespace().next().expect("an address"));
            }
            said.push(line);
        };
        // Whatever else it says goes nowhere, but it must not block on it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { server, base }
    }

    /// A URL of it, as it stands in the configuration.
    pub fn hook(&self, path: &str) -> Vec<HookUrl> {
        vec![HookUrl::parse(&format!("{}{path}", self.base)).expect("a URL")]
    }

    /// The bodies of this action that it was sent.
    pub async fn heard(&self, action: &str) -> Vec<Value> {
        let response = reqwest::get(format!("{}/heard", self.base)).await.expect("the backend answers");
        let heard: Vec<Value> = response.json().await.expect("JSON");
        heard.into_iter().filter(|hook| hook["action"] == action).collect()
    }
}

impl Drop for HookBackend {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A backend that fails: it answers every request with the same bytes, or not at all.
pub struct BrokenBackend {
    url: Vec<HookUrl>,
    _tasks: JoinSet<()>,
}

impl BrokenBackend {
    /// Nobody listens on its port.
    pub async fn dead() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self { url: url_of(&listener), _tasks: JoinSet::new() }
    }

    /// It takes connections and says nothing.
    pub async fn slow() -> Self {
        Self::answering(None).await
    }

    /// It says these bytes.
    pub async fn lying(answer: &'static str) -> Self {
        Self::answering(Some(answer)).await
    }

    async fn answering(answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = url_of(&listener);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut request = [0; 4096];
                    while matches!(socket.read(&mut request).await, Ok(1..)) {
                        if let Some(answer) = answer {
                            let _ = socket.write_all(answer.as_bytes()).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { url, _tasks: tasks }
    }

    /// Its URL, as it stands in the configuration.
    pub fn hook(&self) -> Vec<HookUrl> {
        self.url.clone()
    }
}

fn url_of(listener: &TcpListener) -> Vec<HookUrl> {
    let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
    vec![HookUrl::parse(&url).expect("a URL")]
}
