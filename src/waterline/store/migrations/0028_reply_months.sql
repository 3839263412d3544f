-- Free-form replies of a number in a month, counted as they leave: what a start needs to know of the month's fees is read
-- from sums.
CREATE TABLE channel_reply_months (
    month TEXT NOT NULL,
    address TEXT NOT NULL,
    messages BIGINT NOT NULL,
    PRIMARY KEY (month, address)
);
INSERT INTO channel_reply_months (month, address, messages)
SELECT month, address, COUNT(*)
FROM channel_fees
WHERE category = 'service' AND state <> 'failed'
GROUP BY month, address;
