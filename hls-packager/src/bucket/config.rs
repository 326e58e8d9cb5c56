//! Settings of the bucket.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};

use crate::Error;

/// `[hls.s3]` in the configuration: where recordings are kept besides the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// Its name. Without one, recordings are on disk only.
    pub bucket: Option<String>,
    /// Where it is, for S3 of others than AWS: `https://…`.
    pub endpoint: Option<String>,
    /// Which region of AWS; what others want here they say.
    pub region: String,
    /// What the names of all objects begin with, without `/` at its ends.
    pub prefix: String,
    /// Who asks. Without it: what the AWS tools find in the environment, or the role of the machine.
    pub access_key_id: Option<String>,
    /// The secret of `access_key_id`. Not shown anywhere.
    #[serde(serialize_with = "redacted")]
    pub secret_access_key: Option<SecretString>,
    /// A file with that secret, instead of it.
    pub secret_access_key_file: Option<PathBuf>,
    /// The bucket's name stands in the path, not in the host name.
    pub path_style: bool,
    /// Whether the endpoint may be `http://…`: signatures protect what is sent from changes, not from being read.
    pub allow_http: bool,
    /// A PEM file with certificates that are trusted besides those of the public authorities.
    pub ca_file: Option<PathBuf>,
    /// How long a recording stays on disk.
    pub keep_local: KeepLocal,
}

/// How long a recording that is in the bucket stays on disk too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepLocal {
    /// Until the rules of `[hls.recording]` say so.
    #[default]
    Always,
    /// Until all of it is in the bucket. Then it is read from there.
    UntilUploaded,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            bucket: None,
            endpoint: None,
            region: "us-east-1".to_owned(),
            prefix: String::new(),
            access_key_id: None,
            secret_access_key: None,
            secret_access_key_file: None,
            path_style: true,
            allow_http: false,
            ca_file: None,
            keep_local: KeepLocal::Always,
        }
    }
}

impl S3Config {
    /// Checks what can be checked without the bucket.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the setting and what to change.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |setting, why: &str| Err(Error::Invalid { setting, why: why.to_owned() });
        if self.bucket.as_deref().is_some_and(|name| name.is_empty() || name.contains(['/', ' '])) {
            return invalid("s3.bucket", "is the name of a bucket, without a path");
        }
        if let Some(endpoint) = &self.endpoint {
            let scheme = reqwest::Url::parse(endpoint).ok().filter(|url| url.host().is_some());
            match scheme.as_ref().map(|url| url.scheme()) {
                Some("https") => {}
                Some("http") if self.allow_http => {}
                Some("http") => {
                    return invalid("s3.endpoint", "is http://: use https://, or allow_http = true");
                }
                _ => return invalid("s3.endpoint", "is a URL, for example https://s3.example.com"),
            }
        }
        if !self.prefix.is_empty() && self.prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return invalid("s3.prefix", "is a path without / at its ends, for example live/recordings");
        }
        let secrets =
            [self.secret_access_key.is_some(), self.secret_access_key_file.is_some()].map(usize::from);
        match (self.access_key_id.is_some(), secrets[0] + secrets[1]) {
            (false, 0) | (true, 1) => Ok(()),
            (true, _) => invalid(
                "s3.access_key_id",
                "needs secret_access_key or secret_access_key_file, and one of them only",
            ),
            (false, _) => invalid("s3.access_key_id", "is missing: a secret alone is of no use"),
        }
    }
}

fn redacted<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => serializer.serialize_some("[redacted]"),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        S3Config::default().validate().expect("the defaults work");
        let good = S3Config {
            bucket: Some("recordings".into()),
            endpoint: Some("https://s3.example.com".into()),
            access_key_id: Some("me".into()),
            secret_access_key: Some("s3cret".to_owned().into()),
            prefix: "live/recordings".into(),
            ..S3Config::default()
        };
        good.validate().expect("works");
        assert!(!format!("{good:?}{}", serde_json::json!(good)).contains("s3cret"), "the secret is shown");
        for (change, word) in [
            ((|it| it.bucket = Some("a/b".into())) as fn(&mut S3Config), "bucket"),
            (|it| it.bucket = Some(String::new()), "bucket"),
            (|it| it.endpoint = Some("http://127.0.0.1:9000".into()), "allow_http"),
            (|it| it.endpoint = Some("127.0.0.1:9000".into()), "endpoint"),
            (|it| it.prefix = "/live".into(), "prefix"),
            (|it| it.prefix = "a/../b".into(), "prefix"),
            (|it| it.secret_access_key = None, "secret_access_key"),
            (|it| it.secret_access_key_file = Some("secret".into()), "one of them"),
            (|it| it.access_key_id = None, "access_key_id"),
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            let why = bad.validate().expect_err(word).to_string();
            assert!(why.contains(word) && why.starts_with("hls.s3."), "{why}");
        }
        let local = S3Config { endpoint: Some("http://[::1]:9000".into()), allow_http: true, ..good };
        local.validate().expect("works");
    }
}
