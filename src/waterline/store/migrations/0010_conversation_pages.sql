-- What people look at, found without reading everything: see bench/conversation_pages.py.

-- branch: of the effect's conversation. began_us: when the stage's conversation began.
ALTER TABLE effects ADD COLUMN branch TEXT NOT NULL DEFAULT '';
UPDATE effects SET branch = COALESCE((SELECT c.branch FROM conversations c WHERE c.id = effects.conversation), '');
CREATE INDEX effects_acts ON effects (state, n) WHERE lane <> 'reply';
CREATE INDEX effects_acts_of_branch ON effects (branch, n) WHERE lane <> 'reply';

ALTER TABLE conversation_stages ADD COLUMN began_us BIGINT NOT NULL DEFAULT 0;
UPDATE conversation_stages
SET began_us = COALESCE((SELECT c.created_us FROM conversations c WHERE c.id = conversation_stages.conversation), 0);
DROP INDEX conversation_stages_by_time;
CREATE INDEX conversation_stages_begun ON conversation_stages (began_us, branch, stage, at_us, app, env);
CREATE INDEX conversation_stages_of_branch ON conversation_stages (branch, began_us, stage, at_us, app, env);

DROP INDEX conversations_by_time;
CREATE INDEX conversations_moved ON conversations (updated_us, id);
CREATE INDEX conversations_of_branch ON conversations (branch, updated_us, id);
CREATE INDEX conversations_begun ON conversations (created_us);
CREATE INDEX conversations_begun_in ON conversations (branch, created_us);

DROP INDEX handoffs_by_time;
CREATE INDEX handoffs_asked ON handoffs (asked_us);
CREATE INDEX handoffs_waiting ON handoffs (closed_us, asked_us) WHERE closed_us = 0;

-- What conversations spent in a span, by branch. 'conversations' is the key that their model calls name.
CREATE INDEX traces_of_conversations ON traces (started_us, branch, app, env, cost_nano_usd)
WHERE key_id = 'conversations';
CREATE INDEX channel_fees_by_time ON channel_fees (at_us, branch, app, state, billed_nano_usd, nano_usd);
