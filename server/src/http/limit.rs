//! How many requests one address may make of the API, told in `RateLimit-*` headers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sfu::network_of;

use super::problem::Problem;

/// Requests are counted anew after this long.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses remembered. At the limit those whose window is over are forgotten, then all.
const ADDRESSES_MAX: usize = 8192;

/// Requests by address.
#[derive(Debug)]
pub(crate) struct Limit {
    requests_max: u32,
    by_address: Mutex<HashMap<IpAddr, (Instant, u32)>>,
    refused: AtomicU64,
}

impl Limit {
    /// So many requests of one address in a minute; 0 is any number.
    pub(crate) fn new(requests_max: u32) -> Arc<Self> {
        Arc::new(Self { requests_max, by_address: Mutex::default(), refused: AtomicU64::new(0) })
    }

    /// How many were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts a request: how many are left, none if there are none, and the seconds until the count begins anew.
    fn take(&self, address: IpAddr, now: Instant) -> (Option<u32>, u64) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |began: Instant| now.saturating_duration_since(began) >= WINDOW;
        if by_address.len() >= ADDRESSES_MAX {
            by_address.retain(|_, (began, _)| !over(*began));
            if by_address.len() >= ADDRESSES_MAX {
                by_address.clear();
            }
        }
        let (began, count) = by_address.entry(network_of(address)).or_insert((now, 0));
        if over(*began) {
            (*began, *count) = (now, 0);
        }
        let reset = WINDOW.saturating_sub(now.saturating_duration_since(*began)).as_secs() + 1;
        if *count >= self.requests_max {
            return (None, reset);
        }
        *count += 1;
        (Some(self.requests_max - *count), reset)
    }
}

/// The layer around the API.
pub(crate) async fn limit(State(limit): State<Arc<Limit>>, request: Request, next: Next) -> Response {
    let remote = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(remote)| remote.ip());
    // Loopback is everybody, where a proxy on this machine does not say for whom it asks.
    let counts = |remote: &IpAddr| limit.requests_max > 0 && !remote.to_canonical().is_loopback();
    let Some(remote) = remote.filter(counts) else { return next.run(request).await };
    let (left, reset) = limit.take(remote, now());
    let mut response = match left {
        Some(_) => next.run(request).await,
        None => {
            limit.refused.fetch_add(1, Ordering::Relaxed);
            let detail = format!("more than {} requests in a minute: wait {reset} s", limit.requests_max);
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail)
                .retry_after(reset)
                .into_response()
        }
    };
    tell(response.headers_mut(), limit.requests_max, left.unwrap_or(0), reset);
    response
}

fn tell(headers: &mut HeaderMap, limit: u32, left: u32, reset: u64) {
    headers.insert("ratelimit-limit", limit.into());
    headers.insert("ratelimit-remaining", left.into());
    headers.insert("ratelimit-reset", reset.into());
}

#[expect(clippy::disallowed_methods, reason = "requests are counted per minute of real time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_requests_a_minute() {
        let (limit, begun) = (Limit::new(2), now());
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        let left = |after: u64| limit.take(address, begun + Duration::from_secs(after));
        assert_eq!(left(0), (Some(1), 61));
        assert_eq!(left(10), (Some(0), 51));
        assert_eq!(left(20), (None, 41));
        assert_eq!(limit.take("192.0.2.2".parse().expect("an address"), begun), (Some(1), 61));
        assert_eq!(left(60), (Some(1), 61));
        for i in 0..20_000u32 {
            limit.take(IpAddr::V4((0x0a00_0000 + i).into()), begun);
        }
        assert!(limit.by_address.lock().expect("whole").len() <= ADDRESSES_MAX);
    }
}
