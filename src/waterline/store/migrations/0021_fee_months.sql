-- A month's fees of a branch by category, added up as messages leave and statuses come. *_nano_usd: nano-USD.
CREATE TABLE channel_fee_months (
    app TEXT NOT NULL,
    month TEXT NOT NULL,
    branch TEXT NOT NULL,
    category TEXT NOT NULL,
    messages BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    expected_nano_usd BIGINT NOT NULL,
    spent_nano_usd BIGINT NOT NULL,
    unconfirmed BIGINT NOT NULL,
    billed_messages BIGINT NOT NULL,
    billed_nano_usd BIGINT NOT NULL,
    different BIGINT NOT NULL,
    PRIMARY KEY (app, month, branch, category)
);
INSERT INTO channel_fee_months
SELECT app, month, branch, category, COUNT(*), SUM(CASE WHEN nano_usd IS NULL THEN 1 ELSE 0 END),
    SUM(COALESCE(nano_usd, 0)), SUM(COALESCE(billed_nano_usd, nano_usd, 0)),
    SUM(CASE WHEN billed IS NULL THEN 1 ELSE 0 END), SUM(CASE WHEN billed = 1 THEN 1 ELSE 0 END),
    SUM(COALESCE(billed_nano_usd, 0)),
    SUM(CASE WHEN billed IS NOT NULL AND (
        billed_category <> category OR COALESCE(billed_nano_usd, -1) <> COALESCE(nano_usd, -1)
    ) THEN 1 ELSE 0 END)
FROM channel_fees WHERE state <> 'failed' GROUP BY app, month, branch, category;
CREATE INDEX conversation_days_fees ON conversation_days (app, day) WHERE name = 'fees';
