//! What goes wrong with a bucket.

use std::io;
use std::time::Duration;

/// Longest text of a fault: the answers of some servers are pages.
const TEXT_BYTES_MAX: usize = 300;

/// Why an object was not put, read or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {text}")]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    text: String,
}

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The credentials are not good, or may not do this.
    Denied,
    /// There is no such bucket, or no such object.
    Missing,
    /// No answer in time.
    Late,
    /// The file on disk, not the bucket.
    Disk,
    /// Everything else: no connection, a full bucket, a server that is not well.
    Other,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Denied => {
                "the bucket does not let us in; check access_key_id, its secret and its policy in [hls.s3]"
            }
            Self::Missing => "the bucket or the object is not there; check bucket and endpoint in [hls.s3]",
            Self::Late => "the bucket does not answer",
            Self::Disk => "the file cannot be read",
            Self::Other => "the bucket cannot be used",
        })
    }
}

impl Fault {
    fn new(reason: Reason, text: &str) -> Self {
        let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let text = text[..end.unwrap_or(0)].replace(|it: char| it.is_control(), " ");
        Self { reason, text }
    }

    /// There was no answer within that time.
    pub(crate) fn late(waited: Duration) -> Self {
        Self::new(Reason::Late, &format!("no answer within {} s", waited.as_secs()))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::new(Reason::Disk, &error.to_string())
    }
}

impl From<object_store::Error> for Fault {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error;
        let reason = match &error {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Reason::Denied,
            Error::NotFound { .. } => Reason::Missing,
            _ => Reason::Other,
        };
        Self::new(reason, &error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_server_becomes_a_line() {
        let page = "<html>\n".to_owned() + &"ü".repeat(5000);
        let fault = Fault::from(object_store::Error::Generic { store: "S3", source: page.into() });
        let text = fault.to_string();
        assert!(text.len() < 400 && !text.contains('\n'), "{text}");
        assert_eq!(fault.reason, Reason::Other);
    }
}
