"""The published failure, side by side: an assistant that answers in 2 s for one user takes 12 s, or not at all, for
fifty, because its provider limits the rate. The same users, once with the plain SDK, once through Waterline with a
fallback route. A call that is refused counts as failed.

    python bench/crowd.py [--users 20,50,150] [--calls 8] [--write]

Both sides are the official `openai` package, unchanged, with its own retries. The provider is simulated: 2 s an answer,
429 with Retry-After beyond what 20 users need. The fallback is another provider, as slow, with no limit in reach.
"""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import openai
from host import machine

from waterline.evals.statistics import wilson
from waterline.providers.simulated import SimulatedProcess
from waterline.providers.simulated_script import Answer, Limits, Lognormal, Script, Target
from waterline.rollout.build import build
from waterline.trials import DRILLS
from waterline.trials.instance import Instance

HERE = Path(__file__).resolve().parent
ALONE_S = 2.0
LIMITED_USERS = 20  # what the provider's limit is made for
GIVE_UP_S = 60.0
APP = """
name = "crowd"
owner = "The bench"
[models.main]
provider = "simulated"
model = "small"
fallbacks = ["backup"]
[models.backup]
provider = "simulated"
model = "small"
[limits]
max_concurrency = 5000
"""


@dataclass
class Seen:
    way: str
    users: int
    seconds: list[float] = field(default_factory=list)  # of the answered calls
    lost: dict[str, int] = field(default_factory=dict)  # why -> how many

    @property
    def calls(self) -> int:
        return len(self.seconds) + sum(self.lost.values())

    def quantile(self, q: float) -> float:
        """Over all calls; one that was not answered has no end."""
        ordered = sorted(self.seconds) + [math.inf] * sum(self.lost.values())
        return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)]

    @property
    def row(self) -> list[str]:
        low = wilson(len(self.seconds), self.calls).low
        share = f"{len(self.seconds)} of {self.calls} ({100 * len(self.seconds) / self.calls:.1f} %)"
        ends = [f"{self.quantile(q):.1f}" if math.isfinite(self.quantile(q)) else "no end" for q in (0.5, 0.95, 0.99)]
        lost = ", ".join(f"{n} {why}" for why, n in sorted(self.lost.items())) or "none"
        return [self.way, str(self.users), share, f"{100 * low:.1f} %", *ends, lost]


async def crowd(way: str, users: int, calls: int, base_url: str, key: str) -> Seen:
    """Every user asks `calls` times, the next question as soon as the answer is read."""
    seen = Seen(way, users)
    async with openai.AsyncOpenAI(base_url=base_url, api_key=key, timeout=GIVE_UP_S) as client:

        async def user(number: int) -> None:
            await asyncio.sleep(number * ALONE_S / users)  # people do not come at the same instant
            for turn in range(calls):
                said, began = f"user {number}, question {turn}", time.monotonic()
                try:
                    answer = await client.chat.completions.create(
                        model="main", messages=[{"role": "user", "content": said}]
                    )
                except openai.OpenAIError as error:
                    why = type(error).__name__
                    seen.lost[why] = seen.lost.get(why, 0) + 1
                    continue
                if answer.choices[0].message.content == said:
                    seen.seconds.append(time.monotonic() - began)
                else:
                    seen.lost["another's answer"] = seen.lost.get("another's answer", 0) + 1

        await asyncio.gather(*(user(n) for n in range(users)))
    return seen


def script() -> Script:
    pace = Lognormal(1000 * ALONE_S * 0.97, 1000 * ALONE_S * 1.1)
    rpm = 60.0 * LIMITED_USERS / ALONE_S
    limited = Target(
        first_token_ms=pace, per_token_ms=0.0, answer=Answer(echo=True), limits=Limits(rpm=rpm, burst=LIMITED_USERS)
    )
    free = Target(first_token_ms=pace, per_token_ms=0.0, answer=Answer(echo=True))
    return Script(seed=1, default=free, targets={"plain": limited, "ours/main": limited})


async def measure(sizes: list[int], calls: int, work: Path) -> list[Seen]:
    folder = work / "app"
    folder.mkdir()
    (folder / "app.toml").write_text(APP)
    built = build(folder, model_digests={}, known_drills=DRILLS)
    found = []
    async with SimulatedProcess(script()) as provider:
        async with Instance(work / "data", redirect=f"{provider.address}/ours/{{route}}") as ours:
            await ours.install(built.manifest, built.spec_record)
            key = await ours.app_key("crowd")
            plain = f"{provider.address}/plain/v1"
            for way, users, base_url, secret in (
                ("alone, plain SDK", 1, plain, "sk-none"),
                *(
                    one
                    for n in sizes
                    for one in (("plain SDK", n, plain, "sk-none"), ("through Waterline", n, f"{ours.url}/v1", key))
                ),
            ):
                found.append(await crowd(way, users, calls, base_url, secret))
                print("  ".join(found[-1].row), file=sys.stderr, flush=True)
                await asyncio.sleep(2 * ALONE_S)  # the provider's bucket is full again
    return found


def page(found: list[Seen]) -> str:
    heads = ["who", "users", "answered", "at least (95 %)", "p50 s", "p95 s", "p99 s", "not answered"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    lines += [f"| {' | '.join(seen.row)} |" for seen in found]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--users", default="20,50,150")
    parser.add_argument("--calls", type=int, default=8, help="a user's questions")
    parser.add_argument("--write", action="store_true", help="write CROWD.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterline-crowd-") as work:
        found = asyncio.run(measure([int(n) for n in given.users.split(",")], given.calls, Path(work)))
    table = page(found)
    print(table)
    if given.write:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        says = (
            f"Made by `python bench/crowd.py --write` on {today}; not edited by hand. What it is: [crowd.py](crowd.py)."
        )
        (HERE / "CROWD.md").write_text(
            f"# A crowd at a rate-limited provider\n\n{says}\n\nMachine: {machine()}\n\n{table}"
        )
    ours = [s for s in found if s.way == "through Waterline"]
    return 0 if all(len(s.seconds) >= 0.99 * s.calls and s.quantile(0.99) <= 4.0 for s in ours) else 1


if __name__ == "__main__":
    raise SystemExit(main())
