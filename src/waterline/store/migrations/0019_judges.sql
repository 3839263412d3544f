-- Judges beside people: answers that people label, their labels, what a judge said, and each look at both.
-- id: digest of the material. source: "trace ...", "experiment ...", a file.
CREATE TABLE judge_items (
    app TEXT NOT NULL,
    judge TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    asked TEXT NOT NULL,
    answer TEXT NOT NULL,
    expected TEXT NOT NULL,
    context TEXT NOT NULL,
    source TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (app, judge, id)
);
CREATE INDEX judge_items_in_order ON judge_items (app, judge, ordinal);
CREATE INDEX judge_items_of ON judge_items (source);

-- question: what people were asked. One label a labeller; the last one counts.
CREATE TABLE judge_labels (
    app TEXT NOT NULL,
    judge TEXT NOT NULL,
    question TEXT NOT NULL,
    item TEXT NOT NULL,
    who TEXT NOT NULL,
    label TEXT NOT NULL,
    note TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (app, judge, question, item, who)
);

-- judge: the id of what was asked. said: yes, no, or "" where there was no verdict.
CREATE TABLE judge_opinions (
    app TEXT NOT NULL,
    judge TEXT NOT NULL,
    item TEXT NOT NULL,
    said TEXT NOT NULL,
    reason TEXT NOT NULL,
    trace TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (app, judge, item)
);

-- A provider that answered as another model than the pinned one. Stays until the judge is another one.
CREATE TABLE judge_changes (
    app TEXT NOT NULL,
    judge TEXT NOT NULL,
    model TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (app, judge)
);

CREATE TABLE judge_calibrations (
    seq {identity},
    app TEXT NOT NULL,
    name TEXT NOT NULL,
    judge TEXT NOT NULL,
    question TEXT NOT NULL,
    labels BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    who TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    calibration {bytes} NOT NULL
);
CREATE INDEX judge_calibrations_of ON judge_calibrations (app, name, question, seq);
{append_only:judge_calibrations}
