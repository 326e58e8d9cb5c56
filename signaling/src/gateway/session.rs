//! What a viewer has on the gateway: a name, memberships, peer connections. Outlives its socket.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chat::{Message, Refused, User};
use control::{Denied, Grant, Identity, Silenced, hooks};
use media::{ChannelName, Kind, Reordering, Stream};
use serde_json::{Value, json};
use sfu::{PeerEvent, PeerHandle};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::guest::{clean_name, guest, random_hex};
use super::lanes::Lane;
use super::origin::Origin;
use super::{Gateway, HOME, Mailbox, account_address, address, hls_url, layers, online};
use crate::protocol::{Id, Refusal, Request, Since, with_re};

/// Peer connections of one session: one plays, one may be starting beside it, and room for a mistake.
const PEERS_MAX: usize = 4;

/// Channels of one session.
const CHANNELS_MAX: usize = 16;

/// Messages of history at a join, if the client does not say.
const HISTORY_DEFAULT: usize = 50;

/// Bytes of history in one answer. A slow line takes a second for it; the socket's write buffer holds twice
/// as much. Who asks for more gets the newest, and is told of the hole.
const HISTORY_BYTES_MAX: usize = 128 * 1024;

/// Between two `rtc.stats`: each is a question to a shard, and its figures are those of seconds.
const STATS_INTERVAL: Duration = Duration::from_secs(10);

/// One viewer.
pub(super) struct Session {
    id: String,
    user: User,
    /// What waits for the client, also while it has no socket.
    mailbox: Mailbox,
    joined: BTreeSet<String>,
    /// Grants that were shown, by channel address. Of joined channels only, so they are as few.
    grants: HashMap<String, String>,
    /// The user is an account, not a guest.
    signed_in: bool,
    /// When it showed who it is, in unix seconds.
    since: i64,
    /// What it showed counts no more.
    signed_out: bool,
    peers: HashMap<String, Playing>,
    next_peer: u64,
    stats_asked: Option<Instant>,
    /// From where its socket comes.
    origin: Origin,
    /// Ends the tasks that follow this session's peers.
    gone: CancellationToken,
}

struct Playing {
    handle: PeerHandle,
    /// What it was answered last: an ICE restart changes a few lines of it.
    answer: String,
    /// Ends with the peer.
    watch: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

impl Session {
    /// A fresh session of a guest.
    pub(super) fn new(name: Option<&str>) -> Self {
        Self {
            id: format!("s_{}", random_hex::<22>()),
            user: guest(name),
            mailbox: Mailbox::default(),
            joined: BTreeSet::new(),
            grants: HashMap::new(),
            signed_in: false,
            since: 0,
            signed_out: false,
            peers: HashMap::new(),
            next_peer: 0,
            stats_asked: None,
            origin: Origin::default(),
            gone: CancellationToken::new(),
        }
    }

    /// The secret by which it is resumed.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Who speaks.
    pub(super) fn user(&self) -> &User {
        &self.user
    }

    /// Who speaks from now on: the account that the socket's `hello` showed. A session outlives its sockets and so a
    /// sign-out: without an account whoever was signed in is another guest, with the same picture.
    pub(super) fn identify(&mut self, account: Option<Identity>, name: Option<&str>) {
        self.signed_out = false;
        match account {
            Some(Identity { id, login, name, since }) => {
                self.user = User { id, login, display: name, badges: Vec::new() };
                self.signed_in = true;
                self.since = since;
            }
            None if self.signed_in => {
                self.user = guest(name);
                self.signed_in = false;
            }
            None => {}
        }
    }

    /// It has to show anew who it is.
    pub(super) fn signed_out(&self) -> bool {
        self.signed_out
    }

    /// An account hears on its own address what concerns it.
    pub(super) fn attend(&self, gateway: &Gateway) {
        if self.signed_in {
            gateway.presence.join(&account_address(&self.user.id), &self.mailbox);
        }
    }

    /// It has a socket again, which comes from there.
    pub(super) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// What waits for the client.
    pub(super) fn mailbox(&self) -> Mailbox {
        Arc::clone(&self.mailbox)
    }

    /// There is a picture to keep alive.
    pub(super) fn worth_keeping(&mut self) -> bool {
        self.forget_closed();
        !self.peers.is_empty()
    }

    /// Leaves every channel: the socket is gone. Joining again is the client's part.
    pub(super) fn leave_all(&mut self, gateway: &Gateway) {
        for ch in std::mem::take(&mut self.joined) {
            gateway.presence.leave(&ch, &self.mailbox);
        }
        self.grants.clear();
        if self.signed_in {
            gateway.presence.leave(&account_address(&self.user.id), &self.mailbox);
        }
        self.mailbox.lock().park();
    }

    /// Peers that are over need no place; the client has heard of it.
    fn forget_closed(&mut self) {
        self.peers.retain(|_, playing| !playing.watch.is_finished());
    }

    /// Answers one request; `None` if it has no answer.
    pub(super) async fn handle(
        &mut self,
        gateway: &Arc<Gateway>,
        mailbox: &Mailbox,
        request: Request,
    ) -> Result<Option<Value>, Refusal> {
        match request {
            Request::Hello { .. } => Err(Refusal::new(None, "bad_request", "hello was said already")),
            Request::Pong {} | Request::Candidate {} => Ok(None),
            Request::Join { id, ch, since, history, token } => {
                self.join(gateway, mailbox, id, &ch, since, history, token).await.map(Some)
            }
            Request::Leave { id, ch } => {
                self.grants.remove(&ch);
                if self.joined.remove(&ch) {
                    gateway.presence.leave(&ch, mailbox);
                }
                Ok(id.map(|id| json!({ "type": "left", "re": id, "ch": ch })))
            }
            Request::Message { id, ch, text } => self.say(gateway, id, &ch, &text).await,
            Request::Name { id, name } => {
                if self.signed_in {
                    return Err(Refusal::new(id, "forbidden", "an account has the name of its account"));
                }
                let Some(name) = clean_name(&name) else {
                    return Err(Refusal::new(
                        id,
                        "bad_request",
                        "a name has 1 to 25 letters, digits, '_' or '-'",
                    ));
                };
                self.user.display = name;
                Ok(id.map(|id| json!({ "type": "ack", "re": id, "user": self.user })))
            }
            Request::Play { id, ch, sdp, token } => {
                let token = token.or_else(|| self.grants.get(&ch).cloned());
                self.play(gateway, mailbox, id, &ch, &sdp, token.as_deref()).await.map(Some)
            }
            Request::Restart { id, pc, sdp } => self.restart(gateway, id, &pc, &sdp).map(Some),
            Request::Pause { id, pc, kind } => self.with_kind(id, &pc, &kind, PeerHandle::pause),
            Request::ResumeKind { id, pc, kind } => self.with_kind(id, &pc, &kind, PeerHandle::resume),
            Request::Layer { id, pc, rid, max_height } => self.choose(id, &pc, rid.as_deref(), max_height),
            Request::Stats { id, pc } => self.stats(gateway, id, &pc).await.map(Some),
            Request::Close { id, pc } => {
                self.peers.remove(&pc);
                Ok(id.map(|id| json!({ "type": "ack", "re": id })))
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of the request")]
    async fn join(
        &mut self,
        gateway: &Arc<Gateway>,
        mailbox: &Mailbox,
        id: Id,
        ch: &str,
        since: Option<Since>,
        history: Option<usize>,
        token: Option<String>,
    ) -> Result<Value, Refusal> {
        if self.joined.len() >= CHANNELS_MAX && !self.joined.contains(ch) {
            return Err(Refusal::new(Some(id), "conflict", "too many channels on one socket"));
        }
        if ch == HOME {
            self.joined.insert(ch.to_owned());
            gateway.presence.join(ch, mailbox);
            let streams = gateway.parts.hub.streams();
            let listed = streams.iter().filter(|stream| gateway.is_listed(stream.channel()));
            let live: Vec<Value> = listed.map(|stream| online(stream)).collect();
            return Ok(
                json!({ "type": "joined", "re": id, "ch": ch, "epoch": "", "seq": 0, "recovered": false,
                              "history": [], "live": live }),
            );
        }
        let grant = grant_for(gateway, &id, ch, token.as_deref()).await?;
        let channel = grant.channel;
        let hls = hls_url(&channel, token.as_deref().filter(|_| !grant.public));
        if let Some(token) = token.filter(|_| !grant.public) {
            self.grants.insert(ch.to_owned(), token);
        }
        let limit = history.unwrap_or(HISTORY_DEFAULT).min(gateway.parts.chat.config().history_max);
        let seen = since.as_ref().map(|since| (since.epoch.as_str(), since.seq));
        self.joined.insert(ch.to_owned());
        if let Some(deserted) = gateway.presence.join(ch, mailbox) {
            follow_room(gateway, ch, deserted);
        }
        let joined = gateway.parts.chat.join(ch, seen, limit);
        let history = newest_that_fit(&joined.history);
        let recovered = joined.recovered && history.len() == joined.history.len();
        let live = gateway.parts.hub.stream(&channel).map(|stream| online(&stream));
        Ok(json!({
            "type": "joined", "re": id, "ch": ch, "epoch": joined.epoch, "seq": joined.seq,
            "recovered": recovered, "history": history, "live": live,
            "hls": hls, "you": { "roles": ["viewer"], "user": self.user },
        }))
    }

    async fn say(
        &mut self,
        gateway: &Gateway,
        id: Option<Id>,
        ch: &str,
        text: &str,
    ) -> Result<Option<Value>, Refusal> {
        if !self.joined.contains(ch) || ch == HOME {
            return Err(Refusal::new(id, "not_joined", "join the channel first"));
        }
        let slow_ms = self.may_speak(gateway, &id, ch).await?;
        let guest = self.origin.remote.filter(|_| !self.signed_in);
        if let Some(wait) = guest.and_then(|remote| gateway.guests.wait(remote, super::now())) {
            gateway.counters.guests_slowed.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(slowmode(ch, id.as_ref(), wait)));
        }
        match gateway.parts.chat.post(ch, self.user.clone(), text, slow_ms) {
            Ok(message) => {
                gateway.counters.messages.fetch_add(1, Ordering::Relaxed);
                if let Some(remote) = guest {
                    gateway.guests.note(remote, super::now());
                }
                Ok(id.map(|id| json!({ "type": "ack", "re": id, "id": message.id, "seq": message.seq })))
            }
            Err(Refused::SlowMode { wait_ms }) => {
                gateway.counters.slowmode.fetch_add(1, Ordering::Relaxed);
                Ok(Some(slowmode(ch, id.as_ref(), Duration::from_millis(wait_ms))))
            }
            Err(Refused::Empty) => Err(Refusal::new(id, "bad_request", "the message is empty")),
            Err(Refused::TooLong) => Err(Refusal::new(id, "too_long", "the message is too long")),
        }
    }

    /// How far apart messages must be, if one may speak at all.
    async fn may_speak(&mut self, gateway: &Gateway, id: &Option<Id>, ch: &str) -> Result<u64, Refusal> {
        let name = ch.strip_prefix("stream:").and_then(|name| ChannelName::parse(name).ok());
        let known = name.and_then(|name| gateway.parts.authority.channel(&name));
        // One of no database has no rules.
        let Some(channel) = known.filter(|channel| !channel.id.is_empty()) else { return Ok(0) };
        let account = self.signed_in.then_some((self.user.id.as_str(), self.since));
        let asked = gateway.parts.moderation.may_speak(&channel, account).await;
        self.signed_out = asked == Err(Silenced::SignedOut);
        let speaker = asked.map_err(|silenced| {
            gateway.counters.silenced.fetch_add(1, Ordering::Relaxed);
            let code = match silenced {
                Silenced::Banned(_) => "banned",
                Silenced::FollowersOnly { .. } => "followers_only",
                Silenced::SubscribersOnly => "subscribers_only",
                _ => "forbidden",
            };
            Refusal::new(id.clone(), code, silenced.to_string())
        })?;
        Ok(speaker.slow_ms)
    }

    async fn play(
        &mut self,
        gateway: &Arc<Gateway>,
        mailbox: &Mailbox,
        id: Id,
        ch: &str,
        sdp: &str,
        token: Option<&str>,
    ) -> Result<Value, Refusal> {
        let grant = grant_for(gateway, &id, ch, token).await?;
        let channel = grant.channel;
        let hls = hls_url(&channel, token.filter(|_| !grant.public));
        let re = Some(id.clone());
        let Some(stream) = gateway.parts.hub.stream(&channel) else {
            return Err(Refusal::retryable(re, "no_publisher", "the channel is offline"));
        };
        self.forget_closed();
        if self.peers.len() >= PEERS_MAX {
            return Err(Refusal::new(re, "conflict", "too many peer connections: close one with rtc.close"));
        }
        if unplayable(&stream) {
            gateway.counters.fallbacks.fetch_add(1, Ordering::Relaxed);
            return Ok(json!({ "type": "rtc.fallback", "re": id, "reason": "b_frames", "url": hls }));
        }
        let offer = sfu::sdp::SubscribeOffer::parse(sdp)
            .map_err(|error| Refusal::new(re.clone(), "bad_request", format!("sdp: {error}")))?;
        let known = layers::known(&stream);
        let offer = match self.origin.remote {
            Some(remote) => offer.with_remote(remote),
            None => offer,
        };
        let visit = gateway.parts.gate.play(&self.origin.caller(&channel)).await.map_err(|refusal| {
            let text = refusal.to_string();
            match refusal {
                hooks::Refusal::Forbidden(_) => Refusal::new(re.clone(), "forbidden", text),
                hooks::Refusal::Unavailable => Refusal::retryable(re.clone(), "unavailable", text),
            }
        })?;
        let subscription = gateway.parts.sfu.subscribe(stream, offer).await.map_err(|error| {
            let code = match &error {
                sfu::Error::Capacity(sfu::Limit::Overload) => "overloaded",
                sfu::Error::Capacity(_) => "capacity",
                _ => "use_fallback",
            };
            Refusal::retryable(re, code, format!("{error}; play {hls} instead"))
        })?;
        self.next_peer += 1;
        let pc = format!("pc{}", self.next_peer);
        let watch =
            watch_peer(Arc::clone(gateway), Arc::clone(mailbox), subscription.events, pc.clone(), hls);
        let gone = self.gone.clone();
        let watch = gateway.tasks.spawn(async move {
            tokio::select! {
                () = gone.cancelled() => {}
                () = watch => {}
            }
            drop(visit);
        });
        let ice_servers = gateway.parts.sfu.ice_servers(Some(subscription.peer.id()));
        let frame = json!({ "type": "rtc.answer", "re": id, "pc": pc, "sdp": subscription.answer,
                            "iceServers": ice_servers, "layers": known });
        self.peers.insert(pc, Playing { handle: subscription.peer, answer: subscription.answer, watch });
        gateway.counters.plays.fetch_add(1, Ordering::Relaxed);
        Ok(frame)
    }

    /// Another ICE session for a peer connection; its media goes on.
    fn restart(&mut self, gateway: &Gateway, id: Id, pc: &str, sdp: &str) -> Result<Value, Refusal> {
        let re = Some(id.clone());
        let Some(playing) = self.peers.get_mut(pc) else {
            return Err(Refusal::new(re, "not_found", "no such peer connection"));
        };
        let offer = sfu::sdp::SubscribeOffer::parse(sdp)
            .map_err(|error| Refusal::new(re.clone(), "bad_request", format!("sdp: {error}")))?;
        if !offer.continues(&playing.answer) {
            let why = "an ICE restart offers the same m-lines as before";
            return Err(Refusal::new(re, "bad_request", why));
        }
        let session = playing
            .handle
            .restart_ice(offer.credentials())
            .map_err(|error| Refusal::new(re, "not_found", error.to_string()))?;
        playing.answer = session.answer(&playing.answer);
        let ice_servers = gateway.parts.sfu.ice_servers(Some(playing.handle.id()));
        Ok(json!({ "type": "rtc.answer", "re": id, "pc": pc, "sdp": playing.answer,
                   "iceServers": ice_servers }))
    }

    fn choose(
        &self,
        id: Option<Id>,
        pc: &str,
        rid: Option<&str>,
        max_height: Option<u32>,
    ) -> Result<Option<Value>, Refusal> {
        let choice = match layers::choice(rid, max_height) {
            Ok(choice) => choice,
            Err(message) => return Err(Refusal::new(id, "bad_request", message)),
        };
        let playing = self.playing(&id, pc)?;
        playing
            .handle
            .set_layer(choice)
            .map_err(|error| Refusal::retryable(id.clone(), "layer_unavailable", error.to_string()))?;
        Ok(id.map(|id| json!({ "type": "ack", "re": id })))
    }

    fn playing(&self, id: &Option<Id>, pc: &str) -> Result<&Playing, Refusal> {
        self.peers.get(pc).ok_or_else(|| Refusal::new(id.clone(), "not_found", "no such peer connection"))
    }

    /// How a peer connection is doing. The figures are those of `GET /api/v1/streams/{channel}/peers`, of one's own.
    async fn stats(&mut self, gateway: &Gateway, id: Id, pc: &str) -> Result<Value, Refusal> {
        let Some(playing) = self.peers.get(pc) else {
            return Err(Refusal::new(Some(id), "not_found", "no such peer connection"));
        };
        let now = super::now();
        if self.stats_asked.is_some_and(|asked| now.saturating_duration_since(asked) < STATS_INTERVAL) {
            return Err(Refusal::retryable(Some(id), "rate_limited", "rtc.stats is answered once in 10 s"));
        }
        self.stats_asked = Some(now);
        let stats = playing
            .handle
            .stats()
            .await
            .map_err(|error| Refusal::retryable(Some(id.clone()), "overloaded", error.to_string()))?;
        let video = gateway.parts.sfu.stats().forward_latency.video;
        let added = video.quantile_micros(0.5).filter(|_| video.count > 0);
        Ok(json!({
            "type": "rtc.stats", "re": id, "pc": pc, "stats": stats,
            "addedMs": added.map(|micros| micros as f64 / 1000.0),
        }))
    }

    fn with_kind(
        &self,
        id: Option<Id>,
        pc: &str,
        kind: &str,
        act: impl FnOnce(&PeerHandle, Kind),
    ) -> Result<Option<Value>, Refusal> {
        let kind = match kind {
            "audio" => Kind::Audio,
            "video" => Kind::Video,
            _ => return Err(Refusal::new(id, "bad_request", "kind is audio or video")),
        };
        act(&self.playing(&id, pc)?.handle, kind);
        Ok(id.map(|id| json!({ "type": "ack", "re": id })))
    }
}

/// What this viewer may do on the Channel of an address: watch it.
async fn grant_for(gateway: &Gateway, id: &Id, ch: &str, token: Option<&str>) -> Result<Grant, Refusal> {
    let name = ch.strip_prefix("stream:").and_then(|name| ChannelName::parse(name).ok());
    let Some(name) = name.filter(|name| address(name) == ch) else {
        return Err(Refusal::new(Some(id.clone()), "bad_request", "ch is stream: and the name of a channel"));
    };
    let asked = control::Request::Play { channel: &name, token };
    gateway.parts.authority.authorize(asked).await.map_err(|denied| {
        let code = match denied {
            Denied::NoChannel { .. } => "not_found",
            Denied::GrantNeeded { .. } => "grant_needed",
            _ => "forbidden",
        };
        Refusal::new(Some(id.clone()), code, denied.to_string())
    })
}

/// WebRTC cannot carry the Stream's picture, as known now.
fn unplayable(stream: &Stream) -> bool {
    stream
        .source(Kind::Video)
        .is_some_and(|track| track.layers().iter().any(|layer| layer.reordering() == Reordering::Unplayable))
}

/// Asks the author of a message to wait, a millisecond at least.
fn slowmode(ch: &str, re: Option<&Id>, wait: Duration) -> Value {
    let wait_ms = u64::try_from(wait.as_micros().div_ceil(1000).max(1)).unwrap_or(u64::MAX);
    with_re(json!({ "type": "slowmode", "waitMs": wait_ms, "ch": ch }), re)
}

/// The newest messages, oldest first, that fit into one answer.
fn newest_that_fit(history: &[Arc<Message>]) -> Vec<Value> {
    let mut bytes = 0;
    let mut newest: Vec<Value> = history
        .iter()
        .rev()
        .map(|message| json!(**message))
        .take_while(|message| {
            bytes += message.to_string().len();
            bytes <= HISTORY_BYTES_MAX
        })
        .collect();
    newest.reverse();
    newest
}

/// Hands the messages of a room to its members, until the last one left.
fn follow_room(gateway: &Arc<Gateway>, ch: &str, deserted: CancellationToken) {
    let mut messages = gateway.parts.chat.follow(ch);
    let ch: Arc<str> = ch.into();
    let gateway = Arc::clone(gateway);
    let stop = gateway.stop.clone();
    let tasks = gateway.tasks.clone();
    tasks.spawn(async move {
        loop {
            let message = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Who comes next follows anew: two of us would tell everything twice.
                () = deserted.cancelled() => return,
                message = messages.recv() => message,
            };
            let message = match message {
                Ok(message) => message,
                // A hole shows in `seq`; clients fetch it again by joining with `since`.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            let Ok(frame) = serde_json::to_string(&*message) else { continue };
            let lane = Lane::Chat { ch: Arc::clone(&ch), seq: message.seq };
            gateway.presence.tell(&ch, lane, &frame.into());
        }
    });
}

/// Tells the client what happens to one of its peer connections.
async fn watch_peer(
    gateway: Arc<Gateway>,
    mailbox: Mailbox,
    mut events: mpsc::Receiver<PeerEvent>,
    pc: String,
    hls: String,
) {
    while let Some(event) = events.recv().await {
        let frame = match event {
            PeerEvent::Connected { srtp_profile, transport, .. } => {
                json!({ "type": "rtc.state", "pc": pc, "state": "active", "srtp": srtp_profile,
                        "transport": transport.as_str() })
            }
            PeerEvent::Fallback(reason) => {
                gateway.counters.fallbacks.fetch_add(1, Ordering::Relaxed);
                json!({ "type": "rtc.fallback", "pc": pc, "reason": reason.as_str(), "url": hls })
            }
            PeerEvent::Layers(layers) => {
                let frame = layers::frame(&pc, &layers).to_string();
                mailbox.push(Lane::State(format!("rtc.layers {pc}")), frame.into());
                continue;
            }
            PeerEvent::Capped(cap) => {
                json!({ "type": "rtc.state", "pc": pc, "state": "active", "video": cap.as_str(), "reason": "overload" })
            }
            PeerEvent::Closed(reason) => {
                let frame = json!({ "type": "rtc.closed", "pc": pc, "reason": reason.as_str() });
                mailbox.push(Lane::Control, frame.to_string().into());
                return;
            }
        };
        mailbox.push(Lane::Control, frame.to_string().into());
    }
}

#[cfg(test)]
mod tests;
