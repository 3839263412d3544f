-- name: put_number
INSERT INTO whatsapp_numbers (
    number, account, display, name, quality, status, tier, stopped, paused_until_us, updated_us
) VALUES (
    :number, :account, :display, :name, :quality, :status, :tier, :stopped, :paused_until_us, :updated_us
)
ON CONFLICT (number) DO UPDATE SET
    account = excluded.account, display = excluded.display, name = excluded.name, quality = excluded.quality,
    status = excluded.status, tier = excluded.tier, stopped = excluded.stopped,
    paused_until_us = excluded.paused_until_us, updated_us = excluded.updated_us

-- name: numbers
SELECT number, account, display, name, quality, status, tier, stopped, paused_until_us, updated_us
FROM whatsapp_numbers
ORDER BY number

-- name: put_template
INSERT INTO whatsapp_templates (
    account, name, language, id, category, status, body, parameters, reason, updated_us
) VALUES (
    :account, :name, :language, :id, :category, :status, :body, :parameters, :reason, :updated_us
)
ON CONFLICT (account, name, language) DO UPDATE SET
    id = excluded.id, category = excluded.category, status = excluded.status, body = excluded.body,
    parameters = excluded.parameters, reason = excluded.reason, updated_us = excluded.updated_us

-- name: templates
SELECT account, name, language, id, category, status, body, parameters, reason, updated_us
FROM whatsapp_templates
ORDER BY name, language

-- name: add_event
INSERT INTO channel_events (at_us, channel, address, level, event, text)
VALUES (:at_us, :channel, :address, :level, :event, :text)
ON CONFLICT (channel, address, event, text, at_us) DO NOTHING

-- name: events
SELECT at_us, channel, address, level, event, text
FROM channel_events
ORDER BY at_us DESC, n DESC
LIMIT :limit

-- name: put_consent
INSERT INTO channel_consents (channel, contact, scope, wanted, source, at_us)
VALUES (:channel, :contact, :scope, :wanted, :source, :at_us)
ON CONFLICT (channel, contact, scope) DO UPDATE SET
    wanted = excluded.wanted, source = excluded.source, at_us = excluded.at_us
WHERE channel_consents.at_us <= excluded.at_us

-- name: consents
SELECT scope, wanted, source, at_us
FROM channel_consents
WHERE channel = :channel AND contact = :contact

-- name: fee
SELECT app, branch, address, category, nano_usd, state, month, at_us, country, billed, billed_category, billed_nano_usd
FROM channel_fees
WHERE channel = :channel AND key = :key

-- name: fee_of_message
SELECT key
FROM channel_fees
WHERE channel = :channel AND message_id = :message_id AND message_id <> ''

-- name: reserve_new_fee
INSERT INTO channel_fees (
    channel, key, app, branch, address, message_id, contact, country, category, begun, nano_usd, price_version, state,
    month, at_us, billed, billed_category, billed_nano_usd
) VALUES (
    :channel, :key, :app, :branch, :address, '', :contact, :country, :category, :begun, :nano_usd, :price_version,
    'reserved', :month, :at_us, NULL, '', NULL
)
ON CONFLICT (channel, key) DO NOTHING

-- name: reserve_fee
INSERT INTO channel_fees (
    channel, key, app, branch, address, message_id, contact, country, category, begun, nano_usd, price_version, state,
    month, at_us, billed, billed_category, billed_nano_usd
) VALUES (
    :channel, :key, :app, :branch, :address, '', :contact, :country, :category, :begun, :nano_usd, :price_version,
    'reserved', :month, :at_us, NULL, '', NULL
)
ON CONFLICT (channel, key) DO UPDATE SET
    address = excluded.address, category = excluded.category, begun = excluded.begun, nano_usd = excluded.nano_usd,
    price_version = excluded.price_version, state = 'reserved', month = excluded.month, at_us = excluded.at_us

-- name: settle_fee
UPDATE channel_fees
SET state = :state, message_id = :message_id
WHERE channel = :channel AND key = :key

-- name: left_fee
UPDATE channel_fees
SET state = 'sent', message_id = :message_id
WHERE channel = :channel AND key = :key AND state <> 'failed'

-- name: bill_fee
UPDATE channel_fees
SET billed = :billed, billed_category = :billed_category, billed_nano_usd = :billed_nano_usd, state = :state
WHERE channel = :channel AND key = :key

-- name: spent_in_month
SELECT app, branch, CAST(SUM(spent_nano_usd) AS BIGINT) AS nano_usd
FROM channel_fee_months
WHERE month = :month
GROUP BY app, branch

-- name: replies_of_month
SELECT address, messages
FROM channel_reply_months
WHERE month = :month

-- name: add_replies
INSERT INTO channel_reply_months (month, address, messages)
VALUES (:month, :address, :messages)
ON CONFLICT (month, address) DO UPDATE SET messages = channel_reply_months.messages + excluded.messages

-- name: begun_since
SELECT app, branch, contact, MIN(at_us) AS at_us
FROM channel_fees
WHERE begun = 1 AND at_us >= :since_us AND state <> 'failed'
GROUP BY app, branch, contact

-- name: report
SELECT branch, category, messages, unpriced, expected_nano_usd, spent_nano_usd, unconfirmed, billed_messages,
    billed_nano_usd, different
FROM channel_fee_months
WHERE app = :app AND month = :month AND messages > 0
ORDER BY branch, category

-- name: add_to_month
INSERT INTO channel_fee_months (
    app, month, branch, category, messages, unpriced, expected_nano_usd, spent_nano_usd, unconfirmed, billed_messages,
    billed_nano_usd, different
) VALUES (
    :app, :month, :branch, :category, :messages, :unpriced, :expected_nano_usd, :spent_nano_usd, :unconfirmed,
    :billed_messages, :billed_nano_usd, :different
)
ON CONFLICT (app, month, branch, category) DO UPDATE SET
    messages = channel_fee_months.messages + excluded.messages,
    unpriced = channel_fee_months.unpriced + excluded.unpriced,
    expected_nano_usd = channel_fee_months.expected_nano_usd + excluded.expected_nano_usd,
    spent_nano_usd = channel_fee_months.spent_nano_usd + excluded.spent_nano_usd,
    unconfirmed = channel_fee_months.unconfirmed + excluded.unconfirmed,
    billed_messages = channel_fee_months.billed_messages + excluded.billed_messages,
    billed_nano_usd = channel_fee_months.billed_nano_usd + excluded.billed_nano_usd,
    different = channel_fee_months.different + excluded.different

-- The same from the rows, which the sums must equal.
-- name: report_of_rows
SELECT
    branch, category, COUNT(*) AS messages,
    SUM(CASE WHEN nano_usd IS NULL THEN 1 ELSE 0 END) AS unpriced,
    SUM(COALESCE(nano_usd, 0)) AS expected_nano_usd,
    SUM(COALESCE(billed_nano_usd, nano_usd, 0)) AS spent_nano_usd,
    SUM(CASE WHEN billed IS NULL THEN 1 ELSE 0 END) AS unconfirmed,
    SUM(CASE WHEN billed = 1 THEN 1 ELSE 0 END) AS billed_messages,
    SUM(COALESCE(billed_nano_usd, 0)) AS billed_nano_usd,
    SUM(CASE WHEN billed IS NOT NULL AND (
        billed_category <> category OR COALESCE(billed_nano_usd, -1) <> COALESCE(nano_usd, -1)
    ) THEN 1 ELSE 0 END) AS different
FROM channel_fees
WHERE app = :app AND month = :month AND state <> 'failed'
GROUP BY branch, category
ORDER BY branch, category

-- What was kept of a month whose rows are gone, or are going.
-- name: people_kept
SELECT branch, people
FROM channel_fee_people
WHERE app = :app AND month = :month

-- name: conversations_of_month
SELECT branch, COUNT(DISTINCT contact) AS people
FROM channel_fees
WHERE app = :app AND month = :month AND state <> 'failed'
GROUP BY branch

-- name: oldest_month
SELECT month
FROM channel_fees
WHERE app = :app AND month < :month
ORDER BY month
LIMIT 1

-- name: keep_people
INSERT INTO channel_fee_people (app, month, branch, people)
VALUES (:app, :month, :branch, :people)
ON CONFLICT (app, month, branch) DO NOTHING

-- name: old_fees
SELECT channel, key FROM channel_fees WHERE month = :month AND app = :app LIMIT :limit

-- name: delete_fee
DELETE FROM channel_fees WHERE channel = :channel AND key = :key

-- name: fees_by_day
SELECT day, CAST(SUM(n) AS BIGINT) AS messages, CAST(SUM(amount) AS BIGINT) AS nano_usd
FROM conversation_days
WHERE app = :app AND day >= :since_us AND name = 'fees'
GROUP BY day
HAVING SUM(n) > 0
ORDER BY day

-- name: webchat_replies
SELECT e.n, e.key, e.body, e.sending_us AS at_us
FROM effects e
JOIN conversation_ways w ON w.conversation = e.conversation
WHERE w.channel = 'webchat' AND w.address = :site AND w.sender = :visitor
    AND e.lane = 'reply' AND e.state IN ('sending', 'done') AND e.n > :after
ORDER BY e.n
LIMIT 200

-- name: webchat_said
SELECT i.message_id, i.body, i.received_us AS at_us
FROM inbox i
JOIN conversation_ways w ON w.conversation = i.conversation
WHERE w.channel = 'webchat' AND w.address = :site AND w.sender = :visitor AND i.channel = 'webchat'
ORDER BY i.n
LIMIT 200

-- name: last_mail
SELECT i.body
FROM inbox i
JOIN conversation_ways w ON w.conversation = i.conversation
WHERE w.channel = 'email' AND w.address = :address AND w.sender = :sender AND i.channel = 'email'
ORDER BY i.n DESC
LIMIT 1
