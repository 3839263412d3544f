-- name: heads
SELECT v.app, v.name, v.version, v.parent, v.digest, v.cases, v.added, v.removed, v.who, v.why, v.at_us
FROM case_versions v
WHERE v.version = (SELECT MAX(w.version) FROM case_versions w WHERE w.app = v.app AND w.name = v.name)
    AND v.app = :app --? app
ORDER BY v.app, v.name

-- name: versions
SELECT app, name, version, parent, digest, cases, added, removed, who, why, at_us FROM case_versions
WHERE app = :app AND name = :set_name
    AND version = :version --? version
    AND version < :before  --? before
ORDER BY version DESC
LIMIT :limit

-- name: version_of_digest
SELECT MAX(version) AS version FROM case_versions
WHERE app = :app AND name = :set_name AND digest >= :digest AND digest < :past
GROUP BY digest
LIMIT 2

-- name: add_version
INSERT INTO case_versions (app, name, version, parent, digest, cases, added, removed, who, why, at_us)
VALUES (:app, :name, :version, :parent, :digest, :cases, :added, :removed, :who, :why, :at_us)

-- name: add_case
INSERT INTO cases (digest, name, text, tags, split, found, trace, subject, body, erased_us)
VALUES (:digest, :name, :text, :tags, :split, :found, :trace, :subject, :body, 0)
ON CONFLICT (digest) DO NOTHING

-- name: number
SELECT n, erased_us FROM cases WHERE digest = :digest

-- Whose words a trace has: asked of the trace while it is there, else of what was made of it before.
-- name: subject_of_trace
SELECT subject FROM traces WHERE id = :trace AND subject <> ''
UNION ALL SELECT subject FROM cases WHERE trace = :trace AND subject <> ''
UNION ALL SELECT subject FROM case_candidates WHERE trace = :trace AND subject <> ''
LIMIT 1

-- name: member_now
SELECT m.case_n, c.digest FROM case_members m JOIN cases c ON c.n = m.case_n
WHERE m.app = :app AND m.set_name = :set_name AND m.name = :name AND m.until = :open

-- name: close_member
UPDATE case_members SET until = :version
WHERE app = :app AND set_name = :set_name AND name = :name AND until = :open

-- name: add_member
INSERT INTO case_members (app, set_name, name, since, until, case_n)
VALUES (:app, :set_name, :name, :version, :open, :case_n)

-- name: digests
SELECT c.digest FROM case_members m JOIN cases c ON c.n = m.case_n
WHERE m.app = :app AND m.set_name = :set_name AND m.since <= :version AND m.until > :version
    AND c.split = :split --? split

-- name: page
SELECT c.digest, m.name, c.tags, c.split, c.found, c.trace, c.body, c.erased_us, m.since
FROM case_members m JOIN cases c ON c.n = m.case_n
WHERE m.app = :app AND m.set_name = :set_name AND m.since <= :version AND m.until > :version
    AND m.name > :after             --? after
    AND c.text LIKE :text ESCAPE '!' --? text
    AND c.tags LIKE :tag ESCAPE '!' --? tag
    AND c.split = :split            --? split
    AND c.found = :found            --? found
    AND c.erased_us = 0             --? whole
ORDER BY m.name
LIMIT :limit

-- name: count
SELECT COUNT(*) AS n, CAST(COALESCE(SUM(c.erased_us > 0), 0) AS BIGINT) AS erased
FROM case_members m JOIN cases c ON c.n = m.case_n
WHERE m.app = :app AND m.set_name = :set_name AND m.since <= :version AND m.until > :version
    AND c.text LIKE :text ESCAPE '!' --? text
    AND c.tags LIKE :tag ESCAPE '!' --? tag
    AND c.split = :split            --? split
    AND c.found = :found            --? found

-- name: groups
SELECT c.split, c.found, c.tags, COUNT(*) AS cases
FROM case_members m JOIN cases c ON c.n = m.case_n
WHERE m.app = :app AND m.set_name = :set_name AND m.since <= :version AND m.until > :version
GROUP BY c.split, c.found, c.tags

-- name: get
SELECT digest, name, tags, split, found, trace, body, erased_us FROM cases WHERE digest = :digest

-- name: memberships
SELECT m.since, m.until FROM case_members m JOIN cases c ON c.n = m.case_n
WHERE c.digest = :digest AND m.app = :app AND m.set_name = :set_name
ORDER BY m.since

-- name: history
SELECT c.digest, m.since, m.until FROM case_members m JOIN cases c ON c.n = m.case_n
WHERE m.app = :app AND m.set_name = :set_name AND m.name = :name
ORDER BY m.since DESC

-- name: changes
SELECT m.name, c.digest, c.erased_us, CASE WHEN m.since <= :a AND m.until > :a THEN 1 ELSE 0 END AS in_first
FROM case_members m JOIN cases c ON c.n = m.case_n
WHERE m.app = :app AND m.set_name = :set_name
    AND (CASE WHEN m.since <= :a AND m.until > :a THEN 1 ELSE 0 END)
        <> (CASE WHEN m.since <= :b AND m.until > :b THEN 1 ELSE 0 END)
ORDER BY m.name
LIMIT :limit
