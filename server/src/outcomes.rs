//! How recordings end, for whoever wants to hear of it: webhooks by the outbox of the database, the owner on his sockets.
//!
//! What is to be told stands in the recording's manifest until it is in the outbox, and the outbox takes an event once per
//! hook: whenever the process dies, each end is there once.

use std::sync::Arc;
use std::time::Duration;

use control::Authority;
use control::db::{self, Channel};
use control::hooks::{Event, Webhooks};
use hls_packager::{Recording, RecordingState, Recordings};
use media::{ChannelName, StreamId};
use serde_json::{Value, json};
use signaling::Gateway;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::http::v1::now_ms;

/// How often what could not be told is looked for: the database was away.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Ends in a row that could not be told, after which the others wait for the next look: it is the database that is away,
/// and each would wait for it.
const FAILURES_MAX: u32 = 8;

/// Tells of recordings that ended.
pub(crate) struct Outcomes {
    pub(crate) recordings: Arc<Recordings>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) gateway: Arc<Gateway>,
}

impl Outcomes {
    /// Tells until `stop`, first of what a process before this one left untold.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut changes = self.recordings.subscribe();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                change = changes.recv() => match change {
                    Ok(recording) if recording.untold => vec![recording],
                    Ok(_) => continue,
                    Err(RecvError::Lagged(_)) => self.recordings.untold(),
                    Err(RecvError::Closed) => break,
                },
                _ = look.tick() => self.recordings.untold(),
            };
            // An end that is told by half is told again after the next start, and stands in the outbox once.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.tell_each(&ended) => {}
            }
        }
    }

    async fn tell_each(&self, ended: &[Recording]) {
        let mut round = Round::default();
        for recording in ended {
            let told = self.tell(recording).await;
            if !round.goes_on(&recording.id, told) {
                break;
            }
        }
        if let Some((recording, error)) = &round.first {
            let failures = round.failures;
            warn!(%recording, failures, %error, "cannot tell yet how recordings ended; it is tried again");
        }
    }

    async fn tell(&self, recording: &Recording) -> Result<(), db::Error> {
        let Some(id) = StreamId::parse(&recording.id) else { return Ok(()) };
        // Told meanwhile, or removed.
        if !self.recordings.get(id).is_some_and(|it| it.untold) {
            return Ok(());
        }
        let name = ChannelName::parse(&recording.channel).ok();
        let channel = name.as_ref().and_then(|name| self.authority.channel(name));
        let channel = channel.filter(|channel| was_of(recording, channel));
        let event = event(recording, channel.as_deref(), now_ms());
        self.webhooks.announce(&event).await?;
        let owner = channel.as_ref().and_then(|it| it.owner_id.as_deref());
        if let (Some(owner), Some(name)) = (owner, &name) {
            self.gateway.tell_owner(owner, name, event.kind, &event.data);
        }
        let recordings = Arc::clone(&self.recordings);
        // It waits for the disk.
        let _ = tokio::task::spawn_blocking(move || recordings.told(id)).await;
        Ok(())
    }
}

/// What came of telling of one after the other.
#[derive(Default)]
struct Round {
    failures: u32,
    in_a_row: u32,
    first: Option<(String, db::Error)>,
}

impl Round {
    /// Whether the next one is told of: one that cannot be told does not keep those after it.
    fn goes_on(&mut self, recording: &str, told: Result<(), db::Error>) -> bool {
        let Err(error) = told else {
            self.in_a_row = 0;
            return true;
        };
        self.failures += 1;
        self.in_a_row += 1;
        self.first.get_or_insert_with(|| (recording.to_owned(), error));
        self.in_a_row < FAILURES_MAX
    }
}

/// Whether it was recorded on this Channel, and not on one of the same name that was removed meanwhile.
pub(crate) fn was_of(recording: &Recording, channel: &Channel) -> bool {
    // Those in the configuration file belong to nobody, and have no date.
    let created_at = u64::try_from(channel.created_at).unwrap_or(0);
    channel.owner_id.is_none() || created_at <= recording.started_at
}

/// What is told of a recording that is ready or has failed. Without its Channel, which was removed, hooks of the instance
/// hear of it.
fn event(recording: &Recording, channel: Option<&Channel>, at: i64) -> Event {
    let kind = match recording.state {
        RecordingState::Failed => "recording.failed",
        _ => "recording.ready",
    };
    Event {
        id: format!("evt_{}_{}", kind.replace('.', "_"), recording.id),
        kind,
        channel_id: channel.map(|it| it.id.clone()),
        at,
        data: data(recording, channel),
    }
}

fn data(recording: &Recording, channel: Option<&Channel>) -> Value {
    let title = channel.map(|it| it.title.as_str()).unwrap_or_default();
    json!({
        "channel": { "name": recording.channel, "title": title },
        "stream": recording.id,
        "recording": recording.id,
        "state": recording.state.as_str(),
        "startedAt": recording.started_at,
        "endedAt": recording.ended_at,
        "durationMs": recording.duration_ms,
        "bytes": recording.bytes,
        "holes": recording.holes,
        "holesMs": recording.holes_ms,
        "repaired": recording.repaired,
        "hls": recording.hls(),
        "mp4": recording.mp4(),
        "error": recording.error,
        "page": format!("/{}", recording.channel),
    })
}

#[cfg(test)]
mod tests {
    use control::db::Visibility;

    use super::*;

    fn recording(state: &str, mp4_bytes: Option<u64>, error: Option<&str>) -> Recording {
        let manifest = json!({
            "version": 1, "id": "s000000000001", "channel": "ana", "state": state, "startedAt": 1000, "endedAt": 9000,
            "durationMs": 8000, "bytes": 42, "holes": 1, "holesMs": 20, "repaired": true, "codecs": ["avc1.42c01f"],
            "width": 640, "height": 360, "mp4Bytes": mp4_bytes, "error": error, "untold": true,
        });
        serde_json::from_value(manifest).expect("a manifest")
    }

    fn channel() -> Channel {
        Channel {
            id: "chn_1".to_owned(),
            owner_id: Some("usr_1".to_owned()),
            name: "ana".to_owned(),
            title: "Ana paints".to_owned(),
            visibility: Visibility::Public,
            grant_epoch: 0,
            rewind: control::Rewind::default(),
            created_at: 0,
        }
    }

    #[test]
    fn an_event_says_where_it_plays_or_why_it_does_not() {
        let ready = event(&recording("ready", Some(20), None), Some(&channel()), 7);
        assert_eq!((ready.kind, ready.at), ("recording.ready", 7));
        assert_eq!(ready.id, "evt_recording_ready_s000000000001");
        assert_eq!(ready.channel_id.as_deref(), Some("chn_1"));
        assert_eq!(ready.data["channel"], json!({ "name": "ana", "title": "Ana paints" }));
        assert_eq!(ready.data["hls"], "/vod/s000000000001/master.m3u8");
        assert_eq!(ready.data["mp4"], "/vod/s000000000001/video.mp4");
        assert_eq!((&ready.data["durationMs"], &ready.data["bytes"]), (&json!(8000), &json!(42)));

        let bare = event(&recording("ready", None, Some("no MP4 file: full")), Some(&channel()), 7);
        assert_eq!((&bare.data["mp4"], &bare.data["error"]), (&Value::Null, &json!("no MP4 file: full")));

        let failed = event(&recording("failed", None, Some("why")), None, 7);
        assert_eq!((failed.kind, &failed.channel_id), ("recording.failed", &None));
        assert_eq!((&failed.data["hls"], &failed.data["error"]), (&Value::Null, &json!("why")));
        // A recording that was ready and one that failed are two events, whatever came between.
        assert_ne!(failed.id, ready.id);
    }

    #[test]
    fn who_has_the_name_of_a_removed_channel_hears_nothing_of_its_recordings() {
        let recorded = recording("ready", None, None);
        for (owner, created_at, wanted) in
            [(Some("usr_1"), 999, true), (Some("usr_2"), 1001, false), (None, 1001, true)]
        {
            let channel = Channel { owner_id: owner.map(str::to_owned), created_at, ..channel() };
            assert_eq!(was_of(&recorded, &channel), wanted, "{owner:?} {created_at}");
        }
    }

    #[test]
    fn one_that_cannot_be_told_does_not_keep_the_others() {
        let asked = |bad: std::ops::Range<u32>| {
            let mut round = Round::default();
            let told = |number| if bad.contains(&number) { Err(db::Error::Unreadable("it")) } else { Ok(()) };
            let asked = (0..20).take_while(|number| round.goes_on(&number.to_string(), told(*number)));
            (asked.count(), round.failures, round.first.map(|(first, _)| first))
        };
        assert_eq!(asked(3..4), (20, 1, Some("3".to_owned())));
        assert_eq!(asked(3..10), (20, 7, Some("3".to_owned())));
        assert_eq!(asked(20..20), (20, 0, None));
        // A database that is away is not asked for each of them. The last one that was asked is not counted here.
        assert_eq!(asked(0..20), (7, 8, Some("0".to_owned())));
    }

    #[test]
    fn what_an_earlier_version_left_is_not_told_of() {
        let mut old = serde_json::to_value(recording("ready", None, None)).expect("JSON");
        old.as_object_mut().expect("an object").remove("untold");
        let old: Recording = serde_json::from_value(old).expect("a manifest");
        assert!(!old.untold);
    }
}
