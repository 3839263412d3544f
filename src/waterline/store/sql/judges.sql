-- name: add_item
INSERT INTO judge_items (app, judge, id, ordinal, asked, answer, expected, context, source, at_us)
VALUES (:app, :judge, :id,
    (SELECT COALESCE(MAX(ordinal), 0) + 1 FROM judge_items WHERE app = :app AND judge = :judge),
    :asked, :answer, :expected, :context, :source, :at_us)
ON CONFLICT (app, judge, id) DO NOTHING

-- name: items
SELECT i.id, i.ordinal, i.asked, i.answer, i.expected, i.context, i.source, i.at_us FROM judge_items i
WHERE i.app = :app AND i.judge = :judge AND i.ordinal > :after
    AND NOT EXISTS (SELECT 1 FROM judge_labels l WHERE l.app = i.app AND l.judge = i.judge AND l.item = i.id AND l.question = :question AND l.who = :unlabelled_by) --? unlabelled_by
ORDER BY i.ordinal
LIMIT :limit

-- name: item
SELECT id, ordinal, asked, answer, expected, context, source, at_us FROM judge_items
WHERE app = :app AND judge = :judge AND id = :id

-- name: count_items
SELECT COUNT(*) AS n FROM judge_items WHERE app = :app AND judge = :judge

-- name: labelled_by
SELECT who, COUNT(*) AS n FROM judge_labels WHERE app = :app AND judge = :judge AND question = :question GROUP BY who

-- name: label
INSERT INTO judge_labels (app, judge, question, item, who, label, note, at_us)
VALUES (:app, :judge, :question, :item, :who, :label, :note, :at_us)
ON CONFLICT (app, judge, question, item, who)
DO UPDATE SET label = excluded.label, note = excluded.note, at_us = excluded.at_us

-- name: labels
SELECT item, who, label FROM judge_labels WHERE app = :app AND judge = :judge AND question = :question
ORDER BY item, who

-- name: labels_of
SELECT who, label, note, at_us FROM judge_labels
WHERE app = :app AND judge = :judge AND question = :question AND item = :item ORDER BY who

-- name: add_opinion
INSERT INTO judge_opinions (app, judge, item, said, reason, trace, at_us)
VALUES (:app, :judge, :item, :said, :reason, :trace, :at_us)
ON CONFLICT (app, judge, item) DO NOTHING

-- name: opinions
SELECT item, said, reason FROM judge_opinions WHERE app = :app AND judge = :judge

-- name: not_asked
SELECT i.id, i.ordinal, i.asked, i.answer, i.expected, i.context, i.source, i.at_us FROM judge_items i
WHERE i.app = :app AND i.judge = :name AND i.answer <> ''
    AND EXISTS (SELECT 1 FROM judge_labels l WHERE l.app = i.app AND l.judge = i.judge AND l.item = i.id AND l.question = :question)
    AND NOT EXISTS (SELECT 1 FROM judge_opinions o WHERE o.app = i.app AND o.judge = :judge AND o.item = i.id)
ORDER BY i.ordinal
LIMIT :limit

-- name: add_change
INSERT INTO judge_changes (app, judge, model, at_us) VALUES (:app, :judge, :model, :at_us)
ON CONFLICT (app, judge) DO NOTHING

-- name: change
SELECT model, at_us FROM judge_changes WHERE app = :app AND judge = :judge

-- name: add_calibration
INSERT INTO judge_calibrations (app, name, judge, question, labels, outcome, who, at_us, calibration)
VALUES (:app, :name, :judge, :question, :labels, :outcome, :who, :at_us, :calibration)

-- name: calibrations
SELECT seq, judge, labels, outcome, who, at_us, calibration FROM judge_calibrations
WHERE app = :app AND name = :name AND question = :question
ORDER BY seq

-- name: forget_opinions
UPDATE judge_opinions SET reason = '' WHERE EXISTS (
    SELECT 1 FROM judge_items i
    WHERE i.source = :source AND i.app = judge_opinions.app AND i.id = judge_opinions.item
)

-- name: forget_notes
UPDATE judge_labels SET note = '' WHERE EXISTS (
    SELECT 1 FROM judge_items i
    WHERE i.source = :source AND i.app = judge_labels.app AND i.judge = judge_labels.judge AND i.id = judge_labels.item
)

-- name: forget_items
UPDATE judge_items SET asked = '', answer = '', expected = '', context = '' WHERE source = :source AND answer <> ''
