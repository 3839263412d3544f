-- Rows made by the database itself: two million in some seconds. Parameters: :n, :branches, :now, :span, :text, :said, :book.
CREATE TEMP TABLE k (i INTEGER PRIMARY KEY, id TEXT, branch TEXT, began BIGINT, depth BIGINT);
CREATE TEMP TABLE m (n BIGINT);
INSERT INTO m VALUES (1), (2), (3), (4);
WITH RECURSIVE c (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i + 1 < :n)
INSERT INTO k
SELECT i, printf('c%012d', i), printf('b%03d', (i * 7919) % :branches),
    :now - :span + CAST(:span * 1.0 * i / :n AS BIGINT), (i * 104729) % 100
FROM c;
INSERT INTO conversations
SELECT id, 'school', 'production', branch, 'whatsapp', '100', '3519' || i, 'i' || i, 'Ana Sousa',
    CASE WHEN i % 500 = 7 THEN 'person' ELSE 'bot' END, CASE WHEN i % 500 = 7 THEN 'rui' ELSE '' END,
    zeroblob(400), 4, 4, 0, :now,
    CASE WHEN depth < 29 THEN 'booked' WHEN depth < 55 THEN 'qualified' ELSE 'answered' END, 'pt',
    '{"child_age": "7", "parent_name": "Ana Sousa", "visit_at": ""}', 0, 'r',
    began, began + 600000000, began + 600000000, began + 600000000, 0, 0, 0, 0, ''
FROM k;
INSERT INTO inbox (conversation, channel, address, message_id, sequence, at_us, received_us, kind, turn, body)
SELECT id, 'whatsapp', '100', id || '/' || m.n, m.n, began + m.n * 60000000, began + m.n * 60000000, 'text', m.n, :text
FROM k CROSS JOIN m;
INSERT INTO turns
SELECT id, m.n, began + m.n * 60000000, began + m.n * 60000000 + 2000000, 'r', 'answered', 1, id || 't' || m.n
FROM k CROSS JOIN m;
INSERT INTO effects (
    app, env, key, conversation, turn, name, lane, author, quiet, body, state, attempts, planned_us, sending_us,
    next_us, late_us, ended_us, result, reason, message_id, branch
)
SELECT 'school', 'production', id || '/' || m.n || '/reply', id, m.n, 'reply', 'reply', '', 0, :said, 'done', 1,
    began + m.n * 60000000, began, began, 0, began + m.n * 60000000 + 3000000, '{}', '', id || 'm' || m.n, branch
FROM k CROSS JOIN m;
INSERT INTO effects (
    app, env, key, conversation, turn, name, lane, author, quiet, body, state, attempts, planned_us, sending_us,
    next_us, late_us, ended_us, result, reason, message_id, branch
)
SELECT 'school', 'production', 'visit/' || id, id, 4, 'book', 'calendar', '', 0, :book, 'done', 1,
    began + 240000000, began, began, 0, began + 241000000, '{}', '', '', branch
FROM k WHERE depth < 29;
INSERT INTO traces (
    id, app, env, purpose, release, route, provider, model, key_id, session, subject, tags, stream, started_us,
    duration_us, outcome, status, code, attempts, input, cached_input, cache_write, output, reasoning, audio_input,
    audio_output, estimated, cost_nano_usd, reserved_nano_usd, price_version, boot, idempotency_key, hour,
    latency_bucket, events, branch
)
SELECT id || 't' || m.n, 'school', 'production', 'traffic', 'r', 'main', 'openai', 'm', 'conversations', id, 's', '', 0,
    began + m.n * 60000000, 900000, 'answered', 200, '', 1, 700, 0, 0, 25, 0, 0, 0, 0, 2475000, 0, 'p', 'b', '',
    began / 3600000000, 5, zeroblob(300), branch
FROM k CROSS JOIN m;
INSERT INTO channel_fees
SELECT 'whatsapp', id || '/' || m.n || '/reply', 'school', branch, '100', id || 'm' || m.n, 'c', 'PT', 'service', 0, 0,
    'v', 'sent', '2026-11', began, NULL, '', NULL
FROM k CROSS JOIN m;
INSERT INTO conversation_stages (conversation, stage, app, env, branch, channel, at_us, began_us)
SELECT id, s.column1, 'school', 'production', branch, 'whatsapp', began + s.column3 * 60000000, began
FROM k CROSS JOIN (
    VALUES ('first_message', 100, 0), ('answered', 92, 1), ('qualified', 55, 3), ('offered', 41, 4), ('booked', 29, 6)
) s
WHERE depth < s.column2;
INSERT INTO handoffs (
    app, env, branch, conversation, reason, summary, urgent, asked_us, reminded_us, taken_us, taken_by, replied_us,
    closed_us
)
SELECT 'school', 'production', branch, id, CASE i % 3 WHEN 0 THEN 'asked' WHEN 1 THEN 'anger' ELSE 'uncertain' END,
    'child_age: 7' || char(10) || 'next: a person answers', i % 3 = 1, began, 0,
    CASE WHEN i % 10000 = 27 THEN 0 ELSE began + 60000000 END, CASE WHEN i % 10000 = 27 THEN '' ELSE 'rui' END,
    CASE WHEN i % 10000 = 27 THEN 0 ELSE began + 90000000 END,
    CASE WHEN i % 500 = 7 OR i % 10000 = 27 THEN 0 ELSE began + 900000000 END
FROM k WHERE i % 20 = 7;
DROP TABLE k;
DROP TABLE m;
-- As the product adds them up while they come.
DELETE FROM conversation_days;
INSERT INTO conversation_days (app, env, branch, day, name, n, amount, unpriced, first_us)
SELECT app, env, branch, created_us - created_us % 86400000000, 'began', COUNT(*), 0, 0, 0
FROM conversations GROUP BY app, env, branch, created_us - created_us % 86400000000;
INSERT INTO conversation_days (app, env, branch, day, name, n, amount, unpriced, first_us)
SELECT app, env, branch, created_us - created_us % 86400000000, 'turns', SUM(turn), 0, 0, 0
FROM conversations GROUP BY app, env, branch, created_us - created_us % 86400000000;
INSERT INTO conversation_days (app, env, branch, day, name, n, amount, unpriced, first_us)
SELECT app, env, branch, began_us - began_us % 86400000000, 'stage.' || stage, COUNT(*), SUM(at_us - began_us), 0,
    MIN(at_us)
FROM conversation_stages GROUP BY app, env, branch, began_us - began_us % 86400000000, stage;
INSERT INTO conversation_days (app, env, branch, day, name, n, amount, unpriced, first_us)
SELECT app, env, branch, started_us - started_us % 86400000000, 'models', COUNT(*),
    COALESCE(SUM(cost_nano_usd), 0), SUM(CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END), 0
FROM traces WHERE key_id = 'conversations'
GROUP BY app, env, branch, started_us - started_us % 86400000000;
INSERT INTO conversation_days (app, env, branch, day, name, n, amount, unpriced, first_us)
SELECT app, '', branch, at_us - at_us % 86400000000, 'fees', COUNT(*),
    COALESCE(SUM(COALESCE(billed_nano_usd, nano_usd)), 0),
    SUM(CASE WHEN COALESCE(billed_nano_usd, nano_usd) IS NULL THEN 1 ELSE 0 END), 0
FROM channel_fees WHERE state <> 'failed' GROUP BY app, branch, at_us - at_us % 86400000000;
DELETE FROM channel_fee_months;
INSERT INTO channel_fee_months
SELECT app, month, branch, category, COUNT(*), SUM(CASE WHEN nano_usd IS NULL THEN 1 ELSE 0 END),
    SUM(COALESCE(nano_usd, 0)), SUM(COALESCE(billed_nano_usd, nano_usd, 0)),
    SUM(CASE WHEN billed IS NULL THEN 1 ELSE 0 END), SUM(CASE WHEN billed = 1 THEN 1 ELSE 0 END),
    SUM(COALESCE(billed_nano_usd, 0)),
    SUM(CASE WHEN billed IS NOT NULL AND (
        billed_category <> category OR COALESCE(billed_nano_usd, -1) <> COALESCE(nano_usd, -1)
    ) THEN 1 ELSE 0 END)
FROM channel_fees WHERE state <> 'failed' GROUP BY app, month, branch, category;
