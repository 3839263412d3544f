-- Budgets of branches and keys, and what was said when one filled up.

ALTER TABLE traces ADD COLUMN branch TEXT NOT NULL DEFAULT '';

ALTER TABLE access_keys ADD COLUMN branch TEXT NOT NULL DEFAULT '';
ALTER TABLE access_keys ADD COLUMN nano_usd_per_day BIGINT;
ALTER TABLE access_keys ADD COLUMN nano_usd_per_month BIGINT;

-- level: 50, 80 or 100 % of the limit. start_us: the day or month that it was reached in.
CREATE TABLE budget_alerts (
    app TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    period TEXT NOT NULL,
    start_us BIGINT NOT NULL,
    level BIGINT NOT NULL,
    limit_nano_usd BIGINT NOT NULL,
    spent_nano_usd BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (app, scope, name, period, start_us, level, limit_nano_usd)
);
{append_only:budget_alerts}
