"""How many sessions went off the rails, and how far they came: from requests to the console and the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from whole_app import App, Server, eventually, send

from waterline.core.app_spec import Funnel
from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Target

HTML = {"accept": "text/html"}


class World:
    def __init__(self, server: Server) -> None:
        self.server = server
        routes = {"main": Route(provider="simulated", model="small")}
        self.app = App(server, "school", routes, funnel=Funnel(("asked", "offered", "booked")))
        self.traces: dict[str, list[str]] = {}

    def says(self, session: str, *texts: str) -> None:
        made = [self.app.chat(text, headers={"x-waterline-session": session}).trace for text in texts]
        self.traces[session] = made

    def give(self, **said: Any) -> None:
        assert self.app.post(said, "/v1/feedback").status == 201

    def page(self, path: str) -> str:
        reply = send(self.server.url, "GET", path, headers={"authorization": f"Bearer {self.server.key}", **HTML})
        assert reply.status == 200, reply.body
        return reply.body.decode()

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "waterline", "sessions", *words, "--data", str(self.server.data)],
            capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def world(sim: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    sim.play(main=Target(answer=Answer(text="We open at nine.")))
    server = Server(tmp_path_factory.mktemp("behaviour") / "d", f"{sim.address}/{{route}}")
    made = World(server)
    assert "None in these days" in made.page("/behaviour/off-rails")
    assert "Nothing yet" in made.page("/behaviour")
    made.says("good", "what time do you open?", "great, thank you!")
    made.says("bad", "what time do you open?", "that's not what I asked", "I want to talk to a human")
    made.says("again", "how do I cancel my order?", "how do I cancel my order?")
    made.give(trace=made.traces["good"][0], kind="accepted", time_ms=4000, step="offered")
    made.give(trace=made.traces["bad"][0], kind="rejected")
    made.give(trace=made.traces["again"][0], kind="edited", suggested="one two three four", edit="one two three five")
    made.give(step="booked", session="good")
    assert eventually(lambda: view(made)["total"]["sessions"] == 3)
    yield made
    assert server.stop() == 0


def view(world: World) -> Any:
    return world.server.ask("GET", "/api/behaviour", app="school")


def test_sessions_off_the_rails_are_counted_named_and_point_to_the_answer(world: World) -> None:
    found = world.server.ask("GET", "/api/sessions/off-rails", app="school")
    assert (found["share"]["k"], found["share"]["n"]) == (1, 3)
    assert found["share"]["estimate"]["low"] < 1 / 3 < found["share"]["estimate"]["high"]
    (row,) = found["rows"]
    assert (row["session"], row["signals"]) == ("bad", ["not_what_i_asked", "human_requested"])
    names = [[v["name"] for v in world.server.trace(trace)["verdicts"]] for trace in world.traces["bad"]]
    assert names == [["feedback.rejected", "signal.not_what_i_asked"], ["signal.human_requested"], []] or names == [
        ["signal.not_what_i_asked", "feedback.rejected"], ["signal.human_requested"], [],
    ]  # fmt: skip


def test_behaviour_is_by_release_with_intervals(world: World) -> None:
    found = view(world)
    (one,) = found["releases"]
    assert one["release"] == world.app.id
    assert one["answers"] == 7
    assert {k: (v["k"], v["n"]) for k, v in one["decided"].items()} == {
        "accepted": (1, 3), "edited": (1, 3), "rejected": (1, 3)
    }  # fmt: skip
    assert one["edits"] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert one["signals"]["retried"]["k"] == 1
    assert [(s["step"], s["sessions"], s["lost"]) for s in one["funnel"]] == [
        ("asked", 1, 2), ("offered", 1, 0), ("booked", 1, 0)
    ]  # fmt: skip


def test_the_command_line_says_the_same(world: World) -> None:
    said = world.command("off-rails", "--since", "7d")
    assert "1 of 3 = 33.3% (" in said
    assert "bad" in said
    assert json.loads(world.command("off-rails", "school", "--json"))["share"]["k"] == 1
    assert "offered" in world.command("funnel")


def test_the_pages_show_it_and_link_to_the_traces(world: World) -> None:
    page = world.page("/behaviour?days=7")
    assert "33.3 % (" in page
    assert "Sessions off the rails" in page
    listed = world.page("/behaviour/off-rails")
    assert f"/traces/{world.traces['bad'][2]}" in listed
    for wrong in ("/behaviour?days=5", "/behaviour?app=nobody", "/behaviour/off-rails?before=x"):
        reply = send(world.server.url, "GET", wrong, headers={"authorization": f"Bearer {world.server.key}", **HTML})
        assert reply.status in (400, 404), wrong
