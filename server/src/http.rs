//! HTTP: API, pages, health and metrics. Media and signaling bring their own routes.

pub(crate) mod api;
pub(crate) mod audience;
mod caller;
pub(crate) mod connections;
mod extract;
pub(crate) mod forwarded;
pub(crate) mod guard;
pub(crate) mod health;
pub(crate) mod limit;
pub(crate) mod operator;
pub(crate) mod patience;
mod peers;
pub(crate) mod player;
pub(crate) mod problem;
pub(crate) mod recordings;
pub(crate) mod streams;
pub(crate) mod v1;
