-- name: insert
INSERT INTO traces (
    id, app, env, purpose, release, route, provider, model, key_id, session, subject, tags, stream, started_us,
    first_token_us, duration_us, outcome, status, code, attempts,
    input, cached_input, cache_write, output, reasoning, audio_input, audio_output, estimated, cache_write_1h,
    cost_nano_usd, reserved_nano_usd, price_version, boot, idempotency_key, branch,
    hour, latency_bucket, ttft_bucket, events
) VALUES (
    :id, :app, :env, :purpose, :release, :route, :provider, :model, :key_id, :session, :subject, :tags, :stream,
    :started_us, :first_token_us, :duration_us, :outcome, :status, :code, :attempts,
    :input, :cached_input, :cache_write, :output, :reasoning, :audio_input, :audio_output, :estimated,
    :cache_write_1h,
    :cost_nano_usd, :reserved_nano_usd, :price_version, :boot, :idempotency_key, :branch,
    :hour, :latency_bucket, :ttft_bucket, :events
)
-- An outcome replaces what was open (or was thought interrupted); nothing ever replaces an outcome.
ON CONFLICT (id) DO UPDATE SET
    release = excluded.release, route = excluded.route, provider = excluded.provider, model = excluded.model,
    first_token_us = excluded.first_token_us, duration_us = excluded.duration_us, outcome = excluded.outcome,
    status = excluded.status, code = excluded.code, attempts = excluded.attempts,
    input = excluded.input, cached_input = excluded.cached_input, cache_write = excluded.cache_write,
    cache_write_1h = excluded.cache_write_1h, output = excluded.output, reasoning = excluded.reasoning, audio_input = excluded.audio_input,
    audio_output = excluded.audio_output, estimated = excluded.estimated, cost_nano_usd = excluded.cost_nano_usd,
    reserved_nano_usd = excluded.reserved_nano_usd, price_version = excluded.price_version,
    latency_bucket = excluded.latency_bucket, ttft_bucket = excluded.ttft_bucket, events = excluded.events
WHERE traces.outcome IN ('open', 'interrupted') AND (
    excluded.outcome <> 'open' OR excluded.attempts > traces.attempts
)
RETURNING id, n

-- name: insert_body
INSERT INTO bodies (place, codec, bytes) VALUES (:place, :codec, :bytes)
-- Codec 2 holds the answer too: it takes the place of a request that came before it.
ON CONFLICT (place) DO UPDATE SET codec = excluded.codec, bytes = excluded.bytes
WHERE excluded.codec = 2 AND bodies.codec <> 2

-- name: insert_text
{text_insert}

-- name: get
SELECT id, app, env, purpose, release, route, provider, model, key_id, session, subject, tags, stream, started_us,
    first_token_us, duration_us, outcome, status, code, attempts,
    input, cached_input, cache_write, output, reasoning, audio_input, audio_output, estimated, cache_write_1h,
    cost_nano_usd, reserved_nano_usd, price_version, boot, idempotency_key, branch, events
FROM traces WHERE id = :id

-- name: page
SELECT t.id, t.app, t.env, t.purpose, t.release, t.route, t.provider, t.model, t.key_id, t.session, t.subject, t.tags,
    t.stream, t.started_us, t.first_token_us, t.duration_us, t.outcome, t.status, t.code, t.attempts,
    t.input, t.cached_input, t.cache_write, t.output, t.reasoning, t.audio_input, t.audio_output, t.estimated,
    t.cache_write_1h,
    t.cost_nano_usd, t.reserved_nano_usd, t.price_version, t.boot, t.idempotency_key, t.branch
FROM traces t
WHERE 1 = 1
    AND t.app = :app                                    --? app
    AND t.env = :env                                    --? env
    AND t.release = :release                            --? release
    AND t.outcome = :outcome                            --? outcome
    AND t.route = :route                                --? route
    AND t.provider = :provider                          --? provider
    AND t.model = :model                                --? model
    AND t.purpose = :purpose                            --? purpose
    AND t.session = :session AND t.session <> ''        --? session
    AND t.subject = :subject                            --? subject
    AND t.key_id = :key                                 --? key
    AND t.code = :code                                  --? code
    AND t.started_us >= :since_us                       --? since_us
    AND t.started_us < :until_us                        --? until_us
    AND t.cost_nano_usd >= :min_cost_nano_usd           --? min_cost_nano_usd
    AND t.duration_us >= :min_duration_us               --? min_duration_us
    AND t.n IN {text_match}                             --? text
    AND (t.started_us, t.id) < (:before_us, :before_id) --? before_us
ORDER BY t.started_us DESC, t.id DESC
LIMIT :limit

-- name: count
SELECT COUNT(*) AS n
FROM traces t
WHERE 1 = 1
    AND t.app = :app                                    --? app
    AND t.env = :env                                    --? env
    AND t.release = :release                            --? release
    AND t.outcome = :outcome                            --? outcome
    AND t.route = :route                                --? route
    AND t.provider = :provider                          --? provider
    AND t.model = :model                                --? model
    AND t.purpose = :purpose                            --? purpose
    AND t.session = :session AND t.session <> ''        --? session
    AND t.subject = :subject                            --? subject
    AND t.key_id = :key                                 --? key
    AND t.code = :code                                  --? code
    AND t.started_us >= :since_us                       --? since_us
    AND t.started_us < :until_us                        --? until_us
    AND t.cost_nano_usd >= :min_cost_nano_usd           --? min_cost_nano_usd
    AND t.duration_us >= :min_duration_us               --? min_duration_us
    AND t.n IN {text_match}                             --? text

-- name: answered_once
SELECT id, release, stream, started_us, events FROM traces
WHERE idempotency_key = :idempotency_key AND app = :app AND env = :env AND key_id = :key_id
    AND outcome = 'answered' AND started_us >= :since_us
ORDER BY started_us LIMIT 1

-- name: bodies
SELECT b.place - t.n * 2 AS is_answer, b.codec AS codec, b.bytes AS bytes
FROM traces t JOIN bodies b ON b.place IN (t.n * 2, t.n * 2 + 1) WHERE t.id = :trace_id

-- The remainder of two positive integers is the same in every engine; their quotient is not.
-- name: overview_counts
SELECT t.started_us - t.started_us % :step_us AS at_us, t.release AS release, t.outcome AS outcome,
    COUNT(*) AS requests,
    CAST(COALESCE(SUM(t.cost_nano_usd), 0) AS BIGINT) AS cost_nano_usd,
    CAST(SUM(CASE WHEN t.cost_nano_usd IS NULL THEN 1 ELSE 0 END) AS BIGINT) AS unpriced,
    CAST(SUM(t.input + t.cached_input + t.cache_write + t.cache_write_1h + t.audio_input) AS BIGINT) AS tokens_in,
    CAST(SUM(t.output + t.reasoning + t.audio_output) AS BIGINT) AS tokens_out
FROM traces t
WHERE t.started_us >= :since_us AND t.started_us < :until_us AND t.purpose = :purpose
    AND t.app = :app --? app
    AND t.env = :env --? env
GROUP BY t.started_us - t.started_us % :step_us, t.release, t.outcome

-- name: overview_latency
SELECT t.started_us - t.started_us % :step_us AS at_us, t.release AS release, t.latency_bucket AS bucket,
    COUNT(*) AS requests
FROM traces t
WHERE t.started_us >= :since_us AND t.started_us < :until_us AND t.purpose = :purpose AND t.outcome = 'answered'
    AND t.app = :app --? app
    AND t.env = :env --? env
GROUP BY t.started_us - t.started_us % :step_us, t.release, t.latency_bucket

-- name: overview_ttft
SELECT t.started_us - t.started_us % :step_us AS at_us, t.release AS release, t.ttft_bucket AS bucket,
    COUNT(*) AS requests
FROM traces t
WHERE t.started_us >= :since_us AND t.started_us < :until_us AND t.purpose = :purpose AND t.outcome = 'answered'
    AND t.ttft_bucket IS NOT NULL
    AND t.app = :app --? app
    AND t.env = :env --? env
GROUP BY t.started_us - t.started_us % :step_us, t.release, t.ttft_bucket

-- A request that is still open, or whose process died, counts with its worst case.
-- name: spent
SELECT CAST(COALESCE(SUM(
    CASE WHEN outcome IN ('open', 'interrupted') AND reserved_nano_usd > COALESCE(cost_nano_usd, 0)
        THEN reserved_nano_usd ELSE COALESCE(cost_nano_usd, 0) END
), 0) AS BIGINT) AS nano_usd
FROM traces
WHERE app = :app AND started_us >= :since_us AND purpose = :purpose
    AND env = :env --? env

-- The same by who spent it; what has no name (no branch, no subject) is in no budget of that scope.
-- name: spent_by_subject
SELECT subject AS who, CAST(SUM(
        CASE WHEN outcome IN ('open', 'interrupted') AND reserved_nano_usd > COALESCE(cost_nano_usd, 0)
            THEN reserved_nano_usd ELSE COALESCE(cost_nano_usd, 0) END
    ) AS BIGINT) AS nano_usd
FROM traces
WHERE app = :app AND started_us >= :since_us AND purpose = :purpose
GROUP BY who
ORDER BY nano_usd DESC
LIMIT :limit

-- name: spent_in
SELECT CASE :scope WHEN 'branch' THEN branch WHEN 'key' THEN key_id WHEN 'subject' THEN subject ELSE app END AS who,
    CASE WHEN outcome IN ('open', 'interrupted') AND reserved_nano_usd > COALESCE(cost_nano_usd, 0)
        THEN reserved_nano_usd ELSE COALESCE(cost_nano_usd, 0) END AS nano_usd
FROM traces
WHERE id = :id AND app = :app AND started_us >= :since_us AND purpose = :purpose

-- name: interrupt
UPDATE traces SET outcome = 'interrupted',
    cost_nano_usd = CASE
        WHEN reserved_nano_usd > COALESCE(cost_nano_usd, 0) THEN reserved_nano_usd
        WHEN price_version = '' THEN NULL
        ELSE cost_nano_usd END
WHERE outcome IN ('open', 'interrupted') AND outcome = 'open' AND boot <> :boot -- by the index of both
RETURNING n, id, app, env, purpose, release, route, provider, model, key_id, session, subject, tags, stream,
    started_us, first_token_us, duration_us, outcome, status, code, attempts,
    input, cached_input, cache_write, output, reasoning, audio_input, audio_output, estimated, cache_write_1h,
    cost_nano_usd, reserved_nano_usd, price_version, boot, idempotency_key, branch

-- name: apps
SELECT DISTINCT app FROM traces ORDER BY app
