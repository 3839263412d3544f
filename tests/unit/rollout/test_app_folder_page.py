"""docs/reference/app-folder.md names every key that the checker knows, and no other; its example is a good folder."""

import re
import tomllib
from pathlib import Path

from app_folders import checked, write

from waterline.core.app_spec import Funnel, Limits, Objectives, Retention, Trial
from waterline.core.canary import Canary, Shadow
from waterline.core.channels import EmailPolicy, WebchatPolicy, WhatsAppPolicy
from waterline.core.conversing import Conversing
from waterline.core.gates import Gates
from waterline.core.release import Route
from waterline.core.savings import Cache, History, Routing
from waterline.rollout import keys

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "app-folder.md").read_text(encoding="utf-8")
KNOWN = {
    "Top of the file": keys.TOP,
    "`[app]`": keys.APP,
    "`[environments]`": keys.ENVIRONMENTS,
    "`[environments.<env>]`": keys.GATES,
    "`[models.<route>]`": keys.ROUTE,
    "`[limits]`": keys.LIMITS,
    "`[limits.branch]`, `[limits.key]`, `[limits.subject]`": keys.SPENDING,
    "`[limits.branches.<branch>]`": keys.SPENDING,
    "`[objectives]`": keys.OBJECTIVES,
    "`[objectives.quality]`": keys.QUALITY,
    "`[forecast]`": keys.FORECAST,
    "`[trial]`": keys.TRIAL,
    "`[retention]`": keys.RETENTION,
    "`[canary]`": keys.CANARY,
    "`[shadow]`": keys.SHADOW,
    "`[funnel]`": keys.FUNNEL,
    "`[cache]`": keys.CACHE,
    "`[routing]`": keys.ROUTING,
    "`[[routing.rules]]`": keys.RULE,
    "`[history]`": keys.HISTORY,
    "`[connectors.<name>]`": keys.CONNECTOR,
    "`[conversations]`": keys.CONVERSATIONS,
    "`[mcp]`": keys.MCP,
    "`[channels.whatsapp]`": keys.WHATSAPP,
    "`[channels.webchat]`": keys.WEBCHAT,
    "`[channels.email]`": keys.EMAIL,
    "`[judges.<name>]`": keys.JUDGE_SAMPLE,
    "judges/*.md": keys.JUDGE,
    "prompts/*.md": keys.PROMPT,
    "tools/*.json": keys.TOOL,
    "cases/*.jsonl": (*keys.CASE, *keys.EXPECT),
    "branches.toml, branches.csv, branches.xlsx": keys.BRANCH,
    "prices.toml": keys.PRICE,
}


def sections() -> dict[str, str]:
    """Text below each heading that has a table of keys."""
    parts = re.split(r"^#{2,3} (.+)$", PAGE, flags=re.MULTILINE)
    return {
        name: text for name, text in zip(parts[1::2], parts[2::2], strict=True) if re.search(r"^\| key \|", text, re.M)
    }


def test_every_key_that_the_checker_knows_is_on_the_page_and_no_other() -> None:
    assert set(sections()) == set(KNOWN)
    for name, text in sections().items():
        told = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
        assert sorted(told) == sorted(KNOWN[name]), name


def test_the_page_says_which_keys_are_required_and_what_can_be_chosen() -> None:
    for name, text in sections().items():
        known = KNOWN[name]
        if isinstance(known, tuple):
            continue
        for key, rule in known.items():
            row = next(line for line in text.splitlines() if line.startswith(f"| `{key}` |"))
            assert ("| required |" in row) is rule.required, (name, key)
            assert all(f"`{choice}`" in row for choice in rule.choices), (name, key)


def test_the_page_says_the_defaults_that_the_code_has() -> None:
    defaults: dict[str, object] = {
        "`[models.<route>]`": Route(provider="openai", model="m"),
        "`[environments.<env>]`": Gates(),
        "`[limits]`": Limits(),
        "`[objectives]`": Objectives(),
        "`[trial]`": Trial(),
        "`[retention]`": Retention(),
        "`[canary]`": Canary(),
        "`[shadow]`": Shadow(),
        "`[funnel]`": Funnel(),
        "`[cache]`": Cache(),
        "`[routing]`": Routing(),
        "`[history]`": History(),
        "`[conversations]`": Conversing(),
        "`[channels.whatsapp]`": WhatsAppPolicy(),
        "`[channels.webchat]`": WebchatPolicy(),
        "`[channels.email]`": EmailPolicy(),
    }
    compared = 0
    for name, of in defaults.items():
        for key, told in re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*?) ?\| ", sections()[name], flags=re.MULTILINE):
            if told not in ("", "required", "the provider's", "`regression_max`"):
                value = tomllib.loads(f"v = {told.strip('`')}")["v"]
                meant = getattr(of, key) or False if key == "semantic" else getattr(of, key)
                assert value == (list(meant) if isinstance(meant, tuple) else meant), (name, key)
                compared += 1
    assert compared > 15


def test_the_tables_that_are_not_available_are_named() -> None:
    for name in keys.NOT_YET:
        assert f"`[{name}]`" in PAGE


def test_the_example_of_a_prompt_is_one(tmp_path: Path) -> None:
    block = re.search(r"^( {4}\+\+\+\n(?:(?: {4}.*)?\n)+)", PAGE, flags=re.MULTILINE)
    assert block is not None
    text = "\n".join(line[4:] for line in block.group(1).rstrip().splitlines())
    app = 'name = "x"\n[models.main]\nprovider = "openai"\nmodel = "gpt-4o-mini"\nprompt = "agent"\n'
    found = checked(write(tmp_path, {"app.toml": app, "prompts/agent.md": text, "prompts/handbook.md": "Handbook."}))
    assert found.release.prompts["agent"].variables == ("today", "contact")
