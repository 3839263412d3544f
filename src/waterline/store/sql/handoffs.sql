-- name: ask
INSERT INTO handoffs (
    app, env, branch, conversation, reason, summary, urgent, asked_us, reminded_us, taken_us, taken_by, replied_us,
    closed_us
) VALUES (
    :app, :env, :branch, :conversation, :reason, :summary, :urgent, :asked_us, 0, 0, '', 0, 0
)
ON CONFLICT DO NOTHING

-- name: add_reason
UPDATE handoffs SET summary = :summary, urgent = CASE WHEN :urgent = 1 THEN 1 ELSE urgent END
WHERE conversation = :conversation AND closed_us = 0

-- name: open_of
SELECT n, app, env, branch, conversation, reason, summary, urgent, asked_us, reminded_us, taken_us, taken_by,
    replied_us, closed_us
FROM handoffs WHERE conversation = :conversation AND closed_us = 0

-- name: of
SELECT n, app, env, branch, conversation, reason, summary, urgent, asked_us, reminded_us, taken_us, taken_by,
    replied_us, closed_us
FROM handoffs WHERE conversation = :conversation ORDER BY n DESC LIMIT :limit

-- name: queue
SELECT h.n, h.app, h.env, h.branch, h.conversation, h.reason, h.summary, h.urgent, h.asked_us, h.reminded_us,
    h.taken_us, h.taken_by, h.replied_us, h.closed_us
FROM handoffs h
WHERE h.closed_us = 0
    AND h.app = :app --? app
    AND h.branch = :branch --? branch
    AND REPLACE(:mine, ' ' || h.branch || ' ', '') <> :mine --? mine
ORDER BY h.urgent DESC, h.asked_us, h.n LIMIT :limit

-- name: to_remind
SELECT n, app, env, branch, conversation, reason, summary, urgent, asked_us, reminded_us, taken_us, taken_by,
    replied_us, closed_us
FROM handoffs
WHERE closed_us = 0 AND taken_us = 0 AND reminded_us = 0 AND asked_us <= :asked_before_us
    AND app = :app --? app
ORDER BY asked_us LIMIT :limit

-- name: reminded
UPDATE handoffs SET reminded_us = :now_us WHERE n = :n AND reminded_us = 0

-- name: taken
UPDATE handoffs SET taken_us = :now_us, taken_by = :who WHERE conversation = :conversation AND closed_us = 0

-- name: replied
UPDATE handoffs SET replied_us = :now_us WHERE conversation = :conversation AND closed_us = 0 AND replied_us = 0

-- name: close
UPDATE handoffs SET closed_us = :now_us WHERE conversation = :conversation AND closed_us = 0

-- name: close_if_untaken
UPDATE handoffs SET closed_us = :now_us
WHERE conversation = :conversation AND closed_us = 0 AND taken_us = 0 AND reason = :reason

-- name: times
SELECT branch, asked_us, taken_us, replied_us FROM handoffs
WHERE asked_us >= :since_us AND asked_us < :until_us AND reason <> 'taken'
    AND app = :app --? app
    AND branch = :branch --? branch
    AND REPLACE(:mine, ' ' || branch || ' ', '') <> :mine --? mine
ORDER BY asked_us DESC LIMIT :limit
