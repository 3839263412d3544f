"""A long conversation through the whole app: what the provider is sent, and that replay sends the same."""

from typing import Any

import pytest
from whole_app import App, Release, Server, Sim

from waterline.core.release import Route
from waterline.core.savings import History
from waterline.providers.simulated_script import Answer, Target

TURN = [
    {"role": "user", "content": "Thank you, that is very kind of you and good to know."},
    {"role": "assistant", "content": "You are welcome, any time, truly."},
]


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_conversation_costs_less_and_replays_to_the_byte(server: Server, sim: Sim, stream: bool) -> None:
    sim.play(Target(answer=Answer(echo=True)))
    routes = {"main": Route(provider="simulated", model="small")}
    app = App(server, f"history{stream}".lower(), routes)
    app.install(Release(app=app.name, routes=routes, history=History(max_tokens=300, keep_last=4)))
    asked: list[dict[str, Any]] = [
        {"role": "user", "content": "Do you have a swimming pool?"},
        {"role": "assistant", "content": "Which grade is your child in?"},
        *(TURN * 30),
    ]
    short = app.chat("hello", stream=stream)
    long = app.post({"model": "main", "stream": stream, "messages": [*asked, {"role": "user", "content": "Good."}]})
    assert (short.status, long.status) == (200, 200)
    rows = {r["id"]: r for r in server.traces(app=app.name)}
    trace = app.trace_of(long)
    (event,) = [e for e in trace["events"] if e["type"] == "shortened"]
    assert event["bytes_after"] < event["bytes_before"] / 3
    assert rows[long.trace]["tokens_in"] < event["bytes_before"] / 8
    assert trace["request"].count("swimming pool") == 1  # the caller's own request is kept whole
    assert not [e for e in app.trace_of(short)["events"] if e["type"] == "shortened"]
    replayed = server.ask("POST", f"/api/traces/{long.trace}/replay", {})
    assert replayed["same"] is True, replayed
    assert replayed["attempts"][0]["bytes"] < event["bytes_before"] / 2
