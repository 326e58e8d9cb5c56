//! Hooks: a backend of the operator is asked before somebody publishes or watches, and told when he stops.
//!
//! ```text
//!   admission, WHEP, gateway, HLS ─► Gate::publish, Gate::play ─► decisions (cache, one question at a time)
//!                                        │                            └─► Client ─► the backend
//!                                        └─► Visit: dropping it tells on_unpublish, on_stop
//! ```
//!
//! The questions have the shape of SRS, so that a backend written for it works unchanged; `docs/hooks.md` has the
//! table.
//!
//! Webhooks are the other kind: anybody who has a channel may have them sent to a URL of his. They are signed, and
//! delivered at least once.
//!
//! ```text
//!   Webhooks::announce(Event) ─► deliveries (database) ─► Webhooks::run ─► Client, public addresses only
//!   Database::name_live_stream, end_live_stream, … ─┘ with what they tell of, in one transaction
//! ```

mod answer;
mod breaker;
mod call;
mod client;
mod config;
mod decisions;
mod event;
mod gate;
mod network;
mod question;
mod signature;
mod stats;
mod visit;
mod webhook;

pub use call::Caller;
pub use config::{Config, HookUrl, Keys};
pub(crate) use event::wants;
pub use event::{Broadcast, EVENT_TYPES, Event};
pub use gate::{Admitted, Gate, Refusal};
pub use stats::Stats;
pub use visit::Visit;
pub use webhook::{WebhookConfig, WebhookError, WebhookStats, Webhooks};
