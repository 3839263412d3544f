-- name: by_route
SELECT t.app, t.route, t.provider, t.model, COUNT(*) AS requests,
    SUM(t.input + t.cached_input + t.cache_write + t.cache_write_1h + t.audio_input) AS tokens_in,
    SUM(t.output + t.reasoning + t.audio_output) AS tokens_out,
    COALESCE(SUM(t.cost_nano_usd), 0) AS cost_nano_usd,
    SUM(CASE WHEN t.cost_nano_usd IS NULL THEN 1 ELSE 0 END) AS unpriced
FROM traces t
WHERE t.attempts > 0
    AND t.app = :app                --? app
    AND t.started_us >= :since_us   --? since_us
GROUP BY t.app, t.route, t.provider, t.model
ORDER BY cost_nano_usd DESC, requests DESC

-- name: sums
SELECT t.purpose, t.provider, t.model,
    CASE :by WHEN 'route' THEN t.route WHEN 'release' THEN t.release WHEN 'key' THEN t.key_id
        WHEN 'branch' THEN t.branch
        WHEN 'day' THEN CAST(t.hour / 24 AS TEXT) ELSE '' END AS what,
    COUNT(*) AS requests,
    SUM(t.input) AS input, SUM(t.cached_input) AS cached_input, SUM(t.cache_write) AS cache_write,
    SUM(t.cache_write_1h) AS cache_write_1h,
    SUM(t.output) AS output, SUM(t.reasoning) AS reasoning,
    SUM(t.audio_input) AS audio_input, SUM(t.audio_output) AS audio_output,
    COALESCE(SUM(t.cost_nano_usd), 0) AS cost_nano_usd,
    SUM(CASE WHEN t.cost_nano_usd IS NULL THEN 1 ELSE 0 END) AS unpriced,
    SUM(t.estimated) AS estimated,
    COALESCE(SUM(CASE WHEN t.estimated = 1 THEN t.cost_nano_usd ELSE 0 END), 0) AS estimated_nano_usd,
    SUM(CASE WHEN t.attempts > 1 THEN 1 ELSE 0 END) AS retried
FROM traces t
WHERE t.attempts > 0 AND t.outcome <> 'open'
    AND t.app = :app                --? app
    AND t.started_us >= :since_us   --? since_us
    AND t.started_us < :until_us    --? until_us
GROUP BY t.purpose, t.provider, t.model, what
ORDER BY cost_nano_usd DESC, requests DESC, what

-- name: conversations
SELECT COUNT(DISTINCT t.session) AS sessions, COUNT(*) AS requests
FROM traces t
WHERE t.app = :app AND t.started_us >= :since_us AND t.started_us < :until_us
    AND t.purpose = 'live' AND t.attempts > 0 AND t.session <> ''
