-- name: append
INSERT INTO audit (seq, entry, prev, hash)
SELECT COALESCE(MAX(a.seq), 0) + 1, :entry, :prev, :hash FROM audit a
RETURNING seq

-- name: head
SELECT seq, entry, prev, hash FROM audit ORDER BY seq DESC LIMIT 1

-- name: all
SELECT seq, entry, prev, hash FROM audit
WHERE 1 = 1
    AND seq > :after --? after
ORDER BY seq
LIMIT :limit

-- name: newest
SELECT seq, entry, prev, hash FROM audit
WHERE 1 = 1
    AND seq < :before --? before
ORDER BY seq DESC
LIMIT :limit
