"""Every mistake that the checker recognises, each with its file, line and remedy."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from app_folders import AGENT, APP, CASES, DIGESTS, GOOD, TOOL, checked, good, mistakes, write

from waterline.core.app_spec import PriceOverride, Spending, encode_spec, parse_spec
from waterline.core.errors import AppFolderError
from waterline.core.gates import GATE_NAMES, Gates
from waterline.core.release import Route
from waterline.rollout.check import check


def test_a_good_folder_has_no_mistake_and_says_what_it_declares(tmp_path: Path) -> None:
    found = checked(good(tmp_path))
    main = found.release.routes["main"]
    assert (main.provider, main.model, main.prompt, main.max_tokens) == ("openai", "gpt-4o-mini", "agent", 64)
    assert main.params == {"temperature": 0.2, "top_p": 1}
    assert main.fallbacks == ("spare",)
    assert found.release.routes["spare"].digest == DIGESTS["qwen2.5-coder-1.5b"]
    prompt = found.release.prompts["agent"]
    text = "You answer parents on {{today}}.\n\nGrade 3 costs 790 EUR.\nWrite to {{contact}}."
    assert prompt.text == text
    assert prompt.variables == ("today", "contact")
    assert prompt.defaults == {"contact": "office@example.org"}
    assert found.release.tools["book_visit"]["effect"] == "write"
    assert sorted(found.release.files) == ["flows/visit.txt", "tools/book_visit.py"]
    assert found.spec.limits.nano_usd_per_day == 5_000_000_000
    assert found.spec.objectives.nano_usd_per_conversation == 2_000_000
    assert found.spec.objectives.quality.score_min == 0.8
    assert found.spec.environments == ("staging", "production")
    assert found.spec.prices == (
        PriceOverride(model="gpt-4o-mini", provider="openai", input=100_000_000, output=400_000_000),
    )
    assert [case.id for case in found.cases] == ["a", "b"]
    assert found.warnings == []


def test_the_smallest_folder_is_one_file(tmp_path: Path) -> None:
    text = 'name = "plain"\n[models.main]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n'
    found = checked(write(tmp_path, {"app.toml": text}))
    assert found.release.routes["main"] == Route(provider="openai", model="gpt-4o-mini")
    assert any("cases/" in warning for warning in found.warnings)


def test_budgets_of_branches_keys_and_subjects_are_in_the_environment_record(tmp_path: Path) -> None:
    more = (
        'timezone = "Europe/Lisbon"\n[limits.branch]\nusd_per_month = 20\n[limits.key]\nusd_per_day = 0.5\n'
        "[limits.subject]\nusd_per_day = 0.1\n[limits.branches.porto]\nusd_per_month = 50"
    )
    limits = checked(good(tmp_path, **{"app.toml": APP.replace('timezone = "Europe/Lisbon"', more)})).spec.limits
    assert limits.branch == Spending(None, 20 * 10**9)
    assert limits.key == Spending(500_000_000)
    assert limits.subject == Spending(100_000_000)
    assert limits.branches == {"porto": Spending(None, 50 * 10**9)}
    assert limits.money


def test_what_an_environment_requires_is_in_the_environment_record(tmp_path: Path) -> None:
    more = (
        'names = ["staging", "production"]\n[environments.production]\n'
        'requires = ["load_line", "evaluation", "no_open_incident", "approval"]\nload_line_days = 14\n'
    )
    quality = "score_min = 0.8\nregression_max = 0.05"
    text = APP.replace('names = ["staging", "production"]\n', more).replace("score_min = 0.8", quality)
    spec = checked(good(tmp_path, **{"app.toml": text})).spec
    assert spec.gates == {"production": Gates(GATE_NAMES, load_line_days=14)}
    assert spec.gates_of("production").evaluation_margin == 0.05
    assert spec.gates_of("staging") == Gates()
    assert parse_spec(encode_spec(spec)) == spec


def test_a_response_schema_goes_into_the_release_by_value(tmp_path: Path) -> None:
    schema = (
        '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}'
    )
    app = APP.replace("max_tokens = 64", 'response_schema = "prompts/visit.schema.json"')
    release = checked(good(tmp_path, **{"app.toml": app, "prompts/visit.schema.json": schema})).release
    told = release.routes["main"].params["response_format"]
    assert told["type"] == "json_schema"
    assert told["json_schema"]["name"] == "visit"
    assert told["json_schema"]["strict"] is True
    assert told["json_schema"]["schema"]["required"] == ["a"]


@dataclass
class Spoilt:
    """A good folder with something replaced, and the mistake that must be told."""

    name: str
    file: str  # where the mistake is
    line: int
    says: str
    remedy: str
    change: dict[str, str | bytes] = field(default_factory=dict)


def app(name: str, old: str, new: str, line: int, says: str, remedy: str) -> Spoilt:
    assert old in APP, old
    return Spoilt(name, "app.toml", line, says, remedy, {"app.toml": APP.replace(old, new, 1)})


def gated(name: str, env: str, lines: str, line: int, says: str, remedy: str) -> Spoilt:
    table = f'names = ["staging", "production"]\n[environments.{env}]\n{lines}'
    return app(name, 'names = ["staging", "production"]\n', f"{table}\n", line - 1, says, remedy)


def cheaper(name: str, table: str, line: int, says: str, remedy: str) -> Spoilt:
    """A table before [retention], which stands in line 39."""
    return app(name, "[retention]", f"{table}\n[retention]", line, says, remedy)


def prompt(name: str, text: str, line: int, says: str, remedy: str) -> Spoilt:
    return Spoilt(name, "prompts/agent.md", line, says, remedy, {"prompts/agent.md": text})


def cases(name: str, line: str, says: str, remedy: str) -> Spoilt:
    return Spoilt(name, "cases/english.jsonl", 3, says, remedy, {"cases/english.jsonl": CASES + line + "\n"})


def tool(name: str, old: str, new: str, line: int, says: str, remedy: str) -> Spoilt:
    assert old in TOOL, old
    file = "tools/book_visit.json"
    return Spoilt(name, file, line, says, remedy, {file: TOOL.replace(old, new, 1)})


def price(name: str, row: str, line: int, says: str, remedy: str) -> Spoilt:
    return Spoilt(name, "prices.toml", line, says, remedy, {"prices.toml": row})


MAIN = 'model = "gpt-4o-mini"\n'
OPENAI, GEMINI = 'provider = "openai"\n' + MAIN, 'provider = "gemini"\nmodel = "models/gemini-3.8-flash"\n'
ROW = '[[price]]\nprovider = "openai"\nmodel = "m"\ninput = 1\n'
SPOILT = [
    app("toml_syntax", 'owner = "lead', "owner = lead", 3, "TOML syntax", "toml.io"),
    app("toml_unfinished", "bodies_days = 30", "bodies_days =", 40, "TOML syntax", "toml.io"),
    app("unknown_key", "rpm = 600", "rpn = 600", 25, 'unknown key "[limits] rpn"', 'Did you mean "rpm"?'),
    app("unknown_table", "[trial]", "[trials]", 36, 'unknown key "trials"', 'Did you mean "trial"?'),
    app("unknown_top_key", "owner =", "onwer =", 3, 'unknown key "onwer"', "owner"),
    app("wrong_type", "rpm = 600", 'rpm = "600"', 25, "whole number, not text", "rpm = 1"),
    app("bool_for_number", "rpm = 600", "rpm = true", 25, "whole number, not true or false", "rpm"),
    app("wrong_list", 'answers_to = ["gpt-4o-mini"]', "answers_to = [1]", 17, "list of texts", "answers_to ="),
    app("table_for_text", 'owner = "lead@example.org"', "owner = {}", 3, '"owner" is text, not a table', "owner ="),
    app("missing_name", 'name = "school"', "", 1, 'has no "name"', 'name = "..."'),
    app("empty_name", '"school"', '" "', 1, '"name" is empty', "name ="),
    app("bad_name", '"school"', '"School!"', 1, "not a good name for an app", "lower-case"),
    app("bad_route_name", "[models.spare]", '[models."my spare"]', 19, "not a good name for a route", "lower-case"),
    app("unknown_provider", '"openai"', '"opnai"', 9, "one of openai, anthropic", 'Did you mean "openai"?'),
    app("missing_provider", 'provider = "openai"\n', "", 8, 'has no "provider"', "provider ="),
    app("missing_model", MAIN, "", 8, 'has no "model"', "model ="),
    app("empty_model", MAIN, 'model = ""\n', 10, '"[models.main] model" is empty', "model ="),
    app("gemini_path", OPENAI, GEMINI, 10, "is a path", 'model = "gemini-3.8-flash"'),
    app("unknown_local", '"qwen2.5-coder-1.5b"', '"qwen9"', 21, 'no local model "qwen9"', "smollm2-135m"),
    app("reproducible_remote", "max_tokens = 64", "reproducible = true", 13, "cannot be reproducible", "Remove it"),
    app("api_key", "max_tokens = 64", 'api_key = "x"', 13, "would put a secret", "come from the environment"),
    app("secret_text", "lead@example.org", "sk-abcdefghijklmnop1234", 3, "looks like a secret", "environment"),
    app("secret_in_env_name", "max_tokens = 64", 'api_key_env = "my key"', 13, "not the name of a variable", "OPENAI"),
    app("fallback_unknown", '    "spare"', '    "spair"', 15, 'no route "spair"', 'Did you mean "spare"?'),
    app("hedge_alone", "reproducible = true", "hedge_ms = 1500", 22, "hedge_ms needs a fallback", "Declare"),
    app("fallback_self", '    "spare"', '    "main"', 15, "cannot fall back to itself", "Remove"),
    app(
        "broken_stream_alone", "reproducible = true", 'on_broken_stream = "restart"', 22, "needs a fallback", "Declare"
    ),
    app(
        "no_prefill", "max_tokens = 64", 'on_broken_stream = "continue"', 13, "no fallback can go on", "prefill = true"
    ),
    app(
        "broken_stream_word",
        "max_tokens = 64",
        'on_broken_stream = "retry"',
        13,
        "one of fail, restart",
        'mean "restart"',
    ),
    app(
        "fallback_cycle", "reproducible = true", 'fallbacks = ["main"]', 14, "in a circle: main -> spare", "Remove one"
    ),
    app(
        "alias_twice", "reproducible = true", 'answers_to = ["gpt-4o-mini"]', 22, "[models.main] has it too", "Keep one"
    ),
    app("alias_is_route", '["gpt-4o-mini"]', '["spare"]', 17, "is the name of a route", "Remove"),
    app("prompt_missing", 'prompt = "agent"', 'prompt = "agnet"', 11, "no prompts/agnet.md", 'Did you mean "agent"?'),
    app("prompt_escapes", 'prompt = "agent"', 'prompt = "../../x"', 11, "leads out of the app folder", "prompts/"),
    app("max_tokens_negative", "max_tokens = 64", "max_tokens = -1", 13, "at least 0", "max_tokens = 1"),
    app("bad_address", "max_tokens = 64", 'base_url = "ftp://x"', 13, "is not an address", "https://host/v1"),
    app(
        "password_in_address",
        "max_tokens = 64",
        'base_url = "https://u:p@x/v1"',
        13,
        "is not an address",
        "without user",
    ),
    app("long_first_token", "max_tokens = 64", "first_token_s = 500", 13, "longer than total_s", "Raise total_s"),
    app("params_model", "temperature = 0.2", 'model = "x"', 12, "params.model is said by", "Remove model"),
    app("params_date", "temperature = 0.2", "when = 2026-01-01", 12, "cannot be sent as JSON", "Write text"),
    app("schema_missing", "max_tokens = 64", 'response_schema = "no.json"', 13, "there is no no.json", "path"),
    app("schema_escapes", "max_tokens = 64", 'response_schema = "/etc/passwd"', 13, "leads out", "path"),
    app("limit_negative", "rpm = 600", "rpm = -1", 25, "is -1, but it is at least 1", "rpm"),
    app("limit_zero", "usd_per_day = 5.00", "usd_per_day = 0", 26, "above 0", "usd_per_day = 5.00"),
    app("money_too_fine", "5.00", "0.00000000001", 26, "finer than a nano-USD", "nine decimals"),
    app("money_infinite", "5.00", "inf", 26, "not infinity or nan", "5.00"),
    app("day_above_month", "rpm = 600", "usd_per_month = 1", 26, "more than usd_per_month", "Lower it"),
    app("branch_zero", 'timezone = "Europe/Lisbon"', "[limits.branch]\nusd_per_day = 0", 28, "above 0", "5.00"),
    app("branch_key", 'timezone = "Europe/Lisbon"', "[limits.key]\nusd_a_day = 1", 28, "unknown key", "usd_per_day"),
    app(
        "subject_day_above_month",
        'timezone = "Europe/Lisbon"',
        "[limits.subject]\nusd_per_day = 2\nusd_per_month = 1",
        28,
        "more than usd_per_month",
        "Lower it",
    ),
    app(
        "branch_name",
        'timezone = "Europe/Lisbon"',
        '[limits.branches."Porto!"]\nusd_per_day = 2',
        27,
        "not a good name for a branch",
        "lower-case",
    ),
    app("branches_flat", 'timezone = "Europe/Lisbon"', "branches = 3", 27, "not a table", "[limits.branches.porto]"),
    app("branch_flat", 'timezone = "Europe/Lisbon"', "branch = 3", 27, "not a table", "[limits.branch]"),
    app("timezone", "Europe/Lisbon", "Europe/Lisboa", 27, "no time zone", "Europe/Lisbon"),
    app("availability", "availability = 0.99", "availability = 99", 30, "at least 0 and at most 1", "availability"),
    app("score", "score_min = 0.8", "score_min = -0.1", 34, "at least 0", "score_min"),
    app("drill", '["quality", "load"]', '["quality", "laod"]', 37, 'no drill "laod"', 'Did you mean "load"?'),
    app("drill_twice", '["quality", "load"]', '["load", "load"]', 37, "twice", "Remove one"),
    app("environment_name", '"staging"', '"Staging env"', 6, "not a good name for an environment", "lower-case"),
    app("environment_twice", '"staging"', '"production"', 6, "twice", "Remove"),
    app("environment_none", '["staging", "production"]', "[]", 6, "no environment", "production"),
    gated("gate_environment", "prodution", 'requires = ["load_line"]', 8, "is of no environment", '"production"?'),
    gated("gate_name", "production", 'requires = ["load_lin"]', 9, 'no gate "load_lin"', 'Did you mean "load_line"?'),
    gated("gate_twice", "production", 'requires = ["load_line", "load_line"]', 9, "twice", "Remove one"),
    gated("gate_none", "production", "requires = []", 9, "nothing is required", "load_line"),
    gated("gate_missing", "production", "", 8, 'has no "requires"', 'requires = ["..."]'),
    gated("gate_key", "production", 'requires = ["approval"]\nload_days = 3', 10, "unknown key", '"load_line_days"?'),
    gated(
        "gate_option",
        "production",
        'requires = ["approval"]\nload_line_days = 3',
        10,
        "not required",
        'Add "load_line"',
    ),
    gated("gate_margin", "production", 'requires = ["evaluation"]', 9, "has no margin", "evaluation_margin = 0.05"),
    gated(
        "gate_against",
        "production",
        'requires = ["evaluation"]\nevaluation_margin = 0.1\nevaluation_against = "old"',
        11,
        "neither",
        '"live"',
    ),
    gated(
        "gate_cases",
        "production",
        'requires = ["evaluation"]\nevaluation_margin = 0.1\nevaluation_cases = "cases/"',
        11,
        "neither a case set nor",
        "held_out",
    ),
    gated(
        "gate_tag",
        "production",
        'requires = ["evaluation"]\nevaluation_margin = 0.1\nevaluation_must_pass = ["a|b"]',
        11,
        "is no tag",
        "regression",
    ),
    gated(
        "gate_threshold",
        "production",
        'requires = ["evaluation"]\nevaluation_margin = 0.1\nevaluation_against = "score_min"',
        10,
        "is of a comparison",
        "Remove it",
    ),
    gated("gate_approvals", "production", 'requires = ["approval"]\napprovals = 0', 10, "at least 1", "approvals"),
    gated("gate_days", "production", 'requires = ["load_line"]\nload_line_days = 0', 10, "at least 1", "days"),
    app(
        "guard", "[retention]", "[guard]\npii = true\n[retention]", 39, "not available yet in this version", "Remove it"
    ),
    cheaper("cache_off", "[cache]\nttl_s = 5", 40, "nothing is cached", "exact = true"),
    cheaper("cache_ttl", "[cache]\nexact = true\nttl_s = 0", 41, "at least 1", "ttl_s"),
    cheaper("routing_empty", "[routing]", 39, "neither rules nor a small route", "small"),
    cheaper("routing_route", '[routing]\nroute = "man"\nsmall = "spare"', 40, 'no route "man"', 'Did you mean "main"?'),
    cheaper("routing_small", '[routing]\nsmall = "spar"', 40, 'no route "spar"', 'Did you mean "spare"?'),
    cheaper("routing_self", '[routing]\nsmall = "main"', 40, "the route itself", "cheaper model"),
    cheaper("escalate", '[routing]\nsmall = "spare"\nescalate_on = ["emty"]', 41, "none of empty", 'mean "empty"?'),
    cheaper(
        "refusals",
        '[routing]\nsmall = "spare"\nescalate_on = []\nrefusals = ["no"]',
        42,
        "not looked for",
        '"refusal"',
    ),
    cheaper("refusal_empty", '[routing]\nsmall = "spare"\nrefusals = [" "]', 41, "a phrase is empty", "Remove it"),
    cheaper("rule_to", '[[routing.rules]]\nto = "spar"\nmax_chars = 9', 40, 'no route "spar"', "spare"),
    cheaper("rule_all", '[[routing.rules]]\nto = "spare"', 39, "takes every request", "Add one"),
    cheaper("rule_nowhere", "[[routing.rules]]\nmax_chars = 9", 39, 'has no "to"', "Write to"),
    cheaper("rule_language", '[[routing.rules]]\nto = "spare"\nlanguages = ["xx"]', 41, "cannot be told", "en, pt, es"),
    cheaper("rule_empty", '[[routing.rules]]\nto = "spare"\nkeywords = [""]', 41, "empty text", "Remove it"),
    cheaper(
        "rule_bounds",
        '[[routing.rules]]\nto = "spare"\nmin_chars = 9\nmax_chars = 8',
        41,
        "more than max_chars",
        "lower",
    ),
    cheaper("rule_list", '[routing]\nrules = "x"\nsmall = "spare"', 40, "not a list of tables", "[[routing.rules]]"),
    cheaper("history_length", "[history]\nkeep_last = 4", 39, 'has no "max_tokens"', "max_tokens = 200"),
    cheaper(
        "escalate_streams",
        '[routing]\nsmall = "spare"\nescalate_on = []\nescalate_streams = true',
        42,
        "escalate_on is empty",
        "Remove one",
    ),
    cheaper(
        "history_route", '[history]\nmax_tokens = 900\nsummary_route = "smal"', 41, 'no route "smal"', "Known: main"
    ),
    cheaper("history_small", "[history]\nmax_tokens = 20", 40, "at least 200", "max_tokens"),
    app(
        "history_context",
        "[limits]",
        "context = 900\n[history]\nmax_tokens = 900\n[limits]",
        26,
        "a context of 900",
        "Lower it",
    ),
    app(
        "prompt_cache",
        "reproducible = true",
        "prompt_cache = true",
        22,
        'provider "local" has no prompt cache',
        "Remove",
    ),
    app("app_url", "[retention]", '[app]\nurl = "localhost"\n[retention]', 40, "is not an address", "http://"),
    app(
        "funnel_twice",
        "[retention]",
        '[funnel]\nsteps = ["lead", "lead"]\n[retention]',
        40,
        "is there twice",
        "Remove one",
    ),
    app("funnel_name", "[retention]", '[funnel]\nsteps = ["a lead!"]\n[retention]', 40, "not a good name", "letters"),
    app("retention", "bodies_days = 30", 'on_trace_failure = "drop"', 40, "refuse, answer", "refuse"),
    prompt("variable_syntax", "Hi {{user name}}", 1, "{{user name}} is not a variable", "{{name}}"),
    prompt("variable_open", "Hi\n{{name", 2, "never closed", "{{name}}"),
    prompt("include_missing", "\n{{> hand}}", 2, "no prompts/hand.md", 'Did you mean "handbook"?'),
    prompt("include_self", "Hi\n\n{{> agent}}", 3, "circle: agent -> agent", "Remove one"),
    prompt("front_matter_open", '+++\nrole = "system"\nHi', 1, "has no end", "+++"),
    prompt(
        "front_matter_key", '+++\nrole = "system"\nmodel = "x"\n+++\nHi', 3, 'unknown key "front matter model"', "role"
    ),
    prompt("front_matter_role", '+++\nrole = "sytem"\n+++\nHi', 2, "one of system", 'Did you mean "system"?'),
    prompt("front_matter_toml", '+++\nrole = "system"\nx y\n+++\nHi', 3, "TOML syntax", "toml.io"),
    prompt("default_not_text", "+++\n[defaults]\nn = 3\n+++\n{{n}}", 3, 'the default of "n" is text', 'n = "3"'),
    prompt("prompt_secret", "Use sk-proj-abcdefghijklmnop1234", 1, "looks like a secret", "environment"),
    Spoilt(
        "include_cycle",
        "prompts/handbook.md",
        2,
        "circle: agent -> handbook -> agent",
        "Remove",
        {"prompts/handbook.md": "x\n{{> agent}}"},
    ),
    Spoilt("not_utf8", "prompts/agent.md", 2, "not UTF-8", "Save", {"prompts/agent.md": b"a\n\xff\xfe"}),
    Spoilt("too_large", "prompts/agent.md", 0, "larger than 1024 KiB", "Split", {"prompts/agent.md": b"x" * 1_048_577}),
    Spoilt(
        "include_bomb",
        "prompts/agent.md",
        1,
        "too large with its includes",
        "Include less",
        {"prompts/agent.md": "{{> handbook}}" * 3000, "prompts/handbook.md": "x" * 1000},
    ),
    cases("case_duplicate", CASES.split("\n")[0], "one with this id at cases/english.jsonl:1", "id of its own"),
    cases("case_both", '{"id":"c","input":"x","messages":[],"expect":{"max_words":9}}', "has both", "exactly one"),
    cases("case_neither", '{"id":"c","expect":{"max_words":9}}', "has neither", "exactly one"),
    cases("case_route", '{"id":"c","input":"x","route":"mian","expect":{"max_words":9}}', 'no route "mian"', '"main"?'),
    cases("case_json", '{"id":"c",', "JSON syntax", "one JSON object a line"),
    cases("case_field", '{"id":"c","imput":"x","expect":{"max_words":9}}', 'unknown field "imput"', '"input"?'),
    cases("case_expect_field", '{"id":"c","input":"x","expect":{"contain":[]}}', 'field "contain"', '"contains"?'),
    cases("case_type", '{"id":3,"input":"x","expect":{"max_words":9}}', "not a case", '"id"'),
    cases("case_cannot_fail", '{"id":"c","input":"x","expect":{}}', "cannot fail", "contains"),
    cases("case_regex", '{"id":"c","input":"x","expect":{"regex":"("}}', "regex is wrong", "re module"),
    cases("case_language", '{"id":"c","input":"x","expect":{"language":"English"}}', "not a language", "ISO 639-1"),
    cases(
        "case_last_message",
        '{"id":"c","messages":[{"role":"assistant","content":"x"}],"expect":{"max_words":9}}',
        "not the user's",
        "End",
    ),
    tool("tool_json", '"effect": "write",', '"effect": "write"', 6, "JSON syntax", "JSON object"),
    tool("tool_effect", '"write"', '"wirte"', 5, "one of read, write, irreversible", 'Did you mean "write"?'),
    tool("tool_no_effect", '  "effect": "write",\n', "", 1, 'has no "effect"', 'effect = "read"'),
    tool("tool_name", '"book_visit"', '"book visit"', 2, "not the name of a tool", "letters"),
    tool("tool_key", '"description"', '"descripton"', 3, 'unknown key "descripton"', 'Did you mean "description"?'),
    tool("tool_schema", '"string"', '"text"', 4, "'text' is not a type", "json-schema.org"),
    tool("tool_required", '["day"]},', '["dya"]},', 4, "'dya' is required, but not among", "json-schema.org"),
    tool("tool_idempotency", '"idempotency_key": ["day"]', '"idempotency_key": ["id"]', 6, "not a parameter", "own"),
    tool("tool_code", '"idempotency_key": ["day"]', '"code": "tools/no.py"', 6, 'no file "tools/no.py"', "path"),
    Spoilt("tool_twice", "tools/z.json", 2, "two tools named", "Rename", {"tools/z.json": TOOL}),
    Spoilt("tool_list", "tools/z.json", 1, "not a JSON object", "{ ... }", {"tools/z.json": "[]"}),
    Spoilt("tool_huge_number", "tools/z.json", 1, "64 bits", "JSON", {"tools/z.json": '{"x": 99999999999999999999}'}),
    Spoilt("tool_surrogate", "tools/z.json", 1, "JSON", "JSON", {"tools/z.json": '{"x": "\\ud800"}'}),
    Spoilt(
        "schema_bad",
        "answer.json",
        2,
        "not a type",
        "json-schema.org",
        {
            "app.toml": APP.replace("max_tokens = 64", 'response_schema = "answer.json"'),
            "answer.json": '{"properties": {},\n"type": "object", "items": {"type": "text"}}',
        },
    ),
    price("price_missing", ROW, 1, 'has no "output"', "output = 5.00"),
    price("price_negative", ROW + "output = -1", 5, "at least 0", "output"),
    price("price_provider", ROW.replace("openai", "acme") + "output = 1", 2, "one of openai", "Known"),
    price("price_day", ROW + 'output = 1\nvalid_from = "soon"', 6, '"soon" is not a day', "2026-11-30"),
    price("price_second", ROW + "output = 1\n" + ROW + "outptu = 2", 10, 'unknown key "[[price]] outptu"', "output"),
    price("price_minute", ROW + "audio_minute = 0.006", 4, "input stands beside audio_minute", "Remove one"),
    price("price_top", "[prices]", 1, 'unknown key "prices"', "[[price]]"),
    price("price_fine", ROW + "output = 0.00000000001", 5, "finer than a nano-USD", "nine decimals"),
]


@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda s: s.name)
def test_a_mistake_is_told_with_its_file_line_and_remedy(tmp_path: Path, spoilt: Spoilt) -> None:
    found = mistakes(good(tmp_path, **spoilt.change))
    at = [m for m in found if spoilt.says in m.problem]
    assert at, [str(m) for m in found]
    assert (at[0].file, at[0].line) == (spoilt.file, spoilt.line), str(at[0])
    assert spoilt.remedy in at[0].remedy, at[0].remedy


@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda s: s.name)
def test_one_mistake_is_told_once(tmp_path: Path, spoilt: Spoilt) -> None:
    """No mistake drags a tail of others behind it (a broken app.toml does not make every case wrong)."""
    found = [str(m) for m in mistakes(good(tmp_path, **spoilt.change))]
    assert len(found) <= 3, found


def test_a_secret_is_never_repeated_in_a_message(tmp_path: Path) -> None:
    secret = "sk-abcdefghijklmnop1234"
    text = APP.replace("max_tokens = 64", f'api_key_env = "{secret}"\nbase_url = "https://me:{secret}@host/v1"')
    assert secret not in "\n".join(str(m) for m in mistakes(good(tmp_path, **{"app.toml": text})))


def test_a_missing_folder_and_a_missing_app_toml_are_told(tmp_path: Path) -> None:
    assert "is not a folder" in mistakes(tmp_path / "nowhere")[0].problem
    found = mistakes(write(tmp_path, {k: v for k, v in GOOD.items() if k != "app.toml"}))
    assert [(m.file, m.line, m.problem) for m in found] == [("app.toml", 0, "is missing")]


def test_no_models_is_one_mistake(tmp_path: Path) -> None:
    found = mistakes(good(tmp_path, **{"app.toml": 'name = "school"\n'}))
    assert [m.problem for m in found] == ["declares no model"]


@pytest.mark.parametrize("link", ["prompts/extra.md", "tools/code.py", "cases/more.jsonl", "flows/f.toml"])
def test_a_link_out_of_the_folder_is_not_read(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("private")
    folder = good(tmp_path / "app")
    (folder / link).symlink_to(outside)
    found = mistakes(folder)
    assert [(m.file, m.problem) for m in found] == [(link, "leads out of the app folder")]


@pytest.mark.parametrize("name", ["prompts/extra.md", "tools/code.py", "cases/more.jsonl"])
def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = good(tmp_path / "app")
    os.mkfifo(folder / name)
    assert [(m.file, "a pipe or a device" in m.problem) for m in mistakes(folder)] == [(name, True)]


def test_bounds_are_written_as_people_write_them(tmp_path: Path) -> None:
    found = mistakes(good(tmp_path, **{"app.toml": APP.replace("max_tokens = 64", "max_tokens = 64000000")}))
    assert ["at most 1000000" in m.problem for m in found] == [True]


def test_a_linked_folder_is_told(tmp_path: Path) -> None:
    folder = good(tmp_path / "app")
    (tmp_path / "else").mkdir()
    (folder / "prompts" / "more").symlink_to(tmp_path / "else")
    assert ["linked folder" in m.problem for m in mistakes(folder)] == [True]


def test_includes_that_double_at_every_level_end_at_once(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"prompts/p{n}.md": f"{{{{> p{n + 1}}}}}{{{{> p{n + 1}}}}}" for n in range(30)}
    found = mistakes(good(tmp_path, **files, **{"prompts/p30.md": "x"}))
    assert found
    assert all("too large" in m.problem for m in found)


def test_twenty_mistakes_in_one_folder_are_all_told_at_once(tmp_path: Path) -> None:
    text = """\
name = "School"
colour = "blue"
[environments]
names = ["production", "production"]
[models.main]
provider = "opnai"
model = "gpt-4o-mini"
[models.second]
provider = "local"
model = "qwen9"
fallbacks = ["third"]
prompt = "gone"
[models.fourth]
provider = "openai"
model = "gpt-4o"
reproducible = true
api_key = "x"
retries = -1
answers_to = ["second"]
[limits]
rpm = 0
usd_per_day = 0.00000000001
timezone = "Mars/Olympus"
[objectives]
availability = 2
[trial]
drills = ["swim"]
[guard]
pii = true
"""
    files: dict[str, str | bytes] = {
        "app.toml": text,
        "prompts/a.md": "Hi {{no good}}\n{{> nothing}}\n",
        "prompts/b.md": b"\xff",
        "prompts/c.md": "+++\n",
        "tools/t.json": "{",
        "cases/c.jsonl": '{"id": "a", "input": "x", "expect": {"max_words": 3}, "route": "tenth"}\n{"id"\n',
        "prices.toml": '[[price]]\nmodel = "x"\n',
    }
    found = mistakes(write(tmp_path, files))
    where = {(m.file, m.line) for m in found}
    expected = {
        *(("app.toml", n) for n in (1, 2, 4, 6, 10, 11, 12, 16, 17, 18, 19, 21, 22, 23, 25, 27, 28)),
        ("prompts/a.md", 1),
        ("prompts/a.md", 2),
        ("prompts/b.md", 1),
        ("prompts/c.md", 1),
        ("tools/t.json", 1),
        ("cases/c.jsonl", 1),
        ("cases/c.jsonl", 2),
        ("prices.toml", 1),
    }
    assert where == expected
    assert len(found) >= 20
    assert all(m.problem and m.remedy for m in found)


def test_the_error_lists_app_toml_first_and_then_by_line(tmp_path: Path) -> None:
    text = APP.replace("rpm = 600", "rpm = 0").replace('"school"', '"School"')
    folder = good(tmp_path, **{"app.toml": text, "cases/english.jsonl": "{\n"})
    with pytest.raises(AppFolderError) as caught:
        check(folder, model_digests=DIGESTS, known_drills=())
    places = [(m.file, m.line) for m in caught.value.mistakes]
    assert places[0] == ("app.toml", 1)
    assert places == sorted(places, key=lambda p: (p[0] != "app.toml", p))
    assert "app.toml:1: " in str(caught.value)


EARLY = "{{today}}\n" + "Rules. " * 2000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"app.toml": APP.replace('"gpt-4o-mini"\n', '"gpt-99"\n', 1)}, "every call would be refused"),
        (
            {"prompts/agent.md": EARLY},
            "stands at character 0 of 14010, so a provider cannot cache the 3502 tokens after",
        ),
        (
            {"prompts/agent.md": EARLY, "prices.toml": GOOD["prices.toml"] + "cached_input = 0.02\n"},
            '0.28 USD on "gpt-4o-mini" a thousand requests',
        ),
        ({"prompts/extra.md": "x"}, "prompts/extra.md: no route and no prompt uses it"),
        ({"prompts/agent.md": AGENT.replace("{{contact}}", "us")}, "which the text never uses"),
        ({"tools/book_visit.json": TOOL.replace('"write"', '"irreversible"')}, "asks for no confirmation"),
        ({"prompt/agent.md": "x"}, 'Did you mean "prompts/"?'),
        ({"cases/notes.txt": "x"}, "cases/notes.txt: not read"),
        ({".env": "X=1"}, ".env: not read"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path, change: dict[str, str], says: str) -> None:
    assert any(says in warning for warning in checked(good(tmp_path, **change)).warnings)


def test_the_drill_of_branches_is_warned_of_where_there_are_not_two(tmp_path: Path) -> None:
    text = re.sub(r"(\[trial\]\n(?:.*\n)*?drills = ).*", r'\1["branches"]', APP)
    assert '["branches"]' in text
    found = check(good(tmp_path, **{"app.toml": text}), model_digests=DIGESTS, known_drills=("branches",))
    assert any("fewer than two branches have an address" in warning for warning in found.warnings)
