"""Each drill can fail, and with too little data says how much more it needs."""

import asyncio
import math
import time
from pathlib import Path

import msgspec
import pytest
from made_lines import SPEC

from waterline.core.case import Case, Expect
from waterline.core.money import Price, Usage
from waterline.core.release import Release, Route
from waterline.core.verdict import Estimate, Outcome
from waterline.evals.robustness import robustness as judged_robustness
from waterline.evals.scorers import Score
from waterline.trials.asking import Asked, Question, RealModel
from waterline.trials.calls import Call, Caller, user
from waterline.trials.drills import budget, budget_scopes, cost, load, outage, recovery, robustness
from waterline.trials.instance import Instance
from waterline.trials.load import Stage, closed, curve, open_loop
from waterline.trials.progress import Silent
from waterline.trials.sea import SHORT, Sea


def sea_of(**changes: object) -> Sea:
    """A sea for functions that only look at declarations."""
    release = Release(
        "school", routes={"main": Route("openai", "m", fallbacks=("backup",)), "backup": Route("openai", "m")}
    )
    real = RealModel(Instance(Path("unused")), release, b"", b"", "production")
    made = Sea("r" * 64, release, b"", SPEC, (), True, 1, True, SHORT, Path("unused"), Silent(), real)
    return msgspec.structs.replace(made, **changes)


def answered(ms: float, text: str = "") -> Call:
    return Call(status=200, complete=True, total_s=ms / 1000, ttft_s=ms / 2000, text=text, finish_reason="stop")


REFUSED = Call(status=429, code="rate_limited", total_s=0.01)


# ------------------------------------------------------------------------------------------------------------ calls


async def serving(answer: bytes, close: str = "clean") -> tuple[asyncio.Server, str]:
    """A server with a bug of our choice: it answers every request with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(65536)
        writer.write(answer)
        await writer.drain()
        if close == "reset":
            writer.transport.abort()
        else:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def chunked(*events: bytes, end: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(e), e) for e in events) + (b"0\r\n\r\n" if end else b"")


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


HALF = b'data: {"choices":[{"index":0,"delta":{"content":"half an ans"}}]}\n\n'
FULL = b'data: {"choices":[{"index":0,"delta":{"content":"wer"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
ERROR = b'data: {"error":{"message":"The provider failed","code":"provider_unavailable"}}\n\n'


@pytest.mark.parametrize(("answer", "stream", "truncated", "complete", "coded"), [
    (chunked(HALF, FULL), True, False, True, False),
    (chunked(HALF), True, True, False, False),  # ends as if all were well
    (chunked(HALF, b"data: [DONE]\n\n"), True, True, False, False),  # done, but nothing finished
    (chunked(HALF, ERROR), True, False, False, True),  # honest
    (chunked(HALF, end=False), True, False, False, True),  # broken off: an SDK raises
    (whole(b'{"choices":[{"message":{"content":"half an ans"},"finish_reason":null}]}'), False, True, False, False),
    (whole(b'{"choices":[{"message":{"content":"hal'), False, True, False, False),
    (whole(b'{"choices":[{"message":{"content":"all"},"finish_reason":"stop"}]}'), False, False, True, False),
])  # fmt: skip
async def test_half_an_answer_presented_as_success_is_seen(
    answer: bytes, stream: bool, truncated: bool, complete: bool, coded: bool
) -> None:
    server, url = await serving(answer)
    async with server, Caller(url) as caller:
        call = await caller.chat(user("hi"), stream=stream, give_up_s=30.0)
    assert (call.truncated, call.complete, bool(call.code)) == (truncated, complete, coded)


# ------------------------------------------------------------------------------------------------------------- load


async def test_open_loop_counts_from_the_moment_a_call_was_meant_to_leave() -> None:
    async def stuck(number: int, meant_at: float) -> Call:
        if number == 0:
            time.sleep(0.3)  # noqa: ASYNC251  the whole generator hangs, as a stopped process would
        return Call(complete=True, total_s=asyncio.get_running_loop().time() - meant_at)

    stage = await open_loop("x", 100.0, 0.3, 1, stuck)
    late = [ms for ms in stage.answer_ms() if ms > 100]
    assert len(late) > 5  # those that should have left meanwhile are late too


async def test_open_loop_does_not_wait_for_answers() -> None:
    async def slow(number: int, meant_at: float) -> Call:
        await asyncio.sleep(0.4)
        return answered(400)

    stage = await open_loop("x", 200.0, 0.3, 1, slow)
    assert len(stage.calls) > 30
    assert stage.seconds < 10  # one after the other they would take over twelve


async def test_closed_loop_keeps_so_many_in_flight() -> None:
    now = most = 0

    async def one(number: int, meant_at: float) -> Call:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return answered(10)

    stage = await closed("x", 7, 0.5, 21, one)
    assert most == 7
    assert len(stage.calls) > 20


def test_the_curve_rises_and_holds_the_slowest() -> None:
    points = curve("x", [float(n) for n in range(1, 1001)]).points
    assert [ms for _, ms in points] == sorted(ms for _, ms in points)
    assert points[-1][1] == pytest.approx(1000.0, rel=0.01)


ALONE = Stage("alone", [answered(200 + n) for n in range(80)])


def test_an_over_slow_server_fails_the_load_drill() -> None:
    loaded = Stage("3x: 30 callers", [answered(900 + n % 50) for n in range(400)])
    found = load._slower(loaded, ALONE)
    assert found.outcome is Outcome.FAIL
    assert found.value is not None
    assert found.value.value > 3


def test_as_fast_as_alone_passes_and_a_few_calls_are_inconclusive() -> None:
    assert load._slower(Stage("3x", [answered(210 + n % 60) for n in range(400)]), ALONE).outcome is Outcome.PASS
    few = load._slower(Stage("3x", [answered(210) for _ in range(20)]), ALONE)
    assert few.outcome is Outcome.INCONCLUSIVE
    assert few.more_cases


def test_a_shed_call_is_a_failure() -> None:
    stage = Stage("3x", [answered(200)] * 290 + [REFUSED] * 20)
    assert load._answered(stage).outcome is Outcome.FAIL
    assert load._slower(stage, ALONE).outcome is Outcome.FAIL  # p99 of the lost has no end
    assert load._answered(Stage("3x", [answered(200)] * 100)).outcome is Outcome.INCONCLUSIVE
    assert load._answered(Stage("3x", [answered(200)] * 300)).outcome is Outcome.PASS


# ----------------------------------------------------------------------------------------------------------- outage


def results(answered_share: float, extra: list[Call]) -> list[outage.Result]:
    covered, uncovered = outage.KINDS[0], outage.KINDS[-1]
    good = round(4000 * answered_share)
    down = [Call(status=502, code="provider_unavailable", total_s=0.1)] * (4000 - good)
    return [outage.Result(covered, plain=[answered(5)] * good + down), outage.Result(uncovered, streamed=extra)]


HONEST = Call(status=200, code="in_band", total_s=1.0)


def test_outage_passes_when_the_fallback_answers_and_failures_are_honest() -> None:
    assert {v.outcome for v in outage._verdicts(sea_of(), results(1.0, [HONEST]))} == {Outcome.PASS}


def test_outage_fails_below_the_availability_objective() -> None:
    assert outage._verdicts(sea_of(), results(0.9, [HONEST]))[0].outcome is Outcome.FAIL


@pytest.mark.parametrize(("bad", "which"), [
    (Call(status=200, truncated=True, total_s=0.1), 1),
    (Call(status=200, code="connection", total_s=0.1), 2),  # a broken connection instead of an error
    (Call(status=504, code="provider_timeout", total_s=9.0), 2),  # too late
    (Call(status=500, code="", total_s=0.1), 2),
])  # fmt: skip
def test_outage_fails_on_a_dishonest_failure(bad: Call, which: int) -> None:
    assert outage._verdicts(sea_of(), results(1.0, [HONEST, bad]))[which].outcome is Outcome.FAIL


def test_too_few_calls_for_the_objective_are_inconclusive_and_counted() -> None:
    few = [outage.Result(outage.KINDS[0], plain=[answered(5)] * 50)]
    found = outage._verdicts(sea_of(), few)[0]
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.more_cases is not None
    assert found.more_cases > 2000


def kind(name: str) -> outage.Kind:
    return next(k for k in outage.KINDS if k.name == name)


def test_outage_fails_a_gateway_that_storms_a_dead_provider() -> None:
    dead = outage.Result(kind("503 for ever"), plain=[answered(5)] * 4000, attempts=45, most_a_minute=45)
    found = {v.name: v.outcome for v in outage._verdicts(sea_of(), [dead])}
    assert found["a dead provider is left alone"] is Outcome.FAIL
    calm = msgspec.structs.replace(dead, attempts=5, most_a_minute=5)
    assert outage._verdicts(sea_of(), [calm])[-1].outcome is Outcome.PASS


@pytest.mark.parametrize("bad", [{"attempts": 7}, {"elsewhere": 1}])
def test_outage_fails_a_gateway_that_asks_again_what_was_refused(bad: dict[str, int]) -> None:
    refused = [Call(status=400, code="context_length_exceeded")] * 3
    fine = outage.Result(kind("context length exceeded"), plain=refused, streamed=refused, attempts=6)
    assert outage._verdicts(sea_of(), [fine])[-1].outcome is Outcome.PASS
    assert outage._verdicts(sea_of(), [msgspec.structs.replace(fine, **bad)])[-1].outcome is Outcome.FAIL


def test_outage_fails_a_gateway_whose_fallbacks_400_hides_the_failure() -> None:
    said = [Call(status=502, code="provider_unavailable")] * 2
    seen = outage.Result(kind("the fallback rejects a prefill"), plain=said)
    assert outage._verdicts(sea_of(), [seen])[-1].outcome is Outcome.PASS
    seen.plain = [*said, Call(status=400, code="invalid_request")]
    assert outage._verdicts(sea_of(), [seen])[-1].outcome is Outcome.FAIL


def test_the_worst_minute_is_found_wherever_it_begins() -> None:
    assert outage.most_a_minute({0: 2, 2: 1, 20: 1, 59: 1, 60: 4}) == 7


def test_the_table_has_a_row_for_each_kind_streamed_and_plain() -> None:
    played = [outage.Result(k, plain=[answered(5)], streamed=[answered(5)]) for k in outage.KINDS]
    rows = outage._table(played).rows
    assert [(r[0], r[1]) for r in rows] == [(k.name, m) for k in outage.KINDS for m in ("plain", "streamed")]
    assert len(outage.KINDS) >= 16


def test_what_cannot_be_covered_meets_the_fault_first() -> None:
    cut = next(k for k in outage.KINDS if k.name == "cut in the middle")
    assert outage.queue(cut, 5, 3) == [True] * 3 + [False] * 5
    assert outage.queue(outage.KINDS[0], 2, 3) == [True, False, True, False]


# ---------------------------------------------------------------------------------------------------------- recovery


def test_a_lost_or_doubled_answer_is_found() -> None:
    rows = [{"id": "a", "outcome": "answered"}, {"id": "b", "outcome": "interrupted"},
            {"id": "c", "outcome": "answered"}, {"id": "c", "outcome": "answered"}]  # fmt: skip
    assert recovery.missing(["a", "b", "c", "d"], rows) == (["b", "d"], ["c"])


# ------------------------------------------------------------------------------------------------------------ budget


def row(start: int, cost_nano: int, outcome: str = "answered", code: str = "") -> dict[str, object]:
    return {"started_us": start, "duration_us": 5, "cost_nano_usd": cost_nano, "outcome": outcome, "code": code}


def test_a_refusal_far_from_the_limit_counts_as_too_early() -> None:
    late = [row(n * 10, 10) for n in range(9)] + [row(100, 0, "refused", "budget_exceeded")]
    assert budget.read(late, 100).early == 0
    assert budget.read([*late, row(15, 0, "refused", "budget_exceeded")], 100).early == 1


def test_interrupted_calls_count_with_their_worst_case() -> None:
    booked = budget.read([row(0, 60), row(10, 50, "interrupted")], 100)
    assert (booked.spent, booked.interrupted) == (110, 1)


def test_one_name_over_its_budget_or_refused_far_from_it_fails_the_drill() -> None:
    spent = [row(n * 10, 10) for n in range(9)]
    end = row(100, 0, "refused", "budget_exceeded")
    good = [budget_scopes.read("a key", 100, [*spent, end]), budget_scopes.read("the app", 400, spent)]
    assert [v.outcome for v in budget_scopes.judged(good, ended=True)] == [Outcome.PASS, Outcome.PASS]
    assert budget_scopes.judged(good, ended=False)[0].outcome is Outcome.INCONCLUSIVE
    over = budget_scopes.read("a branch", 80, [*spent, end])
    held, _ = budget_scopes.judged([over, *good], ended=True)
    assert (held.outcome, "passed by a branch." in held.reason) == (Outcome.FAIL, True)
    early = budget_scopes.read("a subject", 100, [row(5, 0, "refused", "budget_exceeded"), *spent])
    assert budget_scopes.judged([early, *good], ended=True)[1].outcome is Outcome.FAIL


# -------------------------------------------------------------------------------------------------------------- cost


def test_a_forecast_passes_fails_or_says_how_many_more() -> None:
    value = Estimate(3.0, 2.0, 4.0, 40, 0.9)
    assert cost._at_most("USD a month", value, 5.0).outcome is Outcome.PASS
    assert cost._at_most("USD a month", value, 1.0).outcome is Outcome.FAIL
    open_ = cost._at_most("USD a month", value, 3.5)
    assert open_.outcome is Outcome.INCONCLUSIVE
    assert open_.more_cases == pytest.approx(121, abs=2)  # half the distance needs four times the cases


def asked(case_id: str, passed: bool, kind: str = "", text: str = "How much is Grade 3 a month, please?") -> Asked:
    case = Case(id=case_id, expect=Expect(contains=("x",)), input=text, tags=("en",))
    return Asked(Question(case, kind=kind), answered(900, "x"), Score(passed, "", ()), Usage(input=500, output=20),
                 provider="openai", model="m")  # fmt: skip


async def test_an_unpriced_model_is_inconclusive_and_not_free() -> None:
    sea = sea_of()
    sea.real.sampled = [asked(str(n), True) for n in range(20)]
    section = await cost.run(sea)
    assert section.outcome is Outcome.INCONCLUSIVE
    assert "unpriced is not zero" in section.verdicts[0].reason


def test_sensitivity_prices_what_is_not_cached_in_full() -> None:
    price = Price(1_000_000_000, 0, 100_000_000, 0, 0, 0, 0, "v")
    one = asked("a", True)
    one.usage = Usage(input=0, cached_input=1000)
    month = Estimate(0.0012, 0.0012, 0.0012, 1)
    spec = msgspec.structs.replace(
        SPEC, objectives=msgspec.structs.replace(SPEC.objectives, monthly_conversations=1000)
    )
    table = cost._sensitivity(sea_of(spec=spec), [(one, price)], month)
    figures = {r[0]: r[1] for r in table.rows}
    assert figures["nothing read from the cache"] == "1.00"


# -------------------------------------------------------------------------------------------------------- robustness


def test_at_least_eight_kinds_are_used_evenly_and_the_same_each_time() -> None:
    before = [asked(f"c{n}", True) for n in range(24)]
    made = robustness.questions(before, 48, seed=1)
    kinds = [q.kind for q in made]
    assert len(made) == 48
    assert len(set(kinds)) >= robustness.LEAST_KINDS
    assert max(map(kinds.count, kinds)) <= 8
    assert not set(kinds[:24]) & set(robustness.APART)  # first every case gets a pair for the verdict
    assert made == robustness.questions(before, 48, seed=1)
    assert len({(q.case.id, q.kind) for q in made}) == 48


@pytest.mark.parametrize(
    ("right_after", "outcome"), [(40, Outcome.PASS), (10, Outcome.FAIL), (32, Outcome.INCONCLUSIVE)]
)
def test_a_drop_under_perturbation_is_judged_in_pairs(right_after: int, outcome: Outcome) -> None:
    pairs = [(asked(f"c{n}", True), asked(f"c{n}", n < right_after, "typos")) for n in range(40)]
    found = robustness._drop(sea_of(), judged_robustness(robustness._pairs(pairs), (0, 0)))
    assert found.outcome is outcome
    if outcome is Outcome.INCONCLUSIVE:
        assert found.more_cases


# ------------------------------------------------------------------------------------------- the declared latencies


def test_real_latencies_are_judged_against_the_objectives_and_a_lost_answer_took_for_ever() -> None:
    sea = sea_of()
    sea.real.asked = [asked(str(n), True) for n in range(100)]
    for one in sea.real.asked:
        one.first_token_ms, one.answer_ms = 400.0, 900.0
    assert {v.outcome for v in load._real(sea)} == {Outcome.PASS}
    assert {v.provider for v in load._real(sea)} == {"real"}
    lost = asked("x", False)
    lost.call = Call(status=504, code="provider_timeout")
    sea.real.asked += [lost] * 20
    judged = load._real(sea)
    assert {v.outcome for v in judged} == {Outcome.FAIL}
    assert all(v.value is None or math.isfinite(v.value.high) for v in judged)
