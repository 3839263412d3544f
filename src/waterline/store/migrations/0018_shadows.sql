-- Shadow traffic: a candidate answers copies of live requests. sums: what its pairs add up to (JSON).
CREATE TABLE shadows (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    release TEXT NOT NULL,
    share_bp BIGINT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    started_us BIGINT NOT NULL,
    ended_us BIGINT,
    reason TEXT NOT NULL,
    offered BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    over_budget BIGINT NOT NULL,
    sums {bytes} NOT NULL
);
CREATE UNIQUE INDEX shadows_under_way ON shadows (app) WHERE ended_us IS NULL;

-- live, copy: traces. pair: figures of both, without any text (JSON).
CREATE TABLE shadow_pairs (
    n {identity},
    shadow TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    live TEXT NOT NULL,
    copy TEXT NOT NULL,
    failed BIGINT NOT NULL,
    differs BIGINT NOT NULL,
    pair {bytes} NOT NULL
);
CREATE INDEX shadow_pairs_of ON shadow_pairs (shadow, n);
