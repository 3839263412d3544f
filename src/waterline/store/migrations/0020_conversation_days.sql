-- The funnel and what conversations cost, added up by day as it happens: a month is read in a few rows a branch.
-- day: that the conversation began, the model was called, or the message left, in UTC. name: began, turns,
-- stage.<stage> (amount: microseconds from the first message), models (amount: nano-USD), fees (amount: nano-USD).
-- unpriced: those of n whose cost nobody knows. first_us: of a stage, when it was first come to.
CREATE TABLE conversation_days (
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    branch TEXT NOT NULL,
    day BIGINT NOT NULL,
    name TEXT NOT NULL,
    n BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    PRIMARY KEY (day, app, env, branch, name)
);
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
FROM traces WHERE key_id = 'conversations' AND n <= (SELECT n FROM reading_places WHERE name = 'traces')
    AND n NOT IN (SELECT n FROM reading_later)
GROUP BY app, env, branch, started_us - started_us % 86400000000;
INSERT INTO conversation_days (app, env, branch, day, name, n, amount, unpriced, first_us)
SELECT app, '', branch, at_us - at_us % 86400000000, 'fees', COUNT(*),
    COALESCE(SUM(COALESCE(billed_nano_usd, nano_usd)), 0),
    SUM(CASE WHEN COALESCE(billed_nano_usd, nano_usd) IS NULL THEN 1 ELSE 0 END), 0
FROM channel_fees WHERE state <> 'failed' GROUP BY app, branch, at_us - at_us % 86400000000;
CREATE INDEX conversation_days_sums ON conversation_days (
    day, branch, name, app, env, n, amount, unpriced, first_us
);
CREATE INDEX conversations_with_person ON conversations (created_us, branch, app, env) WHERE mode = 'person';
