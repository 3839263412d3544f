-- name: by_route
SELECT t.app, t.route, t.provider, t.model, COUNT(*) AS requests,
    SUM(t.input + t.cached_input + t.cache_write + t.audio_input) AS tokens_in,
    SUM(t.output + t.reasoning + t.audio_output) AS tokens_out,
    COALESCE(SUM(t.cost_nano_usd), 0) AS cost_nano_usd,
    SUM(CASE WHEN t.cost_nano_usd IS NULL THEN 1 ELSE 0 END) AS unpriced
FROM traces t
WHERE t.attempts > 0
    AND t.app = :app                --? app
    AND t.started_us >= :since_us   --? since_us
GROUP BY t.app, t.route, t.provider, t.model
ORDER BY cost_nano_usd DESC, requests DESC
