//! One socket: reads requests, writes what waits in its lanes, keeps the heartbeat.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::lanes::Lane;
use super::origin::Origin;
use super::session::Session;
use super::{Gateway, Mailbox};
use crate::protocol::{self, Refusal, Request};

/// Largest WebSocket message from a client: an SDP offer of the largest browser, with room.
pub(super) const FRAME_BYTES_MAX: usize = 64 * 1024;

/// A socket that says nothing at first is of nobody.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence after which we ask whether the client is there. Browsers cannot see WebSocket pings, so the
/// heartbeat is a frame of ours.
const HEARTBEAT: Duration = Duration::from_secs(25);

/// How long the client may take to answer it.
const PONG_TIMEOUT: Duration = Duration::from_secs(8);

/// A write that takes longer is to a socket that does not drain.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests of one message that are answered before the answers are written: half of what may wait.
const LINES_PER_WRITE: usize = 32;

/// Requests that a client may send at once, and how many more per second. A player sends a handful per
/// minute; chat has its own, tighter limit.
const REQUESTS_BURST: f64 = 60.0;
const REQUESTS_PER_SECOND: f64 = 20.0;

/// Why a socket is closed. 4000 to 4499: come back; 4500 and up: do not.
#[derive(Clone, Copy)]
enum Close {
    GoingAway = 4000,
    PingTimeout = 4001,
    HelloTimeout = 4003,
    BadToken = 4004,
    SlowConsumer = 4008,
    BadProtocol = 4501,
    UnsupportedVersion = 4502,
    Replaced = 4505,
}

/// Runs a socket from its upgrade to its end.
pub(super) async fn run(gateway: Arc<Gateway>, origin: Origin, mut socket: WebSocket) {
    let counters = &gateway.counters;
    counters.connections.fetch_add(1, Ordering::Relaxed);
    counters.opened.fetch_add(1, Ordering::Relaxed);
    let close = match timeout(HELLO_TIMEOUT, hello(&gateway, &mut socket)).await {
        Err(_) => Some(Close::HelloTimeout),
        Ok(Err(close)) => close,
        Ok(Ok(mut session)) => {
            session.set_origin(origin);
            session.attend(&gateway);
            let mailbox = session.mailbox();
            let wanted = gateway.sessions.activate(&session);
            let close = tokio::select! {
                biased;
                () = wanted.cancelled() => Some(Close::Replaced),
                close = serve(&gateway, &mut socket, &mailbox, &mut session) => close,
            };
            session.leave_all(&gateway);
            counters.gaps.fetch_add(mailbox.lock().take_gaps(), Ordering::Relaxed);
            gateway.sessions.release(session, super::now());
            close
        }
    };
    if let Some(close) = close {
        let frame = CloseFrame { code: close as u16, reason: reason(close).into() };
        // The client may be gone already.
        let _ = timeout(WRITE_TIMEOUT, socket.send(Message::Close(Some(frame)))).await;
    }
    counters.connections.fetch_sub(1, Ordering::Relaxed);
}

const fn reason(close: Close) -> &'static str {
    match close {
        Close::GoingAway => "going_away",
        Close::PingTimeout => "ping_timeout",
        Close::HelloTimeout => "hello_timeout",
        Close::BadToken => "bad_token",
        Close::SlowConsumer => "slow_consumer",
        Close::BadProtocol => "bad_protocol",
        Close::UnsupportedVersion => "unsupported_version",
        Close::Replaced => "replaced",
    }
}

/// Waits for `hello` and answers `welcome`.
async fn hello(gateway: &Arc<Gateway>, socket: &mut WebSocket) -> Result<Session, Option<Close>> {
    let Some(Ok(message)) = socket.next().await else { return Err(None) };
    let Message::Text(text) = message else { return Err(Some(Close::BadProtocol)) };
    let Ok(Request::Hello { v, name, token, resume }) = protocol::parse(text.as_str()) else {
        return Err(Some(Close::BadProtocol));
    };
    if v != 1 {
        return Err(Some(Close::UnsupportedVersion));
    }
    let account = match token.map(|token| gateway.parts.authority.identify(&token)) {
        None => None,
        Some(Ok(account)) => Some(account),
        // Too old, mostly: with a new one the client is welcome.
        Some(Err(_)) => return Err(Some(Close::BadToken)),
    };
    let resumed = match resume {
        Some(resume) => gateway.sessions.take(&resume.session).await,
        None => None,
    };
    let was_resumed = resumed.is_some();
    if was_resumed {
        gateway.counters.resumed.fetch_add(1, Ordering::Relaxed);
    }
    let mut session = resumed.unwrap_or_else(|| Session::new(name.as_deref()));
    session.identify(account, name.as_deref());
    let chat = gateway.parts.chat.config();
    let welcome = json!({
        "type": "welcome", "session": session.id(), "resumed": was_resumed, "user": session.user(),
        "heartbeatMs": HEARTBEAT.as_millis() as u64, "maxFrame": FRAME_BYTES_MAX, "serverTime": unix_millis(),
        "features": ["rtc", "chat"],
        "limits": { "msgs": chat.messages_max, "windowMs": chat.window_ms, "textMax": chat.text_chars_max },
    });
    if socket.send(Message::Text(welcome.to_string().into())).await.is_err() {
        // Gone again already: its picture plays on for the next one.
        gateway.sessions.release(session, super::now());
        return Err(None);
    }
    Ok(session)
}

/// Serves a welcomed session; says why to close, or `None` if the client left.
async fn serve(
    gateway: &Arc<Gateway>,
    socket: &mut WebSocket,
    mailbox: &Mailbox,
    session: &mut Session,
) -> Option<Close> {
    let mut budget = Budget { left: REQUESTS_BURST, at: Instant::now() };
    let mut quiet_until = Instant::now() + HEARTBEAT;
    let mut pong_by: Option<Instant> = None;
    // What came while a resumed session had no socket.
    mailbox.wake();
    loop {
        let deadline = pong_by.map_or(quiet_until, |pong_by| pong_by.min(quiet_until));
        tokio::select! {
            biased;
            () = gateway.stop.cancelled() => return Some(Close::GoingAway),
            () = mailbox.ready() => {
                if let Err(close) = write_waiting(gateway, socket, mailbox).await {
                    return close;
                }
                quiet_until = Instant::now() + HEARTBEAT;
            }
            message = socket.next() => {
                let text = match message {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(Message::Binary(_))) => return Some(Close::BadProtocol),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_))) | None => return None,
                    // Too long, or no WebSocket frame at all. If the network failed nobody will read why.
                    Some(Err(_)) => return Some(Close::BadProtocol),
                };
                pong_by = None;
                for (number, line) in text.as_str().split('\n').filter(|line| !line.is_empty()).enumerate() {
                    // The answers to one long message must not fill the lane that they wait in, nor memory.
                    if (number % LINES_PER_WRITE == LINES_PER_WRITE - 1 || mailbox.lock().is_laden())
                        && let Err(close) = write_waiting(gateway, socket, mailbox).await
                    {
                        return close;
                    }
                    gateway.counters.frames_in.fetch_add(1, Ordering::Relaxed);
                    let answer = if budget.take() {
                        answer(gateway, mailbox, session, line).await
                    } else {
                        let text = "too many requests: wait a second";
                        Some(Refusal::retryable(None, "rate_limited", text).frame())
                    };
                    if let Some(answer) = answer {
                        mailbox.push(Lane::Control, answer.to_string().into());
                    }
                    if session.signed_out() {
                        // A client that has a session fetches a new token; the others come back as guests.
                        return write_waiting(gateway, socket, mailbox).await.err().unwrap_or(Some(Close::BadToken));
                    }
                }
            }
            () = sleep_until(deadline) => {
                if pong_by.is_some_and(|pong_by| Instant::now() >= pong_by) {
                    return Some(Close::PingTimeout);
                }
                mailbox.push(Lane::Control, json!({ "type": "ping", "t": unix_millis() }).to_string().into());
                pong_by = Some(Instant::now() + PONG_TIMEOUT);
                quiet_until = Instant::now() + HEARTBEAT;
            }
        }
    }
}

/// Writes what waits. An error says why to close; without a reason if the client is gone.
async fn write_waiting(
    gateway: &Gateway,
    socket: &mut WebSocket,
    mailbox: &Mailbox,
) -> Result<(), Option<Close>> {
    if mailbox.lock().overflowed() {
        gateway.counters.slow_consumers.fetch_add(1, Ordering::Relaxed);
        return Err(Some(Close::SlowConsumer));
    }
    loop {
        let Some(message) = mailbox.lock().pop() else { return Ok(()) };
        match timeout(WRITE_TIMEOUT, socket.send(Message::Text(message.into()))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(None),
            Err(_) => {
                gateway.counters.slow_consumers.fetch_add(1, Ordering::Relaxed);
                return Err(Some(Close::SlowConsumer));
            }
        }
    }
}

async fn answer(
    gateway: &Arc<Gateway>,
    mailbox: &Mailbox,
    session: &mut Session,
    line: &str,
) -> Option<serde_json::Value> {
    let result = match protocol::parse(line) {
        Ok(request) => session.handle(gateway, mailbox, request).await,
        Err(refusal) => Err(refusal),
    };
    match result {
        Ok(answer) => answer,
        Err(refusal) => {
            gateway.counters.bad_frames.fetch_add(1, Ordering::Relaxed);
            debug!(code = refusal.code, message = %refusal.message, "gateway request refused");
            Some(refusal.frame())
        }
    }
}

/// A token bucket over requests.
struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * REQUESTS_PER_SECOND;
        self.left = (self.left + gained).min(REQUESTS_BURST);
        self.at = now;
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[expect(clippy::disallowed_methods, reason = "clients measure latency against our wall clock")]
fn unix_millis() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
}
