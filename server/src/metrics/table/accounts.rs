//! Accounts, keys, grants, the database.

use super::row::{Row, counter, gauge, tokenless};

pub(super) const ROWS: &[Row] = &[
    gauge("authority.channels", "swiftwater_channels", "Channels of the configuration and of accounts."),
    gauge("authority.grant_keys", "swiftwater_grant_keys", "Keys by which grants to watch are good."),
    counter(
        "authority.keys_looked_up",
        "swiftwater_stream_keys_looked_up_total",
        "Stream keys looked up in the database.",
    ),
    counter("authority.keys_unknown", "swiftwater_stream_keys_unknown_total", "Wrong stream keys."),
    counter(
        "authority.keys_limited",
        "swiftwater_stream_keys_limited_total",
        "Publishers refused because their network had shown too many wrong keys.",
    ),
    counter(
        "authority.plays_granted",
        "swiftwater_plays_granted_total",
        "Requests to watch that were granted.",
    ),
    counter(
        "authority.plays_denied",
        "swiftwater_plays_denied_total",
        "Requests to watch that were refused: no such channel, or no good grant.",
    ),
    tokenless("accounts.tokens_wrong", "wrong", "They are none of ours, have expired or were revoked."),
    tokenless(
        "accounts.tokens_limited",
        "limited",
        "Their network had failed too often; they were not looked at.",
    ),
    counter(
        "broadcasts.busy",
        "swiftwater_publishers_busy_total",
        "Publishers refused because their channel is live on another node.",
    ),
    counter(
        "broadcasts.cut",
        "swiftwater_publishers_cut_total",
        "Publishers cut off: key revoked, channel removed, a moderator.",
    ),
    counter(
        "broadcasts.followers_told",
        "swiftwater_followers_told_total",
        "Followers that were told at the gateway that a channel went live.",
    ),
    counter(
        "broadcasts.lost",
        "swiftwater_streams_lost_total",
        "Streams that this node, in an earlier life, or another one that died left behind, marked as ended.",
    ),
    counter(
        "broadcasts.errors",
        "swiftwater_database_errors_total",
        "What happened to a stream and the database did not take.",
    ),
    counter("database.queries", "swiftwater_database_queries_total", "Statements and transactions run."),
    counter(
        "api.limited",
        "swiftwater_api_limited_total",
        "API requests refused because their address had made too many.",
    ),
];
