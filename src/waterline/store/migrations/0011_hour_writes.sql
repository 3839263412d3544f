-- Tokens that a provider's cache keeps for an hour; those that it keeps for minutes are in cache_write.
ALTER TABLE traces ADD COLUMN cache_write_1h BIGINT NOT NULL DEFAULT 0;
