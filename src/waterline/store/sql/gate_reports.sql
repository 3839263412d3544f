-- name: add
INSERT INTO gate_reports (move, app, release, override, report)
VALUES (:move, :app, :release, :override, :report)

-- name: of_release
SELECT move, app, release, override, report FROM gate_reports WHERE release = :release
ORDER BY move DESC
LIMIT :limit
