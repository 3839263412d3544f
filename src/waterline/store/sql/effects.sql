-- name: plan
INSERT INTO effects (
    app, env, key, conversation, turn, name, lane, author, quiet, body, state, attempts, planned_us, sending_us, next_us,
    late_us, ended_us, result, reason, message_id, branch
) VALUES (
    :app, :env, :key, :conversation, :turn, :name, :lane, :author, :quiet, :body, 'planned', 0, :now_us, 0, :now_us,
    0, 0, '{}', '', '', COALESCE((SELECT branch FROM conversations WHERE id = :conversation), '')
)
ON CONFLICT (app, env, key) DO NOTHING

-- name: by_key
SELECT n, app, env, key, conversation, turn, name, lane, author, quiet, body, state, attempts, planned_us, sending_us,
    next_us, late_us, ended_us, result, reason, message_id, branch
FROM effects WHERE app = :app AND env = :env AND key = :key

-- name: plan_again
UPDATE effects SET
    conversation = :conversation, turn = :turn, name = :name, lane = :lane, quiet = :quiet, body = :body,
    state = 'planned', attempts = 0, planned_us = :now_us, sending_us = 0, next_us = :now_us, late_us = 0, ended_us = 0,
    result = '{}', reason = ''
WHERE n = :n AND state IN ('refused', 'failed', 'dropped')

-- name: due
SELECT conversation, lane FROM effects
WHERE state IN ('planned', 'sending') AND next_us <= :now_us ORDER BY next_us LIMIT :limit

-- name: head
SELECT n, app, env, key, conversation, turn, name, lane, author, quiet, body, state, attempts, planned_us, sending_us,
    next_us, late_us, ended_us, result, reason, message_id, branch
FROM effects
WHERE conversation = :conversation AND lane = :lane AND state IN ('planned', 'sending')
ORDER BY n LIMIT 1

-- name: lanes
SELECT DISTINCT lane FROM effects WHERE conversation = :conversation AND state IN ('planned', 'sending')

-- name: of
SELECT n, app, env, key, conversation, turn, name, lane, author, quiet, body, state, attempts, planned_us, sending_us,
    next_us, late_us, ended_us, result, reason, message_id, branch
FROM effects WHERE conversation = :conversation ORDER BY n DESC LIMIT :limit

-- name: of_lane_kind
SELECT n, app, env, key, conversation, turn, name, lane, author, quiet, body, state, attempts, planned_us, sending_us,
    next_us, late_us, ended_us, result, reason, message_id, branch
FROM effects
WHERE lane <> 'reply'
    AND app = :app --? app
    AND state = :state --? state
    AND branch = :branch --? branch
    AND REPLACE(:mine, ' ' || branch || ' ', '') <> :mine --? mine
    AND n < :before --? before
ORDER BY n DESC LIMIT :limit

-- name: start
UPDATE effects SET state = 'sending', attempts = attempts + 1, sending_us = :now_us, next_us = :now_us
WHERE n = :n AND state IN ('planned', 'sending')

-- name: wait
UPDATE effects SET next_us = :next_us WHERE n = :n AND state IN ('planned', 'sending')

-- name: postpone
UPDATE effects SET next_us = :next_us WHERE n = :n AND state IN ('planned', 'sending')

-- name: finish
UPDATE effects SET state = :state, result = :result, reason = :reason, message_id = :message_id, ended_us = :now_us
WHERE n = :n AND state IN ('planned', 'sending')

-- name: again
UPDATE effects SET
    state = 'planned', next_us = :next_us, reason = :reason,
    attempts = attempts + CASE WHEN state = 'planned' THEN 1 ELSE 0 END
WHERE n = :n AND state IN ('planned', 'sending')

-- name: hold_lane
UPDATE effects SET next_us = :next_us
WHERE conversation = :conversation AND lane = :lane AND state = 'planned' AND next_us < :next_us

-- name: until_heard
UPDATE effects SET state = 'held', attempts = 0, ended_us = 0, message_id = '', reason = :reason
WHERE n = :n AND state IN ('planned', 'sending', 'done')

-- name: heard
UPDATE effects SET
    state = CASE WHEN planned_us < :since_us THEN 'dropped' ELSE 'planned' END,
    ended_us = CASE WHEN planned_us < :since_us THEN :now_us ELSE ended_us END,
    reason = CASE WHEN planned_us < :since_us THEN 'the user wrote too late for it' ELSE '' END,
    next_us = CASE WHEN planned_us < :since_us THEN next_us ELSE :now_us END
WHERE conversation = :conversation AND lane = 'reply' AND state = 'held'

-- name: late
UPDATE effects SET late_us = :now_us
WHERE n = :n AND late_us = 0 AND quiet = 0 AND state IN ('planned', 'sending')

-- name: drop_replies
UPDATE effects SET state = 'dropped', ended_us = :now_us, reason = :reason
WHERE conversation = :conversation AND lane = 'reply' AND author = '' AND state IN ('planned', 'held')

-- name: drop
UPDATE effects SET state = 'dropped', ended_us = :now_us, reason = :reason
WHERE n = :n AND state IN ('planned', 'sending')

-- A status never goes back: rank is 1 sent, 2 delivered, 3 read, 9 failed, and what was delivered does not fail.
-- name: status
INSERT INTO sent_messages (
    channel, address, message_id, conversation, key, state, rank, at_us, code, reason, billable, category, pricing_model
) VALUES (
    :channel, :address, :message_id, :conversation, :key, :state, :rank, :at_us, :code, :reason, :billable, :category,
    :pricing_model
)
ON CONFLICT (channel, address, message_id) DO UPDATE SET
    state = excluded.state, rank = excluded.rank, at_us = excluded.at_us, code = excluded.code,
    reason = excluded.reason
WHERE sent_messages.rank < excluded.rank AND (excluded.rank < 9 OR sent_messages.rank < 2)

-- name: know_sent
UPDATE sent_messages SET conversation = :conversation, key = :key
WHERE channel = :channel AND address = :address AND message_id = :message_id AND conversation = ''

-- name: priced
UPDATE sent_messages SET
    billable = :billable, category = :category, pricing_model = :pricing_model
WHERE channel = :channel AND address = :address AND message_id = :message_id AND billable IS NULL

-- name: sent
SELECT channel, address, message_id, conversation, key, state, rank, at_us, code, reason, billable, category,
    pricing_model
FROM sent_messages WHERE channel = :channel AND address = :address AND message_id = :message_id

-- name: sent_of
SELECT channel, address, message_id, conversation, key, state, rank, at_us, code, reason, billable, category,
    pricing_model
FROM sent_messages WHERE conversation = :conversation ORDER BY at_us DESC LIMIT :limit
