-- name: add_alert
INSERT INTO budget_alerts (
    app, scope, name, period, start_us, level, limit_nano_usd, spent_nano_usd, at_us
) VALUES (
    :app, :scope, :name, :period, :start_us, :level, :limit_nano_usd, :spent_nano_usd, :at_us
)
ON CONFLICT (app, scope, name, period, start_us, level, limit_nano_usd) DO NOTHING

-- name: alerts
SELECT a.app, a.scope, a.name, a.period, a.start_us, a.level, a.limit_nano_usd, a.spent_nano_usd, a.at_us
FROM budget_alerts a
WHERE a.at_us >= :since_us
    AND a.app = :app --? app
ORDER BY a.at_us DESC, a.level DESC
LIMIT :limit
