"""Every key of app.toml (and of the other TOML in an app folder): its type, its bounds, what it means.

The checker reads this table and the reference page `docs/reference/app-folder.md` is tested against it, so there is
one place to add a key.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

KeyType = Literal["text", "whole", "number", "usd", "yes_no", "texts", "table"]

TYPE_NAMES: Mapping[KeyType, str] = {
    "text": "text",
    "whole": "a whole number",
    "number": "a number",
    "usd": "an amount of USD",
    "yes_no": "true or false",
    "texts": "a list of texts",
    "table": "a table",
}


class Key(Struct, frozen=True):
    """`low`/`high` bound numbers, both included; `above`: greater than this."""

    type: KeyType
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False


Keys = Mapping[str, Key]

TEXT = Key("text")
CENTURY_DAYS = 36_500
LARGEST = 1_000_000_000_000
LARGEST_USD = 1_000_000_000  # what fits in 64 bits of nano-USD

TOP: Keys = {
    "name": Key("text", required=True),
    "purpose": TEXT,
    "owner": TEXT,
}
APP: Keys = {"command": TEXT, "url": TEXT}
ENVIRONMENTS: Keys = {"names": Key("texts")}
GATES: Keys = {
    "requires": Key("texts", required=True),
    "load_line_days": Key("whole", low=1, high=CENTURY_DAYS),
    "evaluation_days": Key("whole", low=1, high=CENTURY_DAYS),
    "evaluation_against": TEXT,
    "evaluation_margin": Key("number", low=0, high=1),
    "evaluation_cases": TEXT,
    "evaluation_must_pass": Key("texts"),
    "approvals": Key("whole", low=1, high=10),
}
PROVIDERS = ("openai", "anthropic", "gemini", "local", "simulated")
ROUTE: Keys = {
    "provider": Key("text", choices=PROVIDERS, required=True),
    "model": Key("text", required=True),
    "base_url": TEXT,
    "api_key_env": TEXT,
    "prompt": TEXT,
    "params": Key("table"),
    "max_tokens": Key("whole", low=0, high=1_000_000),
    "fallbacks": Key("texts"),
    "answers_to": Key("texts"),
    "reproducible": Key("yes_no"),
    "retries": Key("whole", low=0, high=10),
    "hedge_ms": Key("whole", low=0, high=3_600_000),
    "forward_deadline": Key("yes_no"),
    "prefill": Key("yes_no"),
    "on_broken_stream": Key("text", choices=("fail", "restart", "continue")),
    "first_token_s": Key("number", above=0, high=3600),
    "keep_alive_s": Key("number", low=0, high=3600),
    "idle_s": Key("number", above=0, high=3600),
    "total_s": Key("number", above=0, high=3600),
    "context": Key("whole", low=0, high=100_000_000),
    "response_schema": TEXT,
    "embeddings": Key("yes_no"),
    "betas": Key("texts"),
    "prompt_cache": Key("yes_no"),
}
LIMITS: Keys = {
    "rpm": Key("whole", low=1, high=LARGEST),
    "tpm": Key("whole", low=1, high=LARGEST),
    "usd_per_day": Key("usd", above=0, high=LARGEST_USD),
    "usd_per_month": Key("usd", above=0, high=LARGEST_USD),
    "max_concurrency": Key("whole", low=1, high=LARGEST),
    "adaptive_concurrency": Key("yes_no"),
    "priority": Key("text", choices=("low", "normal", "high")),
    "timezone": TEXT,
}
SPENDING: Keys = {
    "usd_per_day": Key("usd", above=0, high=LARGEST_USD),
    "usd_per_month": Key("usd", above=0, high=LARGEST_USD),
}
OBJECTIVES: Keys = {
    "availability": Key("number", low=0, high=1),
    "ttft_ms_p95": Key("number", above=0),
    "answer_ms_p95": Key("number", above=0),
    "usd_per_conversation": Key("usd", above=0, high=LARGEST_USD),
    "usd_per_month": Key("usd", above=0, high=LARGEST_USD),
    "monthly_conversations": Key("whole", low=1, high=LARGEST),
    "turns_per_conversation": Key("number", low=1),
    "expected_concurrency": Key("whole", low=1, high=100_000),
}
QUALITY: Keys = {
    "score_min": Key("number", low=0, high=1),
    "robustness_drop_max": Key("number", low=0, high=1),
    "regression_max": Key("number", low=0, high=1),
}
FORECAST: Keys = {
    "question_tokens": Key("number", low=0, high=LARGEST),
    "answer_tokens": Key("number", low=0, high=LARGEST),
    "retrieved_tokens": Key("number", low=0, high=LARGEST),
    "calls_per_turn": Key("number", above=0, high=1000),
    "cached_share": Key("number", low=0, high=1),
    "volume_within": Key("number", low=0, high=100),
    "turns_within": Key("number", low=0, high=100),
    "prompt_within": Key("number", low=0, high=100),
    "question_within": Key("number", low=0, high=100),
    "answer_within": Key("number", low=0, high=100),
}
TRIAL: Keys = {
    "drills": Key("texts"),
    "short_cases": Key("whole", low=1, high=100_000),
    "seed": Key("whole", low=0, high=LARGEST),
}
RETENTION: Keys = {
    "bodies_days": Key("whole", low=1, high=CENTURY_DAYS),
    "rows_days": Key("whole", low=1, high=CENTURY_DAYS),
    "on_trace_failure": Key("text", choices=("refuse", "answer")),
}
CANARY: Keys = {
    "steps": Key("texts"),
    "alpha": Key("number", above=0, high=0.5),
    "least_sessions": Key("whole", low=1, high=LARGEST),
    "longest_wait_h": Key("number", above=0, high=8760),
    "on_unknown": Key("text", choices=("hold", "rollback")),
    "session_s": Key("whole", low=0, high=86_400),
    "late_s": Key("whole", low=0, high=3600),
    "quality": Key("texts"),
    "quality_s": Key("whole", low=0, high=604_800),
    "error_margin": Key("number", above=0, high=1),
    "slow_margin": Key("number", above=0, high=1),
    "cost_margin": Key("number", above=0, high=1),
    "quality_margin": Key("number", above=0, high=1),
    "usd_per_request": Key("usd", above=0, high=LARGEST_USD),
}
SHADOW: Keys = {
    "usd_per_day": Key("usd", above=0, high=LARGEST_USD),
    "max_concurrency": Key("whole", low=1, high=1000),
    "queue": Key("whole", low=1, high=100_000),
}
FUNNEL: Keys = {
    "steps": Key("texts"),
    "quiet_minutes": Key("number", low=1, high=10_080),
}
CACHE: Keys = {
    "exact": Key("yes_no"),
    "ttl_s": Key("whole", low=1, high=30 * 86_400),
    "max_mb": Key("whole", low=1, high=4096),
    "shared": Key("yes_no"),
    "tool_calls": Key("yes_no"),
    "semantic": Key("yes_no"),
}
ROUTING: Keys = {
    "route": TEXT,
    "small": TEXT,
    "escalate_on": Key("texts"),
    "refusals": Key("texts"),
    "escalate_streams": Key("yes_no"),
}
RULE: Keys = {
    "to": Key("text", required=True),
    "languages": Key("texts"),
    "keywords": Key("texts"),
    "tags": Key("texts"),
    "min_chars": Key("whole", low=0, high=LARGEST),
    "max_chars": Key("whole", low=0, high=LARGEST),
    "tools": Key("yes_no"),
}
HISTORY: Keys = {
    "max_tokens": Key("whole", low=200, high=100_000_000, required=True),
    "keep_last": Key("whole", low=2, high=1000),
    "summary_route": TEXT,
}
# Tables of app.toml with fixed keys, by path. `models.<route>` is a table for each route.
WHATSAPP: Keys = {
    "opt_out_words": Key("texts"),
    "opt_in_words": Key("texts"),
    "list_button": TEXT,
    "usd_per_month": Key("usd", above=0, high=LARGEST_USD),
    "usd_per_branch_month": Key("usd", above=0, high=LARGEST_USD),
    "reserve": Key("table"),
    "marketing_needs_opt_in": Key("yes_no"),
    "messages_per_second": Key("whole", low=1, high=1000),
    "prices": Key("table"),
}
WEBCHAT: Keys = {
    "origins": Key("texts"),
    "title": TEXT,
    "greeting": TEXT,
    "messages_per_minute": Key("whole", low=1, high=600),
}
EMAIL: Keys = {
    "subject": TEXT,
    "ignore": Key("texts"),
}
CONVERSATIONS: Keys = {
    "quiet_s": Key("number", low=0, high=60),
    "longest_quiet_s": Key("number", low=0, high=300),
    "turn_s": Key("number", low=1, high=600),
    "late_s": Key("number", low=0.5, high=600),
    "excuse_s": Key("number", low=1, high=3600),
    "give_up_s": Key("number", low=1, high=604_800),
    "remind_s": Key("number", low=10, high=604_800),
    "reopen": TEXT,
    "notify": TEXT,
}
CONNECTOR: Keys = {
    "kind": Key("text", required=True)
}  # and the parameters of the kind, see docs/reference/connectors.md
MCP: Keys = {"tools": Key("texts")}
JUDGE_SAMPLE: Keys = {
    "sample": TEXT,
    "usd_per_day": Key("usd", above=0, high=LARGEST_USD),
}
TABLES: Mapping[str, Keys] = {
    "": TOP,
    "app": APP,
    "environments": ENVIRONMENTS,
    "environments.<env>": GATES,
    "models.<route>": ROUTE,
    "limits": LIMITS,
    "limits.branch": SPENDING,
    "limits.key": SPENDING,
    "limits.subject": SPENDING,
    "limits.branches.<branch>": SPENDING,
    "objectives": OBJECTIVES,
    "objectives.quality": QUALITY,
    "forecast": FORECAST,
    "connectors.<name>": CONNECTOR,
    "mcp": MCP,
    "judges.<name>": JUDGE_SAMPLE,
    "trial": TRIAL,
    "retention": RETENTION,
    "canary": CANARY,
    "shadow": SHADOW,
    "funnel": FUNNEL,
    "cache": CACHE,
    "routing": ROUTING,
    "history": HISTORY,
    "conversations": CONVERSATIONS,
    "channels.whatsapp": WHATSAPP,
    "channels.webchat": WEBCHAT,
    "channels.email": EMAIL,
}
# Promised by the design, not by this version: accepted empty, so that nobody believes a guard is on.
NOT_YET = ("guard", "knowledge")
TOP_TABLES = (*dict.fromkeys(name.split(".")[0] for name in TABLES if name), *NOT_YET)

PROMPT: Keys = {
    "role": Key("text", choices=("system", "developer", "user")),
    "defaults": Key("table"),
}
JUDGE: Keys = {
    "question": Key("text", required=True),
    "scale": Key("text", choices=("yes/no", "pairwise")),
    "route": TEXT,
    "provider": Key("text", choices=PROVIDERS),
    "model": TEXT,
    "base_url": TEXT,
    "api_key_env": TEXT,
    "params": Key("table"),
    "max_tokens": Key("whole", low=16, high=16_384),
}
PRICE: Keys = {
    "provider": Key("text", choices=("openai", "anthropic", "google", "gemini", "local", "simulated"), required=True),
    "model": Key("text", required=True),
    "input": Key("usd", low=0, high=LARGEST_USD, required=True),
    "output": Key("usd", low=0, high=LARGEST_USD, required=True),
    "cached_input": Key("usd", low=0, high=LARGEST_USD),
    "cache_write": Key("usd", low=0, high=LARGEST_USD),
    "cache_write_1h": Key("usd", low=0, high=LARGEST_USD),
    "reasoning": Key("usd", low=0, high=LARGEST_USD),
    "audio_input": Key("usd", low=0, high=LARGEST_USD),
    "audio_output": Key("usd", low=0, high=LARGEST_USD),
    "audio_minute": Key("usd", low=0, high=LARGEST_USD),
    "valid_from": TEXT,
    "tier": TEXT,
    "aborted": Key("text", choices=("generated", "whole")),
}
PRICE_BY_MINUTE: Keys = {**PRICE, **{key: Key("usd", low=0, high=LARGEST_USD) for key in ("input", "output")}}
BRANCH: Keys = {
    "id": Key("text", required=True),
    "name": Key("text", required=True),
    "timezone": TEXT,
    "languages": Key("texts"),
    "handbook": TEXT,
    "office_hours": TEXT,
    "visit_hours": TEXT,
    "visit_minutes": Key("whole", low=5, high=480),
    "visits_at_once": Key("whole", low=1, high=1000),
    "closed": Key("texts"),
    "team": Key("texts"),
}
EFFECTS = ("read", "write", "irreversible")
TOOL: Keys = {
    "name": Key("text", required=True),
    "description": Key("text", required=True),
    "parameters": Key("table", required=True),
    "effect": Key("text", choices=EFFECTS, required=True),
    "idempotency_key": Key("texts"),
    "confirmation": Key("yes_no"),
    "timeout_s": Key("number", above=0, high=3600),
    "code": TEXT,
}
CASE = ("id", "input", "messages", "expect", "tags", "source", "route", "variables", "split", "basis", "origin")
EXPECT = ("contains", "contains_any", "not_contains", "regex", "language", "json", "max_words", "equals", "number",
          "json_schema", "tool", "grounded_in", "similar", "max_ms", "max_usd", "python", "grounded", "tone", "policy",
          "judge")  # fmt: skip
