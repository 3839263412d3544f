"""The savings behind every API: what is kept for one is told in its own words, and never given to another."""

from typing import Any

import pytest
from whole_app import App, Release, Reply, Server, Sim, eventually

from waterline.core.release import Route
from waterline.core.savings import Cache
from waterline.providers.simulated_script import Answer, Target

MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"


@pytest.fixture
def app(server: Server, sim: Sim, request: pytest.FixtureRequest) -> App:
    sim.play(Target(answer=Answer(echo=True)))
    name = "apis-" + "".join(c for c in request.node.name.lower() if c.isalnum())[-40:]
    made = App(server, name, {"main": Route(provider="simulated", model="small")})
    made.install(Release(app=name, routes=made.release.routes, cache=Cache(exact=True)))
    return made


def body(path: str, text: str, **more: Any) -> dict[str, Any]:
    if path == RESPONSES:
        return {"model": "main", "input": text, **more}
    return {"model": "main", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def hit(reply: Reply) -> bool:
    assert reply.status == 200, reply.body
    return reply.headers.get("x-waterline-cache") == "hit"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
def test_a_kept_answer_is_told_in_the_words_of_the_api_that_asked(app: App, path: str, stream: bool) -> None:
    asked = body(path, "4711", stream=stream)
    first, second = app.post(asked, path), app.post(asked, path)
    assert not hit(first)
    assert hit(second)
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.body.count(b"4711") == first.body.count(b"4711") >= 1
    assert not hit(app.post(body("chat", "4711", stream=stream)))


def test_a_stored_response_from_the_cache_can_be_read_and_continued(app: App, server: Server) -> None:
    app.post(body(RESPONSES, "my code is 4711"), RESPONSES)
    second = app.post(body(RESPONSES, "my code is 4711"), RESPONSES)
    assert hit(second)
    made = second.json["id"]
    assert eventually(lambda: server.ask("GET", "/api/status")["waiting"] == 0)
    assert server.ask("GET", f"{RESPONSES}/{made}", key=app.key)["output"] == second.json["output"]
    third = app.post(body(RESPONSES, "and now?", previous_response_id=made), RESPONSES)
    assert third.status == 200
    assert not hit(third)
    items = server.ask("GET", f"{RESPONSES}/{third.json['id']}/input_items", key=app.key)["data"]
    assert "4711" in str(items)
