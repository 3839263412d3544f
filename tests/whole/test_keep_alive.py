"""A caller who waits long for the first token is told that the answer is still awaited; the official SDKs skip it."""

import anthropic
import openai
import pytest

from waterline.providers.simulated_script import Answer, Fault, Target

SLOW = Target(answer=Answer(text="At last it is here."), first_token_ms=1600.0)
SILENT = Target(faults=(Fault("silence"),))
BEAT = {"keep_alive_s": 0.3, "retries": 0}
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50},
}
BEATS = {
    "/v1/chat/completions": b": keep-alive\n\n",
    "/v1/responses": b": keep-alive\n\n",
    "/v1/messages": b'event: ping\ndata: {"type":"ping"}\n\n',
}


def ask(app, path, **headers):
    return app.post({"model": "main", "stream": True, **BODIES[path]}, path=path, **headers)


@pytest.mark.parametrize("path", PATHS)
def test_the_beats_come_before_the_first_content_and_never_after_it(make_app, sim, path):
    app = make_app(main=BEAT)
    sim.play(main=SLOW)
    reply = ask(app, path)
    beat = BEATS[path]
    assert reply.status == 200
    assert reply.body.startswith(beat * 2)
    rest = reply.body
    while rest.startswith(beat):
        rest = rest.removeprefix(beat)
    assert rest.count(beat) == (path == "/v1/messages")  # a ping of its own follows message_start
    assert b"last" in rest
    assert app.trace_of(reply)["row"]["outcome"] == "answered"


def test_the_official_clients_skip_them(make_app, sim):
    app = make_app(main=BEAT)
    sim.play(main=SLOW)
    ours = openai.OpenAI(base_url=f"{app.server.url}/v1", api_key=app.key, max_retries=0)
    chunks = ours.chat.completions.create(model="main", messages=[{"role": "user", "content": "hi"}], stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "At last it is here."
    with ours.responses.stream(model="main", input="hi") as events:
        assert events.get_final_response().output_text == "At last it is here."
    theirs = anthropic.Anthropic(base_url=app.server.url, api_key=app.key, max_retries=0)
    asked = {"model": "main", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    with theirs.messages.stream(**asked) as stream:
        assert stream.get_final_text() == "At last it is here."
    kinds = [event.type for event in theirs.messages.create(**asked, stream=True)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


def test_a_failure_after_the_first_beat_is_an_event_that_every_client_raises(make_app, sim):
    app = make_app(main={**BEAT, "first_token_s": 1.0})
    sim.play(main=SILENT)
    ours = openai.OpenAI(base_url=f"{app.server.url}/v1", api_key=app.key, max_retries=0)
    with pytest.raises(openai.APIError, match="did not answer in time"):
        list(ours.chat.completions.create(model="main", messages=[{"role": "user", "content": "hi"}], stream=True))
    app = make_app(main={**BEAT, "first_token_s": 1.0})
    reply = ask(app, "/v1/responses")
    assert (reply.status, b'"type":"response.failed"' in reply.body) == (200, True)
    app = make_app(main={**BEAT, "first_token_s": 1.0})
    theirs = anthropic.Anthropic(base_url=app.server.url, api_key=app.key, max_retries=0)
    with pytest.raises(anthropic.APIError, match="did not answer in time"):
        list(theirs.messages.create(
            model="main", max_tokens=50, messages=[{"role": "user", "content": "hi"}], stream=True
        ))  # fmt: skip


def test_a_failure_before_the_first_beat_has_its_status(make_app, sim):
    app = make_app(main={"keep_alive_s": 20.0, "retries": 0})
    sim.play(main=Target(faults=(Fault("http", status=429, retry_after_s=40),)))
    reply = app.chat(stream=True)
    assert (reply.status, reply.headers["retry-after"]) == (429, "40")


def test_a_fallback_answers_after_beats_as_without_them(make_app, sim):
    app = make_app(fallback=True, main={**BEAT, "first_token_s": 1.0})
    sim.play(main=SILENT, backup=Target(answer=Answer(text="From the backup.")))
    reply = app.chat(stream=True)
    assert reply.body.startswith(BEATS["/v1/chat/completions"])
    assert b"[DONE]" in reply.body
    stored = app.trace_of(reply)
    assert (stored["row"]["outcome"], stored["row"]["attempts"]) == ("answered", 2)


def test_a_replay_under_an_idempotency_key_and_a_stream_held_back_have_them_too(make_app, sim):
    app = make_app(main=BEAT)
    sim.play(main=SLOW)
    whole = ask(app, "/v1/chat/completions", x_waterline_delivery="whole", idempotency_key="k1")
    assert whole.body.startswith(BEATS["/v1/chat/completions"])
    again = ask(app, "/v1/chat/completions", x_waterline_delivery="whole", idempotency_key="k1")
    assert (again.headers["x-waterline-replayed"], again.body) == ("true", whole.body)


def test_without_it_nothing_is_said_before_the_answer_and_plain_answers_never_have_it(make_app, sim):
    sim.play(main=SLOW)
    assert make_app(main={"retries": 0}).chat(stream=True).body.startswith(b"data: ")
    assert make_app(main=BEAT).chat().text == "At last it is here."
