//! What goes wrong with a bucket.

use std::error::Error;
use std::io;
use std::time::Duration;

use axum::http::StatusCode;

/// Longest text of a fault: the answers of some servers are pages.
const TEXT_BYTES_MAX: usize = 300;

/// What servers call a bucket that takes no more: MinIO (disk, quota), Ceph and Versity, others.
const FULL: [&str; 4] =
    ["QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"];

/// What those say that have no code for it: a disk under MinIO or a gateway, Garage, Backblaze.
const FULL_WORDS: [&str; 5] =
    ["no space left", "quota is reached", "quota exceeded", "storage cap exceeded", "disk full"];

/// Why an object was not put, read or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {text}")]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    text: String,
}

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The credentials are not good, or may not do this.
    Denied,
    /// There are no credentials.
    Keyless,
    /// There is no such bucket, or no such object.
    Missing,
    /// There is no room, or no more of it may be used.
    Full,
    /// The object, or a part of it, is larger than the server takes.
    Large,
    /// The certificate of the server is not good.
    Untrusted,
    /// No answer in time.
    Late,
    /// The file on disk, not the bucket.
    Disk,
    /// Everything else: no connection, a server that is not well.
    Other,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Denied => {
                "the bucket does not let us in; check access_key_id and its secret in [hls.s3], or the role, and the \
                 policy"
            }
            Self::Keyless => {
                "there are no credentials for the bucket; set access_key_id and its secret in [hls.s3], or give this \
                 machine a role"
            }
            Self::Missing => "the bucket or the object is not there; check bucket and endpoint in [hls.s3]",
            Self::Full => {
                "the bucket is full; give it more room or quota, or remove recordings: then uploads go on by themselves"
            }
            Self::Large => {
                "the bucket takes no object of that size; its server, or a proxy before it, must take requests of 8 MiB"
            }
            Self::Untrusted => {
                "the certificate of the bucket's server is not trusted; name that of its authority as ca_file in \
                 [hls.s3]"
            }
            Self::Late => "the bucket does not answer",
            Self::Disk => "the file cannot be read",
            Self::Other => "the bucket cannot be used",
        })
    }
}

impl Fault {
    pub(super) fn new(reason: Reason, text: &str) -> Self {
        let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let text = text[..end.unwrap_or(0)].replace(|it: char| it.is_control(), " ");
        Self { reason, text }
    }

    /// There was no answer within that time.
    pub(crate) fn late(waited: Duration) -> Self {
        Self::new(Reason::Late, &format!("no answer within {} s", waited.as_secs()))
    }

    /// What an answer says that has one cure and is not told by its status alone.
    pub(crate) fn of_answer(status: StatusCode, body: &str) -> Option<Self> {
        let (code, message) = (between(body, "Code"), between(body, "Message"));
        let said = message.unwrap_or(body).to_lowercase();
        // Of requests there can be too many too.
        let hurried = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let full = status == StatusCode::INSUFFICIENT_STORAGE
            || code.is_some_and(|it| FULL.contains(&it))
            || !hurried && FULL_WORDS.iter().any(|words| said.contains(words));
        let large = status == StatusCode::PAYLOAD_TOO_LARGE || code == Some("EntityTooLarge");
        let reason = match (full, large) {
            (true, _) => Reason::Full,
            (false, true) => Reason::Large,
            (false, false) => return None,
        };
        let parts = [code, message.or(code.is_none().then_some(body))];
        let said = parts.into_iter().flatten().fold(status.to_string(), |text, part| text + ": " + part);
        Some(Self::new(reason, &said))
    }

    /// What a request came to that got no answer.
    pub(super) fn of_request(error: &reqwest::Error) -> Self {
        let untrusted = cause::<rustls::Error>(error)
            .is_some_and(|it| matches!(it, rustls::Error::InvalidCertificate(_)));
        let reason = match untrusted {
            true => Reason::Untrusted,
            false if error.is_timeout() => Reason::Late,
            false => Reason::Other,
        };
        Self::new(reason, &chain(error))
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
        // What our client and our credentials said comes back inside of what the store says.
        if let Some(fault) = cause::<Self>(&error) {
            return fault.clone();
        }
        let reason = match &error {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Reason::Denied,
            Error::NotFound { .. } => Reason::Missing,
            _ => Reason::Other,
        };
        Self::new(reason, &error.to_string())
    }
}

/// What stands in the first element of that name, in the XML of an error.
fn between<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

/// An error and what it came of. An [`io::Error`] does not name what it wraps as its source, but the source of that.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|it| it as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|it| it.downcast_ref())
}

/// What all of them say, once each.
fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(String::new(), |text, error| {
        let said = error.to_string();
        match text.is_empty() {
            true => said,
            false if text.contains(&said) => text,
            false => text + ": " + &said,
        }
    })
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

    #[test]
    fn a_full_bucket_is_known_whoever_says_it() {
        let xml = |code: &str, message: &str| {
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>")
        };
        for (status, body, wanted) in [
            (507, xml("XMinioStorageFull", "Storage backend has reached its minimum"), Some(Reason::Full)),
            (507, String::new(), Some(Reason::Full)),
            (400, xml("XMinioAdminBucketQuotaExceeded", "Bucket quota exceeded"), Some(Reason::Full)),
            (403, xml("QuotaExceeded", ""), Some(Reason::Full)),
            (403, xml("AccessDenied", "Bucket size quota is reached, maximum 1 GiB"), Some(Reason::Full)),
            (403, xml("AccessDenied", "Cannot upload files, storage cap exceeded."), Some(Reason::Full)),
            (500, xml("InternalError", "cause(no space left on device)"), Some(Reason::Full)),
            (413, "<html>Request Entity Too Large</html>".to_owned(), Some(Reason::Large)),
            (400, xml("EntityTooLarge", "Your proposed upload exceeds the maximum"), Some(Reason::Large)),
            (403, xml("AccessDenied", "Access Denied"), None),
            (503, xml("SlowDown", "Request quota exceeded, reduce your rate"), None),
            (429, xml("TooManyRequests", "quota exceeded"), None),
            (500, xml("InternalError", "We encountered an internal error"), None),
            (404, String::new(), None),
        ] {
            let fault = Fault::of_answer(StatusCode::from_u16(status).expect("a status"), &body);
            assert_eq!(fault.as_ref().map(|it| it.reason), wanted, "{status} {body}");
            // It says so in clear words, and what the server said.
            if let Some(fault) = fault {
                assert!(fault.to_string().contains(&status.to_string()), "{fault}");
            }
        }
    }

    #[test]
    fn what_the_client_knew_is_found_inside_of_what_the_store_says() {
        let fault = Fault::new(Reason::Full, "507");
        let inside = io::Error::other(io::Error::other(fault.clone()));
        let error = object_store::Error::Generic { store: "S3", source: Box::new(inside) };
        assert_eq!(Fault::from(error), fault);
    }
}
