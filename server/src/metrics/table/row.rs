//! What a metric is, and the ways to write one down.

/// What kind of number it is, as Prometheus has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How long things took.
    Histogram,
}

impl Kind {
    pub(in crate::metrics) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric, or one label of a family.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct Row {
    /// Section and field of the number.
    pub(in crate::metrics) path: &'static str,
    /// Name of the metric.
    pub(in crate::metrics) metric: &'static str,
    /// Name and value of the label, in a family.
    pub(in crate::metrics) label: Option<(&'static str, &'static str)>,
    pub(in crate::metrics) kind: Kind,
    /// What it means; of a family, what this label means.
    pub(in crate::metrics) help: &'static str,
    /// What the family means, if it is one.
    pub(in crate::metrics) family: Option<&'static str>,
}

impl Row {
    const fn new(kind: Kind, path: &'static str, metric: &'static str, help: &'static str) -> Self {
        Self { path, metric, label: None, kind, help, family: None }
    }

    /// As it stands in the text: the name, and the label if it is one of a family.
    #[cfg(test)]
    pub(in crate::metrics) fn selector(&self) -> String {
        match self.label {
            Some((name, value)) => format!("{}{{{name}=\"{value}\"}}", self.metric),
            None => self.metric.to_owned(),
        }
    }
}

pub(super) const fn counter(path: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row::new(Kind::Counter, path, metric, help)
}

pub(super) const fn gauge(path: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row::new(Kind::Gauge, path, metric, help)
}

pub(super) const fn histogram(path: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row::new(Kind::Histogram, path, metric, help)
}

/// A packet that did not go on, by reason.
pub(super) const fn dropped(path: &'static str, reason: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("reason", reason)),
        family: Some("Packets and datagrams that the SFU dropped, by reason."),
        ..counter(path, "swiftwater_sfu_packets_dropped_total", help)
    }
}

/// A Peer that was not let in, by the limit that it met.
pub(super) const fn refused(path: &'static str, limit: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("limit", limit)),
        family: Some("WebRTC peers that were not let in, by the limit that they met."),
        ..counter(path, "swiftwater_sfu_peers_refused_total", help)
    }
}

/// A TCP connection of HTTP that was closed at once, by the limit that it met.
pub(super) const fn closed(path: &'static str, limit: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("limit", limit)),
        family: Some("TCP connections of HTTP that were closed at once, by the limit that they met."),
        ..counter(path, "swiftwater_http_connections_refused_total", help)
    }
}

/// Something about the bucket that failed, by reason.
pub(super) const fn unstored(path: &'static str, reason: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("reason", reason)),
        family: Some(
            "What could not be put into the bucket or read from it, by reason; each is tried again.",
        ),
        ..counter(path, "swiftwater_storage_errors_total", help)
    }
}

/// An API token that was refused, by reason.
pub(super) const fn tokenless(path: &'static str, reason: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("reason", reason)),
        family: Some("API tokens that were refused, by reason."),
        ..counter(path, "swiftwater_api_tokens_refused_total", help)
    }
}

/// A publisher about whom a hook backend was asked, by what it said.
pub(super) const fn publisher(path: &'static str, outcome: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("outcome", outcome)),
        family: Some("Publishers that a hook backend was asked about, by what came of it."),
        ..counter(path, "swiftwater_hooks_publishers_total", help)
    }
}

/// A viewer about whom a hook backend was asked, by what it said.
pub(super) const fn viewer(path: &'static str, outcome: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("outcome", outcome)),
        family: Some(
            "Viewers that a hook backend was asked about, by what came of it; without those of the cache.",
        ),
        ..counter(path, "swiftwater_hooks_viewers_total", help)
    }
}

/// An end that a hook backend should hear of, by what became of that.
pub(super) const fn told(path: &'static str, outcome: &'static str, help: &'static str) -> Row {
    Row {
        label: Some(("outcome", outcome)),
        family: Some("Ends of publishers and viewers for a hook backend, by what became of telling it."),
        ..counter(path, "swiftwater_hooks_told_total", help)
    }
}
