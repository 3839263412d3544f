-- WhatsApp: how our numbers and templates are, what people want to receive, what each message costs.

-- stopped: why nothing may be sent; '' if it may. paused_until_us: conversations that we begin wait until then.
CREATE TABLE whatsapp_numbers (
    number TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    display TEXT NOT NULL,
    name TEXT NOT NULL,
    quality TEXT NOT NULL,
    status TEXT NOT NULL,
    tier TEXT NOT NULL,
    stopped TEXT NOT NULL,
    paused_until_us BIGINT NOT NULL,
    updated_us BIGINT NOT NULL
);

CREATE TABLE whatsapp_templates (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    language TEXT NOT NULL,
    id TEXT NOT NULL,
    category TEXT NOT NULL,
    status TEXT NOT NULL,
    body TEXT NOT NULL,
    parameters BIGINT NOT NULL,
    reason TEXT NOT NULL,
    updated_us BIGINT NOT NULL,
    PRIMARY KEY (account, name, language)
);

-- What happened to numbers, templates and the account. level: info, warning, critical.
CREATE TABLE channel_events (
    n {identity},
    at_us BIGINT NOT NULL,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    level TEXT NOT NULL,
    event TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (channel, address, event, text, at_us)
);
CREATE INDEX channel_events_by_time ON channel_events (at_us);

-- scope: 'all' (a word like STOP) or 'marketing'. wanted 1: asked for it.
CREATE TABLE channel_consents (
    channel TEXT NOT NULL,
    contact TEXT NOT NULL,
    scope TEXT NOT NULL,
    wanted BIGINT NOT NULL,
    source TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (channel, contact, scope)
);

-- One row a message that was to be sent: written before it leaves, so that a crash cannot forget what it costs.
-- state: reserved, sent, failed. nano_usd NULL: no price is known. billed: what the channel's status said; NULL: nothing yet.
-- begun 1: it opened a conversation, and counts in the portfolio's limit. contact: a keyed hash.
CREATE TABLE channel_fees (
    channel TEXT NOT NULL,
    key TEXT NOT NULL,
    app TEXT NOT NULL,
    branch TEXT NOT NULL,
    address TEXT NOT NULL,
    message_id TEXT NOT NULL,
    contact TEXT NOT NULL,
    country TEXT NOT NULL,
    category TEXT NOT NULL,
    begun BIGINT NOT NULL,
    nano_usd BIGINT,
    price_version TEXT NOT NULL,
    state TEXT NOT NULL,
    month TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    billed BIGINT,
    billed_category TEXT NOT NULL,
    billed_nano_usd BIGINT,
    PRIMARY KEY (channel, key)
);
CREATE INDEX channel_fees_by_month ON channel_fees (month, app, branch);
CREATE INDEX channel_fees_by_message ON channel_fees (channel, message_id) WHERE message_id <> '';
CREATE INDEX channel_fees_begun ON channel_fees (at_us) WHERE begun = 1;
