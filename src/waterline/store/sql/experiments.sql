-- name: add
INSERT INTO experiments (id, app, release, against, word, outcome, cases, repeats, at_us, who, result)
VALUES (:id, :app, :release, :against, :word, :outcome, :cases, :repeats, :at_us, :who, :result)

-- name: get
SELECT id, app, release, against, word, outcome, cases, repeats, at_us, who, result FROM experiments
WHERE id = :id

-- name: list
SELECT id, app, release, against, word, outcome, cases, repeats, at_us, who FROM experiments
WHERE 1 = 1
    AND app = :app         --? app
    AND release = :release --? release
    AND (at_us < :before_us OR (at_us = :before_us AND id > :before)) --? before
ORDER BY at_us DESC, id
LIMIT :limit

-- name: add_item
INSERT INTO experiment_items (experiment, ordinal, name, tags, change, passed, item)
VALUES (:experiment, :ordinal, :name, :tags, :change, :passed, :item)
ON CONFLICT (experiment, ordinal) DO NOTHING

-- name: items
SELECT item FROM experiment_items
WHERE experiment = :experiment
    AND ordinal > :after
    AND change = :change --? change
    AND passed = :passed --? passed
    AND tags LIKE :tag ESCAPE '!' --? tag
ORDER BY ordinal
LIMIT :limit

-- name: count
SELECT COUNT(*) AS n FROM experiment_items
WHERE experiment = :experiment
    AND change = :change --? change
    AND passed = :passed --? passed
    AND tags LIKE :tag ESCAPE '!' --? tag

-- name: item
SELECT item FROM experiment_items WHERE experiment = :experiment AND ordinal = :ordinal
