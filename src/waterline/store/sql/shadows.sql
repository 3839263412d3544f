-- name: add
INSERT INTO shadows (
    id, app, env, release, share_bp, who, why, started_us, ended_us, reason, offered, dropped, over_budget, sums
) VALUES (
    :id, :app, :env, :release, :share_bp, :who, :why, :started_us, :ended_us, :reason, :offered, :dropped, :over_budget,
    :sums
)

-- name: get
SELECT id, app, env, release, share_bp, who, why, started_us, ended_us, reason, offered, dropped, over_budget, sums
FROM shadows WHERE id = :id

-- name: list
SELECT id, app, env, release, share_bp, who, why, started_us, ended_us, reason, offered, dropped, over_budget, sums
FROM shadows
WHERE 1 = 1
    AND app = :app --? app
ORDER BY started_us DESC, id
LIMIT :limit

-- name: under_way
SELECT id, app, env, release, share_bp, who, why, started_us, ended_us, reason, offered, dropped, over_budget, sums
FROM shadows
WHERE ended_us IS NULL
    AND app = :app --? app

-- name: count
UPDATE shadows SET offered = offered + :offered, dropped = dropped + :dropped, over_budget = over_budget + :over_budget
WHERE id = :id

-- name: set_sums
UPDATE shadows SET sums = :sums WHERE id = :id

-- name: end
UPDATE shadows SET ended_us = :ended_us, reason = :reason WHERE id = :id AND ended_us IS NULL

-- name: add_pair
INSERT INTO shadow_pairs (shadow, at_us, live, copy, failed, differs, pair)
VALUES (:shadow, :at_us, :live, :copy, :failed, :differs, :pair)

-- name: pairs
SELECT n, at_us, live, copy, pair FROM shadow_pairs
WHERE shadow = :shadow
    AND n < :before    --? before
    AND failed = 1     --? failed
    AND differs = 1    --? differs
ORDER BY n DESC
LIMIT :limit
