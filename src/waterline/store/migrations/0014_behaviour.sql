-- What users did with answers, and sessions: counted by day as it comes in, never by reading everything.

-- event: the client's own name of it; the same again is the same feedback. *_bp: ten-thousandths of the longer text.
ALTER TABLE feedback ADD COLUMN app TEXT NOT NULL DEFAULT '';
ALTER TABLE feedback ADD COLUMN event TEXT NOT NULL DEFAULT '';
ALTER TABLE feedback ADD COLUMN spent_ms BIGINT;
ALTER TABLE feedback ADD COLUMN words_bp BIGINT;
ALTER TABLE feedback ADD COLUMN characters_bp BIGINT;
UPDATE feedback SET app = COALESCE((SELECT t.app FROM traces t WHERE t.id = feedback.trace_id), '');
CREATE UNIQUE INDEX feedback_once ON feedback (trace_id, kind, event) WHERE event <> '';
CREATE INDEX feedback_edits ON feedback (app, at_us) WHERE edit <> '';

-- Feedback on a trace that is not here yet. said: as it was sent.
CREATE TABLE feedback_waiting (
    seq {identity},
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    key_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    event TEXT NOT NULL,
    said {bytes} NOT NULL,
    at_us BIGINT NOT NULL,
    next_us BIGINT NOT NULL,
    UNIQUE (app, trace_id, kind, event)
);
CREATE INDEX feedback_waiting_next ON feedback_waiting (next_us);

-- day: when it began, in UTC. name: what was counted: answers, sessions, feedback.accepted, signal.anger, step.<step>.
CREATE TABLE behaviour_days (
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    day BIGINT NOT NULL,
    release TEXT NOT NULL,
    name TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (app, env, day, release, name)
);

-- recent: the traces of the last questions, oldest first. points: how far off the rails; two are enough.
-- said: messages of a conversation that were looked at. judged 1: it was quiet for long, and looked at once more.
CREATE TABLE sessions (
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    session TEXT NOT NULL,
    release TEXT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    answers BIGINT NOT NULL,
    trace TEXT NOT NULL,
    recent TEXT NOT NULL,
    language TEXT NOT NULL,
    said BIGINT NOT NULL,
    signals TEXT NOT NULL,
    points BIGINT NOT NULL,
    judged BIGINT NOT NULL,
    PRIMARY KEY (app, env, session)
);
CREATE INDEX sessions_quiet ON sessions (last_us) WHERE judged = 0;
CREATE INDEX sessions_off_rails ON sessions (app, first_us, session) WHERE points >= 2;
CREATE INDEX sessions_begun ON sessions (app, first_us);

-- The first time that a session came to a step of the app's funnel.
CREATE TABLE session_steps (
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    session TEXT NOT NULL,
    step TEXT NOT NULL,
    release TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (app, env, session, step)
);
CREATE INDEX session_steps_by_time ON session_steps (app, at_us);

-- How far what reads traces and conversations has come. n: a number, at_us and id: a moment.
CREATE TABLE reading_places (
    name TEXT PRIMARY KEY,
    n BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    id TEXT NOT NULL
);
-- Traces that were still open when they were passed.
CREATE TABLE reading_later (
    n BIGINT PRIMARY KEY
);
-- What was there before is not read again: sessions begin to be counted now.
INSERT INTO reading_places (name, n, at_us, id) SELECT 'traces', COALESCE(MAX(n), 0), 0, '' FROM traces;
INSERT INTO reading_places (name, n, at_us, id)
SELECT 'conversations', 0, COALESCE(MAX(updated_us), 0), '' FROM conversations;
