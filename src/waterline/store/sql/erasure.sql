-- What a text that names somebody may be: an identity, a conversation, or a proven name (a phone number, an address).
-- name: identities
SELECT id AS identity FROM identities WHERE id = :who
UNION SELECT identity FROM conversations WHERE id = :who
UNION SELECT identity FROM aliases WHERE value = :who AND proven = 1

-- name: conversations
SELECT id FROM conversations WHERE identity = :identity

-- name: contacts
SELECT value FROM aliases WHERE identity = :identity

-- name: traces_of_subject
SELECT n, id, session FROM traces WHERE subject = :subject AND subject <> '' AND outcome <> 'open' LIMIT :limit

-- name: traces_of_session
SELECT n, id, session FROM traces WHERE session = :session AND session <> '' AND outcome <> 'open' LIMIT :limit

-- name: traces_of_subject_after
SELECT n, id FROM traces WHERE subject = :subject AND subject <> '' AND n > :after ORDER BY n LIMIT :limit

-- name: traces_of_session_after
SELECT n, id FROM traces WHERE session = :session AND session <> '' AND n > :after ORDER BY n LIMIT :limit

-- name: case_bodies
SELECT body FROM cases WHERE subject = :subject AND erased_us = 0 ORDER BY n

-- name: open_traces
SELECT COUNT(*) AS n FROM traces WHERE subject = :subject AND subject <> '' AND outcome = 'open'

-- name: blank_trace
UPDATE traces SET subject = '', session = '', tags = '', idempotency_key = '', events = :nothing WHERE n = :n

-- name: delete_waiting_feedback
DELETE FROM feedback_waiting WHERE trace_id = :id

-- name: delete_session
DELETE FROM sessions WHERE session = :session

-- name: delete_session_steps
DELETE FROM session_steps WHERE session = :session

-- name: blank_canary_units
UPDATE canary_units SET session = '' WHERE session = :session

-- name: blank_fees
UPDATE channel_fees SET contact = '' WHERE contact = :contact

-- name: cases_of_subject
SELECT n, digest, name FROM cases WHERE subject = :subject AND erased_us = 0

-- name: cases_of_trace
SELECT n, digest, name FROM cases WHERE trace = :id AND erased_us = 0

-- name: sets_of_case
SELECT DISTINCT app, set_name FROM case_members WHERE case_n = :n

-- name: sets_with_it_now
SELECT app, set_name, name FROM case_members WHERE case_n = :n AND until = :open

-- name: blank_case
UPDATE cases SET name = :name, text = '', tags = '|', trace = '', subject = '', body = :nothing, erased_us = :at_us
WHERE n = :n

-- name: rename_members
UPDATE case_members SET name = :name WHERE case_n = :n

-- name: items_of_case
SELECT i.experiment, i.ordinal, i.item FROM experiment_items i JOIN experiments e ON e.id = i.experiment
WHERE e.app = :app AND i.name = :name

-- name: put_item
UPDATE experiment_items SET name = :name, tags = '|', item = :item WHERE experiment = :experiment AND ordinal = :ordinal

-- name: delete_candidates_of_subject
DELETE FROM case_candidates WHERE subject = :subject

-- name: delete_candidates_of_trace
DELETE FROM case_candidates WHERE trace = :id
