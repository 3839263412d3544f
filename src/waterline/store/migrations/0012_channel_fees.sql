-- A month's fees are added up from the index alone: at the start, and for the page of the fees.
DROP INDEX channel_fees_by_month;
CREATE INDEX channel_fees_by_month ON channel_fees (
    month, app, branch, address, category, state, nano_usd, billed, billed_category, billed_nano_usd, contact
);
