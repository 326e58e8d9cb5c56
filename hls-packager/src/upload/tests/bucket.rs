//! A bucket in memory that can be told to fail, to be full or to stand still, and that counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attribute, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::bucket::Fault;

#[derive(Debug, Default)]
pub(super) struct Memory {
    inner: InMemory,
    denies: AtomicBool,
    stands: AtomicBool,
    delay_ms: AtomicU64,
    /// Bytes that all objects together may have; 0 is as many as one likes.
    quota: AtomicU64,
    full: AtomicUsize,
    running: AtomicUsize,
    running_max: AtomicUsize,
    puts: Mutex<BTreeMap<String, usize>>,
}

impl Memory {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Nothing is let in from now on, or no longer.
    pub(super) fn deny(&self, denies: bool) {
        self.denies.store(denies, Ordering::Release);
    }

    /// Nothing is answered from now on, or no longer. What waits waits for ever.
    pub(super) fn stand(&self, stands: bool) {
        self.stands.store(stands, Ordering::Release);
    }

    /// Every answer takes so long from now on.
    pub(super) fn delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Release);
    }

    /// All objects together have so many bytes at most from now on; 0 is as many as one likes.
    pub(super) fn limit(&self, bytes: u64) {
        self.quota.store(bytes, Ordering::Release);
    }

    /// How often there was no room.
    pub(super) fn was_full(&self) -> usize {
        self.full.load(Ordering::Acquire)
    }

    /// Most objects that were put at the same time.
    pub(super) fn running_max(&self) -> usize {
        self.running_max.load(Ordering::Acquire)
    }

    /// How often each object was put.
    pub(super) fn puts(&self) -> BTreeMap<String, usize> {
        self.puts.lock().expect("not poisoned").clone()
    }

    /// Every object: its bytes, type and lifetime.
    pub(super) async fn objects(&self) -> BTreeMap<String, (Bytes, String, String)> {
        let mut objects = BTreeMap::new();
        let found: Vec<ObjectMeta> = self.inner.list(None).try_collect().await.expect("listed");
        for meta in found {
            let got = self.inner.get(&meta.location).await.expect("it is listed");
            let header = |name| got.attributes.get(&name).map(|it| it.to_string()).unwrap_or_default();
            let headers = (header(Attribute::ContentType), header(Attribute::CacheControl));
            let bytes = got.bytes().await.expect("bytes");
            objects.insert(meta.location.to_string(), (bytes, headers.0, headers.1));
        }
        objects
    }

    async fn take_in(&self, bytes: u64) -> Result<()> {
        let quota = self.quota.load(Ordering::Acquire);
        let sizes = self.inner.list(None).map_ok(|it| it.size);
        let there: u64 = sizes.try_fold(0, async |sum, size| Ok(sum + size)).await?;
        if quota == 0 || there + bytes <= quota {
            return Ok(());
        }
        self.full.fetch_add(1, Ordering::AcqRel);
        let said = "<Error><Code>QuotaExceeded</Code><Message>no more</Message></Error>";
        let fault = Fault::of_answer(StatusCode::FORBIDDEN, said).expect("it is full");
        Err(Error::Generic { store: "memory", source: Box::new(fault) })
    }

    async fn pass(&self, path: &Path) -> Result<()> {
        if self.stands.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(self.delay_ms.load(Ordering::Acquire))).await;
        if self.denies.load(Ordering::Acquire) {
            return Err(Error::PermissionDenied { path: path.to_string(), source: "revoked".into() });
        }
        Ok(())
    }
}

/// Counts what runs, also if it is given up.
struct Running<'a>(&'a Memory);

impl<'a> Running<'a> {
    fn new(memory: &'a Memory) -> Self {
        let running = memory.running.fetch_add(1, Ordering::AcqRel) + 1;
        memory.running_max.fetch_max(running, Ordering::AcqRel);
        Self(memory)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

#[async_trait]
impl ObjectStore for Memory {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let _running = Running::new(self);
        self.pass(path).await?;
        self.take_in(payload.content_length() as u64).await?;
        let result = self.inner.put_opts(path, payload, options).await;
        *self.puts.lock().expect("not poisoned").entry(path.to_string()).or_default() += 1;
        result
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.pass(path).await?;
        *self.puts.lock().expect("not poisoned").entry(path.to_string()).or_default() += 1;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.pass(path).await?;
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.denies.load(Ordering::Acquire) {
            let denied = Error::PermissionDenied { path: String::new(), source: "revoked".into() };
            return futures_util::stream::iter([Err(denied)]).boxed();
        }
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
