"""People and the agent in one conversation: who is asked for, who is silent, who says when somebody will answer."""

import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from test_turns_killed import World, deliver
from whole_app import App, Sim, eventually, send

from waterline.core.branch import Branch, Hours
from waterline.core.conversing import Conversing
from waterline.rollout.check import check
from waterline.trials import DRILLS

SCHOOL = Path(__file__).parents[2] / "examples" / "school"
RULES = Conversing(quiet_s=0.05, longest_quiet_s=0.2, late_s=60, turn_s=30, remind_s=1.0, notify="mail.send")
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).weekday()
FACTS = {"phone": "555-0142", "email": "office@school.example", "street": "Rua do Mar 12"}
OPEN = Branch("open", "Open School", addresses={"whatsapp": ("100",)}, facts=FACTS, team=("rui@school.example",))
CLOSED = structs.replace(
    OPEN, id="closed", name="Closed School", addresses={"whatsapp": ("200",)},
    office_hours=(Hours(TOMORROW, 9 * 60, 17 * 60),),
)  # fmt: skip
numbers = itertools.count(1)


class Desk:
    def __init__(self, world: World, app: App) -> None:
        self.world, self.app = world, app
        self.keys = {
            name: world.ask("POST", "/api/keys", {"kind": "person", "role": role, "name": name})["key"]
            for name, role in (("Ana", "desk"), ("Rui", "desk"), ("Vera", "viewer"))
        }

    def says(self, who: str, text: str, address: str = "100") -> None:
        message = {
            "channel": "whatsapp", "address": address, "message_id": f"wamid.{next(numbers)}", "sender": who,
            "at_us": time.time_ns() // 1000, "text": text,
        }  # fmt: skip
        assert deliver(self.app, message)

    def hears(self, who: str, count: int) -> list[str]:
        """What the telephone shows, once it is so many messages."""
        found = lambda: [row["text"] for row in self.world.rows("sent") if row["to"] == who]  # noqa: E731
        assert eventually(lambda: len(found()) >= count), (found(), self.world.log()[-3000:])
        time.sleep(0.5)  # nothing more comes
        assert len(found()) == count, found()
        return found()

    def ask(self, method: str, path: str, body: Any = None, who: str = "Ana", **query: Any) -> Any:
        return self.world.ask(method, path, body, key=self.keys[who], **query)

    def status(self, method: str, path: str, body: Any, who: str) -> int:
        headers = {"authorization": f"Bearer {self.keys[who]}"}
        return send(self.world.url, method, path, json.dumps(body).encode(), headers).status

    def of(self, who: str) -> str:
        rows = self.ask("GET", "/api/conversations", limit=500)["rows"]
        return str(next(row["id"] for row in rows if row["sender"] == who))

    def waiting(self, who: str) -> dict[str, Any]:
        """Its place in the queue."""
        rows = self.ask("GET", "/api/handoffs")["rows"]
        return next((row for row in rows if row["sender"] == who), {})

    def take(self, who: str, by: str = "Ana") -> str:
        conversation = self.of(who)
        self.ask("POST", f"/api/conversations/{conversation}/takeover", {}, by)
        return conversation


@pytest.fixture(scope="module")
def desk(sim: Sim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    world = World(tmp_path_factory.mktemp("desk"), f"{sim.address}/{{route}}", TURNS_AGENT="flow")
    (world.world / "looked.json").write_text('{"slots": []}')  # a calendar that is full
    found = check(SCHOOL, model_digests={"qwen2.5-coder-1.5b": "0" * 64}, known_drills=DRILLS)
    app = App.__new__(App)
    app.server, app.name, app.release = world, "school", found.release
    app.spec = structs.replace(found.spec, branches=(OPEN, CLOSED), conversations=RULES)
    app.id = app.install(found.release)
    app.key = app.make_key()["key"]
    yield Desk(world, app)
    world.stop()


@pytest.mark.parametrize(
    ("reason", "lines", "urgent"),
    [
        ("asked", ["can I talk to a real person please?"], 0),
        ("asked", ["quero falar com uma pessoa"], 0),
        ("anger", ["this is outrageous, nobody ever answers"], 1),
        ("uncertain", ["hello", "xqzt wvut", "ppq rrst zz", "kkj hhg ffd"], 0),
        ("rule", ["my daughter is 6, can we visit on tuesday?"], 0),
    ],
)
def test_a_person_is_asked_for(desk: Desk, reason: str, lines: list[str], urgent: int) -> None:
    who = f"35192{next(numbers):04}"
    for count, line in enumerate(lines, 1):
        desk.says(who, line)
        desk.hears(who, count)
    assert eventually(lambda: desk.waiting(who))
    found = desk.waiting(who)
    assert (found["handoff"]["reason"], found["handoff"]["urgent"]) == (reason, urgent)
    assert found["slots"]["parent_name"] == "", "what is still open is shown"
    assert found["handoff"]["summary"]
    first = desk.ask("GET", "/api/handoffs")["rows"][0]["handoff"]
    assert first["urgent"] or not urgent, "who is angry is first"


def test_while_a_person_has_it_the_agent_is_silent_and_then_goes_on_with_what_was_said(desk: Desk) -> None:
    who = "351930001"
    desk.says(who, "hello, my son is 7")
    desk.hears(who, 1)
    at = desk.take(who)
    desk.says(who, "are you there?")
    desk.says(who, "I want to visit")
    desk.hears(who, 1)
    assert desk.status("POST", f"/api/conversations/{at}/takeover", {}, "Rui") == 409, "one person at a time"
    assert desk.status("POST", f"/api/conversations/{at}/replies", {"text": "hi", "key": "r"}, "Rui") == 409
    assert desk.status("POST", f"/api/conversations/{at}/takeover", {}, "Vera") == 403
    for _ in range(2):  # the browser's button pressed twice
        desk.ask("POST", f"/api/conversations/{at}/replies", {"text": "Ana here: what is your name?", "key": "one"})
    assert desk.hears(who, 2)[-1] == "Ana here: what is your name?"
    desk.says(who, "I am Marta Pinto")
    time.sleep(0.5)
    desk.ask("POST", f"/api/conversations/{at}/replies", {"text": "Thank you, Marta.", "key": "two"})
    desk.hears(who, 3)
    desk.ask("POST", f"/api/conversations/{at}/resumption", {})
    desk.hears(who, 3)  # it does not speak by itself: no loop
    seen = desk.ask("GET", f"/api/conversations/{at}")
    assert seen["line"]["mode"] == "bot"
    assert seen["line"]["waiting"] == 0
    desk.says(who, "what is the name of the school's director?")
    assert "How old" not in desk.hears(who, 4)[-1], "what was known is known"
    assert [b["who"] for b in seen["said"] if b["text"].startswith(("Ana here", "Thank"))] == ["Ana", "Ana"]


def test_what_the_person_did_not_answer_is_answered_when_the_agent_has_it_again(desk: Desk) -> None:
    who = "351930002"
    desk.says(who, "hello")
    desk.hears(who, 1)
    at = desk.take(who)
    desk.says(who, "please do not write to me any more")
    desk.hears(who, 1)
    desk.ask("POST", f"/api/conversations/{at}/resumption", {})
    assert "you will not get any more messages" in desk.hears(who, 2)[-1]


def test_out_of_hours_the_user_hears_once_when_somebody_will_answer_and_the_team_is_reminded_once(desk: Desk) -> None:
    who = "351930003"
    desk.says(who, "can I talk to a real person please?", "200")
    said = desk.hears(who, 2)
    assert any("Somebody will answer you from" in line and "09:00" in line for line in said), said
    desk.says(who, "I want to speak to a human", "200")
    assert sum("Nobody is in the office" in line for line in desk.hears(who, 3)) == 1

    def reminders() -> list[dict[str, Any]]:
        mails = [row for row in desk.world.rows("acts") if row["connector"] == "mail"]
        return [m for m in mails if "Closed School" in m["arguments"]["subject"]]

    assert eventually(reminders)
    desk.world.kill9()
    desk.world.start()
    time.sleep(2.5)  # a look every second
    [mail] = reminders()
    assert mail["arguments"]["to"] == ["rui@school.example"]
    assert desk.of(who) in mail["arguments"]["text"]
    assert desk.waiting(who)["handoff"]["reminded_us"]


def test_in_office_hours_nobody_says_that_the_office_is_closed(desk: Desk) -> None:
    who = "351930004"
    desk.says(who, "can I talk to a real person please?")
    assert "colleague" in desk.hears(who, 1)[0]


def test_how_long_people_waited_for_a_reply_is_measured_and_shown(desk: Desk) -> None:
    who = "351930005"
    began = time.time()
    desk.says(who, "can I talk to a real person please?")
    desk.hears(who, 1)
    assert eventually(lambda: desk.waiting(who))
    at = desk.take(who, "Rui")
    desk.ask("POST", f"/api/conversations/{at}/replies", {"text": "Rui here.", "key": "k"}, "Rui")
    desk.hears(who, 2)
    took_us = (time.time() - began) * 1e6
    [shown] = desk.ask("GET", f"/api/conversations/{at}")["handoffs"]
    assert shown["taken_by"] == "Rui"
    assert 0 < shown["taken_us"] - shown["asked_us"] <= shown["replied_us"] - shown["asked_us"] < took_us
    waits = {w["branch"]: w for w in desk.ask("GET", "/api/handoffs")["waits"]}
    assert waits["open"]["answered"] >= 1
    assert 0 < waits["open"]["median_us"] <= waits["open"]["p95_us"]


def test_every_act_of_a_person_is_in_the_audit_log(desk: Desk) -> None:
    who = "351930006"
    desk.says(who, "hello")
    desk.hears(who, 1)
    at = desk.take(who)
    desk.ask("POST", f"/api/conversations/{at}/replies", {"text": "Hello!", "key": "k"})
    desk.ask("POST", f"/api/conversations/{at}/resumption", {})
    entries = [e for e in desk.world.ask("GET", "/api/audit") if at in json.dumps(e)]
    whats = [w for w in ("takeover", "reply", "resume") if any(f'"{w}"' in json.dumps(e) for e in entries)]
    assert whats == ["takeover", "reply", "resume"]
    assert all("Hello!" not in json.dumps(e) for e in entries), "not what was written"


def test_who_is_at_the_desk_of_one_branch_sees_no_other(desk: Desk) -> None:
    here, there = "351955000001", "351955000002"
    desk.says(here, "I want to speak to a person", "100")
    desk.says(there, "I want to speak to a person", "200")
    assert eventually(lambda: desk.waiting(here) and desk.waiting(there))
    body = {"kind": "person", "role": "desk", "name": "Iva", "branch": "open"}
    desk.keys["Iva"] = desk.world.ask("POST", "/api/keys", body)["key"]
    seen = desk.ask("GET", "/api/conversations", None, "Iva", limit=500)["rows"]
    assert {row["branch"] for row in seen} == {"open"}
    asked = desk.ask("GET", "/api/conversations", None, "Iva", branch="closed", limit=500)["rows"]
    assert {row["branch"] for row in asked} <= {"open"}
    assert there not in [row["sender"] for row in desk.ask("GET", "/api/handoffs", None, "Iva")["rows"]]
    other = f"/api/conversations/{desk.of(there)}"
    for method, path in (("GET", other), ("POST", f"{other}/takeover"), ("POST", f"{other}/resumption")):
        assert desk.status(method, path, {}, "Iva") == 404
    assert desk.status("POST", f"{other}/replies", {"text": "hello", "key": "k"}, "Iva") == 404
    assert desk.status("GET", f"/api/conversations/{desk.of(here)}", None, "Iva") == 200
    assert desk.status("GET", "/api/providers", None, "Iva") == 403  # it is of every branch
    home = send(desk.world.url, "GET", "/login", None, {"authorization": f"Bearer {desk.keys['Iva']}"})
    assert (home.status, home.headers["location"]) == (303, "/conversations")


def test_only_the_desk_is_bound_to_a_branch_and_only_to_one_that_is_there(desk: Desk) -> None:
    for role, branch, status in (("viewer", "open", 400), ("owner", "open", 400), ("desk", "nowhere", 404)):
        body = {"kind": "person", "role": role, "name": "Iva", "branch": branch}
        headers = {"authorization": f"Bearer {desk.world.key}"}
        assert send(desk.world.url, "POST", "/api/keys", json.dumps(body).encode(), headers).status == status
