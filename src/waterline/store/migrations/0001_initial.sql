-- Times are Unix microseconds, money nano-USD, booleans 0 or 1. See store/dialect.py for the {macros}.

CREATE TABLE traces (
    n {identity},
    id TEXT NOT NULL UNIQUE,
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    purpose TEXT NOT NULL,
    release TEXT NOT NULL,
    route TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    key_id TEXT NOT NULL,
    session TEXT NOT NULL,
    subject TEXT NOT NULL,
    tags TEXT NOT NULL,
    stream BIGINT NOT NULL,
    started_us BIGINT NOT NULL,
    first_token_us BIGINT,
    duration_us BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    status BIGINT NOT NULL,
    code TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    input BIGINT NOT NULL,
    cached_input BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    output BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    audio_input BIGINT NOT NULL,
    audio_output BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    cost_nano_usd BIGINT,
    reserved_nano_usd BIGINT NOT NULL,
    price_version TEXT NOT NULL,
    boot TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    hour BIGINT NOT NULL,
    latency_bucket BIGINT NOT NULL,
    ttft_bucket BIGINT,
    events {bytes} NOT NULL
);
CREATE INDEX traces_by_time ON traces (started_us, id);
CREATE INDEX traces_by_app ON traces (app, started_us, id);
CREATE INDEX traces_by_session ON traces (session, started_us) WHERE session <> '';
CREATE INDEX traces_open ON traces (boot) WHERE outcome = 'open';

-- kind: 'request' or 'answer'. codec: 0 as it is, 1 zstd.
CREATE TABLE bodies (
    n {identity},
    trace_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    codec BIGINT NOT NULL,
    bytes {bytes} NOT NULL,
    UNIQUE (trace_id, kind)
);

{text_index}

CREATE TABLE releases (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    manifest {bytes} NOT NULL,
    at_us BIGINT NOT NULL,
    who TEXT NOT NULL,
    message TEXT NOT NULL,
    spec TEXT NOT NULL
);
CREATE INDEX releases_by_app ON releases (app, at_us);
{append_only:releases}

CREATE TABLE specs (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    bytes {bytes} NOT NULL,
    at_us BIGINT NOT NULL,
    who TEXT NOT NULL
);
{append_only:specs}

CREATE TABLE app_state (
    app TEXT PRIMARY KEY,
    spec TEXT NOT NULL REFERENCES specs (id),
    at_us BIGINT NOT NULL,
    who TEXT NOT NULL
);

CREATE TABLE rollout_moves (
    seq {identity},
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    kind TEXT NOT NULL,
    shares {bytes} NOT NULL,
    salt TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    evidence TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    session TEXT NOT NULL
);
CREATE INDEX rollout_moves_of ON rollout_moves (app, env, seq);
{append_only:rollout_moves}

CREATE TABLE access_keys (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    role TEXT,
    assert_identity BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_us BIGINT,
    revoked_us BIGINT
);

CREATE TABLE console_sessions (
    digest TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES access_keys (id),
    csrf TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    seen_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL
);

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    entry {bytes} NOT NULL,
    prev TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL UNIQUE
);
{append_only:audit}

CREATE TABLE verdicts (
    seq {identity},
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    name TEXT NOT NULL,
    judge TEXT NOT NULL,
    judge_version TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    verdict {bytes} NOT NULL
);
CREATE INDEX verdicts_of ON verdicts (target_kind, target_id, seq);

CREATE TABLE feedback (
    seq {identity},
    trace_id TEXT NOT NULL,
    verdict_seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    comment TEXT NOT NULL,
    edit TEXT NOT NULL,
    who TEXT NOT NULL,
    at_us BIGINT NOT NULL
);
CREATE INDEX feedback_of ON feedback (trace_id, seq);

CREATE TABLE load_lines (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    release TEXT NOT NULL,
    spec TEXT NOT NULL,
    json {bytes} NOT NULL,
    html {bytes} NOT NULL,
    exit_status BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    expires_us BIGINT,
    signature TEXT NOT NULL,
    who TEXT NOT NULL
);
CREATE INDEX load_lines_of ON load_lines (app, at_us, id);
{append_only:load_lines}

CREATE TABLE spool_offsets (
    segment TEXT PRIMARY KEY,
    boot TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    damaged BIGINT NOT NULL
);

-- One row a process that wrote to the spool. last_seq: the highest record number seen by the drainer.
CREATE TABLE counters (
    boot TEXT PRIMARY KEY,
    last_seq BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    lost BIGINT NOT NULL
);
