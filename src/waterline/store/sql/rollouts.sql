-- name: append
INSERT INTO rollout_moves (app, env, kind, shares, salt, who, why, evidence, at_us, session)
VALUES (:app, :env, :kind, :shares, :salt, :who, :why, :evidence, :at_us, :session)
RETURNING seq

-- name: history
SELECT seq, app, env, kind, shares, salt, who, why, evidence, at_us, session FROM rollout_moves
WHERE app = :app
    AND env = :env    --? env
    AND seq < :before --? before
ORDER BY seq DESC
LIMIT :limit

-- name: latest
SELECT seq, app, env, kind, shares, salt, who, why, evidence, at_us, session FROM rollout_moves
WHERE seq IN (SELECT MAX(m.seq) FROM rollout_moves m WHERE m.kind IN ('promote', 'rollback') GROUP BY m.app, m.env)
    AND app = :app --? app
    AND env = :env --? env
ORDER BY app, env

-- A pin survives promotions, never a rollback.
-- name: pins
SELECT seq, app, env, kind, shares, salt, who, why, evidence, at_us, session FROM rollout_moves
WHERE app = :app AND env = :env AND kind = 'pin' AND seq IN (
    SELECT MAX(m.seq) FROM rollout_moves m
    WHERE m.app = :app AND m.env = :env AND m.kind IN ('pin', 'unpin')
        AND m.seq > (
            SELECT COALESCE(MAX(r.seq), 0) FROM rollout_moves r
            WHERE r.app = :app AND r.env = :env AND r.kind = 'rollback'
        )
    GROUP BY m.session
)
ORDER BY seq
