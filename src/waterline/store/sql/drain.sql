-- name: offsets
SELECT segment, boot, bytes, damaged FROM spool_offsets

-- name: set_offset
INSERT INTO spool_offsets (segment, boot, bytes, damaged) VALUES (:segment, :boot, :bytes, :damaged)
ON CONFLICT (segment) DO UPDATE SET bytes = excluded.bytes, damaged = spool_offsets.damaged + excluded.damaged

-- name: forget_offset
DELETE FROM spool_offsets WHERE segment = :segment

-- name: counters
SELECT boot, last_seq, stored, rejected, lost FROM counters ORDER BY boot

-- name: add_counters
INSERT INTO counters (boot, last_seq, stored, rejected, lost) VALUES (:boot, :last_seq, :stored, :rejected, :lost)
ON CONFLICT (boot) DO UPDATE SET
    last_seq = CASE WHEN excluded.last_seq > counters.last_seq THEN excluded.last_seq ELSE counters.last_seq END,
    stored = counters.stored + excluded.stored,
    rejected = CASE WHEN excluded.rejected > counters.rejected THEN excluded.rejected ELSE counters.rejected END,
    lost = counters.lost + excluded.lost
