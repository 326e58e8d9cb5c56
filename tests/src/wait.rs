//! Waiting for what has no event to wait for: looked at again and again, with a deadline.

use std::time::Duration;

/// How often a condition is looked at. Short against every time-out, long against the looks themselves.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until `look` finds something. Nobody finds it within `within`: the test fails and says `what`.
pub async fn eventually<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(within, looking).await {
        Ok(found) => found,
        Err(_) => panic!("not within {within:?}: {what}"),
    }
}
