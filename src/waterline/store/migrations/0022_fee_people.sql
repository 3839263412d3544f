-- The rows of a month's fees go when they are past their time; how many people of each branch were written to stays.
CREATE TABLE channel_fee_people (
    app TEXT NOT NULL,
    month TEXT NOT NULL,
    branch TEXT NOT NULL,
    people BIGINT NOT NULL,
    PRIMARY KEY (app, month, branch)
);
