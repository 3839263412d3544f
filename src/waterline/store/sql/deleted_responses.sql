-- name: add
INSERT INTO deleted_responses (trace_id, at_us, key_id) VALUES (:trace_id, :at_us, :key)
ON CONFLICT (trace_id) DO NOTHING

-- name: known
SELECT trace_id FROM deleted_responses WHERE trace_id = :trace_id
