-- Answers are counted, and what conversations cost is added up, in the transaction that stores a trace. Traces of
-- sessions stand in a line until they are listened to. What the place before says is not read yet goes the same way.
CREATE TABLE traces_to_hear (
    n BIGINT PRIMARY KEY
);
INSERT INTO traces_to_hear (n)
SELECT n FROM traces
WHERE session <> '' AND key_id <> 'conversations' AND purpose = 'live' AND outcome <> 'open' AND (
    n > (SELECT n FROM reading_places WHERE name = 'traces') OR n IN (SELECT n FROM reading_later)
);
INSERT INTO behaviour_days (app, env, day, release, name, n)
SELECT app, env, started_us - started_us % 86400000000, release, 'answers', COUNT(*)
FROM traces
WHERE outcome = 'answered' AND purpose = 'live' AND (
    n > (SELECT n FROM reading_places WHERE name = 'traces') OR n IN (SELECT n FROM reading_later)
)
GROUP BY app, env, started_us - started_us % 86400000000, release
ON CONFLICT (app, env, day, release, name) DO UPDATE SET n = behaviour_days.n + excluded.n;
INSERT INTO conversation_days (app, env, branch, day, name, n, amount, unpriced, first_us)
SELECT app, env, branch, started_us - started_us % 86400000000, 'models', COUNT(*),
    COALESCE(SUM(cost_nano_usd), 0), SUM(CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END), 0
FROM traces
WHERE key_id = 'conversations' AND outcome <> 'open' AND (
    n > (SELECT n FROM reading_places WHERE name = 'traces') OR n IN (SELECT n FROM reading_later)
)
GROUP BY app, env, branch, started_us - started_us % 86400000000
ON CONFLICT (day, app, env, branch, name) DO UPDATE SET
    n = conversation_days.n + excluded.n, amount = conversation_days.amount + excluded.amount,
    unpriced = conversation_days.unpriced + excluded.unpriced;
DROP TABLE reading_later;
DELETE FROM reading_places WHERE name = 'traces';
