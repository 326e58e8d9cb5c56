-- How far the live viewers of a channel may go back; NULL: what the server's configuration says.
ALTER TABLE channels ADD COLUMN rewind_s BIGINT;
ALTER TABLE channels ADD COLUMN rewind_mib BIGINT;
