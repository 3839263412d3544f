-- name: delete_bodies
DELETE FROM bodies WHERE place IN (
    SELECT b.place FROM traces t JOIN bodies b ON b.place IN (t.n * 2, t.n * 2 + 1)
    WHERE t.app = :app AND t.started_us < :before_us
    LIMIT :limit
)

-- name: old_traces
SELECT n, id FROM traces WHERE app = :app AND started_us < :before_us AND outcome <> 'open'
ORDER BY started_us, id
LIMIT :limit

-- name: delete_trace_bodies
DELETE FROM bodies WHERE place IN (:n * 2, :n * 2 + 1)

-- name: delete_text
{text_delete}

-- name: delete_feedback
DELETE FROM feedback WHERE trace_id = :id

-- name: delete_verdicts
DELETE FROM verdicts WHERE target_kind = 'trace' AND target_id = :id

-- name: delete_deleted_response
DELETE FROM deleted_responses WHERE trace_id = :id

-- name: delete_trace
DELETE FROM traces WHERE n = :n
