-- Case sets. A case is kept once, by content; which versions of a set have it is an interval: since <= version < until.
-- text: what is searched, folded. tags: each between bars. subject: keyed hash of the person whose words they are, "" if
-- nobody's. erased_us: 0, or when the words were taken out; the digest stays, so that old versions can be explained.
CREATE TABLE cases (
    n {identity},
    digest TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    tags TEXT NOT NULL,
    split TEXT NOT NULL,
    found TEXT NOT NULL,
    trace TEXT NOT NULL,
    subject TEXT NOT NULL,
    body {bytes} NOT NULL,
    erased_us BIGINT NOT NULL
);
CREATE INDEX cases_of_subject ON cases (subject) WHERE subject <> '';
CREATE INDEX cases_of_trace ON cases (trace) WHERE trace <> '';

-- digest: core/case.case_set_id of its cases.
CREATE TABLE case_versions (
    app TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    parent TEXT NOT NULL,
    digest TEXT NOT NULL,
    cases BIGINT NOT NULL,
    added BIGINT NOT NULL,
    removed BIGINT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (app, name, version)
);
{append_only:case_versions}

CREATE TABLE case_members (
    app TEXT NOT NULL,
    set_name TEXT NOT NULL,
    name TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    case_n BIGINT NOT NULL,
    PRIMARY KEY (app, set_name, name, since)
);
CREATE INDEX case_members_of ON case_members (case_n);

-- What may become a case. state: waiting, accepted, rejected. revision grows with each change, so that two people at once
-- do not overwrite each other. claimed_by: who looks at it. body: JSON of the case as it is proposed.
CREATE TABLE case_candidates (
    n {identity},
    app TEXT NOT NULL,
    set_name TEXT NOT NULL,
    trace TEXT NOT NULL,
    subject TEXT NOT NULL,
    found TEXT NOT NULL,
    why TEXT NOT NULL,
    redacted TEXT NOT NULL,
    alike BIGINT NOT NULL,
    text_digest TEXT NOT NULL,
    body {bytes} NOT NULL,
    at_us BIGINT NOT NULL,
    state TEXT NOT NULL,
    revision BIGINT NOT NULL,
    claimed_by TEXT NOT NULL,
    claimed_us BIGINT NOT NULL,
    decided_by TEXT NOT NULL,
    decided_us BIGINT NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (app, set_name, trace)
);
CREATE INDEX case_candidates_queue ON case_candidates (app, state, n);
CREATE INDEX case_candidates_text ON case_candidates (app, set_name, text_digest);
CREATE INDEX case_candidates_of_subject ON case_candidates (subject) WHERE subject <> '';
