-- Conversations: what came in, what a turn made of it, what is to happen and what came of it. See docs/adr/0007.

-- One person, whatever they are called. merged_into: found out later to be somebody we knew.
CREATE TABLE identities (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    merged_into TEXT NOT NULL
);
CREATE INDEX identities_merged ON identities (merged_into) WHERE merged_into <> '';

-- proven 1: a channel says so; 0: somebody said so in a conversation, which never joins two people.
CREATE TABLE aliases (
    app TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    identity TEXT NOT NULL,
    proven BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (app, kind, value, proven, identity)
);
CREATE INDEX aliases_by_identity ON aliases (identity);
CREATE UNIQUE INDEX aliases_proven ON aliases (app, kind, value) WHERE proven = 1;

-- mode: 'bot' or 'person'. address, sender: where the last message came from, so where a reply goes to.
-- sequence: of the newest message. retry_us, tries, trouble, failing_us: while turns fail.
CREATE TABLE conversations (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    branch TEXT NOT NULL,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    sender TEXT NOT NULL,
    identity TEXT NOT NULL,
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    taken_by TEXT NOT NULL,
    state {bytes} NOT NULL,
    turn BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    waiting BIGINT NOT NULL,
    window_until_us BIGINT NOT NULL,
    stage TEXT NOT NULL,
    language TEXT NOT NULL,
    slots TEXT NOT NULL,
    wake_us BIGINT NOT NULL,
    release TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    updated_us BIGINT NOT NULL,
    last_in_us BIGINT NOT NULL,
    last_out_us BIGINT NOT NULL,
    retry_us BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    failing_us BIGINT NOT NULL,
    excused BIGINT NOT NULL,
    trouble TEXT NOT NULL
);
CREATE INDEX conversations_by_time ON conversations (app, updated_us, id);
CREATE INDEX conversations_by_identity ON conversations (identity, channel);
CREATE INDEX conversations_waiting ON conversations (retry_us) WHERE waiting > 0 AND mode = 'bot';
CREATE INDEX conversations_wake ON conversations (wake_us) WHERE wake_us > 0 AND mode = 'bot';

-- Every way in that a conversation has had: a number may change its provider, a person their phone.
CREATE TABLE conversation_ways (
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    sender TEXT NOT NULL,
    conversation TEXT NOT NULL,
    PRIMARY KEY (channel, address, sender)
);
CREATE INDEX conversation_ways_of ON conversation_ways (conversation);

-- turn: the one that read it; 0: none yet; -1: a person answered it.
CREATE TABLE inbox (
    n {identity},
    conversation TEXT NOT NULL,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    message_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    kind TEXT NOT NULL,
    turn BIGINT NOT NULL,
    body {bytes} NOT NULL,
    UNIQUE (channel, address, message_id),
    UNIQUE (conversation, sequence)
);
CREATE INDEX inbox_waiting ON inbox (conversation, sequence) WHERE turn = 0;

-- What was erased is not let in again by a late repeat. digest: SHA-256 of the message id.
CREATE TABLE erased_messages (
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    digest TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (channel, address, digest)
);

CREATE TABLE turns (
    conversation TEXT NOT NULL,
    turn BIGINT NOT NULL,
    started_us BIGINT NOT NULL,
    ended_us BIGINT NOT NULL,
    release TEXT NOT NULL,
    stage TEXT NOT NULL,
    model_calls BIGINT NOT NULL,
    traces TEXT NOT NULL,
    PRIMARY KEY (conversation, turn)
);

-- lane: what is done in order: "reply", or a connector's name. author: '' the agent, else the person who wrote it.
-- state: planned, sending, done, refused, failed, dropped. next_us: when to try.
CREATE TABLE effects (
    n {identity},
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    key TEXT NOT NULL,
    conversation TEXT NOT NULL,
    turn BIGINT NOT NULL,
    name TEXT NOT NULL,
    lane TEXT NOT NULL,
    author TEXT NOT NULL,
    quiet BIGINT NOT NULL,
    body {bytes} NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    planned_us BIGINT NOT NULL,
    sending_us BIGINT NOT NULL,
    next_us BIGINT NOT NULL,
    late_us BIGINT NOT NULL,
    ended_us BIGINT NOT NULL,
    result TEXT NOT NULL,
    reason TEXT NOT NULL,
    message_id TEXT NOT NULL,
    UNIQUE (app, env, key)
);
CREATE INDEX effects_of ON effects (conversation, lane, n);
CREATE INDEX effects_due ON effects (next_us) WHERE state IN ('planned', 'sending');

-- What became of the messages that we sent; rank only grows. A status may come before we know what it is about.
CREATE TABLE sent_messages (
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    message_id TEXT NOT NULL,
    conversation TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    rank BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    code BIGINT NOT NULL,
    reason TEXT NOT NULL,
    billable BIGINT,
    category TEXT NOT NULL,
    pricing_model TEXT NOT NULL,
    PRIMARY KEY (channel, address, message_id)
);
CREATE INDEX sent_messages_of ON sent_messages (conversation, at_us);

-- The funnel: when a conversation first came to a stage.
CREATE TABLE conversation_stages (
    conversation TEXT NOT NULL,
    stage TEXT NOT NULL,
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    branch TEXT NOT NULL,
    channel TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (conversation, stage)
);
CREATE INDEX conversation_stages_by_time ON conversation_stages (app, at_us);

-- Times are 0 until it happened.
CREATE TABLE handoffs (
    n {identity},
    app TEXT NOT NULL,
    env TEXT NOT NULL,
    branch TEXT NOT NULL,
    conversation TEXT NOT NULL,
    reason TEXT NOT NULL,
    summary TEXT NOT NULL,
    urgent BIGINT NOT NULL,
    asked_us BIGINT NOT NULL,
    reminded_us BIGINT NOT NULL,
    taken_us BIGINT NOT NULL,
    taken_by TEXT NOT NULL,
    replied_us BIGINT NOT NULL,
    closed_us BIGINT NOT NULL
);
CREATE UNIQUE INDEX handoffs_open ON handoffs (conversation) WHERE closed_us = 0;
CREATE INDEX handoffs_by_time ON handoffs (app, asked_us);
