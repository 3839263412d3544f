"""Outage: the provider fails in every way that providers do. Who is answered all the same, and is every failure honest?

Faults that show before any content can be covered by a retry or a fallback: there the availability objective counts.
Faults in the middle of an answer, and silence, cannot: there every failure must say so, in time. In neither may half
an answer be presented as success. Each kind has an instance of its own, so that one's cool-down does not hide another.
"""

import asyncio

from msgspec import Struct, field

from waterline.core.verdict import Verdict
from waterline.evals.statistics import cases_to_pass, gate
from waterline.providers.simulated_script import Answer, Fault, Script, Target, When
from waterline.trials.calls import Call, Caller, user
from waterline.trials.judging import gated, none_allowed, undeclared
from waterline.trials.load_line import Fact, Section, Table
from waterline.trials.sea import LIFTED, Sea

DRILL = "outage"
AT_ONCE = 3  # instances
CALLERS = 12
DEADLINE_MS = 2_500
GRACE_S = 1.5
GIVE_UP_S = 20.0
DOWN_S = 3.0
APART_MS = 30.0  # between tokens where the fault is in the middle: content has left before it comes
RECOVERY_MOST_S = 40.0
ATTEMPTS_A_MINUTE = 5
HERE, THERE = "Said by the route itself.", "Said by a fallback of the route."
DISHONEST = ("", "connection", "not_json")  # nothing, a broken connection, not our error


class Kind(Struct, frozen=True):
    """A way to fail. `covered`: (plain, streamed), whether the gateway can still answer."""

    name: str
    faults: tuple[Fault, ...]
    covered: tuple[bool, bool]
    dead: bool = False  # it never answers: the breaker has to keep away from it
    final: bool = False  # a refusal that no other route may be asked about
    prefilled: bool = False  # callers send the beginning of the answer, which the fallback does not take


KINDS = (
    Kind("refused connections", (Fault("refuse_connection"),), (True, True), dead=True),
    Kind("connections reset", (Fault("reset_before_headers"),), (True, True), dead=True),
    Kind("500 now and then", (Fault("http", When(every=3), status=500),), (True, True)),
    Kind("503 for ever", (Fault("http", status=503),), (True, True), dead=True),
    Kind("429 with Retry-After", (Fault("http", status=429, retry_after_s=2.0),), (True, True)),
    Kind("429 without Retry-After", (Fault("http", status=429),), (True, True)),
    Kind("401, the key is refused", (Fault("unauthorized"),), (True, True)),
    Kind("a proxy's HTML page", (Fault("html"),), (True, True)),
    Kind("garbage", (Fault("garbage"),), (True, True)),
    Kind("flapping", (Fault("http", When(on_s=0.05, off_s=0.05), status=500),), (True, True)),
    Kind("[DONE] is missing", (Fault("missing_done"),), (True, True)),
    Kind("usage is missing", (Fault("missing_usage"),), (True, True)),
    Kind("content filter", (Fault("content_filter", after=2),), (True, True), final=True),
    Kind("context length exceeded", (Fault("context_length"),), (False, False), final=True),
    Kind("the fallback rejects a prefill", (Fault("http", status=503),), (False, False), prefilled=True),
    Kind("silence", (Fault("silence"),), (False, False)),
    Kind("slow first token", (Fault("slow_first_token", ms=20_000.0),), (False, False)),
    Kind("cut in the middle", (Fault("cut", after=2),), (True, False)),
    Kind("stalled in the middle", (Fault("stall", after=2),), (False, False)),
    Kind("a malformed event", (Fault("malformed_event", after=2),), (True, False)),
    Kind("an error event", (Fault("error_event", after=2),), (True, False)),
)  # fmt: skip


class Result(Struct):
    kind: Kind
    plain: list[Call] = field(default_factory=list)
    streamed: list[Call] = field(default_factory=list)
    attempts: int = 0  # that reached the failing provider
    elsewhere: int = 0  # that reached its fallbacks
    most_a_minute: int = 0  # attempts in the worst minute

    @property
    def calls(self) -> list[Call]:
        return [*self.plain, *self.streamed]

    def covered(self) -> list[Call]:
        return (self.plain if self.kind.covered[0] else []) + (self.streamed if self.kind.covered[1] else [])

    def others(self) -> list[Call]:
        return (self.streamed if not self.kind.covered[1] else []) + (self.plain if not self.kind.covered[0] else [])


async def run(sea: Sea) -> Section:
    section = Section(DRILL)
    goal = sea.spec.objectives.availability
    wanted = cases_to_pass(goal) if goal is not None and goal < 1 else 300
    wanted = min(sea.pace.outage_calls, round(1.15 * (wanted or 300)))
    modes = sum(sum(kind.covered) for kind in KINDS)
    per_mode = max(sea.pace.outage_each, -(-wanted // modes))
    sea.teller.doing("kinds of failure", len(KINDS) + 1)
    gate_keeper = asyncio.Semaphore(AT_ONCE)
    async with sea.simulated(_script(sea)) as provider:

        async def play(kind: Kind) -> Result:
            async with gate_keeper:
                found = await _play(sea, kind, provider.address, per_mode)
                sea.teller.step()
                return found

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(play(kind)) for kind in KINDS]
        results = [task.result() for task in tasks]
        stats = (await provider.stats()).targets
        for place, result in enumerate(results):
            seen = stats.get(f"{place}/{sea.main}")
            result.attempts = seen.requests if seen else 0
            result.most_a_minute = most_a_minute(seen.attempts_by_second) if seen else 0
            fallbacks = (stats.get(f"{place}/{name}") for name in sea.route.fallbacks)
            result.elsewhere = sum(f.requests for f in fallbacks if f is not None)
    recovered = await _recovery(sea)
    sea.teller.step()
    section.calls_simulated = sum(len(r.calls) for r in results)
    section.verdicts = _verdicts(sea, results)
    section.tables = [_table(results)]
    dead = next(r for r in results if r.kind.name == "503 for ever")
    section.facts = [
        Fact("Fallbacks of the route", ", ".join(sea.route.fallbacks) or "none: nobody answers while it is down"),
        Fact("Attempts at a dead provider", f"{dead.attempts:,} for {len(dead.calls):,} calls (503 for ever)",
             "simulated"),
        Fact("Back on the route after it is up again", recovered, "simulated"),
        Fact("Patience of the route", f"first token {sea.route.first_token_s:g} s, between tokens "
             f"{sea.route.idle_s:g} s, whole answer {sea.route.total_s:g} s; the drill's callers waited "
             f"{DEADLINE_MS / 1000:g} s, half of which a silent provider may take"),
        Fact("Limits", LIFTED),
    ]  # fmt: skip
    section.excludes = [
        "what a fallback's answer is worth (the drill quality asks the route itself)",
        "an outage of this machine (the drill recovery), of the network before it, of two providers at once",
    ]
    return section


def _script(sea: Sea) -> Script:
    """The primary target fails, one way a prefix; its fallbacks are well."""
    targets = {
        f"{place}/{sea.main}": Target(
            answer=Answer(text=HERE),
            faults=kind.faults,
            per_token_ms=0.0 if kind.covered[True] else APART_MS,
        )
        for place, kind in enumerate(KINDS)
    }
    for place, kind in enumerate(KINDS):
        if kind.prefilled:
            refuses = Target(answer=Answer(text=THERE), prefill="refuse")
            targets |= {f"{place}/{name}": refuses for name in sea.route.fallbacks}
    there = Target(answer=Answer(text=THERE), prefill="continue")
    return Script(seed=sea.seed, default=there, targets=targets)


def most_a_minute(by_second: dict[int, int]) -> int:
    """Attempts in the worst sixty seconds. `by_second`: Unix second -> attempts."""
    return max((sum(n for s, n in by_second.items() if start <= s < start + 60) for start in by_second), default=0)


async def _play(sea: Sea, kind: Kind, address: str, per_mode: int) -> Result:
    place = KINDS.index(kind)
    result = Result(kind)
    async with sea.instance(f"instance-{place}", redirect=f"{address}/{place}/{{route}}") as ours:
        await ours.install(sea.manifest, sea.lifted(), sea.env)
        key = await ours.app_key(sea.spec.name, sea.env)
        async with ours.caller(key) as caller:
            await _calls(sea, caller, result, per_mode)
    return result


def queue(kind: Kind, per_mode: int, each: int) -> list[bool]:
    """Streamed or not, call by call. What cannot be covered comes first and all at once, before a cool-down can spare
    it the fault; of what can be, plain and streamed calls take turns, so that both meet the fault before."""
    first = [mode for mode in (True, False) if not kind.covered[mode] for _ in range(each)]
    covered = [mode for mode in (True, False) if kind.covered[mode]]
    return first + covered * per_mode


async def _calls(sea: Sea, caller: Caller, result: Result, per_mode: int) -> None:
    order = queue(result.kind, per_mode, sea.pace.outage_each)
    todo = iter(enumerate(order))

    async def one_after_the_other() -> None:
        for number, streamed in todo:
            begun = [{"role": "assistant", "content": "It"}] if result.kind.prefilled else []
            call = await caller.chat(
                user(f"Question {number}?") + begun,
                model=sea.main,
                stream=streamed,
                deadline_ms=None if result.kind.covered[streamed] else DEADLINE_MS,
                give_up_s=GIVE_UP_S,
            )
            (result.streamed if streamed else result.plain).append(call)

    at_once = max(CALLERS, 2 * sea.pace.outage_each)
    await asyncio.gather(*(one_after_the_other() for _ in range(min(at_once, len(order)))))


async def _recovery(sea: Sea) -> str:
    """How long after the provider is well again until the route itself answers."""
    if not sea.route.fallbacks:
        return "not measured: the route has no fallback"
    down = Script(
        default=Target(answer=Answer(text=THERE)),
        targets={sea.main: Target(answer=Answer(text=HERE), faults=(Fault("http", status=503),))},
    )
    up = Script(default=Target(answer=Answer(text=THERE)), targets={sea.main: Target(answer=Answer(text=HERE))})
    loop = asyncio.get_running_loop()
    async with sea.simulated(down) as provider:
        redirect = f"{provider.address}/{{route}}"
        async with sea.instance("instance-recovery", redirect=redirect) as ours:
            await ours.install(sea.manifest, sea.lifted(), sea.env)
            async with ours.caller(await ours.app_key(sea.spec.name, sea.env)) as caller:
                began = loop.time()
                while loop.time() - began < DOWN_S:
                    await caller.chat(user("Are you there?"), model=sea.main)
                    await asyncio.sleep(0.05)
                await provider.set_script(up)
                well = loop.time()
                while loop.time() - well < RECOVERY_MOST_S:
                    call = await caller.chat(user("Are you there?"), model=sea.main)
                    if call.text == HERE:
                        return f"{loop.time() - well:.1f} s, after {DOWN_S:g} s of 503"
                    await asyncio.sleep(0.05)
    return f"not within {RECOVERY_MOST_S:g} s, after {DOWN_S:g} s of 503"


def honest(call: Call, deadline_s: float) -> bool:
    """Not answered, said so with an error of ours, and in time."""
    return not call.truncated and call.code not in DISHONEST and call.total_s <= deadline_s + GRACE_S


def _verdicts(sea: Sea, results: list[Result]) -> list[Verdict]:
    covered = [c for r in results for c in r.covered()]
    goal = sea.spec.objectives.availability
    name = "answered while the provider failed"
    answered = sum(c.complete for c in covered)
    if goal is None:
        first = undeclared(DRILL, name, "availability", "simulated")
    else:
        first = gated(DRILL, name, gate(answered, len(covered), goal), "simulated")
    everything = [c for r in results for c in r.calls]
    lost = [(c, GIVE_UP_S) for r in results for c in r.covered() if not c.complete]
    lost += [(c, DEADLINE_MS / 1000.0) for r in results for c in r.others() if not c.complete]
    bad = sum(not honest(call, deadline_s) for call, deadline_s in lost)
    return [
        first,
        none_allowed(DRILL, "truncated answers shown as whole", sum(c.truncated for c in everything), len(everything),
                     "simulated", "calls ended in half an answer presented as success"),
        none_allowed(DRILL, "failures without an honest error in time", bad, len(lost), "simulated",
                     "failed calls had no error of ours, or had it too late"),
        *_discipline(results),
    ]  # fmt: skip


def _discipline(results: list[Result]) -> list[Verdict]:
    """What a breaker and a refusal are for; nothing to say where no such kind was played."""
    dead = [r for r in results if r.kind.dead and r.attempts]
    final = [r for r in results if r.kind.final and r.attempts]
    found = []
    if dead:
        stormed = sum(max(0, r.most_a_minute - ATTEMPTS_A_MINUTE) for r in dead)
        found.append(none_allowed(
            DRILL, "a dead provider is left alone", stormed, sum(r.attempts for r in dead), "simulated",
            f"attempts at a dead provider were beyond {ATTEMPTS_A_MINUTE} in a minute",
        ))  # fmt: skip
    if final:
        again = sum(max(0, r.attempts - len(r.calls)) + r.elsewhere for r in final)
        found.append(none_allowed(
            DRILL, "refusals are not retried or routed around", again, sum(len(r.calls) for r in final), "simulated",
            "calls that the provider refused for what they say were sent again",
        ))  # fmt: skip
    hidden = [c for r in results if r.kind.prefilled for c in r.calls]
    if hidden:
        found.append(none_allowed(
            DRILL, "a fallback's complaint hides no failure", sum(c.code == "invalid_request" for c in hidden),
            len(hidden), "simulated", "calls heard of a fallback's own 400 instead of the first failure",
        ))  # fmt: skip
    return found


def _table(results: list[Result]) -> Table:
    """A row for each kind, streamed and plain."""
    rows = []
    for result in results:
        for place, (mode, calls) in enumerate((("plain", result.plain), ("streamed", result.streamed))):
            codes: dict[str, int] = {}
            for call in calls:
                if not call.complete:
                    code = "TRUNCATED" if call.truncated else call.code or f"status {call.status}"
                    codes[code] = codes.get(code, 0) + 1
            rows.append([
                result.kind.name, mode, _share(calls),
                "yes" if result.kind.covered[place] else "no",
                f"{sum(c.text == THERE for c in calls):,}",
                ", ".join(f"{n:,} {code}" for code, n in sorted(codes.items())) or "none",
                f"{max((c.total_s for c in calls), default=0.0):.1f} s",
                "" if place else f"{result.attempts:,}", "" if place else f"{result.most_a_minute:,}",
            ])  # fmt: skip
    return Table(
        "By kind of failure",
        ["the provider", "asked", "answered", "can be covered", "by a fallback", "errors", "longest", "attempts",
         "in the worst minute"],
        rows, "simulated",
        note="Where it cannot be covered, callers gave it "
        f"{DEADLINE_MS / 1000:g} s and an honest error is right; elsewhere an answer is. Attempts are those at the "
        "failing provider, plain and streamed together.",
    )  # fmt: skip


def _share(calls: list[Call]) -> str:
    return f"{sum(c.complete for c in calls):,} of {len(calls):,}"
