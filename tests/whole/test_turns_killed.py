"""kill -9 at every step of a conversation: one booking, one lead, one reply, and nothing that was heard is lost."""

import contextlib
import http.client
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from whole_app import App, Server, Sim, eventually, start

from waterline.core.branch import Branch
from waterline.core.conversing import Conversing
from waterline.core.release import Route

QUICK = Conversing(quiet_s=0.05, longest_quiet_s=0.2, late_s=60, turn_s=30)
PROGRAM = str(Path(__file__).with_name("conversation_server.py"))

POINTS = [
    "before_received", "received", "thought:1", "before_commit:1", "committed:1",
    "before_leaving:1", "before_leaving:2", "before_crm", "after_crm", "before_calendar", "after_calendar",
    "before_result:1", "result_stored:1", "before_result:2", "result_stored:2",
    "thought:2", "before_commit:2", "committed:3", "reply_planned", "before_send", "after_send", "reply_stored",
]  # fmt: skip


class World(Server):
    """A server whose effects are files in `world`."""

    def __init__(self, folder: Path, redirect: str, **environ: str) -> None:
        self.world = folder / "world"
        self.world.mkdir(parents=True)
        super().__init__(folder / "data", redirect, **environ)

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, PROGRAM, "up", "--data", str(self.data), "--port", "0", "--json"]
        environ = self.environ | {"TURNS_WORLD": str(self.world)}
        self.child, ready = start(command, environ, self.data / "server.log")
        self.url, self.key = ready["url"], ready["key"]

    def rows(self, name: str) -> list[dict[str, Any]]:
        file = self.world / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def world(sim: Sim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("turns"), f"{sim.address}/{{route}}")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def app(world: World) -> App:
    branch = Branch("lisbon", "Lisbon", addresses={"whatsapp": ("100",)}, scope={"calendar": "/lisbon/"})
    routes = {"main": Route(provider="simulated", model="small", total_s=30.0)}
    return App(world, "school", routes, branches=(branch,), conversations=QUICK)


def deliver(app: App, message: dict[str, Any]) -> bool:
    """As a channel does: False where nobody said that it arrived, so that it is delivered again."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return app.post([message], "/v1/test/inbound").status == 200
    return False


def echo(world: World, app: App) -> None:
    """As WhatsApp does: what left is told, under the key that it carried."""
    statuses = [
        {
            "channel": "whatsapp",
            "address": "100",
            "message_id": row["id"],
            "state": "sent",
            "at_us": 1,
            "key": row["key"],
        }
        for row in world.rows("sent")
    ]
    if statuses:
        assert app.post(statuses, "/v1/test/statuses").status == 200


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_step_everything_happens_once(world: World, app: App, point: str) -> None:
    assert app.post(json.dumps(point).encode(), "/v1/test/kill").status == 200
    before = {name: len(world.rows(name)) for name in ("acts", "sent")}
    sender = f"351{POINTS.index(point):03}"
    message = {
        "channel": "whatsapp", "address": "100", "message_id": f"wamid.in.{sender}", "sender": sender,
        "at_us": time.time_ns() // 1000, "text": "tomorrow at nine",
    }  # fmt: skip
    heard = deliver(app, message)
    assert eventually(lambda: world.child.poll() is not None), f"the server never came to {point}"
    assert world.child.returncode == -9
    world.start()
    echo(world, app)
    if not heard:
        assert deliver(app, message)
    assert deliver(app, message), "a repeat, as after any outage"

    def sent() -> list[str]:
        return [row["text"] for row in world.rows("sent")[before["sent"] :] if row["to"] == sender]

    assert eventually(lambda: sent() == ["book done"]), (point, world.rows("sent"), world.log()[-3000:])
    acts = world.rows("acts")[before["acts"] :]
    assert sorted(a["connector"] for a in acts) == ["calendar", "crm"], acts
    time.sleep(1.5)  # longer than the wait for an echo: nothing is sent a second time
    assert sent() == ["book done"]
    assert sorted(a["connector"] for a in world.rows("acts")[before["acts"] :]) == ["calendar", "crm"]
