"""Availability: many requests while the provider fails by a timetable and the gateway is restarted twice, once as an
upgrade would (SIGTERM), once by kill -9. How many are answered?

Nobody retries: a request that the first answer does not end is a failure, a broken connection too. The listening socket
is held by the drill, as a service manager would, so callers wait through a restart instead of being refused.
"""

import asyncio
import socket

from waterline.evals.statistics import gate, wilson_lower
from waterline.providers.simulated_script import Answer, Fault, Script, Target, Uniform, When
from waterline.trials.calls import Call, Caller, user
from waterline.trials.instance import Instance
from waterline.trials.judging import gated, none_allowed, undeclared
from waterline.trials.load_line import Fact, Section, Table
from waterline.trials.sea import LIFTED, Sea

DRILL = "availability"
PUBLISHED = 0.999
CALLERS = 24
ROUND_S = 20.0  # the timetable begins again
EACH_S = 2.0  # how long each kind of fault lasts in a round
DEADLINE_MS = 10_000
GIVE_UP_S = 30.0
TIMETABLE: tuple[tuple[str, Fault], ...] = (
    ("503", Fault("http", status=503)),
    ("connections reset", Fault("reset_before_headers")),
    ("429 with Retry-After", Fault("http", status=429, retry_after_s=1.0)),
    ("every third answer a 500", Fault("http", When(every=3), status=500)),
    ("refused connections", Fault("refuse_connection")),
    ("garbage", Fault("garbage")),
)


async def run(sea: Sea) -> Section:
    section = Section(DRILL)
    calls: list[Call] = []
    wanted = sea.pace.requests
    sea.teller.doing("requests", wanted)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        async with sea.simulated(script(sea)) as provider:
            redirect = f"{provider.address}/ours/{{route}}"
            async with sea.instance("instance", redirect=redirect, listener=listener) as ours:
                await ours.install(sea.manifest, sea.lifted(), sea.env)
                key = await ours.app_key(sea.spec.name, sea.env)
                restarts = asyncio.create_task(_restarts(ours, calls, wanted))
                try:
                    async with ours.caller(key) as caller:
                        await asyncio.gather(*(_talk(sea, caller, calls, wanted, n) for n in range(CALLERS)))
                finally:
                    restarts.cancel()
                await ours.drained()
            attempts = sum(t.requests for t in (await provider.stats()).targets.values())
    section.calls_simulated = len(calls)
    answered = sum(c.complete for c in calls)
    needed = sea.spec.objectives.availability
    name = "answered, faults by timetable and two restarts"
    if needed is None:
        section.verdicts.append(undeclared(DRILL, name, "availability"))
    else:
        section.verdicts.append(gated(DRILL, name, gate(answered, len(calls), needed), "simulated"))
    truncated, said = sum(c.truncated for c in calls), "calls ended in half an answer presented as success"
    section.verdicts.append(
        none_allowed(DRILL, "truncated answers shown as whole", truncated, len(calls), "simulated", said)
    )
    lost = sorted({c.code or str(c.status) for c in calls if not c.complete})
    section.tables = [
        Table(
            "What was not answered", ["why", "calls"],
            [[code, f"{sum(not c.complete and (c.code or str(c.status)) == code for c in calls):,}"] for code in lost],
        )
    ]  # fmt: skip
    low = wilson_lower(answered, len(calls))
    section.facts = [
        Fact("Answered", f"{answered:,} of {len(calls):,}, {len(calls) - answered:,} not; at least {100 * low:.3f} % "
             f"({100 * PUBLISHED:g} % is the published bar)", "simulated"),
        Fact("Attempts at providers", f"{attempts:,}", "simulated"),
        Fact("Timetable", f"every {ROUND_S:g} s, for {EACH_S:g} s each: {', '.join(n for n, _ in TIMETABLE)}",
             "simulated"),
        Fact("Restarts", "SIGTERM after a third, kill -9 after two thirds of the requests", "simulated"),
        Fact("Callers", f"{CALLERS}, half of them streamed, without retries; {LIFTED}", "simulated"),
    ]  # fmt: skip
    section.excludes = ["faults in the middle of a streamed answer (see the outage drill)", "loss of the machine"]
    return section


def script(sea: Sea) -> Script:
    """The primary target fails by the timetable; its fallbacks do not."""
    talk = Target(first_token_ms=Uniform(10.0, 40.0), per_token_ms=1.0, answer=Answer(text="word " * 8))
    faults = []
    for number, (_, fault) in enumerate(TIMETABLE):
        when = fault.when
        at = When(
            every=when.every, from_s=1.0 + number * (ROUND_S / len(TIMETABLE)), on_s=EACH_S, off_s=ROUND_S - EACH_S
        )
        faults.append(Fault(fault.kind, at, status=fault.status, retry_after_s=fault.retry_after_s))
    failing = Target(first_token_ms=talk.first_token_ms, per_token_ms=1.0, answer=talk.answer, faults=tuple(faults))
    return Script(seed=sea.seed, default=talk, targets={f"ours/{sea.main}": failing})


async def _talk(sea: Sea, caller: Caller, calls: list[Call], wanted: int, number: int) -> None:
    while len(calls) < wanted:
        call = await caller.chat(
            user("What is for lunch?"), model=sea.main, stream=number % 2 == 0, deadline_ms=DEADLINE_MS,
            give_up_s=GIVE_UP_S,
        )  # fmt: skip
        calls.append(call)
        sea.teller.step()


async def _restarts(ours: Instance, calls: list[Call], wanted: int) -> None:
    for number, end in enumerate((ours.stop, ours.kill9), 1):
        while len(calls) < number * wanted / 3:  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.05)
        await end()
        await ours.start()
