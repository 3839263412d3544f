-- name: add
INSERT INTO load_lines (id, app, release, spec, json, html, exit_status, at_us, expires_us, signature, who)
VALUES (:id, :app, :release, :spec, :json, :html, :exit_status, :at_us, :expires_us, :signature, :who)

-- name: get
SELECT id, app, release, spec, json, html, exit_status, at_us, expires_us, signature, who FROM load_lines
WHERE id = :id

-- name: list
SELECT id, app, release, spec, exit_status, at_us, expires_us, signature, who FROM load_lines
WHERE 1 = 1
    AND app = :app         --? app
    AND release = :release --? release
ORDER BY at_us DESC, id
LIMIT :limit
