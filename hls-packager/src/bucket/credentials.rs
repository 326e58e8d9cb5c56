//! By which credentials a bucket is used: those of the settings, or those that the environment of the process leads to.
//!
//! They are looked for in the order of the AWS tools: a key in the environment, a web identity (a role of Kubernetes), the
//! role of the container (ECS, EKS), the role of the machine (EC2). Those of a role are good for hours at most and are
//! fetched anew before they end, or when the bucket refuses them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::{CredentialProvider, RetryConfig};
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::fault::{Fault, Reason};
use super::http::Connector;
use crate::Error;

/// How long credentials may take to come, with a second try. Uploads that wait for them wait one after the other, so that
/// all of them together must not take as long as an answer of the bucket may.
const FETCH_MAX: Duration = Duration::from_secs(7);

/// How soon credentials that the bucket refused are fetched anew again: it may be the policy that is wrong.
const FORGET_INTERVAL: Duration = Duration::from_secs(5);

/// Where machines of EC2 tell of themselves.
const METADATA: &str = "http://169.254.169.254";

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `[hls.s3]`.
    Settings,
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    Environment,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`, for this role.
    WebIdentity(String),
    /// The role of the container, from this address.
    Container(String),
    /// The role of the machine, from this address.
    Machine(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("access_key_id of [hls.s3]"),
            Self::Environment => f.write_str("AWS_ACCESS_KEY_ID of the environment"),
            Self::WebIdentity(role) => write!(f, "the role {role}, by AWS_WEB_IDENTITY_TOKEN_FILE"),
            Self::Container(address) => write!(f, "the role of this container, from {address}"),
            Self::Machine(address) => write!(f, "the role of this machine, from {address}"),
        }
    }
}

impl Source {
    /// Where the environment leads to; and what the store must know for that.
    ///
    /// # Errors
    /// [`Error::Invalid`] if only a half of something is there, or nothing, and what to do.
    pub(super) fn of_environment(
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<(AmazonS3ConfigKey, String)>), Error> {
        use AmazonS3ConfigKey as Key;
        let get = |name| variable(name).filter(|value| !value.is_empty());
        let invalid = |why: &str| {
            let why = format!("is not set, so credentials are looked for in the environment: {why}");
            Err(Error::Invalid { setting: "s3.access_key_id", why })
        };
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => {
                let mut found = vec![(Key::AccessKeyId, id), (Key::SecretAccessKey, secret)];
                found.extend(get("AWS_SESSION_TOKEN").map(|token| (Key::Token, token)));
                return Ok((Self::Environment, found));
            }
            (None, None) => {}
            _ => {
                return invalid(
                    "of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY one is missing; set both or none",
                );
            }
        }
        if let Some(file) = get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let Some(role) = get("AWS_ROLE_ARN") else {
                return invalid("AWS_WEB_IDENTITY_TOKEN_FILE is of no use without AWS_ROLE_ARN; set it");
            };
            let mut found = vec![(Key::WebIdentityTokenFile, file), (Key::RoleArn, role.clone())];
            let name = get("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "swiftwater".to_owned());
            found.push((Key::RoleSessionName, name));
            found.extend(get("AWS_ENDPOINT_URL_STS").map(|it| (Key::StsEndpoint, it)));
            return Ok((Self::WebIdentity(role), found));
        }
        if let Some(path) = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            let source = Self::Container(format!("http://169.254.170.2{path}"));
            return Ok((source, vec![(Key::ContainerCredentialsRelativeUri, path)]));
        }
        if let Some(address) = get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let Some(file) = get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") else {
                return invalid(
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI is of no use without AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE; \
                     set it",
                );
            };
            let found = vec![
                (Key::ContainerCredentialsFullUri, address.clone()),
                (Key::ContainerAuthorizationTokenFile, file),
            ];
            return Ok((Self::Container(address), found));
        }
        if get("AWS_EC2_METADATA_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
            return invalid(
                "there are none, and AWS_EC2_METADATA_DISABLED forbids to ask the machine; set access_key_id and its \
                 secret",
            );
        }
        let address = get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| METADATA.to_owned());
        let address = address.trim_end_matches('/').to_owned();
        Ok((Self::Machine(address.clone()), vec![(Key::MetadataEndpoint, address)]))
    }
}

/// Credentials of the environment or of a role.
pub(super) struct Role {
    source: Source,
    /// Makes a provider that remembers nothing.
    builder: AmazonS3Builder,
    now: Mutex<Now>,
}

struct Now {
    provider: AwsCredentialProvider,
    /// The id of the key that was used last.
    key: Option<String>,
    forgotten: Option<Instant>,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Role {
    /// Credentials from `source`. Nothing is asked yet.
    ///
    /// # Errors
    /// What the store says of the settings.
    pub(super) fn new(
        source: Source,
        found: Vec<(AmazonS3ConfigKey, String)>,
        region: &str,
        connector: Connector,
    ) -> object_store::Result<Self> {
        // Of this store nothing is used but its credentials.
        let builder = AmazonS3Builder::new()
            .with_bucket_name("credentials")
            .with_region(region)
            .with_allow_http(true)
            .with_http_connector(connector)
            .with_retry(RetryConfig {
                max_retries: 1,
                retry_timeout: FETCH_MAX / 2,
                ..RetryConfig::default()
            });
        let builder = found.into_iter().fold(builder, |it, (key, value)| it.with_config(key, value));
        let provider = Arc::clone(builder.clone().build()?.credentials());
        Ok(Self { source, builder, now: Mutex::new(Now { provider, key: None, forgotten: None }) })
    }

    /// The bucket has refused them: the next request fetches new ones. False if that was so a moment ago.
    pub(super) fn forget(&self, at: Instant) -> bool {
        let mut now = self.now();
        if now.forgotten.is_some_and(|before| at < before + FORGET_INTERVAL) {
            return false;
        }
        now.forgotten = Some(at);
        if let Ok(store) = self.builder.clone().build() {
            now.provider = Arc::clone(store.credentials());
        }
        true
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CredentialProvider for Role {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let provider = Arc::clone(&self.now().provider);
        let keyless = |why: &str| {
            let fault = Fault::new(Reason::Keyless, &format!("asked for {}: {why}", self.source));
            object_store::Error::Generic { store: "S3", source: Box::new(fault) }
        };
        let found = match timeout(FETCH_MAX, provider.get_credential()).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(keyless(&error.to_string())),
            Err(_) => return Err(keyless(&format!("no answer within {} s", FETCH_MAX.as_secs()))),
        };
        let before = {
            let mut now = self.now();
            if now.key.as_ref() == Some(&found.key_id) {
                return Ok(found);
            }
            now.key.replace(found.key_id.clone())
        };
        match before {
            None => info!(key = %found.key_id, from = %self.source, "credentials for the bucket found"),
            Some(_) => debug!(key = %found.key_id, "the bucket is used by other credentials from now on"),
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn found(environment: &[(&str, &str)]) -> Result<(Source, Vec<(AmazonS3ConfigKey, String)>), Error> {
        let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
        Source::of_environment(&|name| environment.get(name).map(|&it| it.to_owned()))
    }

    #[test]
    fn the_environment_is_looked_through_in_the_order_of_the_aws_tools() {
        let all = [
            ("AWS_ACCESS_KEY_ID", "AKIA1"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("AWS_SESSION_TOKEN", "session"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/live"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:80/x"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/pod"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://[fd00:ec2::254]/"),
        ];
        for (from, wanted) in [
            (0, Source::Environment),
            (2, Source::WebIdentity("arn:aws:iam::1:role/live".into())),
            (5, Source::Container("http://169.254.170.2/v2/credentials/x".into())),
            (6, Source::Container("http://127.0.0.1:80/x".into())),
            (8, Source::Machine("http://[fd00:ec2::254]".into())),
            (9, Source::Machine(METADATA.into())),
        ] {
            let (source, settings) = found(&all[from..]).expect("works");
            assert_eq!(source, wanted);
            assert!(!source.to_string().contains("s3cret") && !settings.is_empty(), "{source}");
        }
        // A role that other tools use, and variables that are there and empty, are none.
        let (source, _) = found(&[("AWS_ROLE_ARN", "arn"), ("AWS_ACCESS_KEY_ID", "")]).expect("works");
        assert_eq!(source, Source::Machine(METADATA.into()));
    }

    #[test]
    fn halves_are_refused_by_name() {
        for (environment, word) in [
            (("AWS_ACCESS_KEY_ID", "AKIA1"), "AWS_SECRET_ACCESS_KEY"),
            (("AWS_SECRET_ACCESS_KEY", "s3cret"), "AWS_ACCESS_KEY_ID"),
            (("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"), "AWS_ROLE_ARN"),
            (("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x"), "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            (("AWS_EC2_METADATA_DISABLED", "true"), "set access_key_id"),
        ] {
            let why = found(&[environment]).expect_err(word).to_string();
            assert!(why.contains(word) && why.starts_with("hls.s3.access_key_id") && !why.contains("s3cret"));
        }
    }

    #[test]
    fn what_is_refused_again_and_again_is_not_fetched_as_often() {
        let (source, settings) = found(&[]).expect("works");
        let role = Role::new(source, settings, "us-east-1", Connector::near().expect("made")).expect("made");
        let begin = Instant::now();
        let fetched = (0..60_u32).filter(|&second| role.forget(begin + Duration::from_secs(1) * second));
        assert_eq!(fetched.count(), 12, "every 5 s");
    }
}
