-- Whole days from the sums; of the day in which the span begins, the traces after that; traces without an outcome are few.
-- name: by_route
SELECT u.app, u.route, u.provider, u.model, CAST(SUM(u.requests) AS BIGINT) AS requests,
    CAST(SUM(u.tokens_in) AS BIGINT) AS tokens_in, CAST(SUM(u.tokens_out) AS BIGINT) AS tokens_out,
    CAST(SUM(u.cost_nano_usd) AS BIGINT) AS cost_nano_usd, CAST(SUM(u.unpriced) AS BIGINT) AS unpriced
FROM (
    SELECT app, route, provider, model, requests,
        input + cached_input + cache_write + cache_write_1h + audio_input AS tokens_in,
        output + reasoning + audio_output AS tokens_out, cost_nano_usd, unpriced
    FROM usage_days
    WHERE day >= :whole_from_day
        AND app = :app                                                          --? app
    UNION ALL
    SELECT app, route, provider, model, 1, input + cached_input + cache_write + cache_write_1h + audio_input,
        output + reasoning + audio_output, COALESCE(cost_nano_usd, 0), CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END
    FROM traces
    WHERE started_us >= :since_us AND started_us < :whole_from_us AND attempts > 0
        AND outcome NOT IN ('open', 'interrupted')
        AND app = :app                                                          --? app
    UNION ALL
    SELECT app, route, provider, model, 1, input + cached_input + cache_write + cache_write_1h + audio_input,
        output + reasoning + audio_output, COALESCE(cost_nano_usd, 0), CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END
    FROM traces
    WHERE outcome IN ('open', 'interrupted') AND started_us + 0 >= :since_us AND attempts > 0 -- not by the index of time
        AND app = :app                                                          --? app
) AS u
GROUP BY u.app, u.route, u.provider, u.model
ORDER BY cost_nano_usd DESC, requests DESC, u.app, u.route, u.provider, u.model

-- Of traces with an outcome from the sums by day; interrupted ones are few, and may come to one yet.
-- name: sums
SELECT u.purpose, u.provider, u.model,
    CASE :by WHEN 'route' THEN u.route WHEN 'release' THEN u.release WHEN 'key' THEN u.key_id
        WHEN 'branch' THEN u.branch
        WHEN 'day' THEN CAST(u.day AS TEXT) ELSE '' END AS what,
    CAST(SUM(u.requests) AS BIGINT) AS requests, CAST(SUM(u.input) AS BIGINT) AS input,
    CAST(SUM(u.cached_input) AS BIGINT) AS cached_input, CAST(SUM(u.cache_write) AS BIGINT) AS cache_write,
    CAST(SUM(u.cache_write_1h) AS BIGINT) AS cache_write_1h, CAST(SUM(u.output) AS BIGINT) AS output,
    CAST(SUM(u.reasoning) AS BIGINT) AS reasoning, CAST(SUM(u.audio_input) AS BIGINT) AS audio_input,
    CAST(SUM(u.audio_output) AS BIGINT) AS audio_output,
    CAST(SUM(u.cost_nano_usd) AS BIGINT) AS cost_nano_usd, CAST(SUM(u.unpriced) AS BIGINT) AS unpriced,
    CAST(SUM(u.estimated) AS BIGINT) AS estimated,
    CAST(SUM(u.estimated_nano_usd) AS BIGINT) AS estimated_nano_usd,
    CAST(SUM(u.retried) AS BIGINT) AS retried
FROM (
    SELECT purpose, provider, model, route, release, key_id, branch, day,
        requests, input, cached_input, cache_write, cache_write_1h, output, reasoning, audio_input,
        audio_output, cost_nano_usd, unpriced, estimated, estimated_nano_usd, retried
    FROM usage_days
    WHERE 1 = 1
        AND app = :app              --? app
        AND day >= :since_day       --? since_day
        AND day < :until_day        --? until_day
    UNION ALL
    SELECT purpose, provider, model, route, release, key_id, branch, hour / 24,
        1, input, cached_input, cache_write, cache_write_1h, output, reasoning, audio_input, audio_output,
        COALESCE(cost_nano_usd, 0), CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END, estimated,
        CASE WHEN estimated = 1 THEN COALESCE(cost_nano_usd, 0) ELSE 0 END, CASE WHEN attempts > 1 THEN 1 ELSE 0 END
    FROM traces
    WHERE outcome IN ('open', 'interrupted') AND outcome = 'interrupted' AND attempts > 0
        AND app = :app              --? app
        AND hour / 24 >= :since_day --? since_day
        AND hour / 24 < :until_day  --? until_day
) AS u
GROUP BY u.purpose, u.provider, u.model, what
ORDER BY cost_nano_usd DESC, requests DESC, what

-- name: add
INSERT INTO usage_days (
    app, day, purpose, provider, model, route, release, key_id, branch, requests, input, cached_input,
    cache_write, cache_write_1h, output, reasoning, audio_input, audio_output, cost_nano_usd, unpriced,
    estimated, estimated_nano_usd, retried
) VALUES (
    :app, :day, :purpose, :provider, :model, :route, :release, :key_id, :branch, :requests, :input,
    :cached_input, :cache_write, :cache_write_1h, :output, :reasoning, :audio_input, :audio_output,
    :cost_nano_usd, :unpriced, :estimated, :estimated_nano_usd, :retried
)
ON CONFLICT (app, day, purpose, provider, model, route, release, key_id, branch) DO UPDATE SET
    requests = usage_days.requests + excluded.requests, input = usage_days.input + excluded.input,
    cached_input = usage_days.cached_input + excluded.cached_input,
    cache_write = usage_days.cache_write + excluded.cache_write,
    cache_write_1h = usage_days.cache_write_1h + excluded.cache_write_1h,
    output = usage_days.output + excluded.output, reasoning = usage_days.reasoning + excluded.reasoning,
    audio_input = usage_days.audio_input + excluded.audio_input,
    audio_output = usage_days.audio_output + excluded.audio_output,
    cost_nano_usd = usage_days.cost_nano_usd + excluded.cost_nano_usd,
    unpriced = usage_days.unpriced + excluded.unpriced,
    estimated = usage_days.estimated + excluded.estimated,
    estimated_nano_usd = usage_days.estimated_nano_usd + excluded.estimated_nano_usd,
    retried = usage_days.retried + excluded.retried

-- name: delete
DELETE FROM usage_days WHERE app = :app AND day < :before_day

-- How many turns a conversation has: of the newest requests, which say as much as all.
-- name: conversations
SELECT COUNT(DISTINCT t.session) AS sessions, COUNT(*) AS requests
FROM (
    SELECT session, purpose, attempts FROM traces
    WHERE app = :app AND started_us >= :since_us AND started_us < :until_us
    ORDER BY started_us DESC
    LIMIT :most
) AS t
WHERE t.purpose = 'live' AND t.attempts > 0 AND t.session <> ''
