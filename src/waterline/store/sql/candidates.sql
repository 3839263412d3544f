-- name: add
INSERT INTO case_candidates (app, set_name, trace, subject, found, why, redacted, alike, text_digest, body, at_us, state,
    revision, claimed_by, claimed_us, decided_by, decided_us, reason)
VALUES (:app, :set_name, :trace, :subject, :found, :why, :redacted, :alike, :text_digest, :body, :at_us, 'waiting',
    1, '', 0, '', 0, '')
ON CONFLICT (app, set_name, trace) DO NOTHING

-- name: known
SELECT 1 AS known FROM case_candidates
WHERE app = :app AND set_name = :set_name AND (trace = :trace OR text_digest = :text_digest)
LIMIT 1

-- name: bodies_waiting
SELECT body FROM case_candidates WHERE app = :app AND set_name = :set_name AND state = 'waiting'
ORDER BY n
LIMIT :limit

-- name: get
SELECT n, app, set_name, trace, found, why, redacted, alike, body, at_us, state, revision, claimed_by, claimed_us,
    decided_by, decided_us, reason
FROM case_candidates WHERE n = :n

-- name: page
SELECT n, app, set_name, trace, found, why, redacted, alike, body, at_us, state, revision, claimed_by, claimed_us,
    decided_by, decided_us, reason
FROM case_candidates
WHERE state = :state
    AND app = :app           --? app
    AND set_name = :set_name --? set_name
    AND found = :found       --? found
    AND n > :after           --? after
ORDER BY n
LIMIT :limit

-- name: counts
SELECT state, COUNT(*) AS n FROM case_candidates
WHERE 1 = 1
    AND app = :app           --? app
    AND set_name = :set_name --? set_name
    AND found = :found       --? found
GROUP BY state

-- Those that were skipped come last, the one that was skipped first before the others.
-- name: next
SELECT n FROM case_candidates
WHERE state = 'waiting' AND n <> :but
    AND (claimed_by = '' OR claimed_by = :who OR claimed_us < :stale_us)
    AND app = :app           --? app
    AND set_name = :set_name --? set_name
ORDER BY decided_us, n
LIMIT 1

-- name: claim
UPDATE case_candidates SET claimed_by = :who, claimed_us = :at_us
WHERE n = :n AND state = 'waiting' AND (claimed_by = '' OR claimed_by = :who OR claimed_us < :stale_us)

-- name: change
UPDATE case_candidates SET body = :body, state = :state, revision = revision + 1, claimed_by = :claimed_by,
    claimed_us = :claimed_us, decided_by = :decided_by, decided_us = :decided_us, reason = :reason
WHERE n = :n AND revision = :revision AND state = 'waiting'
    AND (claimed_by = '' OR claimed_by = :who OR claimed_us < :stale_us)

-- name: traces_judged
SELECT v.seq, v.target_id AS trace FROM verdicts v JOIN traces t ON t.id = v.target_id
WHERE v.target_kind = 'trace' AND t.app = :app AND t.purpose = 'live' AND v.seq < :before
    AND t.release = :release      --? release
    AND t.route = :route          --? route
    AND t.started_us >= :since_us --? since_us
    AND t.started_us < :until_us  --? until_us
ORDER BY v.seq DESC
LIMIT :limit

-- name: forget_of_trace
DELETE FROM case_candidates WHERE trace = :id AND state = 'waiting'
