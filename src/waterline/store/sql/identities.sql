-- name: find
SELECT identity FROM aliases WHERE app = :app AND kind = :kind AND value = :value AND proven = 1

-- name: claimed
SELECT DISTINCT identity FROM aliases WHERE app = :app AND kind = :kind AND value = :value

-- name: add
INSERT INTO identities (id, app, created_us, merged_into) VALUES (:id, :app, :created_us, '')

-- name: get
SELECT id, app, created_us, merged_into FROM identities WHERE id = :id

-- name: merged
SELECT id FROM identities WHERE merged_into = :identity AND merged_into <> ''

-- name: name
INSERT INTO aliases (app, kind, value, identity, proven, at_us)
VALUES (:app, :kind, :value, :identity, :proven, :at_us)
ON CONFLICT DO NOTHING

-- name: of
SELECT kind, value, proven, at_us FROM aliases WHERE identity = :identity ORDER BY proven DESC, at_us, kind, value

-- name: same_names
DELETE FROM aliases WHERE identity = :loser AND proven = 0 AND EXISTS (
    SELECT 1 FROM aliases other
    WHERE other.app = aliases.app AND other.kind = aliases.kind AND other.value = aliases.value
        AND other.proven = 0 AND other.identity = :winner
)

-- name: move_names
UPDATE aliases SET identity = :winner WHERE identity = :loser

-- name: move_conversations
UPDATE conversations SET identity = :winner WHERE identity = :loser

-- name: mark_merged
UPDATE identities SET merged_into = :winner WHERE id = :loser OR (merged_into = :loser AND merged_into <> '')

-- name: erase_names
DELETE FROM aliases WHERE identity = :identity

-- name: erase
DELETE FROM identities WHERE id = :identity
