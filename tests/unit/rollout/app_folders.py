"""App folders for tests: a good one, to be spoiled."""

from pathlib import Path

from waterline.core.errors import AppFolderError, Mistake
from waterline.rollout.check import Checked, check

DIGESTS = {"qwen2.5-coder-1.5b": "c" * 64, "smollm2-135m": "b" * 64}
DRILLS = ("quality", "load", "outage", "rollback")

APP = """\
name = "school"
purpose = "Answers parents"
owner = "lead@example.org"

[environments]
names = ["staging", "production"]

[models.main]
provider = "openai"
model = "gpt-4o-mini"
prompt = "agent"
params = { temperature = 0.2, top_p = 1 }
max_tokens = 64
fallbacks = [
    "spare",
]
answers_to = ["gpt-4o-mini"]

[models.spare]
provider = "local"
model = "qwen2.5-coder-1.5b"
reproducible = true

[limits]
rpm = 600
usd_per_day = 5.00
timezone = "Europe/Lisbon"

[objectives]
availability = 0.99
usd_per_conversation = 0.002

[objectives.quality]
score_min = 0.8

[trial]
drills = ["quality", "load"]

[retention]
bodies_days = 30
"""
AGENT = """\
+++
role = "system"

[defaults]
contact = "office@example.org"
+++
You answer parents on {{today}}.

{{> handbook}}
Write to {{contact}}.
"""
TOOL = """\
{
  "name": "book_visit",
  "description": "Books a visit",
  "parameters": {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]},
  "effect": "write",
  "idempotency_key": ["day"]
}
"""
CASES = """\
{"id": "a", "input": "How much is grade 3?", "expect": {"contains": ["790"]}, "tags": ["en"]}
{"id": "b", "messages": [{"role": "user", "content": "oi"}], "expect": {"language": "pt"}, "route": "spare"}
"""
GOOD = {
    "app.toml": APP,
    "prompts/agent.md": AGENT,
    "prompts/handbook.md": "Grade 3 costs 790 EUR.\n",
    "tools/book_visit.json": TOOL,
    "tools/book_visit.py": "def run(day): ...\n",
    "flows/visit.txt": "steps = []\n",
    "cases/english.jsonl": CASES,
    "prices.toml": '[[price]]\nprovider = "openai"\nmodel = "gpt-4o-mini"\ninput = 0.10\noutput = 0.40\n',
}


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def good(folder: Path, **changes: str | bytes) -> Path:
    return write(folder, {**GOOD, **changes})


def checked(folder: Path) -> Checked:
    return check(folder, model_digests=DIGESTS, known_drills=DRILLS)


def mistakes(folder: Path) -> list[Mistake]:
    try:
        checked(folder)
    except AppFolderError as error:
        return error.mistakes
    return []
