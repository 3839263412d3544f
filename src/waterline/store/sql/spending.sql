-- name: add
INSERT INTO spending (app, purpose, quarter_us, branch, key_id, nano_usd)
VALUES (:app, :purpose, :quarter_us, :branch, :key_id, :nano_usd)
ON CONFLICT (app, purpose, quarter_us, branch, key_id) DO UPDATE SET nano_usd = spending.nano_usd + excluded.nano_usd

-- What has no outcome counts with its reservation.
-- name: by
SELECT who, CAST(SUM(nano_usd) AS BIGINT) AS nano_usd FROM (
    SELECT CASE :scope WHEN 'branch' THEN branch WHEN 'key' THEN key_id ELSE app END AS who, nano_usd
    FROM spending
    WHERE app = :app AND purpose = :purpose AND quarter_us >= :quarter_us
    UNION ALL
    SELECT CASE :scope WHEN 'branch' THEN branch WHEN 'key' THEN key_id ELSE app END AS who,
        CASE WHEN reserved_nano_usd > COALESCE(cost_nano_usd, 0)
            THEN reserved_nano_usd ELSE COALESCE(cost_nano_usd, 0) END AS nano_usd
    FROM traces
    WHERE outcome IN ('open', 'interrupted') AND app = :app AND started_us >= :since_us AND purpose = :purpose
) AS parts
GROUP BY who
ORDER BY nano_usd DESC
LIMIT :limit

-- name: delete
DELETE FROM spending WHERE app = :app AND quarter_us < :before_us
