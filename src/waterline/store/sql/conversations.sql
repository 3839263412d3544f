-- name: way
SELECT conversation FROM conversation_ways WHERE channel = :channel AND address = :address AND sender = :sender

-- name: add_way
INSERT INTO conversation_ways (channel, address, sender, conversation)
VALUES (:channel, :address, :sender, :conversation)
ON CONFLICT (channel, address, sender) DO NOTHING

-- name: of_person
SELECT id FROM conversations
WHERE identity = :identity AND channel = :channel AND app = :app AND env = :env AND branch = :branch
ORDER BY updated_us DESC LIMIT 1

-- name: earlier_slots
SELECT slots FROM conversations
WHERE identity = :identity AND app = :app AND env = :env AND id <> :id AND slots <> '{}'
ORDER BY updated_us DESC LIMIT 1

-- name: add
INSERT INTO conversations (
    id, app, env, branch, channel, address, sender, identity, name, mode, taken_by, state, turn, sequence, waiting,
    window_until_us, stage, language, slots, wake_us, release, created_us, updated_us, last_in_us, last_out_us,
    retry_us, tries, failing_us, excused, trouble
) VALUES (
    :id, :app, :env, :branch, :channel, :address, :sender, :identity, '', 'bot', '', :state, 0, 0, 0,
    0, '', '', '{}', 0, '', :now_us, :now_us, 0, 0,
    0, 0, 0, 0, ''
)

-- name: get
SELECT id, app, env, branch, channel, address, sender, identity, name, mode, taken_by, state, turn, sequence, waiting,
    window_until_us, stage, language, slots, wake_us, release, created_us, updated_us, last_in_us, last_out_us,
    retry_us, tries, failing_us, excused, trouble
FROM conversations WHERE id = :id

-- name: mode
SELECT mode FROM conversations WHERE id = :id

-- name: page
SELECT c.id, c.app, c.env, c.branch, c.channel, c.address, c.sender, c.identity, c.name, c.mode, c.taken_by, c.state,
    c.turn, c.sequence, c.waiting, c.window_until_us, c.stage, c.language, c.slots, c.wake_us, c.release, c.created_us,
    c.updated_us, c.last_in_us, c.last_out_us, c.retry_us, c.tries, c.failing_us, c.excused, c.trouble
FROM conversations c
WHERE 1 = 1
    AND c.app = :app                                      --? app
    AND c.env = :env                                      --? env
    AND c.branch = :branch                                --? branch
    AND REPLACE(:mine, ' ' || c.branch || ' ', '') <> :mine --? mine
    AND c.stage = :stage                                  --? stage
    AND c.mode = :mode                                    --? mode
    AND c.channel = :channel                              --? channel
    AND (c.updated_us, c.id) < (:before_us, :before_id)   --? before_us
ORDER BY c.updated_us DESC, c.id DESC
LIMIT :limit

-- name: next_sequence
UPDATE conversations SET sequence = sequence + 1, waiting = waiting + 1, updated_us = :now_us
WHERE id = :id RETURNING sequence

-- name: heard
UPDATE conversations SET
    sequence = sequence + 1, waiting = waiting + 1, updated_us = :now_us, address = :address, sender = :sender, name = CASE WHEN :name = '' THEN name ELSE :name END, last_in_us = :now_us,
    window_until_us = CASE WHEN window_until_us < :window_until_us THEN :window_until_us ELSE window_until_us END
WHERE id = :id RETURNING sequence

-- name: said
UPDATE conversations SET last_out_us = :now_us, updated_us = :now_us WHERE id = :id

-- name: answered
UPDATE conversations SET last_out_us = :now_us WHERE id = :id

-- name: knows
SELECT 1 AS known FROM inbox WHERE channel = :channel AND address = :address AND message_id = :message_id
UNION ALL
SELECT 1 AS known FROM erased_messages WHERE channel = :channel AND address = :address AND digest = :digest
LIMIT 1

-- name: put
INSERT INTO inbox (conversation, channel, address, message_id, sequence, at_us, received_us, kind, turn, body)
VALUES (:conversation, :channel, :address, :message_id, :sequence, :at_us, :received_us, :kind, 0, :body)

-- name: waiting
SELECT sequence, received_us, kind, body FROM inbox
WHERE conversation = :conversation AND turn = 0
ORDER BY sequence LIMIT :limit

-- name: messages
SELECT n, sequence, at_us, received_us, kind, turn, body FROM inbox
WHERE conversation = :conversation AND sequence > :after ORDER BY sequence LIMIT :limit

-- name: due
SELECT id FROM conversations WHERE waiting > 0 AND mode = 'bot' AND retry_us <= :now_us
ORDER BY retry_us, id LIMIT :limit

-- name: to_wake
SELECT id, wake_us FROM conversations WHERE wake_us > 0 AND mode = 'bot' AND wake_us <= :now_us
ORDER BY wake_us LIMIT :limit

-- name: woken
UPDATE conversations SET wake_us = 0 WHERE id = :id AND wake_us = :wake_us

-- name: turned
UPDATE conversations SET
    state = :state, turn = turn + 1, stage = CASE WHEN :stage = '' THEN stage ELSE :stage END,
    language = CASE WHEN :language = '' THEN language ELSE :language END,
    slots = :slots, wake_us = :wake_us, release = :release, updated_us = :now_us,
    retry_us = 0, tries = 0, failing_us = 0, excused = 0, trouble = '',
    waiting = waiting - (SELECT COUNT(*) FROM inbox WHERE conversation = :id AND inbox.turn = 0 AND inbox.sequence <= :last)
WHERE id = :id AND turn = :turn AND mode = 'bot'
RETURNING waiting, app, env, branch, created_us

-- name: read_by
UPDATE inbox SET turn = :turn WHERE conversation = :conversation AND turn = 0 AND sequence <= :last

-- name: answered_by_person
UPDATE inbox SET turn = -1 WHERE conversation = :conversation AND turn = 0 AND channel NOT IN ('outcome', 'clock')

-- name: fewer_waiting
UPDATE conversations SET waiting = waiting - :read WHERE id = :id

-- name: add_turn
INSERT INTO turns (conversation, turn, started_us, ended_us, release, stage, model_calls, traces)
VALUES (:conversation, :turn, :started_us, :ended_us, :release, :stage, :model_calls, :traces)

-- name: turns
SELECT turn, started_us, ended_us, release, stage, model_calls, traces FROM turns
WHERE conversation = :conversation ORDER BY turn DESC LIMIT :limit

-- name: failed
UPDATE conversations SET
    tries = tries + 1, retry_us = :retry_us, trouble = :trouble,
    failing_us = CASE WHEN failing_us = 0 THEN :now_us ELSE failing_us END
WHERE id = :id AND turn = :turn

-- name: excuse
UPDATE conversations SET excused = 1 WHERE id = :id AND turn = :turn AND excused = 0 AND mode = 'bot'

-- name: take
UPDATE conversations SET mode = 'person', taken_by = :who, updated_us = :now_us WHERE id = :id AND mode = 'bot'

-- name: give_back
UPDATE conversations SET mode = 'bot', taken_by = '', retry_us = 0, updated_us = :now_us
WHERE id = :id AND mode = 'person'

-- name: add_stage
INSERT INTO conversation_stages (conversation, stage, app, env, branch, channel, at_us, began_us)
VALUES (:conversation, :stage, :app, :env, :branch, :channel, :at_us, :began_us)
ON CONFLICT (conversation, stage) DO NOTHING

-- Of the conversations that began in a span, how many ever came to each stage.
-- name: funnel
SELECT branch, stage, COUNT(*) AS conversations, MIN(at_us) AS first_us,
    CAST(SUM(at_us - began_us) AS BIGINT) AS after_us
FROM conversation_stages
WHERE began_us >= :since_us AND began_us < :until_us
    AND app = :app --? app
    AND env = :env --? env
    AND branch = :branch --? branch
    AND REPLACE(:mine, ' ' || branch || ' ', '') <> :mine --? mine
GROUP BY branch, stage

-- name: figures
SELECT c.branch AS branch, COUNT(*) AS conversations,
    CAST(SUM(CASE WHEN c.mode = 'person' THEN 1 ELSE 0 END) AS BIGINT) AS with_person,
    CAST(SUM(c.turn) AS BIGINT) AS turns
FROM conversations c
WHERE c.created_us >= :since_us AND c.created_us < :until_us
    AND c.app = :app --? app
    AND c.env = :env --? env
    AND c.branch = :branch --? branch
    AND REPLACE(:mine, ' ' || c.branch || ' ', '') <> :mine --? mine
GROUP BY c.branch

-- What the models of a conversation cost. unpriced: calls whose cost nobody knows.
-- name: spent
SELECT COUNT(*) AS calls, CAST(COALESCE(SUM(cost_nano_usd), 0) AS BIGINT) AS cost_nano_usd,
    CAST(COALESCE(SUM(CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT) AS unpriced
FROM traces WHERE session = :conversation AND session <> ''

-- What the channel bills for a conversation's messages: as billed, else as expected.
-- name: fees
SELECT COUNT(*) AS messages, CAST(COALESCE(SUM(COALESCE(f.billed_nano_usd, f.nano_usd)), 0) AS BIGINT) AS fees_nano_usd,
    CAST(COALESCE(SUM(CASE WHEN COALESCE(f.billed_nano_usd, f.nano_usd) IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT)
        AS unpriced_messages
FROM effects e JOIN channel_fees f ON f.key = e.key
WHERE e.conversation = :conversation AND e.lane = 'reply' AND f.channel = :channel AND f.state <> 'failed'

-- Spent in a span: by whichever conversations. The key is the one that agents' calls name. `app || ''`: so that the
-- index over conversations' own calls is taken, and not the one over all of an app.
-- name: spent_by_branch
SELECT branch, COUNT(*) AS calls, CAST(COALESCE(SUM(cost_nano_usd), 0) AS BIGINT) AS cost_nano_usd,
    CAST(COALESCE(SUM(CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT) AS unpriced
FROM traces
WHERE key_id = 'conversations' AND started_us >= :since_us AND started_us < :until_us
    AND app || '' = :app --? app
    AND env = :env --? env
    AND branch = :branch --? branch
    AND REPLACE(:mine, ' ' || branch || ' ', '') <> :mine --? mine
GROUP BY branch

-- name: fees_by_branch
SELECT branch, COUNT(*) AS messages,
    CAST(COALESCE(SUM(COALESCE(billed_nano_usd, nano_usd)), 0) AS BIGINT) AS fees_nano_usd,
    CAST(COALESCE(SUM(CASE WHEN COALESCE(billed_nano_usd, nano_usd) IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT)
        AS unpriced_messages
FROM channel_fees
WHERE state <> 'failed' AND at_us >= :since_us AND at_us < :until_us
    AND app = :app --? app
    AND branch = :branch --? branch
    AND REPLACE(:mine, ' ' || branch || ' ', '') <> :mine --? mine
GROUP BY branch

-- name: ids_of_identity
SELECT id FROM conversations WHERE identity = :identity ORDER BY created_us, id

-- name: message_ids
SELECT channel, address, message_id FROM inbox WHERE conversation = :conversation

-- name: remember_erased
INSERT INTO erased_messages (channel, address, digest, at_us) VALUES (:channel, :address, :digest, :at_us)
ON CONFLICT (channel, address, digest) DO NOTHING

-- name: forget_erased
DELETE FROM erased_messages WHERE at_us < :before_us

-- name: put_heard
UPDATE inbox SET body = :body WHERE conversation = :conversation AND sequence = :sequence

-- name: erase_inbox
DELETE FROM inbox WHERE conversation = :conversation

-- name: erase_turns
DELETE FROM turns WHERE conversation = :conversation

-- name: erase_effects
DELETE FROM effects WHERE conversation = :conversation

-- name: erase_sent
DELETE FROM sent_messages WHERE conversation = :conversation

-- name: erase_stages
DELETE FROM conversation_stages WHERE conversation = :conversation

-- name: erase_sessions
DELETE FROM sessions WHERE (app, env, session) IN (SELECT c.app, c.env, c.id FROM conversations c WHERE c.id = :conversation)

-- name: erase_session_steps
DELETE FROM session_steps WHERE (app, env, session) IN (
    SELECT c.app, c.env, c.id FROM conversations c WHERE c.id = :conversation
)

-- name: erase_handoffs
DELETE FROM handoffs WHERE conversation = :conversation

-- name: erase_ways
DELETE FROM conversation_ways WHERE conversation = :conversation

-- name: erase
DELETE FROM conversations WHERE id = :conversation
