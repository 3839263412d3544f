-- What is open in a lane, and what is held of a conversation, without a look at all that it ever did.
CREATE INDEX effects_open ON effects (conversation, lane, n) WHERE state IN ('planned', 'sending');
CREATE INDEX effects_held ON effects (conversation, lane) WHERE state = 'held';
