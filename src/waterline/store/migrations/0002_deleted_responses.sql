-- Responses that their owners have deleted. What stays in the trace ends with the app's retention.
CREATE TABLE deleted_responses (
    trace_id TEXT PRIMARY KEY,
    at_us BIGINT NOT NULL,
    key_id TEXT NOT NULL
);
