"""The gateway when its provider fails: the whole answer where a route can give it, else an honest, bounded error.

Every line is a way in which a gateway was seen to fail its users."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from whole_app import eventually

from waterline.core.release import Release
from waterline.providers.simulated_script import Answer, Fault, Target, When

SAID = "The visit is on Tuesday at ten."
GOOD = Target(answer=Answer(text=SAID))


def failing(*faults: Fault, **more) -> Target:
    return Target(answer=Answer(text=SAID), faults=faults, **more)


def complete(reply) -> bool:
    if reply.status != 200 or reply.broken:
        return False
    if reply.headers["content-type"].startswith("text/event-stream"):
        return reply.events[-1] == "[DONE]" and reply.text == SAID
    return reply.text == SAID


BEFORE_CONTENT = {
    "refuse_connection": Fault("refuse_connection"),
    "reset": Fault("reset_before_headers"),
    "500": Fault("http", status=500),
    "503": Fault("http", status=503),
    "429 with Retry-After": Fault("http", status=429, retry_after_s=2),
    "429 without": Fault("http", status=429),
    "401": Fault("unauthorized"),
    "html page": Fault("html"),
    "garbage": Fault("garbage"),
    "silence": Fault("silence"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("fault", BEFORE_CONTENT.values(), ids=BEFORE_CONTENT.keys())
def test_caller_gets_the_whole_answer_from_the_fallback(make_app, sim, fault, stream):
    app = make_app(fallback=True, main={"total_s": 6.0 if fault.kind == "silence" else 30.0, "first_token_s": 3.0})
    sim.play(main=failing(fault), backup=GOOD)
    reply = app.chat(stream=stream)
    assert complete(reply), reply.body
    trace = app.trace_of(reply)
    assert trace["row"]["outcome"] == "answered"
    assert [e["type"] for e in trace["events"]].count("fell_back") == 1
    assert trace["row"]["model"] == "other"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault("refuse_connection"), 502, "provider_unavailable"),
        (Fault("http", status=500), 502, "provider_unavailable"),
        (Fault("http", status=503), 502, "provider_unavailable"),
        (Fault("unauthorized"), 502, "provider_unavailable"),
        (Fault("garbage"), 502, "provider_unavailable"),
        (Fault("html"), 502, "provider_unavailable"),
        (Fault("http", status=429, retry_after_s=30), 429, "rate_limited"),
        (Fault("silence"), 504, "provider_timeout"),
        (Fault("context_length"), 400, "context_length_exceeded"),
    ],
    ids=lambda v: getattr(v, "kind", str(v)),
)
def test_without_a_fallback_the_error_is_honest_and_bounded(make_app, sim, fault, status, code, stream):
    silent = fault.kind == "silence"
    app = make_app(main={"total_s": 2.0 if silent else 20.0})
    sim.play(main=failing(fault))
    began = time.monotonic()
    reply = app.chat(stream=stream)
    assert (reply.status, reply.code) == (status, code), reply.body
    assert time.monotonic() - began < (8 if silent else 15)
    trace = app.trace_of(reply)["row"]
    assert (trace["outcome"], trace["code"], trace["status"]) == ("failed", code, status)
    if status == 429:
        assert 1 <= int(reply.headers["retry-after"]) <= 30


def test_one_500_is_retried_on_the_same_route(make_app, sim):
    app = make_app()
    sim.play(main=failing(Fault("http", status=500, when=When(first=1))))
    reply = app.chat()
    assert complete(reply)
    assert app.trace_of(reply)["row"]["attempts"] == 2


def test_a_400_is_never_retried_and_reaches_the_caller_as_it_is(make_app, sim):
    app = make_app(fallback=True)
    body = '{"error":{"message":"temperature is too high","type":"invalid_request_error"}}'
    sim.play(main=failing(Fault("http", status=400, body=body)), backup=GOOD)
    reply = app.chat()
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert "temperature is too high" in reply.json["error"]["message"]
    assert sim.asked("main") == 1


def test_a_retired_model_falls_back(make_app, sim):
    app = make_app(fallback=True)
    sim.play(main=failing(Fault("http", status=404)), backup=GOOD)
    assert complete(app.chat())


def test_the_fallbacks_own_400_does_not_hide_the_first_failure(make_app, sim):
    app = make_app(fallback=True)
    sim.play(main=failing(Fault("http", status=503)), backup=failing(Fault("http", status=400)))
    assert app.chat().status == 502


def test_our_wrong_secret_is_never_the_callers_401(make_app, sim):
    app = make_app()
    sim.play(main=failing(Fault("unauthorized")))
    reply = app.chat()
    assert reply.status == 502
    assert "credentials" in reply.json["error"]["message"]


def test_retry_after_is_honoured_when_there_is_nowhere_else_to_go(make_app, sim):
    app = make_app()
    sim.play(main=failing(Fault("http", status=429, retry_after_s=1, when=When(first=1))))
    began = time.monotonic()
    assert complete(app.chat())
    assert time.monotonic() - began >= 1.0


def test_a_silent_provider_is_not_asked_again_on_the_same_route(make_app, sim):
    app = make_app(main={"retries": 3, "first_token_s": 1.5})
    sim.play(main=failing(Fault("silence")))
    assert app.chat(stream=True).status == 504
    assert sim.asked("main") == 1


def test_slow_first_token_moves_on_to_the_fallback_even_after_the_headers(make_app, sim):
    app = make_app(fallback=True, main={"first_token_s": 0.5})
    sim.play(main=failing(Fault("slow_first_token", ms=60_000)), backup=GOOD)
    assert complete(app.chat(stream=True))


@pytest.mark.parametrize("kind", ["cut", "stall", "malformed_event", "error_event"])
def test_a_stream_that_breaks_after_content_ends_with_an_error_event_never_with_done(make_app, sim, kind):
    app = make_app(fallback=True, main={"idle_s": 2.0})
    sim.play(main=failing(Fault(kind, after=2), per_token_ms=5), backup=GOOD)
    reply = app.chat(stream=True)
    assert reply.status == 200
    assert "[DONE]" not in reply.events
    assert reply.error_event is not None
    assert reply.error_event["code"] in ("provider_unavailable", "provider_timeout")
    trace = app.trace_of(reply)
    assert trace["row"]["outcome"] == "failed"
    assert trace["row"]["usage"]["output"] > 0  # what was made is billed
    assert trace["row"]["usage"]["estimated"]


def test_plain_answer_cut_in_the_middle_is_fetched_again(make_app, sim):
    app = make_app()
    sim.play(main=failing(Fault("cut", when=When(first=1))))
    assert complete(app.chat())


def test_wrong_content_length_is_never_a_success(make_app, sim):
    app = make_app()
    sim.play(main=failing(Fault("wrong_content_length")))
    assert app.chat().status == 502


def test_missing_done_after_a_finish_reason_is_a_whole_answer(make_app, sim):
    app = make_app()
    sim.play(main=failing(Fault("missing_done")))
    reply = app.chat(stream=True)
    assert complete(reply)
    answered = next(e for e in app.trace_of(reply)["events"] if e["type"] == "answered")
    assert "without [DONE]" in answered["note"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_missing_usage_is_estimated_and_says_so_never_zero(make_app, sim, stream):
    app = make_app()
    sim.play(main=failing(Fault("missing_usage")))
    usage = app.trace_of(app.chat(stream=stream))["row"]["usage"]
    assert usage["estimated"]
    assert usage["input"] > 0
    assert usage["output"] > 0


def test_content_filter_is_an_answer_and_is_not_routed_around(make_app, sim):
    app = make_app(fallback=True)
    sim.play(main=failing(Fault("content_filter", after=2)), backup=GOOD)
    reply = app.chat()
    assert reply.json["choices"][0]["finish_reason"] == "content_filter"


def test_a_dead_provider_is_left_alone_after_three_failures(make_app, sim):
    app = make_app(fallback=True, main={"retries": 0})
    sim.play(main=failing(Fault("http", status=503)), backup=GOOD)
    began = time.monotonic()
    for _ in range(15):
        assert complete(app.chat())
    probes = 1 + (time.monotonic() - began) / 2.0  # a pause is two seconds at least
    assert sim.asked("main") <= 3 + probes


def test_a_recovered_provider_serves_again(make_app, sim):
    app = make_app(fallback=True, main={"retries": 0})
    sim.play(main=failing(Fault("http", status=503)), backup=GOOD)
    for _ in range(4):
        app.chat()
    sim.play(main=GOOD, backup=GOOD)
    assert eventually(lambda: app.trace_of(app.chat())["row"]["model"] == "small", 30.0)
    assert app.trace_of(app.chat())["row"]["model"] == "small"


def test_deadline_of_the_caller_is_kept(make_app, sim):
    app = make_app(main={"total_s": 30.0})
    sim.play(main=failing(first_token_ms=60_000.0))
    began = time.monotonic()
    reply = app.chat(headers={"x_waterline_deadline_ms": "700"})
    assert (reply.status, reply.code) == (504, "provider_timeout")
    assert time.monotonic() - began < 8


def test_streams_are_the_same_to_the_byte_as_what_the_provider_said(make_app, sim):
    """Usage that only we asked for is stripped again."""
    app = make_app()
    sim.play(main=GOOD)
    without = app.chat(stream=True)
    assert all("usage" not in json.loads(e) for e in without.events[:-1])
    asked = app.chat(stream=True, stream_options={"include_usage": True})
    assert json.loads(asked.events[-2])["usage"]["prompt_tokens"] > 0


def at_once(count, call):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: call(), range(count)))


def test_a_dead_provider_gets_five_attempts_a_minute_however_many_ask_at_once(make_app, sim):
    """By the simulated provider's own books; 45 calls for 15 requests were seen elsewhere."""
    app = make_app(fallback=True)
    sim.play(main=failing(Fault("http", status=503)), backup=GOOD)
    began = time.monotonic()
    for _ in range(4):
        assert all(complete(r) for r in at_once(25, app.chat))
    minutes = 1 + (time.monotonic() - began) // 60
    assert sim.asked("main") <= 5 * minutes


def test_a_dead_last_resort_gets_five_attempts_a_minute_and_its_callers_a_fast_503(make_app, sim):
    app = make_app()
    sim.play(main=failing(Fault("http", status=503)))
    began = time.monotonic()
    replies = at_once(25, app.chat)
    assert {(r.status, r.code) for r in replies} <= {(502, "provider_unavailable"), (503, "provider_unavailable")}
    refused = [r for r in replies if r.status == 503]
    assert refused
    assert all(1 <= int(r.headers["retry-after"]) <= 20 for r in refused)
    assert "cooling down" in refused[0].json["error"]["message"]
    again = app.chat()
    assert again.status == 503
    assert app.trace_of(again)["row"]["attempts"] == 0
    minutes = 1 + (time.monotonic() - began) // 60
    assert sim.asked("main") <= 5 * minutes


def test_a_promotion_does_not_make_the_gateway_forget_that_a_provider_is_dead(make_app, sim):
    app = make_app(fallback=True)
    sim.play(main=failing(Fault("http", status=503)), backup=GOOD)
    assert complete(app.chat())
    before = sim.asked("main")
    app.install(Release(app=app.name, routes=app.release.routes, purpose="another"))
    assert complete(app.chat())
    assert sim.asked("main") <= before + 1  # the probe, if two seconds have gone


def test_callers_without_a_fallback_wait_for_the_probe_and_get_their_answer(make_app, sim):
    """A provider that is back after two seconds has cost them those, not their answers."""
    app = make_app()
    sim.play(main=failing(Fault("http", status=503, when=When(first=2))))
    assert all(complete(r) for r in at_once(10, app.chat))


def test_the_fallbacks_own_400_does_not_hide_that_the_first_is_cooling_down(make_app, sim):
    app = make_app(fallback=True)
    sim.play(main=failing(Fault("http", status=503)), backup=failing(Fault("http", status=400)))
    first, later = app.chat(), app.chat()
    assert (first.status, first.code) == (502, "provider_unavailable")
    assert (later.status, later.code) == (503, "provider_unavailable")
    assert int(later.headers["retry-after"]) >= 1


def test_a_cooling_target_is_not_served(make_app, sim):
    app = make_app(fallback=True)
    sim.play(main=failing(Fault("http", status=429, retry_after_s=60)), backup=GOOD)
    assert all(complete(app.chat(stream=n % 2 == 0)) for n in range(10))
    assert sim.asked("main") == 1


def test_a_rate_limited_provider_is_asked_again_when_its_time_is_over(make_app, sim):
    app = make_app(fallback=True)
    sim.play(main=failing(Fault("http", status=429, retry_after_s=1, when=When(first=1))), backup=GOOD)
    assert app.trace_of(app.chat())["row"]["model"] == "other"
    time.sleep(1.2)
    assert app.trace_of(app.chat())["row"]["model"] == "small"


@pytest.mark.parametrize("kind", ["error_event", "cut", "stall", "malformed_event"])
def test_a_failure_after_the_first_event_but_before_content_still_falls_back(make_app, sim, kind):
    """An event with the role alone is no content."""
    app = make_app(fallback=True, main={"idle_s": 0.5})
    sim.play(main=failing(Fault(kind, after=0)), backup=GOOD)
    assert complete(app.chat(stream=True))
    assert sim.asked("backup") == 1
