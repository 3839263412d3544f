"""POST /v1/responses and what becomes of a response, with the official `openai` package, unchanged."""

import contextlib
import json
import os
import sqlite3
from typing import Any

import openai
import pytest
from whole_app import App, Limits, Server, eventually, send

from waterline.core.errors import Refused
from waterline.core.release import Release, Route
from waterline.providers import models
from waterline.providers.simulated_script import Answer, Fault, Target, Tool, When

PROVIDERS = {
    "openai shape": {"provider": "simulated", "model": "small"},
    "anthropic shape": {"provider": "anthropic", "model": "claude-haiku-4-5", "max_tokens": 256},
    "gemini shape": {"provider": "gemini", "model": "gemini-2.5-flash", "max_tokens": 256},
}
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "Today's weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SAID = "This is a simulated answer. No model was asked."
TEXT_EVENTS = ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
               "response.output_text.delta", "response.output_text.done", "response.content_part.done",
               "response.output_item.done", "response.completed"]  # fmt: skip


@pytest.fixture(params=list(PROVIDERS))
def app(request, make_app, sim):
    sim.play()
    return make_app(main=PROVIDERS[request.param])


def client(app: App, **more: Any) -> Any:
    return openai.OpenAI(base_url=app.server.url + "/v1", api_key=app.key, max_retries=0, **more)


def kinds(events: list[Any]) -> list[str]:
    """Types in order, a run of deltas as one."""
    out: list[str] = []
    for event in events:
        if not out or out[-1] != event.type:
            out.append(event.type)
    return out


def test_a_plain_response(app):
    made = client(app).responses.create(
        model="main", input="hello", instructions="Be brief.", metadata={"order": "7"}, temperature=0.5,
        max_output_tokens=200,
    )  # fmt: skip
    assert (made.status, made.output_text, made.error, made.incomplete_details) == ("completed", SAID, None, None)
    assert (made.metadata, made.temperature, made.instructions) == ({"order": "7"}, 0.5, "Be brief.")
    assert made.usage.output_tokens > 0
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    trace = app.server.trace(made.id.removeprefix("resp_"))
    assert trace["row"]["outcome"] == "answered"
    assert (trace["row"]["cost_nano_usd"] > 0) == (trace["row"]["provider"] != "simulated")
    assert json.loads(trace["request"])["input"] == "hello"  # the caller's own words, not our translation


def test_a_streamed_response_has_the_whole_sequence_of_events(app):
    events = list(client(app).responses.create(model="main", input="hello", stream=True))
    assert kinds(events) == TEXT_EVENTS
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == SAID
    assert events[-1].response.output_text == SAID
    assert events[-1].response.usage.output_tokens > 0
    assert client(app).responses.retrieve(events[-1].response.id) == events[-1].response


def test_a_stored_response_is_streamed_again_event_by_event_from_where_its_caller_was(app):
    api = client(app)
    events = list(api.responses.create(model="main", input="hello", stream=True))
    made = events[-1].response.id
    assert list(api.responses.retrieve(made, stream=True)) == events
    for after in (0, 3, len(events) - 2, len(events) - 1, 10**8):
        assert list(api.responses.retrieve(made, stream=True, starting_after=after)) == events[after + 1 :]
    with api.responses.stream(response_id=made, starting_after=4) as stream:  # as the SDK takes up a stream again
        assert stream.get_final_response().output_text == SAID


def test_what_is_streamed_again_is_what_was_sent_byte_for_byte(app):
    sent = app.post({"model": "main", "input": "hello", "stream": True}, "/v1/responses")
    made = json.loads(sent.body.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]
    again = send(
        app.server.url, "GET", f"/v1/responses/{made}?stream=true", None, {"authorization": f"Bearer {app.key}"}
    )
    assert again.headers["content-type"] == sent.headers["content-type"]
    assert again.body == sent.body != b""


def test_a_plain_response_is_streamed_as_if_each_piece_had_been_said_at_once(app):
    api = client(app)
    made = api.responses.create(model="main", input="hello")
    events = list(api.responses.retrieve(made.id, stream=True))
    assert [e.type for e in events] == TEXT_EVENTS
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert events[0].response.status == "in_progress"
    assert events[0].response.usage is None
    assert events[-1].response == made


def test_a_response_that_reaches_its_length_is_incomplete(app):
    for stream in (False, True):
        made = client(app).responses.create(model="main", input="hello", max_output_tokens=2, stream=stream)
        if stream:
            events = list(made)
            assert events[-1].type == "response.incomplete"
            made = events[-1].response
        assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert made.output[0].status == "incomplete"


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_continues_the_chain(app, sim, stream):
    sim.play(default=Target(rules=(Answer(match="weather", tool=Tool(name="weather", arguments={"city": "Rome"})),)))
    api = client(app)
    made = api.responses.create(model="main", input="the weather in Rome?", tools=[WEATHER], stream=stream)
    if stream:
        events = list(made)
        assert "response.function_call_arguments.delta" in kinds(events)
        done = next(e for e in events if e.type == "response.function_call_arguments.done")
        assert json.loads(done.arguments) == {"city": "Rome"}
        made = events[-1].response
        assert list(api.responses.retrieve(made.id, stream=True)) == events
    (item,) = [i for i in made.output if i.type == "function_call"]
    assert (item.name, json.loads(item.arguments), item.status) == ("weather", {"city": "Rome"}, "completed")
    sim.play()
    said = api.responses.create(
        model="main", tools=[WEATHER], previous_response_id=made.id,
        input=[{"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}],
    )  # fmt: skip
    assert said.output_text == SAID
    listed = list(api.responses.input_items.list(said.id, order="asc"))
    assert [i.type for i in listed] == ["message", "function_call", "function_call_output"]


def test_the_items_may_be_sent_back_instead_of_their_id(app, sim):
    sim.play(default=Target(rules=(Answer(match="weather", tool=Tool(name="weather", arguments={"city": "Rome"})),)))
    api = client(app)
    given: list[Any] = [{"role": "developer", "content": "Use tools."}, {"role": "user", "content": "the weather?"}]
    made = api.responses.create(model="main", input=given, tools=[WEATHER], store=False)
    sim.play()
    given += [item.to_dict() for item in made.output]
    given.append({"type": "function_call_output", "call_id": made.output[0].call_id, "output": "sunny"})
    assert api.responses.create(model="main", input=given, tools=[WEATHER], store=False).output_text == SAID


def test_a_json_schema_is_asked_for_and_read_back(app, sim):
    sim.play(default=Target(answer=Answer(text='{"city": "Rome"}')))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
              "additionalProperties": False}  # fmt: skip
    form: Any = {"format": {"type": "json_schema", "name": "place", "schema": schema, "strict": True}}
    made = client(app).responses.create(model="main", input="where?", text=form)
    assert json.loads(made.output_text) == {"city": "Rome"}
    assert made.text.format.name == "place"


def test_an_image_reaches_the_provider(app):
    pixel = "data:image/png;base64,iVBORw0KGgo="
    image = {"type": "input_image", "image_url": pixel, "detail": "low"}
    given: Any = [{"role": "user", "content": [{"type": "input_text", "text": "what is it?"}, image]}]
    assert client(app).responses.create(model="main", input=given).output_text == SAID


# --- stored and chained ----------------------------------------------------------------------------------------------


def test_a_chain_carries_what_was_said_but_not_the_instructions(app, sim):
    sim.play(default=Target(answer=Answer(text="blue")))
    api = client(app)
    first = api.responses.create(model="main", input="the sky?", instructions="One word.")
    second = api.responses.create(model="main", input=[{"role": "user", "content": "sure?"}],
                                  previous_response_id=first.id, stream=True)  # fmt: skip
    second = list(second)[-1].response
    third = api.responses.create(model="main", input="really?", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    page = api.responses.input_items.list(third.id, order="asc", limit=2)
    texts = [item.content[0].text for item in page]  # the SDK asks for the next pages by itself
    assert texts == ["the sky?", "blue", "sure?", "blue", "really?"]
    newest_first = [item.content[0].text for item in api.responses.input_items.list(third.id)]
    assert newest_first == texts[::-1]
    shown = app.server.ask("POST", f"/api/traces/{third.id[5:]}/replay", {})
    assert shown["same"] is True, shown  # history and all, the same bytes again
    assert third.usage.input_tokens > first.usage.input_tokens


def test_a_response_is_read_again_as_it_was_sent_and_no_more_once_deleted(app):
    api = client(app)
    made = api.responses.create(model="main", input="hello")
    after = api.responses.create(model="main", input="and?", previous_response_id=made.id)
    assert api.responses.retrieve(made.id) == made
    assert api.responses.delete(made.id) is None
    for refused in (
        lambda: api.responses.retrieve(made.id),
        lambda: api.responses.delete(made.id),
        lambda: api.responses.input_items.list(made.id),
        lambda: api.responses.input_items.list(after.id),  # its items are the deleted one's too
        lambda: api.responses.create(model="main", input="more", previous_response_id=made.id),
        lambda: api.responses.create(model="main", input="more", previous_response_id=after.id),
    ):
        with pytest.raises(openai.NotFoundError):
            refused()
    assert api.responses.retrieve(after.id) == after


def test_what_is_not_stored_can_be_neither_read_nor_continued(app):
    api = client(app)
    made = api.responses.create(model="main", input="hello", store=False)
    assert made.store is False
    with pytest.raises(openai.NotFoundError):
        api.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError) as refused:
        api.responses.create(model="main", input="more", previous_response_id=made.id)
    assert refused.value.param == "previous_response_id"


def test_a_response_is_for_its_app_environment_and_subject_alone(make_app, sim):
    sim.play()
    app, other = make_app(environments=("production", "staging")), make_app()
    app.move("promote", app.id, env="staging")
    asserting = app.make_key(assert_identity=True)["key"]
    staging = app.make_key(env="staging")["key"]
    mine = openai.OpenAI(base_url=app.server.url + "/v1", api_key=asserting, max_retries=0)
    ana = {"x-waterline-subject": "ana"}
    made = mine.responses.create(model="main", input="my secret", extra_headers=ana)
    assert mine.responses.retrieve(made.id, extra_headers=ana).id == made.id
    strangers = [(other.key, {}), (staging, {}), (app.key, {}), (asserting, {"x-waterline-subject": "bob"})]
    for key, headers in strangers:
        theirs = openai.OpenAI(base_url=app.server.url + "/v1", api_key=key, max_retries=0, default_headers=headers)
        for refused in (
            lambda api: api.responses.retrieve(made.id),
            lambda api: api.responses.delete(made.id),
            lambda api: api.responses.input_items.list(made.id),
            lambda api: api.responses.create(model="main", input="what was it?", previous_response_id=made.id),
        ):
            with pytest.raises(openai.NotFoundError) as error:
                refused(theirs)
            assert "secret" not in str(error.value)


def test_a_stored_response_outlives_kill_9(sim, tmp_path):
    sim.play()
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        app = App(server, "stored", {"main": Route(provider="simulated", model="small")})
        plain = client(app).responses.create(model="main", input="remember me")
        streamed = list(client(app).responses.create(model="main", input="me too", stream=True))[-1].response
        server.kill9()
        server.start()
        for before in (plain, streamed):
            assert client(app).responses.retrieve(before.id) == before
            chained = client(app).responses.create(model="main", input="well?", previous_response_id=before.id)
            assert chained.status == "completed"
    finally:
        server.stop()


def test_while_the_database_is_locked_responses_are_answered_and_chains_told_to_wait(sim, tmp_path):
    sim.play()
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        app = App(server, "locked", {"main": Route(provider="simulated", model="small")})
        with contextlib.closing(sqlite3.connect(server.data / "waterline.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            made = client(app).responses.create(model="main", input="hello")
            assert made.status == "completed"
            with pytest.raises(openai.InternalServerError) as refused:
                client(app).responses.create(model="main", input="and?", previous_response_id=made.id)
            assert (refused.value.status_code, refused.value.code) == (503, "overloaded")
            assert int(refused.value.response.headers["retry-after"]) > 0
            other.execute("ROLLBACK")
        after = client(app).responses.create(model="main", input="and?", previous_response_id=made.id)
        assert after.status == "completed"
    finally:
        server.stop()


def test_a_chain_without_its_past_says_why_it_cannot_be_replayed(make_app, sim):
    sim.play()
    app = make_app()
    first = client(app).responses.create(model="main", input="hello")
    chained = client(app).responses.create(model="main", input="and?", previous_response_id=first.id)
    client(app).responses.delete(first.id)
    path = f"/api/traces/{chained.id[5:]}/replay"
    assert app.server.ask("POST", path, {})["same"] is True  # deleted for the API; the trace has its own time
    with sqlite3.connect(app.server.data / "waterline.db") as database:
        database.execute("DELETE FROM bodies WHERE place / 2 = (SELECT n FROM traces WHERE id = ?)", (first.id[5:],))
    shown = app.server.ask("POST", path, {})
    assert shown["same"] is False
    assert "NOT REPLAYABLE" in shown["not_replayable"]
    assert first.id in shown["not_replayable"]
    with pytest.raises(openai.NotFoundError):
        client(app).responses.create(model="main", input="more", previous_response_id=chained.id)


# --- refused by name -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tool",
    [{"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["vs_1"]},
     {"type": "code_interpreter", "container": {"type": "auto"}}, {"type": "image_generation"},
     {"type": "mcp", "server_label": "x", "server_url": "https://x.example"}, {"type": "custom", "name": "grep"}],
    ids=lambda t: t["type"],
)  # fmt: skip
def test_a_tool_that_runs_elsewhere_is_refused_by_its_name(make_app, tool):
    with pytest.raises(openai.BadRequestError) as refused:
        client(make_app()).responses.create(model="main", input="x", tools=[WEATHER, tool])
    assert tool["type"] in refused.value.message
    assert refused.value.param == "tools[1]"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"temperature": 9}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]},
         "input[0].content[0]"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"extra_body": {"messages": []}}, "messages"),
        ({"extra_body": {"max_tokens": 5}}, "max_tokens"),
        ({"previous_response_id": "resp_nothing"}, "previous_response_id"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_its_field_and_leaves_a_trace(make_app, more, param):
    app = make_app()
    with pytest.raises(openai.APIStatusError) as refused:
        client(app).responses.create(**{"model": "main", "input": "x", **more})
    assert refused.value.status_code in (400, 404)
    assert refused.value.param == param
    assert refused.value.code == "invalid_request"
    assert len(app.server.traces(app=app.name, outcome="refused")) == 1


# --- failing well ----------------------------------------------------------------------------------------------------


def failing(kind: str, **more: Any) -> Target:
    return Target(faults=(Fault(kind=kind, **more),), tokens=12, per_token_ms=20)


@pytest.mark.parametrize("stream", [False, True])
def test_one_500_is_mended_and_the_caller_never_knows(app, sim, stream):
    sim.play(default=failing("http", status=500, when=When(first=1)))
    made = client(app).responses.create(model="main", input="hello", stream=stream)
    made = list(made)[-1].response if stream else made
    assert made.status == "completed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "error"), [(429, openai.RateLimitError), (500, openai.InternalServerError)])
def test_a_provider_that_only_fails_is_an_honest_status(make_app, sim, stream, status, error):
    sim.play(default=failing("http", status=status, retry_after_s=60))
    app = make_app(main={"retries": 0})
    with pytest.raises(error) as refused:
        client(app).responses.create(model="main", input="hello", stream=stream)
    assert refused.value.code == ("rate_limited" if status == 429 else "provider_unavailable")
    if status == 429:
        assert int(refused.value.response.headers["retry-after"]) > 0


@pytest.mark.parametrize("kind", ["cut", "malformed_event", "error_event", "stall"])
def test_a_stream_that_breaks_ends_in_response_failed(app, sim, kind):
    sim.play(default=failing(kind, after=2))
    events = list(client(app).responses.create(model="main", input="hello", stream=True))
    found = kinds(events)
    assert found[-1] == "response.failed"
    assert "response.completed" not in found
    assert not any(kind.endswith(".done") for kind in found)
    last = events[-1].response
    overloaded = kind == "error_event" and PROVIDERS["anthropic shape"]["model"] == app.release.routes["main"].model
    assert (last.status, last.error.code) == ("failed", "rate_limit_exceeded" if overloaded else "server_error")
    assert [e.sequence_number for e in events] == list(range(len(events)))
    said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert last.output_text == said != ""
    assert client(app).responses.retrieve(last.id) == last
    assert list(client(app).responses.retrieve(last.id, stream=True)) == events
    with pytest.raises(openai.NotFoundError, match="not completed"):
        client(app).responses.create(model="main", input="go on", previous_response_id=last.id)


@pytest.mark.parametrize("stream", [False, True])
def test_a_fallback_answers_in_the_same_words(make_app, sim, stream):
    sim.play(main=failing("reset_before_headers"))
    app = make_app(fallback=True)
    made = client(app).responses.create(model="main", input="hello", stream=stream)
    made = list(made)[-1].response if stream else made
    assert made.output_text == SAID


def test_a_stream_that_another_route_finishes_is_one_whole_response(make_app, sim):
    app = make_app(fallback=True, main={"on_broken_stream": "continue"})
    routes = {**app.release.routes, "backup": Route(provider="simulated", model="other", total_s=8.0, prefill=True)}
    app.install(Release(app=app.name, routes=routes))
    answer = Answer(text="The visit is on Tuesday at ten, in room four.")
    cut = (Fault(kind="cut", after=3),)
    sim.play(main=Target(answer=answer, faults=cut, per_token_ms=5.0), backup=Target(answer=answer, prefill="continue"))
    events = list(client(app).responses.create(model="main", input="when?", stream=True))
    assert kinds(events) == TEXT_EVENTS
    assert events[-1].response.output_text == answer.text
    assert client(app).responses.retrieve(events[-1].response.id) == events[-1].response


def test_a_filtered_answer_is_incomplete(app, sim):
    sim.play(default=failing("content_filter", after=2))
    events = list(client(app).responses.create(model="main", input="hello", stream=True))
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "content_filter"


def test_limits_and_budget_hold_for_responses_too(make_app, sim):
    sim.play()
    app = make_app(limits=Limits(rpm=1))
    client(app).responses.create(model="main", input="hello")
    with pytest.raises(openai.RateLimitError):
        client(app).responses.create(model="main", input="hello")
    poor = make_app(main={"provider": "openai", "model": "gpt-4o"}, limits=Limits(nano_usd_per_day=1))
    with pytest.raises(openai.APIStatusError) as refused:
        client(poor).responses.create(model="main", input="hello", max_output_tokens=200)
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")


def test_a_method_that_a_path_has_not_is_405_and_an_unknown_path_404(make_app, sim):
    sim.play()
    app = make_app()
    made = client(app).responses.create(model="main", input="hello")
    head = {"authorization": f"Bearer {app.key}"}
    for method, path, status in (
        ("PUT", f"/v1/responses/{made.id}", 405),
        ("POST", f"/v1/responses/{made.id}/input_items", 405),
        ("GET", f"/v1/responses/{made.id}/nothing", 404),
        ("GET", "/v1/responses/", 404),
        ("GET", f"/v1/responses/{made.id}?stream=maybe", 400),
        ("GET", f"/v1/responses/{made.id}?starting_after=3", 400),
        ("GET", f"/v1/responses/{made.id}?stream=true&starting_after=-1", 400),
        ("GET", f"/v1/responses/{made.id}/input_items?limit=0", 400),
        ("GET", f"/v1/responses/{made.id}/input_items?after=msg_x", 400),
    ):
        assert send(app.server.url, method, path, b"{}", head).status == status, (method, path)


def test_the_console_shows_what_was_asked_and_answered(make_app, sim):
    sim.play()
    app = make_app()
    made = client(app).responses.create(model="main", input=[{"role": "user", "content": "is it shown?"}])
    assert eventually(lambda: SAID in app.server.trace(made.id[5:])["answer"])


@pytest.mark.model
@pytest.mark.timeout(600)
def test_a_local_model_answers_responses_and_can_be_continued(server):
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    try:
        models.resolve("smollm2-135m", models.models_dir(os.environ))
    except Refused as refused:
        pytest.skip(str(refused))
    route = Route(
        provider="local", model="smollm2-135m", max_tokens=12, reproducible=True, first_token_s=180, total_s=180
    )
    app = App(server, "local-responses", {"main": route})
    api = client(app, timeout=200)
    first = api.responses.create(model="main", input="Write one sentence about the sea.")
    assert first.output_text
    assert first.usage.output_tokens > 0
    events = list(api.responses.create(model="main", input="Again.", previous_response_id=first.id, stream=True))
    last = events[-1].response
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert last.output_text == "".join(e.delta for e in events if e.type == "response.output_text.delta") != ""
    assert app.server.ask("POST", f"/api/traces/{last.id[5:]}/replay", {})["same"] is True  # the answer too
    schema = {"type": "object", "properties": {"mood": {"enum": ["calm", "rough"]}}, "required": ["mood"],
              "additionalProperties": False}  # fmt: skip
    form: Any = {"format": {"type": "json_schema", "name": "sea", "schema": schema}}
    made = api.responses.create(model="main", input="The sea today?", text=form)
    assert json.loads(made.output_text)["mood"] in ("calm", "rough")
