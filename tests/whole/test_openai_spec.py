"""The routes that OpenAI's own description knows too, against that description: never a 5xx, and a 200 that conforms.

The description is not ours to ship. It is looked for in $SHARED_TEST_DATA, else in ../shared/data beside the
repository; without it these tests are skipped."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from whole_app import App, Reply, send

from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Fault, Target, Tool

DATA = Path(os.environ.get("SHARED_TEST_DATA") or Path(__file__).parents[3] / "shared/data")
SPEC = DATA / "openai-spec/openapi.json"
pytestmark = pytest.mark.skipif(not SPEC.exists(), reason=f"{SPEC} is not here")
EXAMPLES = 120  # of each route: half as the description allows, a quarter made to be answered, a quarter broken
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
FOREIGN = ("conversation", "prompt", "background", "truncation", "context_management", "moderation", "input",
           "previous_response_id", "tools", "tool_choice", "text", "max_output_tokens", "messages")  # fmt: skip


@pytest.fixture(scope="module")
def spec() -> Any:
    return json.loads(SPEC.read_bytes())


@pytest.fixture(scope="module")
def described(spec) -> Any:
    schemathesis = pytest.importorskip("schemathesis")
    return schemathesis.openapi.from_dict(spec)


@pytest.fixture(scope="module")
def app(sim, server) -> App:
    sim.play()
    given = {"provider": "simulated", "model": "small", "total_s": 8.0, "first_token_s": 5.0}
    routes = {
        "main": Route(**given),  # type: ignore[arg-type]
        "claude": Route(provider="anthropic", model="claude-haiku-4-5", max_tokens=64, total_s=8.0),
    }
    return App(server, "described", routes)


@pytest.fixture(scope="module")
def conforms(spec) -> Any:
    """conforms(name, value): raises what the named schema of the description has against it."""
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    made: dict[str, Any] = {}

    def check(name: str, value: Any) -> None:
        if name not in made:
            root = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
            made[name] = jsonschema_rs.validator_for(root)
        problems = [f"{'/'.join(map(str, e.instance_path))}: {e.message[:300]}" for e in made[name].iter_errors(value)]
        assert not problems, (name, problems, json.dumps(value)[:1500])

    return check


def answerable(path: str, body: Any) -> Any:
    """Nearly the same body, for a route that there is, without what only OpenAI's own servers do."""
    if not isinstance(body, dict):
        return body
    if path == "/responses":
        kept = {name: value for name, value in body.items() if name not in FOREIGN}
        return {**kept, "model": "main", "input": "hello", "tools": [WEATHER]}
    if path == "/chat/completions":
        kept = {name: value for name, value in body.items() if name not in ("n", "max_tokens", "max_completion_tokens")}
        return {**kept, "model": "main"}
    # As base64, OpenAI answers what its own description does not know.
    return {**body, "model": "main", "encoding_format": "float"}


def events_of(reply: Reply) -> list[Any]:
    lines = [line[6:] for line in reply.body.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


ANSWERED = {
    # A chunk's null finish_reason, which OpenAI sends, is not in its description.
    "/chat/completions": ("CreateChatCompletionResponse", ""),
    "/responses": ("Response", "ResponseStreamEvent"),
    "/embeddings": ("CreateEmbeddingResponse", ""),
}


@pytest.mark.parametrize("path", list(ANSWERED))
def test_whatever_is_sent_nothing_is_a_5xx_and_every_200_conforms(described, app, conforms, path):
    from schemathesis import GenerationMode

    operation = described[path]["POST"]
    good = operation.as_strategy(generation_mode=GenerationMode.POSITIVE).map(lambda case: case.body)
    bad = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE).map(lambda case: case.body)
    statuses: dict[int, int] = {}

    @seed(20261121)
    @settings(max_examples=EXAMPLES, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.one_of(good, good, good.map(lambda body: answerable(path, body)), bad))
    def ask(body: Any) -> None:
        try:
            data = json.dumps(body).encode()
        except (TypeError, ValueError):
            data = repr(body).encode()  # what a broken generator makes is a broken body
        reply = app.post(data, path="/v1" + path)
        statuses[reply.status] = statuses.get(reply.status, 0) + 1
        assert reply.status < 500, (reply.status, reply.body[:500], data[:2000])
        if reply.status == 200 and b'"base64"' in data:
            return
        plain, event = ANSWERED[path]
        if reply.status != 200:
            conforms("ErrorResponse", reply.json)
        elif reply.headers["content-type"].startswith("application/json"):
            conforms(plain, reply.json)
        else:
            found = events_of(reply)
            assert found
            for one in found if event else ():
                conforms(event, one)

    ask()
    assert statuses.get(200, 0) >= EXAMPLES // 10, statuses  # else it showed little
    assert set(statuses) <= {200, 400, 404, 413}, statuses


OF_ONE = "/responses/{response_id}"


@pytest.mark.parametrize(("path", "method"), [(OF_ONE, "GET"), (OF_ONE, "DELETE"), (OF_ONE + "/input_items", "GET")])
def test_whatever_id_or_query_is_sent_nothing_is_a_5xx(described, app, path, method):
    operation = described[path][method]
    statuses: dict[int, int] = {}

    @seed(20261121)
    @settings(max_examples=40, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def ask(case: Any) -> None:
        reply = case.call(base_url=app.server.url + "/v1", headers={"authorization": f"Bearer {app.key}"})
        statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1

    ask()
    assert set(statuses) <= {400, 404}, statuses


def test_the_list_of_models_conforms(app, conforms):
    reply = send(app.server.url, "GET", "/v1/models", None, {"authorization": f"Bearer {app.key}"})
    assert reply.status == 200
    conforms("ListModelsResponse", reply.json)


CALLS: dict[str, dict[str, Any]] = {
    "text": {},
    "instructions": {"instructions": "Be brief.", "metadata": {"a": "b"}, "temperature": 0.2, "top_p": 0.9},
    "tools": {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False},
    "schema": {"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}}},
    "cut": {"max_output_tokens": 2},
    "items": {
        "input": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "input_text", "text": "hi"},
                                         {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]},
            {"role": "assistant", "content": "hello"},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("model", ["main", "claude"])
@pytest.mark.parametrize("call", list(CALLS))
def test_responses_their_events_and_their_items_conform(app, sim, conforms, call, model):
    tool = Answer(tool=Tool(name="weather"))
    sim.play(default=Target(answer=tool) if call == "tools" else Target())
    body = {"model": model, "input": "hello", **CALLS[call]}
    plain = app.post(body, path="/v1/responses")
    assert plain.status == 200, plain.body
    conforms("Response", plain.json)
    streamed = app.post({**body, "stream": True, "previous_response_id": None}, path="/v1/responses")
    events = events_of(streamed)
    assert events[-1]["type"] in ("response.completed", "response.incomplete")
    for event in events:
        conforms("ResponseStreamEvent", event)
    after = {"model": model, "input": "and?", "previous_response_id": plain.json["id"]}
    if call == "tools":
        output = plain.json["output"][-1]
        after["input"] = [{"type": "function_call_output", "call_id": output["call_id"], "output": "sunny"}]
    chained = app.post(after, path="/v1/responses")
    assert chained.status == 200, chained.body
    head = {"authorization": f"Bearer {app.key}"}
    items = send(app.server.url, "GET", f"/v1/responses/{chained.json['id']}/input_items", None, head)
    conforms("ResponseItemList", items.json)
    again = send(app.server.url, "GET", f"/v1/responses/{chained.json['id']}", None, head)
    assert again.json == chained.json


@pytest.mark.parametrize("model", ["main", "claude"])
def test_a_stream_that_breaks_conforms_to_its_last_event(app, sim, conforms, model):
    sim.play(default=Target(faults=(Fault(kind="cut", after=2),), tokens=12, per_token_ms=20))
    streamed = app.post({"model": model, "input": "hello", "stream": True}, path="/v1/responses")
    events = events_of(streamed)
    assert events[-1]["type"] == "response.failed"
    for event in events:
        conforms("ResponseStreamEvent", event)
