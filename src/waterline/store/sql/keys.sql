-- name: add
INSERT INTO access_keys (
    id, digest, kind, name, app, env, role, assert_identity, created_us, created_by, expires_us, revoked_us,
    branch, nano_usd_per_day, nano_usd_per_month, priority, person, grants
) VALUES (
    :id, :digest, :kind, :name, :app, :env, :role, :assert_identity, :created_us, :created_by, :expires_us, :revoked_us,
    :branch, :nano_usd_per_day, :nano_usd_per_month, :priority, :person, :grants
)

-- name: all
SELECT id, digest, kind, name, app, env, role, assert_identity, created_us, created_by, expires_us, revoked_us,
    branch, nano_usd_per_day, nano_usd_per_month, priority, person, grants
FROM access_keys ORDER BY created_us, id

-- name: get
SELECT id, digest, kind, name, app, env, role, assert_identity, created_us, created_by, expires_us, revoked_us,
    branch, nano_usd_per_day, nano_usd_per_month, priority, person, grants
FROM access_keys WHERE id = :id

-- name: change_grants
UPDATE access_keys SET grants = :grants, role = :role WHERE id = :id AND revoked_us IS NULL

-- name: revoke
UPDATE access_keys SET revoked_us = :at_us WHERE id = :id AND revoked_us IS NULL

-- name: add_session
INSERT INTO console_sessions (digest, key_id, csrf, created_us, seen_us, expires_us)
VALUES (:digest, :key_id, :csrf, :created_us, :seen_us, :expires_us)

-- name: get_session
SELECT digest, key_id, csrf, created_us, seen_us, expires_us FROM console_sessions WHERE digest = :digest

-- name: all_sessions
SELECT digest, key_id, csrf, created_us, seen_us, expires_us FROM console_sessions ORDER BY created_us, digest

-- name: touch_session
UPDATE console_sessions SET seen_us = :seen_us WHERE digest = :digest AND seen_us < :seen_us

-- name: end_session
DELETE FROM console_sessions WHERE digest = :digest

-- name: end_sessions_of_key
DELETE FROM console_sessions WHERE key_id = :key_id

-- name: end_expired_sessions
DELETE FROM console_sessions WHERE expires_us <= :now_us OR seen_us <= :idle_since_us
