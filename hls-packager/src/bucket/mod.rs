//! A bucket of S3: objects by name, put whole and read in part.
//!
//! What goes wrong is sorted into a few [`Reason`]s, because there is one cure for each.

mod config;
mod credentials;
mod fault;
mod http;

use std::io;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CredentialProvider, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, RetryConfig,
};
use secrecy::ExposeSecret;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tracing::info;

use crate::Error;
pub use config::{KeepLocal, S3Config};
use credentials::{Role, Source};
pub(crate) use fault::{Fault, Reason};

/// Objects up to this many bytes are put with one request; larger ones in parts of it. S3 wants parts of 5 MiB or
/// more. What is being put is held in memory: that much for each of the uploads that run.
const PART_BYTES: u64 = 8 << 20;

/// Parts of an object at most, a little below what S3 takes. Larger objects have larger parts.
const PARTS_MAX: u64 = 9_000;

/// How long the answer to a request may take that carries nothing.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What carries something may take longer by its bytes, at this rate: slower is as good as not at all.
const BYTES_PER_SECOND_MIN: u64 = 128 << 10;

/// Tries of one request, before the whole upload counts as failed. They absorb a dropped connection; a part of an MP4
/// file that is put again alone saves the others.
const TRIES_MAX: usize = 3;

/// A bucket, and what the names of objects in it begin with.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    keep_local: KeepLocal,
    /// Whose credentials it is used by, if they do not stand in the settings.
    role: Option<Arc<Role>>,
}

/// What is said of an object to whoever reads it from the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) content_type: &'static str,
    pub(crate) cache: &'static str,
    /// Content-Disposition.
    pub(crate) disposition: Option<String>,
}

/// An object, or a part of it, as it comes.
pub(crate) struct Found {
    /// Bytes of the whole object.
    pub(crate) len: u64,
    pub(crate) tag: Option<String>,
    pub(crate) bytes: BoxStream<'static, Result<Bytes, Fault>>,
}

impl Bucket {
    /// The bucket of the configuration, if there is one. Nothing is sent yet. Credentials that are not in the configuration
    /// are looked for in an environment of these variables.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the setting, if a file cannot be read or a setting cannot be used.
    pub fn open(config: &S3Config, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let Some(name) = &config.bucket else { return Ok(None) };
        config.validate()?;
        let invalid =
            |setting, error: &dyn std::fmt::Display| Error::Invalid { setting, why: error.to_string() };
        let connector = http::Connector::new(config.ca_file.as_deref())?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&config.region)
            .with_virtual_hosted_style_request(!config.path_style)
            .with_allow_http(config.allow_http)
            .with_retry(RetryConfig {
                max_retries: TRIES_MAX - 1,
                retry_timeout: ANSWER_MAX,
                ..RetryConfig::default()
            })
            .with_http_connector(connector.clone());
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let read = config.secret_access_key_file.as_ref().map(std::fs::read_to_string);
        let read = read.transpose().map_err(|error| invalid("s3.secret_access_key_file", &error))?;
        let secret = read.or(config.secret_access_key.as_ref().map(|it| it.expose_secret().to_owned()));
        let (source, role) = match config.access_key_id.as_ref().zip(secret) {
            Some((id, secret)) => {
                builder = builder.with_access_key_id(id).with_secret_access_key(secret.trim());
                (Source::Settings, None)
            }
            None => {
                let (source, found) = Source::of_environment(variable)?;
                let connector = match source {
                    Source::Container(_) | Source::Machine(_) => http::Connector::near()?,
                    // It is asked for at a public address.
                    Source::Settings | Source::Environment | Source::WebIdentity(_) => connector,
                };
                let role = Role::new(source.clone(), found, &config.region, connector)
                    .map_err(|error| invalid("s3", &error))?;
                let role = Arc::new(role);
                builder = builder.with_credentials(Arc::clone(&role) as _);
                (source, Some(role))
            }
        };
        let store = builder.build().map_err(|error| invalid("s3", &error))?;
        let endpoint = config.endpoint.as_deref().unwrap_or("AWS");
        info!(bucket = %name, %endpoint, credentials = %source, "recordings are copied into a bucket");
        let bucket = Self::over(Arc::new(store), &config.prefix, config.keep_local);
        Ok(Some(Self { role, ..bucket }))
    }

    /// A bucket that is any store.
    pub(crate) fn over(store: Arc<dyn ObjectStore>, prefix: &str, keep_local: KeepLocal) -> Self {
        Self { store, prefix: Path::from(prefix), keep_local, role: None }
    }

    /// Looks whether there are credentials, and says so in the log. The bucket is not asked.
    pub(crate) async fn look_for_credentials(&self) -> Result<(), Fault> {
        match &self.role {
            Some(role) => role.get_credential().await.map(drop).map_err(Fault::from),
            None => Ok(()),
        }
    }

    /// How long what is in it stays on disk.
    pub(crate) fn keep_local(&self) -> KeepLocal {
        self.keep_local
    }

    /// Puts an object in place of whatever is there.
    pub(crate) async fn put(&self, name: &str, bytes: Bytes, headers: &Headers) -> Result<(), Fault> {
        let options = PutOptions { attributes: attributes(headers), ..PutOptions::default() };
        let wait = patience(bytes.len() as u64);
        self.within(wait, self.store.put_opts(&self.path(name), bytes.into(), options)).await.map(|_| ())
    }

    /// Puts a file that has `len` bytes and does not change, and says its CRC-32.
    pub(crate) async fn put_file(
        &self,
        name: &str,
        file: &FilePath,
        len: u64,
        headers: &Headers,
    ) -> Result<u32, Fault> {
        let mut file = tokio::fs::File::open(file).await?;
        let found = file.metadata().await?.len();
        if found != len {
            return Err(io::Error::other(format!("it has {found} bytes and not {len}")).into());
        }
        if len <= PART_BYTES {
            let bytes = read(&mut file, len).await?;
            let sum = crc32fast::hash(&bytes);
            self.put(name, bytes, headers).await?;
            return Ok(sum);
        }
        let options = PutMultipartOptions { attributes: attributes(headers), ..Default::default() };
        let path = self.path(name);
        let mut upload = self.within(ANSWER_MAX, self.store.put_multipart_opts(&path, options)).await?;
        let put = self.put_parts(&mut *upload, &mut file, len).await;
        if put.is_err() {
            // What was put of it costs room until it is given up; a rule of the bucket does that too.
            let _ = self.within(ANSWER_MAX, upload.abort()).await;
        }
        put
    }

    /// Reads an object, or these bytes of it.
    pub(crate) async fn get(&self, name: &str, range: Option<Range<u64>>) -> Result<Found, Fault> {
        let options = GetOptions::new().with_range(range);
        let found = self.within(ANSWER_MAX, self.store.get_opts(&self.path(name), options)).await?;
        Ok(Found {
            len: found.meta.size,
            tag: found.meta.e_tag.clone(),
            bytes: found.into_stream().map_err(Fault::from).boxed(),
        })
    }

    /// How long an object is, and its entity tag.
    pub(crate) async fn head(&self, name: &str) -> Result<(u64, Option<String>), Fault> {
        let found = self.within(ANSWER_MAX, self.store.head(&self.path(name))).await?;
        Ok((found.size, found.e_tag))
    }

    /// Removes an object, if it is there.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Fault> {
        let removed = self.within(ANSWER_MAX, self.store.delete(&self.path(name))).await;
        // S3 says nothing of an object that is not there; other stores do. A bucket that is not there is told by
        // whatever is put next.
        removed.or_else(|fault| if fault.reason == Reason::Missing { Ok(()) } else { Err(fault) })
    }

    /// Removes everything whose name begins with `folder/`, and says how many that were.
    pub(crate) async fn remove_all(&self, folder: &str) -> Result<u64, Fault> {
        let path = self.path(folder);
        let found = self.store.list(Some(&path)).map_ok(|it| it.location).boxed();
        let mut removed = self.store.delete_stream(found);
        let mut count = 0;
        while let Some(result) =
            timeout(ANSWER_MAX, removed.next()).await.map_err(|_| Fault::late(ANSWER_MAX))?
        {
            result.map_err(|error| self.heard(error))?;
            count += 1;
        }
        Ok(count)
    }

    async fn put_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        file: &mut tokio::fs::File,
        len: u64,
    ) -> Result<u32, Fault> {
        let part_bytes = PART_BYTES.max(len.div_ceil(PARTS_MAX));
        let (mut left, mut sum) = (len, crc32fast::Hasher::new());
        while left > 0 {
            let part = read(file, left.min(part_bytes)).await?;
            left -= part.len() as u64;
            sum.update(&part);
            self.within(patience(part.len() as u64), upload.put_part(part.into())).await?;
        }
        self.within(ANSWER_MAX, upload.complete()).await?;
        Ok(sum.finalize())
    }

    async fn within<T>(
        &self,
        wait: Duration,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Fault> {
        timeout(wait, asked).await.map_err(|_| Fault::late(wait))?.map_err(|error| self.heard(error))
    }

    /// What it says. Credentials of a role that it refuses may have been taken back: others are fetched.
    fn heard(&self, error: object_store::Error) -> Fault {
        let fault = Fault::from(error);
        if let (Reason::Denied, Some(role)) = (fault.reason, &self.role) {
            role.forget(Instant::now());
        }
        fault
    }

    fn path(&self, name: &str) -> Path {
        Path::from_iter(self.prefix.parts().chain(Path::from(name).parts()))
    }
}

async fn read(file: &mut tokio::fs::File, len: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}

fn patience(bytes: u64) -> Duration {
    ANSWER_MAX + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
}

fn attributes(headers: &Headers) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, headers.content_type.into());
    attributes.insert(Attribute::CacheControl, headers.cache.into());
    if let Some(disposition) = &headers.disposition {
        attributes.insert(Attribute::ContentDisposition, disposition.clone().into());
    }
    attributes
}

#[cfg(test)]
mod tests;
