-- name: add
INSERT INTO incidents (
    id, app, env, title, severity, blocking, notes, release, links, state, opened_us, opened_by, closed_us, closed_by,
    resolution
) VALUES (
    :id, :app, :env, :title, :severity, :blocking, :notes, :release, :links, :state, :opened_us, :opened_by, :closed_us,
    :closed_by, :resolution
)

-- name: get
SELECT seq, id, app, env, title, severity, blocking, notes, release, links, state, opened_us, opened_by, closed_us,
    closed_by, resolution
FROM incidents WHERE id = :id

-- name: list
SELECT seq, id, app, env, title, severity, blocking, notes, release, links, state, opened_us, opened_by, closed_us,
    closed_by, resolution
FROM incidents
WHERE 1 = 1
    AND app = :app       --? app
    AND state = :state   --? state
    AND seq < :before    --? before
ORDER BY seq DESC
LIMIT :limit

-- name: count
SELECT COUNT(*) AS n FROM incidents
WHERE 1 = 1
    AND app = :app       --? app
    AND state = :state   --? state

-- name: blocking
SELECT seq, id, app, env, title, severity, blocking, notes, release, links, state, opened_us, opened_by, closed_us,
    closed_by, resolution
FROM incidents
WHERE app = :app AND state = 'open' AND blocking = 1 AND env IN ('', :env)
ORDER BY seq DESC
LIMIT :limit

-- name: close
UPDATE incidents SET state = 'closed', closed_us = :closed_us, closed_by = :closed_by, resolution = :resolution
WHERE id = :id AND state = 'open'
