"""Sixteen ways in which a provider fails, streamed and plain, with a fallback and without: the caller gets the complete
answer wherever a configured route can give it, otherwise a bounded, clean error, in-band where bytes have left. And
what was billed is what the provider has in its books."""

import json
import time

import pytest
from msgspec import Struct, structs

from waterline.core.app_spec import PriceOverride
from waterline.core.release import Release, Route
from waterline.providers.simulated_script import Answer, Fault, Target, When

SAID = "The visit is on Tuesday at ten, in room four."
USD = 1_000_000_000
PRICES = (
    PriceOverride(model="small", provider="simulated", input=1 * USD, output=10 * USD),
    PriceOverride(model="other", provider="simulated", input=3 * USD, output=30 * USD),
)
ANSWER = "answer"
FILTERED = "filtered"
ENDS_IN_ASSISTANT = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "The"}]


class Row(Struct, frozen=True):
    """What is expected: `ANSWER`, or (status, code); status 200 is an error event in a stream."""

    fault: Fault
    fallback: object = ANSWER  # with a fallback that takes a prefill
    plain: object = (502, "provider_unavailable")  # alone
    streamed: object = (502, "provider_unavailable")  # alone
    most_asked: int = 2  # of the failing route
    refuses_prefill: bool = False


IN_BAND = (200, "provider_unavailable")
SILENT = (504, "provider_timeout")
LIMITED = (429, "rate_limited")
MATRIX = {
    "429 with Retry-After": Row(Fault("http", status=429, retry_after_s=30), ANSWER, LIMITED, LIMITED, 1),
    "429 without Retry-After": Row(Fault("http", status=429), plain=LIMITED, streamed=LIMITED),
    "500 once": Row(Fault("http", status=500, when=When(first=1)), plain=ANSWER, streamed=ANSWER),
    "503 for ever": Row(Fault("http", status=503)),
    "reset before headers": Row(Fault("reset_before_headers")),
    "no answer": Row(Fault("silence"), plain=SILENT, streamed=SILENT, most_asked=1),
    "slow first token": Row(Fault("slow_first_token", ms=20_000), plain=SILENT, streamed=SILENT, most_asked=1),
    "cut stream": Row(Fault("cut", after=3), streamed=IN_BAND),
    "stalled stream": Row(Fault("stall", after=3), plain=SILENT, streamed=(200, "provider_timeout"), most_asked=1),
    "malformed event": Row(Fault("malformed_event", after=3), streamed=IN_BAND),
    "missing [DONE]": Row(Fault("missing_done"), plain=ANSWER, streamed=ANSWER, most_asked=1),
    "missing usage": Row(Fault("missing_usage"), plain=ANSWER, streamed=ANSWER, most_asked=1),
    "context length": Row(
        Fault("context_length"), (400, "context_length_exceeded"), (400, "context_length_exceeded"),
        (400, "context_length_exceeded"), 1,
    ),
    "content filter": Row(Fault("content_filter", after=3), FILTERED, FILTERED, FILTERED, 1),
    "fallback rejects a prefill": Row(
        Fault("http", status=503), (502, "provider_unavailable"), refuses_prefill=True
    ),
    "flapping": Row(Fault("http", status=500, when=When(every=2)), plain=ANSWER, streamed=ANSWER),
}  # fmt: skip
CELLS = [(name, stream) for name in MATRIX for stream in (False, True)]
IDS = [f"{name}, {'streamed' if stream else 'plain'}" for name, stream in CELLS]


@pytest.fixture(params=["simulated", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("anthropic", "gemini"))])
def dialect(request) -> str:
    """What the first route's provider speaks."""
    return str(request.param)


def expected(name: str, dialect: str) -> Row:
    if dialect == "gemini" and name == "missing [DONE]":  # it has no farewell but the reason to end: this is a cut
        return structs.replace(MATRIX[name], streamed=IN_BAND, most_asked=2)
    return MATRIX[name]


@pytest.fixture
def make(make_app, dialect):
    def made(fallback: bool):
        prices = (structs.replace(PRICES[0], provider=dialect), PRICES[1])
        app = make_app(prices=prices)
        main = {"provider": dialect, "model": "small", "retries": 1, "first_token_s": 1.0, "idle_s": 0.5,
                "total_s": 3.0, "max_tokens": 100}  # fmt: skip
        routes = {"main": Route(**main)}
        if fallback:
            backup = Route(provider="simulated", model="other", retries=0, total_s=8.0, prefill=True)
            routes = {"main": Route(**main, fallbacks=("backup",), on_broken_stream="continue"), "backup": backup}
        app.install(Release(app=app.name, routes=routes))
        return app

    return made


def play(sim, row: Row) -> None:
    pace = 5.0 if row.fault.after > 1 else 0.0
    sim.play(
        main=Target(answer=Answer(text=SAID), faults=(row.fault,), per_token_ms=pace),
        backup=Target(answer=Answer(text=SAID), prefill="refuse" if row.refuses_prefill else "continue"),
    )


def outcome(reply, stream: bool):
    """ANSWER, FILTERED, or (status, code). Anything that is neither whole nor an error fails here."""
    assert not reply.broken, "the connection broke: that is no clean error"
    if reply.status != 200:
        return reply.status, reply.code
    if not stream:
        choice = reply.json["choices"][0]
        if choice["finish_reason"] == "content_filter":
            return FILTERED
        assert (choice["message"]["content"], choice["finish_reason"]) == (SAID, "stop")
        return ANSWER
    if reply.error_event is not None:
        assert "[DONE]" not in reply.events, "never both"
        assert SAID.startswith(reply.text.strip() or SAID[:1])
        return 200, reply.error_event["code"]
    assert reply.events[-1] == "[DONE]"
    finishes = [c["choices"][0]["finish_reason"] for e in reply.events[:-1] if (c := json.loads(e))["choices"]]
    if finishes[-1] == "content_filter":
        return FILTERED
    assert (reply.text, finishes[-1], sum(f is not None for f in finishes)) == (SAID, "stop", 1)
    return ANSWER


def ask(app, row: Row, stream: bool):
    asked = {"messages": ENDS_IN_ASSISTANT} if row.refuses_prefill else {}
    began = time.monotonic()
    reply = app.chat(stream=stream, **asked)
    assert time.monotonic() - began < 30, "it hung"
    return reply


@pytest.mark.parametrize(("name", "stream"), CELLS, ids=IDS)
def test_with_a_fallback_the_caller_gets_the_complete_answer(make, sim, dialect, name, stream):
    row, app = expected(name, dialect), make(fallback=True)
    play(sim, row)
    reply = ask(app, row, stream)
    assert outcome(reply, stream) == row.fallback, reply.body
    assert sim.asked("main") <= row.most_asked
    whole = name in ("context length", "missing usage", "500 once") or (
        name == "missing [DONE]" and dialect != "gemini"
    )
    if whole or row.fallback == FILTERED:
        assert sim.asked("backup") == 0, "it was routed around what was no failure"
    check_books(app, sim, reply)


@pytest.mark.parametrize(("name", "stream"), CELLS, ids=IDS)
def test_without_one_the_error_is_bounded_and_clean(make, sim, dialect, name, stream):
    row, app = expected(name, dialect), make(fallback=False)
    play(sim, row)
    reply = ask(app, row, stream)
    assert outcome(reply, stream) == (row.streamed if stream else row.plain), reply.body
    assert sim.asked("main") <= row.most_asked
    row_of = app.trace_of(reply)["row"]
    assert row_of["outcome"] == ("answered" if outcome(reply, stream) in (ANSWER, FILTERED) else "failed")
    check_books(app, sim, reply)


def check_books(app, sim, reply) -> None:
    """Tokens and money of the trace against what the simulated provider counted since `play`."""
    row = app.trace_of(reply)["row"]
    usage = row["usage"]
    made = {target: sim.counted(target) for target in ("main", "backup")}
    output = sum(m["output_tokens"] for m in made.values())
    prompt = sum(m["input_tokens"] for m in made.values())
    if usage["estimated"]:  # an aborted or unreported answer: never less than was made
        assert usage["output"] >= output
        assert usage["input"] >= prompt
        return
    assert (usage["input"], usage["output"]) == (prompt, output)
    money = sum(
        made[t]["input_tokens"] * p.input + made[t]["output_tokens"] * p.output
        for t, p in zip(("main", "backup"), PRICES, strict=True)
    )
    assert abs(row["cost_nano_usd"] - money // 1_000_000) <= 2


# --- the other APIs, in their own words ------------------------------------------------------------------------------


def said_by(reply, api: str) -> object:
    """As `outcome`, of /v1/messages or /v1/responses. The stream's last event says how it ended."""
    assert not reply.broken, "the connection broke: that is no clean error"
    if reply.status != 200:
        return reply.status, reply.json["error"]["code"]
    if reply.headers["content-type"].startswith("text/event-stream"):
        events = [json.loads(line[6:]) for line in reply.body.decode().split("\n") if line.startswith("data: {")]
        return (_message_of if api == "/v1/messages" else _response_of)(events)
    made = reply.json
    if api == "/v1/messages":
        text = "".join(block["text"] for block in made["content"])
        return {"end_turn": ANSWER, "refusal": FILTERED}[made["stop_reason"]] if text in SAID else text
    text = "".join(part["text"] for item in made["output"] for part in item["content"] if "text" in part)
    return {"completed": ANSWER, "incomplete": FILTERED}[made["status"]] if text in SAID else text


def _message_of(events: list) -> object:
    text = "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
    last, kinds = events[-1], [e["type"] for e in events]
    assert kinds.count("message_stop") + kinds.count("error") == 1, "one end, and not two"
    if last["type"] == "error":
        assert SAID.startswith(text)
        return 200, last["error"]["code"]
    assert last["type"] == "message_stop"
    reason = next(e["delta"]["stop_reason"] for e in events if e["type"] == "message_delta")
    assert text == SAID or reason != "end_turn"
    return {"end_turn": ANSWER, "refusal": FILTERED}[reason]


def _response_of(events: list) -> object:
    text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    last = events[-1]
    match last["type"]:
        case "response.completed":
            assert text == SAID
            return ANSWER
        case "response.incomplete":
            return FILTERED
        case "response.failed":
            assert SAID.startswith(text)
            return 200, last["response"]["error"]["code"]
    raise AssertionError(last)


APIS = {
    "/v1/messages": {"max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]},
    "/v1/responses": {"input": "hello"},
}


@pytest.mark.slow
@pytest.mark.parametrize("api", list(APIS))
@pytest.mark.parametrize("fallback", [True, False], ids=["with a fallback", "alone"])
@pytest.mark.parametrize(("name", "stream"), [c for c in CELLS if not MATRIX[c[0]].refuses_prefill])
def test_the_other_apis_fail_as_well_in_their_own_words(make, sim, dialect, name, stream, fallback, api):
    row, app = expected(name, dialect), make(fallback=fallback)
    play(sim, row)
    reply = app.post({"model": "main", "stream": stream, **APIS[api]}, api)
    found = said_by(reply, api)
    wanted = row.fallback if fallback else row.streamed if stream else row.plain
    if api == "/v1/responses" and wanted in (IN_BAND, (200, "provider_timeout")):
        wanted = (200, "server_error")  # the API knows no other
    assert found == wanted, reply.body
    check_books(app, sim, reply)


def test_fallback_accounting_bills_each_attempt_at_its_own_price(make, sim):
    """A first half at the one's price, the rest at the other's: both on the books."""
    app = make(fallback=True)
    play(sim, MATRIX["cut stream"])
    trace = app.trace_of(app.chat(stream=True))
    usage, cost = trace["row"]["usage"], trace["row"]["cost_nano_usd"]
    rest = sim.counted("backup")
    backup = rest["input_tokens"] * 3_000 + rest["output_tokens"] * 30_000
    main = (usage["input"] - rest["input_tokens"]) * 1_000 + (usage["output"] - rest["output_tokens"]) * 10_000
    assert main > 0
    assert abs(cost - backup - main) <= 2


def test_flapping_for_a_minute_every_caller_is_answered(make, sim):
    """Scaled: the provider is down and up twenty times while callers come."""
    app = make(fallback=True)
    sim.play(
        main=Target(answer=Answer(text=SAID), faults=(Fault("http", status=503, when=When(on_s=0.1, off_s=0.1)),)),
        backup=Target(answer=Answer(text=SAID)),
    )
    end = time.monotonic() + 4
    n = 0
    while time.monotonic() < end:
        n += 1
        assert outcome(app.chat(stream=n % 2 == 0), n % 2 == 0) == ANSWER
    assert sim.asked("main") > 2, "it came back to it in between"
