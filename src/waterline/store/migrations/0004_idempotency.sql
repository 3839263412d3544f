-- What was answered under an Idempotency-Key is found again after a restart.

CREATE INDEX traces_by_idempotency_key ON traces (idempotency_key, app, started_us) WHERE idempotency_key <> '';
