-- name: count
INSERT INTO behaviour_days (app, env, day, release, name, n)
VALUES (:app, :env, :day, :release, :name, :n)
ON CONFLICT (app, env, day, release, name) DO UPDATE SET n = behaviour_days.n + excluded.n

-- name: counts
SELECT env, day, release, name, n FROM behaviour_days
WHERE app = :app AND day >= :since_us AND day < :until_us
    AND env = :env         --? env
    AND release = :release --? release
ORDER BY day, release, name

-- name: wait
INSERT INTO feedback_waiting (app, env, key_id, trace_id, kind, event, said, at_us, next_us)
VALUES (:app, :env, :key_id, :trace_id, :kind, :event, :said, :at_us, :next_us)
ON CONFLICT (app, trace_id, kind, event) DO NOTHING

-- name: waiting
SELECT w.seq, w.app, w.env, w.key_id, w.trace_id, w.said, w.at_us FROM feedback_waiting w
WHERE w.next_us <= :now_us
ORDER BY w.next_us
LIMIT :limit

-- name: wait_more
UPDATE feedback_waiting SET next_us = :next_us WHERE seq = :seq

-- name: waited
DELETE FROM feedback_waiting WHERE seq = :seq

-- name: waiting_count
SELECT COUNT(*) AS n, COALESCE(SUM(CASE WHEN at_us < :before_us THEN 1 ELSE 0 END), 0) AS long
FROM feedback_waiting WHERE app = :app

-- name: session
SELECT app, env, session, release, first_us, last_us, answers, trace, recent, language, said, signals, points, judged
FROM sessions WHERE app = :app AND env = :env AND session = :session

-- name: put_session
INSERT INTO sessions (
    app, env, session, release, first_us, last_us, answers, trace, recent, language, said, signals, points, judged
) VALUES (
    :app, :env, :session, :release, :first_us, :last_us, :answers, :trace, :recent, :language, :said, :signals,
    :points, :judged
)
ON CONFLICT (app, env, session) DO UPDATE SET
    last_us = excluded.last_us, answers = excluded.answers, trace = excluded.trace, recent = excluded.recent,
    language = excluded.language, said = excluded.said, signals = excluded.signals, points = excluded.points,
    judged = excluded.judged

-- name: quiet
SELECT app, env, session, release, first_us, last_us, answers, trace, recent, language, said, signals, points, judged
FROM sessions WHERE app = :app AND judged = 0 AND last_us < :before_us
ORDER BY last_us
LIMIT :limit

-- name: off_rails
SELECT app, env, session, release, first_us, last_us, answers, trace, recent, language, said, signals, points, judged
FROM sessions WHERE app = :app AND first_us >= :since_us AND points >= 2
    AND env = :env                                          --? env
    AND release = :release                                  --? release
    AND (first_us, session) < (:before_us, :before_session) --? before_us
ORDER BY first_us DESC, session DESC
LIMIT :limit

-- name: step
INSERT INTO session_steps (app, env, session, step, release, at_us)
VALUES (:app, :env, :session, :step, :release, :at_us)
ON CONFLICT (app, env, session, step) DO NOTHING

-- name: steps
SELECT step, release, at_us FROM session_steps WHERE app = :app AND env = :env AND session = :session ORDER BY at_us

-- name: place
SELECT n, at_us, id FROM reading_places WHERE name = :name

-- name: move_place
UPDATE reading_places SET n = :n, at_us = :at_us, id = :id WHERE name = :name

-- name: put_in_line
INSERT INTO traces_to_hear (n) VALUES (:n) ON CONFLICT (n) DO NOTHING

-- name: in_line
SELECT t.n, t.id, t.app, t.env, t.release, t.session, t.started_us, t.outcome
FROM traces t
WHERE t.n IN (SELECT n FROM traces_to_hear) -- a join may be planned the other way round, through all traces
ORDER BY t.n
LIMIT :limit

-- name: listened
DELETE FROM traces_to_hear WHERE n = :n

-- name: forget_line
DELETE FROM traces_to_hear WHERE NOT EXISTS (SELECT 1 FROM traces t WHERE t.n = traces_to_hear.n)

-- name: moved_conversations
SELECT id, updated_us FROM conversations
WHERE (updated_us, id) > (:after_us, :after_id) AND updated_us < :before_us
ORDER BY updated_us, id
LIMIT :limit

-- name: delete_sessions
DELETE FROM sessions WHERE (app, env, session) IN (
    SELECT s.app, s.env, s.session FROM sessions s WHERE s.app = :app AND s.first_us < :before_us LIMIT :limit
)

-- name: delete_steps
DELETE FROM session_steps WHERE (app, env, session, step) IN (
    SELECT s.app, s.env, s.session, s.step FROM session_steps s
    WHERE s.app = :app AND s.at_us < :before_us LIMIT :limit
)

-- name: delete_edits
UPDATE feedback SET edit = '' WHERE app = :app AND at_us < :before_us AND edit <> ''

-- name: delete_waiting
DELETE FROM feedback_waiting WHERE app = :app AND at_us < :before_us

-- name: stages
SELECT stage, at_us FROM conversation_stages WHERE conversation = :conversation ORDER BY at_us
