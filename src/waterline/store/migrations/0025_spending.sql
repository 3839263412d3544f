-- What was spent, by the quarter of an hour in which a request came: a budget knows its month at a start without reading a
-- month of traces. A trace is added when it has its outcome; those that have none are few, and are looked at themselves.
CREATE TABLE spending (
    app TEXT NOT NULL,
    purpose TEXT NOT NULL,
    quarter_us BIGINT NOT NULL,
    branch TEXT NOT NULL,
    key_id TEXT NOT NULL,
    nano_usd BIGINT NOT NULL,
    PRIMARY KEY (app, purpose, quarter_us, branch, key_id)
);
INSERT INTO spending (app, purpose, quarter_us, branch, key_id, nano_usd)
SELECT app, purpose, started_us - started_us % 900000000, branch, key_id, SUM(cost_nano_usd)
FROM traces
WHERE outcome NOT IN ('open', 'interrupted') AND cost_nano_usd > 0
GROUP BY app, purpose, started_us - started_us % 900000000, branch, key_id;
DROP INDEX traces_open;
CREATE INDEX traces_unfinished ON traces (app, started_us) WHERE outcome IN ('open', 'interrupted');
