//! What webhooks tell of. Sans-I/O.

use serde::Serialize;
use serde_json::{Value, json};

/// What a webhook can subscribe to. New ones are added, none is changed.
pub const EVENT_TYPES: &[&str] =
    &["stream.online", "stream.offline", "recording.ready", "recording.failed", "webhook.test"];

/// Something that happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Event {
    /// The same however often it is announced: receivers know by it what they have seen.
    pub id: String,
    /// One of [`EVENT_TYPES`].
    pub kind: &'static str,
    /// Of which Channel (`chn_…`), if of one: hooks of the instance hear of all.
    pub channel_id: Option<String>,
    /// When, in Unix milliseconds.
    pub at: i64,
    /// What receivers are told of it.
    pub data: Value,
}

impl Event {
    /// The body: `{"type", "timestamp", "data"}` of Standard Webhooks.
    pub(crate) fn payload(&self) -> String {
        json!({ "type": self.kind, "timestamp": iso_8601(self.at), "data": self.data }).to_string()
    }
}

/// A Stream, as events tell of it. Made of its row, so that another node can tell of the end when its own has died.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broadcast {
    /// The row (`lst_…`): it begins once and ends once, and so does what is told of it.
    pub id: String,
    /// The Channel (`chn_…`).
    pub channel_id: String,
    /// Its name.
    pub channel: String,
    /// Its title.
    pub title: String,
    /// The id in URLs of media.
    pub stream: String,
    /// Unix milliseconds.
    pub started_at: i64,
}

impl Broadcast {
    /// It has begun.
    pub fn online(&self) -> Event {
        self.event("stream.online", self.started_at, self.data())
    }

    /// It is over, since `at`, for this reason: `ended`, `cut`, `node_lost`.
    pub fn offline(&self, at: i64, reason: &str) -> Event {
        let mut data = self.data();
        data["endedAt"] = json!(at);
        data["reason"] = json!(reason);
        self.event("stream.offline", at, data)
    }

    fn event(&self, kind: &'static str, at: i64, data: Value) -> Event {
        let id = format!("evt_{}_{}", kind.replace('.', "_"), self.id);
        Event { id, kind, channel_id: Some(self.channel_id.clone()), at, data }
    }

    fn data(&self) -> Value {
        json!({
            "channel": { "name": self.channel, "title": self.title },
            "stream": self.stream,
            "startedAt": self.started_at,
            "page": format!("/{}", self.channel),
        })
    }
}

/// Whether a hook that asked for `events` (separated by spaces, `*` for all) hears of `kind`.
pub(crate) fn wants(events: &str, kind: &str) -> bool {
    // Whoever tests a hook wants to see that it works.
    kind == "webhook.test" || events.split(' ').any(|event| event == "*" || event == kind)
}

/// UTC, with milliseconds.
fn iso_8601(unix_ms: i64) -> String {
    let (days, in_day) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, ms) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The date of a day since 1970, in the proleptic Gregorian calendar. Years are counted from March, so that the leap day
/// is the last; 400 years have 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_614_265_330_123, "2021-02-25T15:02:10.123Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso_8601(unix_ms), text);
        }
    }

    #[test]
    fn a_hook_hears_what_it_asked_for() {
        for (events, kind, heard) in [
            ("stream.online stream.offline", "stream.offline", true),
            ("stream.online", "stream.offline", false),
            ("*", "stream.online", true),
            ("stream", "stream.online", false),
            ("", "stream.online", false),
            ("", "webhook.test", true),
        ] {
            assert_eq!(wants(events, kind), heard, "{events} {kind}");
        }
    }
}
