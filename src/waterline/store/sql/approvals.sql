-- name: add
INSERT INTO approvals (app, env, release, kind, person, who, key_id, shown, evidence, note, at_us)
VALUES (:app, :env, :release, :kind, :person, :who, :key_id, :shown, :evidence, :note, :at_us)
RETURNING seq

-- name: latest
SELECT seq, app, env, release, kind, person, who, key_id, shown, evidence, note, at_us FROM approvals
WHERE app = :app AND env = :env AND release = :release AND seq IN (
    SELECT MAX(a.seq) FROM approvals a
    WHERE a.app = :app AND a.env = :env AND a.release = :release
    GROUP BY a.person
)
ORDER BY seq

-- name: history
SELECT seq, app, env, release, kind, person, who, key_id, shown, evidence, note, at_us FROM approvals
WHERE release = :release
ORDER BY seq DESC
LIMIT :limit
