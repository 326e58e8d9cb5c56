//! An entrance: takes a browser's broadcast by WHIP and keeps it on a tape, with nothing of ours in between. What is apart
//! there was apart when it was captured.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{Tape, Viewer};

/// The page comes from elsewhere: it asks whether it may.
const WELCOME: [(&str, &str); 4] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-headers", "authorization, content-type"),
    ("access-control-expose-headers", "location"),
    ("content-type", "application/sdp"),
];

/// Serves WHIP to one publisher.
pub struct Entrance {
    origin: String,
    guests: mpsc::Receiver<(Viewer, String)>,
    _task: JoinSet<()>,
}

impl Entrance {
    /// Opens. What comes in is kept on `tape`.
    pub async fn open(tape: &Tape) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("bound"));
        let (arrived, guests) = mpsc::channel(1);
        let tape = tape.clone();
        let whip = async move |offer: String| {
            let (guest, answer) = Viewer::answer(&offer, &tape).await;
            arrived.send((guest, answer.clone())).await.expect("somebody waits");
            (StatusCode::CREATED, WELCOME, [("location", "/session")], answer)
        };
        let router = Router::new().route("/whip/{channel}", post(whip).options(async || WELCOME));
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, router).await.expect("served") });
        Self { origin, guests, _task: task }
    }

    /// `http://127.0.0.1:port`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Who publishes, and the answer that it got.
    pub async fn guest(&mut self) -> (Viewer, String) {
        self.guests.recv().await.expect("it serves")
    }
}
