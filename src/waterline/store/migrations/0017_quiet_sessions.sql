-- Sessions that are quiet are looked for app by app: each says for itself how long that is.
DROP INDEX sessions_quiet;
CREATE INDEX sessions_quiet ON sessions (app, last_us) WHERE judged = 0;
