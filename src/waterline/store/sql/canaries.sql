-- name: add
INSERT INTO canaries (
    id, app, env, candidate, baseline, state, step, who, why, started_us, step_us, ended_us, reason, looked, looks,
    plan, sums
) VALUES (
    :id, :app, :env, :candidate, :baseline, :state, :step, :who, :why, :started_us, :step_us, :ended_us, :reason,
    :looked, :looks, :plan, :sums
)

-- name: get
SELECT id, app, env, candidate, baseline, state, step, who, why, started_us, step_us, ended_us, reason, looked, looks,
    plan, sums
FROM canaries WHERE id = :id

-- name: list
SELECT id, app, env, candidate, baseline, state, step, who, why, started_us, step_us, ended_us, reason, looked, looks
FROM canaries
WHERE 1 = 1
    AND app = :app --? app
    AND (started_us < :before_us OR (started_us = :before_us AND id > :before)) --? before
ORDER BY started_us DESC, id
LIMIT :limit

-- name: under_way
SELECT id, app, env, candidate, baseline, state, step, who, why, started_us, step_us, ended_us, reason, looked, looks
FROM canaries
WHERE ended_us IS NULL
    AND app = :app --? app
    AND env = :env --? env

-- name: update
UPDATE canaries SET state = :state, step = :step, step_us = :step_us, ended_us = :ended_us, reason = :reason,
    looked = :looked, looks = :looks, sums = :sums
WHERE id = :id

-- A session is known by its first request in the step; what has been counted stays as it is.
-- name: add_unit
INSERT INTO canary_units (canary, unit, session, candidate, begun_us, stage)
VALUES (:canary, :unit, :session, :candidate, :begun_us, 0)
ON CONFLICT (canary, unit) DO UPDATE SET begun_us = excluded.begun_us
WHERE excluded.begun_us < canary_units.begun_us AND canary_units.stage = 0

-- name: due
SELECT unit, session, candidate, begun_us FROM canary_units
WHERE canary = :canary AND stage = :stage AND begun_us <= :until_us
ORDER BY begun_us
LIMIT :limit

-- name: settle
UPDATE canary_units SET stage = :stage, session = CASE WHEN :stage = 2 THEN '' ELSE session END
WHERE canary = :canary AND unit = :unit

-- name: waiting
SELECT COUNT(*) AS n FROM canary_units WHERE canary = :canary AND stage = 0

-- name: forget_units
DELETE FROM canary_units WHERE canary = :canary

-- name: asked_in_session
SELECT outcome, code, duration_us, first_token_us, stream, cost_nano_usd FROM traces
WHERE session = :session AND session <> '' AND started_us >= :since_us AND started_us <= :until_us
    AND app = :app AND env = :env AND release = :release AND purpose = :purpose
ORDER BY started_us
LIMIT :limit

-- name: asked_once
SELECT outcome, code, duration_us, first_token_us, stream, cost_nano_usd FROM traces WHERE id = :id

-- name: said_in_session
SELECT v.name, v.verdict
FROM traces t JOIN verdicts v ON v.target_kind = 'trace' AND v.target_id = t.id
WHERE t.session = :session AND t.session <> '' AND t.started_us >= :since_us AND t.started_us <= :until_us
    AND t.app = :app AND t.env = :env AND t.release = :release AND t.purpose = :purpose AND v.at_us <= :said_us
ORDER BY v.seq
LIMIT :limit

-- name: said_once
SELECT v.name, v.verdict FROM verdicts v
WHERE v.target_kind = 'trace' AND v.target_id = :id AND v.at_us <= :said_us
ORDER BY v.seq
LIMIT :limit

-- name: add_look
INSERT INTO canary_looks (canary, number, at_us, step, decision, sums)
VALUES (:canary, :number, :at_us, :step, :decision, :sums)

-- name: looks
SELECT number, at_us, step, decision, sums FROM canary_looks WHERE canary = :canary ORDER BY number

-- name: moves
SELECT seq, app, env, kind, shares, salt, who, why, evidence, at_us, session FROM rollout_moves
WHERE app = :app AND env = :env AND kind IN ('promote', 'rollback') AND at_us >= :since_us
    AND at_us <= :until_us --? until_us
ORDER BY seq
LIMIT :limit

-- name: recorded
SELECT id, session, outcome, code, duration_us, first_token_us, stream, cost_nano_usd, started_us FROM traces
WHERE app = :app AND env = :env AND release = :release AND purpose = :purpose AND outcome <> 'open'
    AND started_us >= :since_us
ORDER BY started_us DESC
LIMIT :limit

-- name: recorded_verdicts
SELECT t.id, v.name, v.verdict
FROM traces t JOIN verdicts v ON v.target_kind = 'trace' AND v.target_id = t.id
WHERE t.app = :app AND t.env = :env AND t.release = :release AND t.purpose = :purpose AND t.started_us >= :since_us
ORDER BY v.seq
LIMIT :limit
