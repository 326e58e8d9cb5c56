-- One dialect for SQLite >= 3.35 and PostgreSQL >= 13. Ids: TEXT, a prefix and a ULID, so that they sort by age. Times:
-- unix milliseconds. JSON: TEXT. Flags: BIGINT 0 or 1, because the two engines have no common boolean.
CREATE TABLE users (
  id            TEXT PRIMARY KEY,
  login         TEXT NOT NULL,
  display_name  TEXT NOT NULL,
  password_hash TEXT NOT NULL,
  role          TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'moderator', 'admin')),
  status        TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  created_at    BIGINT NOT NULL,
  updated_at    BIGINT NOT NULL
);
CREATE UNIQUE INDEX ux_users_login ON users (login);

CREATE TABLE invites (
  id         TEXT PRIMARY KEY,
  code_hash  TEXT NOT NULL,
  created_by TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at    BIGINT
);
CREATE UNIQUE INDEX ux_invites_code ON invites (code_hash);

CREATE TABLE sessions (
  id_hash      TEXT PRIMARY KEY,
  user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at   BIGINT NOT NULL,
  last_seen_at BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL
);
CREATE INDEX ix_sessions_user ON sessions (user_id);
CREATE INDEX ix_sessions_expiry ON sessions (expires_at);

CREATE TABLE api_tokens (
  id           TEXT PRIMARY KEY,
  user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name         TEXT NOT NULL,
  hint         TEXT NOT NULL,
  hash         TEXT NOT NULL,
  scopes       TEXT NOT NULL,
  created_at   BIGINT NOT NULL,
  last_used_at BIGINT,
  expires_at   BIGINT,
  revoked_at   BIGINT
);
CREATE UNIQUE INDEX ux_api_tokens_hash ON api_tokens (hash);
CREATE INDEX ix_api_tokens_user ON api_tokens (user_id);

-- owner_id is NULL for channels of the configuration file, whose keys and titles are kept there.
CREATE TABLE channels (
  id          TEXT PRIMARY KEY,
  owner_id    TEXT REFERENCES users (id) ON DELETE CASCADE,
  name        TEXT NOT NULL,
  title       TEXT NOT NULL,
  visibility  TEXT NOT NULL DEFAULT 'public'
              CHECK (visibility IN ('public', 'unlisted', 'followers', 'subscribers', 'signed')),
  grant_epoch BIGINT NOT NULL DEFAULT 0,
  created_at  BIGINT NOT NULL,
  updated_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX ux_channels_name ON channels (name);
CREATE INDEX ix_channels_owner ON channels (owner_id);

-- A number that grows with every change of a table that nodes keep in memory.
CREATE TABLE revisions (
  name  TEXT PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO revisions (name, value) VALUES ('channels', 0);

CREATE TABLE stream_keys (
  id           TEXT PRIMARY KEY,
  channel_id   TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  name         TEXT NOT NULL,
  key_hash     TEXT NOT NULL,
  hint         TEXT NOT NULL,
  created_at   BIGINT NOT NULL,
  last_used_at BIGINT,
  expires_at   BIGINT,
  revoked_at   BIGINT
);
CREATE UNIQUE INDEX ux_stream_keys_hash ON stream_keys (key_hash);
CREATE INDEX ix_stream_keys_channel ON stream_keys (channel_id);

CREATE TABLE live_streams (
  id            TEXT PRIMARY KEY,
  channel_id    TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  stream_key_id TEXT REFERENCES stream_keys (id) ON DELETE SET NULL,
  stream        TEXT,
  node_id       TEXT NOT NULL,
  transport     TEXT NOT NULL,
  started_at    BIGINT NOT NULL,
  last_seen_at  BIGINT NOT NULL,
  ended_at      BIGINT,
  end_reason    TEXT
);
-- The whole rule "one live Stream per Channel".
CREATE UNIQUE INDEX ux_live_one_per_channel ON live_streams (channel_id) WHERE ended_at IS NULL;
CREATE INDEX ix_live_node ON live_streams (node_id) WHERE ended_at IS NULL;
CREATE INDEX ix_live_channel_time ON live_streams (channel_id, started_at);

CREATE TABLE recordings (
  id             TEXT PRIMARY KEY,
  channel_id     TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  live_stream_id TEXT REFERENCES live_streams (id) ON DELETE SET NULL,
  title          TEXT NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('recording', 'ready', 'failed', 'deleted')),
  visibility     TEXT NOT NULL DEFAULT 'public'
                 CHECK (visibility IN ('public', 'unlisted', 'followers', 'subscribers', 'signed')),
  path           TEXT NOT NULL,
  duration_ms    BIGINT,
  size_bytes     BIGINT,
  created_at     BIGINT NOT NULL,
  expires_at     BIGINT
);
CREATE INDEX ix_recordings_channel ON recordings (channel_id, created_at);

CREATE TABLE follows (
  user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  notify     BIGINT NOT NULL DEFAULT 1,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, channel_id)
);
CREATE INDEX ix_follows_channel ON follows (channel_id, user_id);

CREATE TABLE subscriptions (
  channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  tier       BIGINT NOT NULL DEFAULT 1,
  starts_at  BIGINT NOT NULL,
  ends_at    BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (channel_id, user_id)
);
CREATE INDEX ix_subscriptions_user ON subscriptions (user_id);

CREATE TABLE channel_roles (
  channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  role       TEXT NOT NULL CHECK (role IN ('editor', 'moderator', 'vip')),
  created_at BIGINT NOT NULL,
  PRIMARY KEY (channel_id, user_id)
);

-- until NULL: for good. channel_id NULL: everywhere.
CREATE TABLE chat_bans (
  id           TEXT PRIMARY KEY,
  channel_id   TEXT REFERENCES channels (id) ON DELETE CASCADE,
  user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  moderator_id TEXT REFERENCES users (id) ON DELETE SET NULL,
  reason       TEXT NOT NULL DEFAULT '',
  until        BIGINT,
  created_at   BIGINT NOT NULL,
  lifted_at    BIGINT
);
CREATE UNIQUE INDEX ux_chat_bans_live ON chat_bans (COALESCE(channel_id, ''), user_id) WHERE lifted_at IS NULL;

CREATE TABLE chat_settings (
  channel_id         TEXT PRIMARY KEY REFERENCES channels (id) ON DELETE CASCADE,
  slow_ms            BIGINT NOT NULL DEFAULT 0,
  followers_only_min BIGINT,
  subscribers_only   BIGINT NOT NULL DEFAULT 0,
  emote_only         BIGINT NOT NULL DEFAULT 0,
  unique_mode        BIGINT NOT NULL DEFAULT 0,
  rules              TEXT NOT NULL DEFAULT '',
  pinned_message     TEXT,
  updated_at         BIGINT NOT NULL
);

-- channel_id NULL: of the whole instance. The secret signs deliveries, so it is kept sealed, not hashed.
CREATE TABLE hooks (
  id             TEXT PRIMARY KEY,
  channel_id     TEXT REFERENCES channels (id) ON DELETE CASCADE,
  url            TEXT NOT NULL,
  events         TEXT NOT NULL,
  secret_sealed  TEXT NOT NULL,
  enabled        BIGINT NOT NULL DEFAULT 1,
  disabled_reason TEXT,
  failures       BIGINT NOT NULL DEFAULT 0,
  failing_since  BIGINT,
  created_at     BIGINT NOT NULL
);

-- The outbox and the delivery log are one table: what waits, and what became of it.
CREATE TABLE deliveries (
  id          TEXT PRIMARY KEY,
  hook_id     TEXT NOT NULL REFERENCES hooks (id) ON DELETE CASCADE,
  event_id    TEXT NOT NULL,
  event_type  TEXT NOT NULL,
  payload     TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
  attempt     BIGINT NOT NULL DEFAULT 0,
  next_at     BIGINT NOT NULL,
  lease_until BIGINT NOT NULL DEFAULT 0,
  last_status BIGINT,
  last_error  TEXT,
  last_ms     BIGINT,
  created_at  BIGINT NOT NULL,
  finished_at BIGINT
);
CREATE INDEX ix_deliveries_due ON deliveries (next_at) WHERE state = 'pending';
CREATE INDEX ix_deliveries_hook ON deliveries (hook_id, id);
CREATE UNIQUE INDEX ux_deliveries_event ON deliveries (hook_id, event_id);

CREATE TABLE audit_log (
  id         TEXT PRIMARY KEY,
  at         BIGINT NOT NULL,
  actor      TEXT NOT NULL,
  action     TEXT NOT NULL,
  target     TEXT NOT NULL,
  remote     TEXT
);
CREATE INDEX ix_audit_at ON audit_log (at);
