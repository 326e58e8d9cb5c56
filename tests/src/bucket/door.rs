//! Who is let into a bucket, how long that takes, and what finds room in it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{StatusCode, header};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// A key that opens the door.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    /// What signatures are checked with.
    pub(crate) secret: String,
    /// What must come with it, if it is one of a role. The server checks no such thing by itself.
    pub(crate) session: Option<String>,
}

/// The door of a bucket.
#[derive(Clone, Default)]
pub(crate) struct Door {
    keys: Arc<Mutex<VecDeque<Key>>>,
    delay_ms: Arc<AtomicU64>,
    /// Objects of more bytes find no room; 0: every object does.
    room: Arc<AtomicU64>,
}

impl Door {
    /// The keys that open it, oldest first.
    pub(crate) fn keys(&self) -> MutexGuard<'_, VecDeque<Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every request takes so long, from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What has more bytes finds no room, from now on; 0: everything does.
    pub(crate) fn limit(&self, bytes: u64) {
        self.room.store(bytes, Ordering::Relaxed);
    }

    fn key(&self, id: &str) -> Option<Key> {
        self.keys().iter().find(|key| key.id == id).cloned()
    }
}

#[async_trait]
impl S3Auth for Door {
    async fn get_secret_key(&self, key: &str) -> S3Result<SecretKey> {
        tokio::time::sleep(Duration::from_millis(self.delay_ms.load(Ordering::Relaxed))).await;
        let found = self.key(key).ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(SecretKey::from(found.secret))
    }
}

#[async_trait]
impl S3Access for Door {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let id = request.credentials().map(|it| it.access_key.clone()).unwrap_or_default();
        let key = self.key(&id).ok_or_else(|| s3_error!(AccessDenied))?;
        if text("x-amz-security-token") != key.session.as_deref() {
            return Err(s3_error!(InvalidToken));
        }
        let room = self.room.load(Ordering::Relaxed);
        let bytes = text(header::CONTENT_LENGTH.as_str()).and_then(|it| it.parse().ok()).unwrap_or(0_u64);
        let puts = matches!(request.s3_op().name(), "PutObject" | "UploadPart");
        if room > 0 && puts && bytes > room {
            // As MinIO says it.
            let code = S3ErrorCode::Custom("XMinioStorageFull".into());
            let said = "Storage backend has reached its minimum free drive threshold.";
            let mut error = S3Error::with_message(code, said);
            error.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
            return Err(error);
        }
        Ok(())
    }
}
