-- name: add
INSERT INTO verdicts (target_kind, target_id, name, judge, judge_version, outcome, at_us, verdict)
VALUES (:target_kind, :target_id, :name, :judge, :judge_version, :outcome, :at_us, :verdict)
RETURNING seq

-- name: of
SELECT seq, at_us, verdict FROM verdicts
WHERE target_kind = :target_kind AND target_id = :target_id
    AND judge = :judge --? judge
ORDER BY seq

-- name: add_feedback
INSERT INTO feedback (
    trace_id, verdict_seq, kind, comment, edit, who, at_us, app, event, spent_ms, words_bp, characters_bp
) VALUES (
    :trace_id, :verdict_seq, :kind, :comment, :edit, :who, :at_us, :app, :event, :spent_ms, :words_bp, :characters_bp
)

-- name: known_feedback
SELECT verdict_seq FROM feedback WHERE trace_id = :trace_id AND kind = :kind AND event = :event AND event <> ''

-- name: feedback_kinds
SELECT kind FROM feedback WHERE trace_id = :trace_id ORDER BY seq

-- name: feedback_of
SELECT f.trace_id, f.kind, f.comment, f.edit, f.who, f.at_us, f.app, f.event, f.spent_ms, f.words_bp,
    f.characters_bp, v.verdict
FROM feedback f JOIN verdicts v ON v.seq = f.verdict_seq
WHERE f.trace_id = :trace_id
ORDER BY f.seq

-- name: feedback_page
SELECT f.seq, f.trace_id, f.kind, f.comment, f.edit, f.who, f.at_us, f.app, f.event, f.spent_ms, f.words_bp,
    f.characters_bp, v.verdict
FROM feedback f JOIN verdicts v ON v.seq = f.verdict_seq JOIN traces t ON t.id = f.trace_id
WHERE 1 = 1
    AND t.app = :app    --? app
    AND f.seq < :before --? before
ORDER BY f.seq DESC
LIMIT :limit
