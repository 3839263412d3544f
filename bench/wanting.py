"""Who asks for a person and who is angry, in words that nobody used to write the rules: what code hears alone, and what
is passed on when the flow of examples/school is talked to with its real small model.

    nice python bench/wanting.py            some ten minutes; --write makes WANTING.md

Each message is the first of a conversation. Beside those who want a person stand look-alikes who do not: they may not
be passed on. Intervals: 95 %, Wilson.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from leads import BRANCH, DRILLS, ROOT, Model, _school, _server

from waterline.agents.flow import flow_agent
from waterline.agents.intents import intents
from waterline.core.conversation import Handoff
from waterline.evals.statistics import wilson
from waterline.evals.talks import Talking
from waterline.rollout.check import check

UNSEEN = ROOT / "tests/data/wanting_unseen.txt"
KINDS = {"person": "ask for a person", "anger": "are angry", "-": "neither, but sound like it"}
PASSED_ON = ("asked", "anger", "abuse")
PAGE = Path(__file__).parent / "WANTING.md"


def messages() -> list[tuple[str, str]]:
    lines = [line for line in UNSEEN.read_text("utf-8").splitlines() if not line.startswith("#")]
    return [(said, wanted) for _, said, wanted in (line.split(" | ") for line in lines)]


def by_code(said: str) -> bool:
    return bool(intents(said) & {"person", "anger", "abuse"})


class Nothing:
    """No calendar and no CRM: a first message books nothing."""

    async def call(self, connector: str, operation: str, arguments: object, key: str) -> dict[str, object]:
        return {"free": []}


async def by_flow(reading: str) -> tuple[list[bool], int]:
    """Of each message, whether a person was called; and the calls of the model."""
    import aiohttp

    found, calls = [], 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        app = _school(folder, reading)
        release = check(app, model_digests={"qwen2.5-coder-1.5b": "0" * 64}, known_drills=DRILLS).release
        agent = flow_agent(release)
        assert agent is not None
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
            with _server(app, folder) as (url, key):
                for n, (said, wanted) in enumerate(messages()):
                    model = Model(url, key, session, f"w{n}")
                    talk = Talking(agent, BRANCH, model, Nothing(), time.time_ns() // 1000, f"w{n}")
                    await talk.send(said)
                    handed: list[Handoff] = talk.handoffs
                    found.append(any(h.reason in PASSED_ON for h in handed))
                    calls += sum(turn.model_calls for turn in talk.turns)
                    print(f"{reading} {n + 1}: {'passed on' if found[-1] else '-'} ({wanted}) {said}", flush=True)
    return found, calls


def cell(held: int, of: int) -> str:
    found = wilson(held, of)
    return f"{held} of {of}: {held / of:.0%} [{found.low:.0%}, {found.high:.0%}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    every = messages()
    columns = {"code alone": ([by_code(said) for said, _ in every], 0)}
    for title, reading in (("code, then the model", "code"), ("code and the model", "both")):
        columns[title] = asyncio.run(by_flow(reading))
    rows = []
    for kind, told in KINDS.items():
        of = [n for n, (_, wanted) in enumerate(every) if wanted == kind]
        cells = [cell(sum(found[n] for n in of), len(of)) for found, _ in columns.values()]
        rows.append(f"| {told} | {' | '.join(cells)} |")
    rows.append("| calls of the model | " + " | ".join(str(calls) for _, calls in columns.values()) + " |")
    text = "\n".join((f"| passed on to a person | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|", *rows))
    print(text)
    if write:
        made = f"Written by `python bench/wanting.py --write` on {time.strftime('%Y-%m-%d')}"
        PAGE.write_text(f"# Who wants a person\n\n{made}; how: [wanting.py](wanting.py).\n{NOTE}\n{text}\n", "utf-8")


NOTE = """
The messages of `tests/data/wanting_unseen.txt`, messy and in three languages, each the first of a conversation with
examples/school and Qwen2.5-Coder-1.5B. Code alone: `agents/wanting.py`. Code, then the model: the flow as it ships
(`reading = "code"`; `understand` reads what code did not). Code and the model: `reading = "both"`.

The rules were never changed for these messages. The model's form was, once: it called staff "person", which a small
model takes for a name, and then passed on 17 of 40, 27 of 40 and 7 of 80.
"""

if __name__ == "__main__":
    main()
