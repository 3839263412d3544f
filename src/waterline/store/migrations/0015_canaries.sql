-- Canaries: what was compared, the sums that the decision rests on, and each look that was kept.
-- state: running, held, promoted, rolled back, stopped, ended. ended_us NULL: it is under way.
CREATE TABLE canaries (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    candidate TEXT NOT NULL,
    baseline TEXT NOT NULL,
    state TEXT NOT NULL,
    step BIGINT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    started_us BIGINT NOT NULL,
    step_us BIGINT NOT NULL,
    ended_us BIGINT,
    reason TEXT NOT NULL,
    looked BIGINT NOT NULL,
    looks BIGINT NOT NULL,
    plan {bytes} NOT NULL,
    sums {bytes} NOT NULL
);
CREATE INDEX canaries_by_time ON canaries (started_us, id);
CREATE UNIQUE INDEX canaries_under_way ON canaries (app, env) WHERE ended_us IS NULL;

-- The sessions of the step that runs. unit: a digest of the session, or the trace's id where there is none.
-- stage: 0 seen, 1 its requests are counted, 2 its verdicts too; then its name is forgotten.
CREATE TABLE canary_units (
    canary TEXT NOT NULL,
    unit TEXT NOT NULL,
    session TEXT NOT NULL,
    candidate BIGINT NOT NULL,
    begun_us BIGINT NOT NULL,
    stage BIGINT NOT NULL,
    PRIMARY KEY (canary, unit)
);
CREATE INDEX canary_units_due ON canary_units (canary, stage, begun_us);

CREATE TABLE canary_looks (
    canary TEXT NOT NULL,
    number BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    step BIGINT NOT NULL,
    decision TEXT NOT NULL,
    sums {bytes} NOT NULL,
    PRIMARY KEY (canary, number)
);
{append_only:canary_looks}
