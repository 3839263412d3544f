-- Evaluations: the verdict, and every case of it side by side. Rows are only ever added.
CREATE TABLE experiments (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    release TEXT NOT NULL,
    against TEXT NOT NULL,
    word TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cases BIGINT NOT NULL,
    repeats BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    who TEXT NOT NULL,
    result {bytes} NOT NULL
);
CREATE INDEX experiments_of ON experiments (app, at_us, id);

-- change: lost, won or same. tags: each between bars, "|en|price|", so that one can be looked for.
CREATE TABLE experiment_items (
    experiment TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    name TEXT NOT NULL,
    tags TEXT NOT NULL,
    change TEXT NOT NULL,
    passed BIGINT NOT NULL,
    item {bytes} NOT NULL,
    PRIMARY KEY (experiment, ordinal)
);
CREATE INDEX experiment_items_changed ON experiment_items (experiment, change, ordinal);
