-- name: add
INSERT INTO releases (id, app, manifest, at_us, who, message, spec, person)
VALUES (:id, :app, :manifest, :at_us, :who, :message, :spec, :person)
ON CONFLICT (id) DO NOTHING

-- name: get
SELECT id, app, manifest, at_us, who, message, spec, person FROM releases WHERE id = :id

-- name: list
SELECT id, app, manifest, at_us, who, message, spec, person FROM releases
WHERE 1 = 1
    AND app = :app --? app
ORDER BY at_us DESC, id
LIMIT :limit

-- name: find
SELECT id FROM releases
WHERE id >= :prefix AND id < :after
    AND app = :app --? app
ORDER BY id
LIMIT 10

-- name: add_spec
INSERT INTO specs (id, app, bytes, at_us, who) VALUES (:id, :app, :bytes, :at_us, :who)
ON CONFLICT (id) DO NOTHING

-- name: get_spec
SELECT id, app, bytes, at_us, who FROM specs WHERE id = :id

-- name: set_current_spec
INSERT INTO app_state (app, spec, at_us, who) VALUES (:app, :spec, :at_us, :who)
ON CONFLICT (app) DO UPDATE SET spec = excluded.spec, at_us = excluded.at_us, who = excluded.who

-- name: current_spec
SELECT s.id, s.app, s.bytes, s.at_us, s.who FROM app_state a JOIN specs s ON s.id = a.spec WHERE a.app = :app

-- name: current_specs
SELECT s.id, s.app, s.bytes, s.at_us, s.who FROM app_state a JOIN specs s ON s.id = a.spec ORDER BY a.app
