-- name: add
INSERT INTO conversation_days (app, env, branch, day, name, n, amount, unpriced, first_us)
VALUES (:app, :env, :branch, :day, :name, :n, :amount, :unpriced, :first_us)
ON CONFLICT (day, app, env, branch, name) DO UPDATE SET
    n = conversation_days.n + excluded.n, amount = conversation_days.amount + excluded.amount,
    unpriced = conversation_days.unpriced + excluded.unpriced,
    first_us = CASE WHEN excluded.first_us > 0 AND excluded.first_us < conversation_days.first_us
        THEN excluded.first_us ELSE conversation_days.first_us END

-- name: sums
SELECT branch, name, CAST(SUM(n) AS BIGINT) AS n, CAST(SUM(amount) AS BIGINT) AS amount,
    CAST(SUM(unpriced) AS BIGINT) AS unpriced, MIN(first_us) AS first_us
FROM conversation_days
WHERE day >= :since_us AND day < :until_us
    AND app = :app          --? app
    AND env IN (:env, '')   --? env
    AND branch = :branch    --? branch
    AND REPLACE(:mine, ' ' || branch || ' ', '') <> :mine --? mine
GROUP BY branch, name

-- name: with_person
SELECT branch, COUNT(*) AS with_person
FROM conversations
WHERE mode = 'person' AND created_us >= :since_us AND created_us < :until_us
    AND app = :app       --? app
    AND env = :env       --? env
    AND branch = :branch --? branch
    AND REPLACE(:mine, ' ' || branch || ' ', '') <> :mine --? mine
GROUP BY branch
