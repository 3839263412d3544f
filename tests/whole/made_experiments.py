"""Evaluations for the pages: judged by the machinery itself, recorded as `waterline eval` records one."""

import json
import random

import msgspec
from whole_app import Server

from waterline.evals.experiment import Answer, Arm, Item, Plan, Side, Tally, change, judge, plan_id

SAID = "the visit is on Tuesday at ten please bring a document and the child we are glad to show you around"
AT_ONCE = 400


def record(
    server: Server, app: str, release: str, against: str = "", *, cases: int = 120, repeats: int = 2,
    worse_by: float = 0.3, seed: int = 1, send_items: bool = True,
) -> str:  # fmt: skip
    """Returns its id. Of the first release 90 % of the answers pass, of the second `worse_by` fewer; one in 17 of the
    second's never comes."""
    draw = random.Random(f"experiment:{seed}")
    plan = Plan(app=app, release=release, case_set="0" * 64, cases=cases, repeats=repeats, scorer="1", against=against,
                margin=0.05 if against else None, score_min=None if against else 0.8, seed=seed)  # fmt: skip
    names = [f"case-{n:06}-{'a-rather-long-name-' * (n % 9 == 0)}" for n in range(cases)]
    tags = {name: ("en" if n % 3 else "pt", f"topic-{n % 11}") for n, name in enumerate(names)}
    tally = Tally(tags)
    run = plan_id(plan)
    items: list[Item] = []
    for n, name in enumerate(names):
        answers = [_answer(draw, name, arm, repeat, worse_by, n) for repeat in range(repeats) for arm in plan.arms]
        for answer in answers:
            tally.add(answer)
        sides = {arm: tally.sides[arm].get(name, Side()).passed / repeats for arm in plan.arms}
        first, second = sides.get("first"), sides["second"]
        items.append(Item(
            n + 1, name, tags[name], f"When can we visit? <script>alert({n})</script> {'Please! ' * (n % 40)}",
            '{"contains":["Tuesday"]}', first, second, change(first, second) if first is not None else "same",
            tuple(answers),
        ))  # fmt: skip
    result = judge(plan, tally, "simulated")
    server.ask("POST", "/api/experiments", {"id": run, "result": msgspec.json.encode(result).decode()})
    for at in range(0, len(items) if send_items else 0, AT_ONCE):
        batch = json.loads(msgspec.json.encode(items[at : at + AT_ONCE]))
        server.ask("POST", f"/api/experiments/{run}/items", {"items": batch})
    return run


def _answer(draw: random.Random, case: str, arm: Arm, repeat: int, worse_by: float, n: int) -> Answer:
    if arm == "second" and n % 17 == 16:
        return Answer(case, arm, repeat, False, reason="the provider answered 503 four times", code="upstream_error")
    passed = draw.random() < (0.9 if arm == "first" else 0.9 - worse_by)
    words = [word for word in SAID.split() if draw.random() < 0.8 and (word != "Tuesday" or passed)]
    text = " ".join(words) * (1 + 3 * (n % 5 == 0)) + ("x" * 300 if n % 13 == 0 else "")
    return Answer(case, arm, repeat, passed, reason="" if passed else "contains: 'Tuesday' is missing", text=text,
                  ms=draw.uniform(300.0, 1500.0), cost_nano_usd=draw.randint(20_000, 90_000), tokens_in=40,
                  tokens_out=len(words), trace="0" * 32)  # fmt: skip
