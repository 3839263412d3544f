-- Who a key belongs to, so that two keys of one person are one person; '': who the key is named after.
ALTER TABLE access_keys ADD COLUMN person TEXT NOT NULL DEFAULT '';

-- Who built a release, as a person; '': who it says.
ALTER TABLE releases ADD COLUMN person TEXT NOT NULL DEFAULT '';

-- What went wrong, opened and closed by people or by the machinery. state: open or closed.
CREATE TABLE incidents (
    seq {identity},
    id TEXT NOT NULL UNIQUE,
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    title TEXT NOT NULL,
    severity TEXT NOT NULL,
    blocking BIGINT NOT NULL,
    notes TEXT NOT NULL,
    release TEXT NOT NULL,
    links {bytes} NOT NULL,
    state TEXT NOT NULL,
    opened_us BIGINT NOT NULL,
    opened_by TEXT NOT NULL,
    closed_us BIGINT,
    closed_by TEXT NOT NULL,
    resolution TEXT NOT NULL
);
CREATE INDEX incidents_of ON incidents (app, state, seq);

-- kind: approve or revoke. What was said last by a person is what holds. shown: the evidence that it was said of.
CREATE TABLE approvals (
    seq {identity},
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    release TEXT NOT NULL,
    kind TEXT NOT NULL,
    person TEXT NOT NULL,
    who TEXT NOT NULL,
    key_id TEXT NOT NULL,
    shown TEXT NOT NULL,
    evidence {bytes} NOT NULL,
    note TEXT NOT NULL,
    at_us BIGINT NOT NULL
);
CREATE INDEX approvals_of ON approvals (app, env, release, seq);
{append_only:approvals}

-- What the gates said of a move when it was made. override: why it was made all the same; '': it was not.
CREATE TABLE gate_reports (
    move BIGINT NOT NULL,
    app TEXT NOT NULL,
    release TEXT NOT NULL,
    override TEXT NOT NULL,
    report {bytes} NOT NULL,
    PRIMARY KEY (move, release)
);
CREATE INDEX gate_reports_of ON gate_reports (release, move);
{append_only:gate_reports}
