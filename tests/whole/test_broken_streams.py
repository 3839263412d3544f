"""A stream that dies after content: by the declared policy one consistent answer, or an honest error; never two halves
that pretend to be one."""

import json

import anthropic
import openai
import pytest

from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Fault, Target, Tool

SAID = "The visit is on Tuesday at ten, in room four."
OTHER = "Another answer, from its beginning."
CUT = {"cut": Fault("cut", after=3), "stall": Fault("stall", after=3), "malformed": Fault("malformed_event", after=3),
       "error event": Fault("error_event", after=3)}  # fmt: skip
GOES_ON = Target(answer=Answer(text=SAID), prefill="continue")


def breaking(fault: Fault, **more) -> Target:
    return Target(answer=more.pop("answer", Answer(text=SAID)), faults=(fault,), per_token_ms=5.0, **more)


@pytest.fixture
def make(make_app):
    def made(policy: str, *, prefill: bool = True, **more):
        app = make_app(fallback=True, main={"on_broken_stream": policy, "idle_s": 0.5, **more})
        routes = dict(app.release.routes)
        routes["backup"] = Route(provider="simulated", model="other", retries=0, total_s=8.0, prefill=prefill)
        app.install(type(app.release)(app=app.name, routes=routes))
        return app

    return made


def chunks(reply):
    return [json.loads(e) for e in reply.events if e != "[DONE]"]


def labels(reply):
    return [c["waterline"] for c in chunks(reply) if "waterline" in c]


@pytest.mark.parametrize("fault", CUT.values(), ids=CUT.keys())
def test_fallback_is_tried_after_a_broken_stream_and_goes_on_where_it_broke(make, sim, fault):
    app = make("continue")
    sim.play(main=breaking(fault), backup=GOES_ON)
    reply = app.chat(stream=True)
    assert reply.events[-1] == "[DONE]"
    assert reply.text == SAID
    (label,) = labels(reply)
    assert (label["event"], label["route"]) == ("continued", "backup")
    seen = chunks(reply)
    assert len({(c["id"], c["created"], c["model"]) for c in seen}) == 1
    assert sum("role" in c["choices"][0]["delta"] for c in seen) == 1
    trace = app.trace_of(reply)
    assert trace["row"]["outcome"] == "answered"
    attempted = [e for e in trace["events"] if e["type"] == "attempted"]
    assert [bool(e.get("error")) for e in attempted] == [True, False]
    resumed = next(e for e in trace["events"] if e["type"] == "resumed")
    assert resumed["mode"] == "continued"
    assert resumed["after_characters"] == label["after_characters"] > 0


def test_the_cost_of_both_halves_is_on_the_books(make, sim):
    app = make("continue")
    sim.play(main=breaking(CUT["cut"]), backup=GOES_ON)
    reply = app.chat(stream=True, stream_options={"include_usage": True})
    usage = app.trace_of(reply)["row"]["usage"]
    told = next(c["usage"] for c in chunks(reply) if c.get("usage"))
    assert (told["prompt_tokens"], told["completion_tokens"]) == (usage["input"], usage["output"])
    backup = sim.stats("backup")
    assert usage["output"] >= 3
    assert usage["input"] > backup["input_tokens"] / max(1, backup["answered"])


def test_a_continued_answer_is_replayable_to_the_byte(make, sim):
    app = make("continue")
    sim.play(main=breaking(CUT["cut"]), backup=GOES_ON)
    reply = app.chat(stream=True)
    app.trace_of(reply)
    again = app.server.ask("POST", f"/api/traces/{reply.trace}/replay", {})
    assert [a["same"] for a in again["attempts"]] == [True, True]


def test_the_official_sdk_reads_a_continued_answer_as_one(make, sim):
    app = make("continue")
    sim.play(main=breaking(CUT["cut"]), backup=GOES_ON)
    client = openai.OpenAI(base_url=f"{app.server.url}/v1", api_key=app.key, max_retries=0)
    stream = client.chat.completions.create(model="main", messages=[{"role": "user", "content": "hello"}], stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == SAID


def test_restart_needs_a_caller_who_understands_it(make, sim):
    """Everybody else would read two halves as one answer."""
    app = make("restart")
    sim.play(main=breaking(CUT["cut"]), backup=Target(answer=Answer(text=OTHER)))
    reply = app.chat(stream=True)
    assert "[DONE]" not in reply.events
    assert reply.error_event["code"] == "provider_unavailable"
    assert sim.asked("backup") == 0


def test_restart_says_that_what_came_before_is_void(make, sim):
    app = make("restart")
    sim.play(main=breaking(CUT["cut"]), backup=Target(answer=Answer(text=OTHER)))
    reply = app.chat(stream=True, headers={"x_waterline_delivery": "restartable"})
    seen = chunks(reply)
    at = next(n for n, c in enumerate(seen) if "waterline" in c)
    assert seen[at]["waterline"]["void_before"] is True
    after = "".join(c["choices"][0]["delta"].get("content") or "" for c in seen[at + 1 :])
    assert after == OTHER
    assert reply.events[-1] == "[DONE]"


def test_a_caller_who_wants_the_whole_answer_gets_one_clean_answer_whatever_the_policy(make, sim):
    app = make("fail")
    sim.play(main=breaking(CUT["cut"]), backup=Target(answer=Answer(text=OTHER)))
    reply = app.chat(stream=True, headers={"x_waterline_delivery": "whole"})
    assert (reply.status, reply.text, reply.events[-1]) == (200, OTHER, "[DONE]")
    assert not labels(reply)


def test_a_whole_answer_that_nobody_can_give_is_a_status_not_a_stream(make, sim):
    app = make("fail")
    sim.play(main=breaking(CUT["cut"]), backup=breaking(CUT["cut"]))
    reply = app.chat(stream=True, headers={"x_waterline_delivery": "whole"})
    assert (reply.status, reply.code) == (502, "provider_unavailable")


def test_continue_without_a_route_that_takes_a_prefill_is_an_honest_error(make, sim):
    app = make("continue", prefill=False)
    sim.play(main=breaking(CUT["cut"]), backup=GOES_ON)
    reply = app.chat(stream=True)
    assert "[DONE]" not in reply.events
    assert reply.error_event is not None
    assert sim.asked("backup") == 0


def test_a_fallback_that_rejects_a_prefill_does_not_hide_the_first_failure(make, sim):
    app = make("continue")
    sim.play(main=breaking(CUT["stall"]), backup=Target(answer=Answer(text=SAID), prefill="refuse"))
    reply = app.chat(stream=True)
    assert "[DONE]" not in reply.events
    assert reply.error_event["code"] == "provider_timeout"
    assert '"small"' in reply.error_event["message"]
    assert sim.asked("backup") == 1


NEVER_CONTINUED = {
    "tool call": {"tools": [{"type": "function", "function": {"name": "book", "parameters": {
        "type": "object", "properties": {"day": {"type": "string", "enum": ["a longer name of a day"]}}}}}]},
    "two choices": {"n": 2},
    "structured output": {"response_format": {"type": "json_object"}},
    "log-probabilities": {"logprobs": True},
    "the caller's own prefill": {"messages": [{"role": "user", "content": "hi"},
                                              {"role": "assistant", "content": "The"}]},
}  # fmt: skip


@pytest.mark.parametrize("asked", NEVER_CONTINUED.values(), ids=NEVER_CONTINUED.keys())
def test_what_cannot_be_one_answer_is_never_continued(make, sim, asked):
    app = make("continue")
    answer = Answer(tool=Tool("book")) if "tools" in asked else Answer(text=SAID)
    sim.play(main=breaking(Fault("cut", after=2), answer=answer), backup=GOES_ON)
    reply = app.chat(stream=True, **asked)
    assert "[DONE]" not in reply.events
    assert reply.error_event is not None
    assert not labels(reply)
    assert sim.asked("backup") == 0


def test_tool_calls_in_flight_are_restarted_for_a_caller_who_understands_it(make, sim):
    app = make("continue")
    tool = Answer(tool=Tool("book"))
    sim.play(main=breaking(Fault("cut", after=2), answer=tool), backup=Target(answer=tool))
    reply = app.chat(stream=True, headers={"x_waterline_delivery": "restartable"}, **NEVER_CONTINUED["tool call"])
    assert labels(reply)[0]["event"] == "restarted"
    assert reply.events[-1] == "[DONE]"


def test_max_tokens_counts_what_the_first_half_has_used(make, sim):
    app = make("continue")
    sim.play(main=breaking(CUT["cut"]), backup=GOES_ON)
    reply = app.chat(stream=True, max_tokens=5)
    content = [c for c in chunks(reply) if c["choices"] and c["choices"][0]["delta"].get("content")]
    assert len(content) == 5
    assert chunks(reply)[-1]["choices"][0]["finish_reason"] == "length"


def test_an_unknown_delivery_is_refused_by_name(make_app):
    reply = make_app().chat(headers={"x_waterline_delivery": "pigeon"})
    assert (reply.status, reply.code) == (400, "invalid_request")


def test_the_other_apis_are_continued_too(make, sim):
    """By the official clients, unmodified."""
    app = make("continue")
    sim.play(main=breaking(CUT["cut"]), backup=GOES_ON)
    claude = anthropic.Anthropic(base_url=app.server.url, api_key=app.key, max_retries=0)
    with claude.messages.stream(
        model="main", max_tokens=100, messages=[{"role": "user", "content": "hello"}]
    ) as stream:
        assert stream.get_final_text() == SAID
    app = make("continue")
    sim.play(main=breaking(CUT["cut"]), backup=GOES_ON)
    client = openai.OpenAI(base_url=f"{app.server.url}/v1", api_key=app.key, max_retries=0)
    with client.responses.stream(model="main", input="hello") as events:
        assert events.get_final_response().output_text == SAID


def test_the_other_apis_are_never_restarted(make, sim):
    app = make("restart")
    sim.play(main=breaking(CUT["cut"]), backup=GOES_ON)
    body = {"model": "main", "max_tokens": 100, "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    assert app.post(body, "/v1/messages", x_waterline_delivery="restartable").status == 400
    reply = app.post(body, "/v1/messages")
    assert b"message_stop" not in reply.body
    assert sim.asked("backup") == 0
