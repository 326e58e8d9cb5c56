-- The keys that sign grants, all nodes the same ones. secret_sealed NULL: the one that is derived from the instance's
-- secret, which signs alone while this table is empty. retires_at NULL: nothing has taken its place yet.
CREATE TABLE grant_keys (
  id            TEXT PRIMARY KEY,
  secret_sealed TEXT,
  signs_from    BIGINT NOT NULL,
  retires_at    BIGINT,
  created_at    BIGINT NOT NULL
);
INSERT INTO revisions (name, value) VALUES ('grant_keys', 0);
