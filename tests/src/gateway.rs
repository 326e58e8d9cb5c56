//! A client of the gateway, frame by frame.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::Stage;

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket to the gateway.
pub struct Gateway {
    socket: WebSocketStream<TcpStream>,
    frames: VecDeque<Value>,
    next_id: u64,
}

impl Gateway {
    /// Opens a socket and says nothing yet.
    pub async fn open(stage: &Stage) -> Self {
        let tcp = TcpStream::connect(stage.http_address()).await.expect("HTTP listens");
        Self::over(tcp, stage).await
    }

    /// The same over a TCP connection with options of the test's own.
    pub async fn over(tcp: TcpStream, stage: &Stage) -> Self {
        Self::connect(tcp, stage, "").await
    }

    /// With `?` and a query in its URL.
    async fn connect(tcp: TcpStream, stage: &Stage, query: &str) -> Self {
        let url = format!("ws://{}/api/v1/ws{query}", stage.http_address());
        let mut request = url.into_client_request().expect("a request");
        let protocol = HeaderValue::from_static("live.v1.json");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (socket, response) = client_async(request, tcp).await.expect("an upgrade");
        assert_eq!(response.headers()["sec-websocket-protocol"], "live.v1.json");
        Self { socket, frames: VecDeque::new(), next_id: 0 }
    }

    /// Opens a socket and is welcomed.
    pub async fn hello(stage: &Stage) -> Self {
        Self::hello_with(stage, "").await
    }

    /// The same with `?` and a query in its URL.
    pub async fn hello_with(stage: &Stage, query: &str) -> Self {
        let tcp = TcpStream::connect(stage.http_address()).await.expect("HTTP listens");
        let mut gateway = Self::connect(tcp, stage, query).await;
        gateway.send(&json!({ "type": "hello", "v": 1 })).await;
        gateway.until("welcome").await;
        gateway
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) {
        self.say(&frame.to_string()).await;
    }

    /// Sends any text.
    pub async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the socket is open");
    }

    /// Sends a request under an id of its own and waits for its answer.
    pub async fn ask(&mut self, mut request: Value) -> Value {
        self.next_id += 1;
        request["id"] = json!(self.next_id);
        self.send(&request).await;
        let id = self.next_id;
        self.find(&format!("an answer to {request}"), |frame| frame["re"] == id).await
    }

    /// Joins a channel address.
    pub async fn join(&mut self, ch: &str) -> Value {
        let joined = self.ask(json!({ "type": "join", "ch": ch })).await;
        assert_eq!(joined["type"], "joined", "{joined}");
        joined
    }

    /// Waits for the next frame of that type; frames of other types before it stay.
    pub async fn until(&mut self, kind: &str) -> Value {
        self.find(kind, |frame| frame["type"] == kind).await
    }

    /// Waits for the first frame that fits; those before it stay.
    pub async fn find(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.frames.iter().position(&fits) {
            return self.frames.remove(at).expect("found");
        }
        let search = async {
            loop {
                let known = self.frames.len();
                assert!(self.read().await.is_ok(), "closed before {what}: {:?}", self.frames);
                if let Some(at) = self.frames.iter().skip(known).position(&fits) {
                    return self.frames.remove(known + at).expect("found");
                }
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(frame) => frame,
            Err(_) => panic!("no {what} among {:?}", self.frames),
        }
    }

    /// Waits for the first frame that fits, or for the end and its code.
    pub async fn find_or_closed(&mut self, fits: impl Fn(&Value) -> bool) -> Result<Value, Option<u16>> {
        loop {
            if let Some(at) = self.frames.iter().position(&fits) {
                return Ok(self.frames.remove(at).expect("found"));
            }
            self.read().await?;
        }
    }

    /// Takes all frames of a type that have come.
    pub fn taken(&mut self, kind: &str) -> Vec<Value> {
        let (fits, rest) = self.frames.drain(..).partition(|frame| frame["type"] == kind);
        self.frames = rest;
        fits.into()
    }

    /// Reads to the end: the code of the close frame, if there is one.
    pub async fn closed(&mut self) -> Option<u16> {
        let end = async {
            loop {
                if let Err(code) = self.read().await {
                    return code;
                }
            }
        };
        tokio::time::timeout(PATIENCE, end).await.expect("the server closes the socket")
    }

    /// Reads one message; at the end the code of the close frame.
    async fn read(&mut self) -> Result<(), Option<u16>> {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let lines = text.as_str().split('\n').filter(|line| !line.is_empty());
                self.frames.extend(lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
                Ok(())
            }
            Some(Ok(Message::Close(frame))) => Err(frame.map(|frame| frame.code.into())),
            Some(Ok(_)) => Ok(()),
            Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) | Error::Protocol(_)))
            | None => Err(None),
            Some(Err(error)) => panic!("{error}"),
        }
    }
}
