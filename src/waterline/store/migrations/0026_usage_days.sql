-- What was used and what it cost, by day: a month's report and forecast read some thousand sums, not millions of traces.
-- A trace is added when it has its outcome.
CREATE TABLE usage_days (
    app TEXT NOT NULL,
    day BIGINT NOT NULL,
    purpose TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    route TEXT NOT NULL,
    release TEXT NOT NULL,
    key_id TEXT NOT NULL,
    branch TEXT NOT NULL,
    requests BIGINT NOT NULL,
    input BIGINT NOT NULL,
    cached_input BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    cache_write_1h BIGINT NOT NULL,
    output BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    audio_input BIGINT NOT NULL,
    audio_output BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    estimated_nano_usd BIGINT NOT NULL,
    retried BIGINT NOT NULL,
    PRIMARY KEY (app, day, purpose, provider, model, route, release, key_id, branch)
);
INSERT INTO usage_days
SELECT app, hour / 24 AS day, purpose, provider, model, route, release, key_id, branch,
    COUNT(*), SUM(input), SUM(cached_input), SUM(cache_write), SUM(cache_write_1h), SUM(output), SUM(reasoning),
    SUM(audio_input), SUM(audio_output), COALESCE(SUM(cost_nano_usd), 0),
    SUM(CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END), SUM(estimated),
    COALESCE(SUM(CASE WHEN estimated = 1 THEN cost_nano_usd ELSE 0 END), 0),
    SUM(CASE WHEN attempts > 1 THEN 1 ELSE 0 END)
FROM traces
WHERE attempts > 0 AND outcome NOT IN ('open', 'interrupted')
GROUP BY app, hour / 24, purpose, provider, model, route, release, key_id, branch;
