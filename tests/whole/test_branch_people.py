"""The people of three hundred branches: declared in a sheet, let in by an owner, out when the sheet says so."""

import contextlib
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_turns_killed import QUICK, World, deliver
from whole_app import App, Sim, eventually, send

from waterline.__main__ import main
from waterline.core.app_spec import encode_spec
from waterline.core.branch import Branch, Person
from waterline.core.release import Route
from waterline.rollout.branches import read_branches
from waterline.rollout.folder import Folder

EXAMPLE = Path(__file__).parents[2] / "examples" / "branches.py"
LEAD, HEAD = "lead@porto-01.example", "head@lisbon.example"
numbers = itertools.count(1)


class House:
    def __init__(self, world: World, app: App) -> None:
        self.world, self.app = world, app
        self.keys: dict[str, str] = {}
        self.operator = world.ask("POST", "/api/keys", {"kind": "person", "role": "operator", "name": "Olga"})["key"]

    def force(self, branches: tuple[Branch, ...], key: str = "") -> None:
        """Another sheet comes into force."""
        self.app.spec = msgspec.structs.replace(self.app.spec, branches=branches)
        record = {"spec": encode_spec(self.app.spec).decode(), "reason": "another sheet"}
        self.world.ask("POST", "/api/environment-records", record, key=key)

    def plan(self) -> Any:
        return self.world.ask("GET", "/api/apps/chain/people")

    def apply(self, plan: str = "") -> Any:
        done = self.world.ask("POST", "/api/apps/chain/people", {"plan": plan or self.plan()["plan"]})
        self.keys.update({line["email"]: line["key"] for line in done["people"] if line["key"]})
        return done

    def status(self, method: str, path: str, who: str, body: Any = None) -> int:
        data = json.dumps(body).encode() if body is not None else None
        return send(self.world.url, method, path, data, {"authorization": f"Bearer {who}"}).status

    def sees(self, email: str, **query: Any) -> list[Any]:
        rows = self.world.ask("GET", "/api/conversations", None, self.keys[email], limit=500, **query)["rows"]
        return sorted((row["branch"], row["sender"]) for row in rows)

    def audited(self) -> list[Any]:
        found = self.world.ask("GET", "/api/audit", limit=1000)
        return [e for e in found if e["detail"].get("app") == "chain" and e["action"].endswith("_person")]


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Branch, ...]:
    folder = tmp_path_factory.mktemp("sheet")
    command = [sys.executable, str(EXAMPLE), str(folder / "branches.csv"), "--no-scopes"]
    subprocess.run(command, check=True, capture_output=True)
    read = Folder(folder)
    branches = read_branches(read, frozenset())
    assert not read.mistakes
    assert len(branches) == 300
    return branches


@pytest.fixture(scope="module")
def house(sim: Sim, sheet: tuple[Branch, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    world = World(tmp_path_factory.mktemp("people"), f"{sim.address}/{{route}}")
    routes = {"main": Route(provider="simulated", model="small", total_s=30.0)}
    made = House(world, App(world, "chain", routes, branches=sheet, conversations=QUICK))
    for n, branch in enumerate(sheet[:3] + sheet[20:21]):  # porto-1, lisboa-1, braga-1; porto-2
        assert deliver(made.app, {
            "channel": "whatsapp", "address": branch.addresses["whatsapp"][0], "message_id": f"m{next(numbers)}",
            "sender": f"35190000{n}", "at_us": time.time_ns() // 1000, "text": "hello",
        })  # fmt: skip
    assert eventually(lambda: len(world.ask("GET", "/api/conversations", limit=500)["rows"]) == 4)
    yield made
    world.stop()


@pytest.fixture(autouse=True)
def applied(house: House, sheet: tuple[Branch, ...]) -> None:
    """Every test begins with the whole sheet in force and applied."""
    if house.app.spec.branches != sheet:
        house.force(sheet)
    if house.plan()["waiting"]:
        house.apply()


def changed(sheet: tuple[Branch, ...], **people: tuple[Person, ...]) -> tuple[Branch, ...]:
    names = {name.replace("_", "-"): of for name, of in people.items()}
    return tuple(msgspec.structs.replace(b, people=names.get(b.id, b.people)) for b in sheet)


def test_a_sheet_of_three_hundred_branches_lets_in_everybody_it_names_and_a_second_time_changes_nothing(
    house: House, sheet: tuple[Branch, ...]
) -> None:
    everybody = {p.email for branch in sheet for p in branch.people}
    assert len(everybody) > 600
    assert set(house.keys) >= everybody
    assert len(set(house.keys.values())) == len(house.keys)
    before = len(house.audited())
    again = house.apply()
    assert (again["waiting"], len(again["people"])) == (0, len(everybody))
    assert not any(line["key"] for line in again["people"]), "no key is shown twice"
    assert len(house.audited()) == before
    listed = json.dumps([house.plan(), house.world.ask("GET", "/api/keys"), house.world.ask("GET", "/api/audit")])
    assert house.keys[LEAD] not in listed


def test_a_person_of_the_sheet_sees_their_branches_and_no_other(house: House) -> None:
    assert house.sees(LEAD) == [("porto-01", "351900000")]
    assert house.sees(LEAD, branch="lisboa-01") == []
    assert house.sees(LEAD, app="another") == house.sees(LEAD), "an app of somebody else's is not asked for"
    assert {branch for branch, _ in house.sees(HEAD)} == {"porto-01", "porto-02", "lisboa-01", "braga-01"}
    assert {text for _, text in house.sees(HEAD)} == {""}, "a viewer reads no text, and not who wrote"
    funnel = house.world.ask("GET", "/api/funnel", None, house.keys[LEAD])
    assert [b["branch"] for b in funnel["branches"]] == ["porto-01"]
    assert funnel["total"]["conversations"] == 1
    every = house.world.ask("GET", "/api/conversations", limit=500)["rows"]
    other = next(row["id"] for row in every if row["branch"] == "lisboa-01")
    mine = next(row["id"] for row in every if row["branch"] == "porto-01")
    assert house.status("GET", f"/api/conversations/{other}", house.keys[LEAD]) == 404
    assert house.status("POST", f"/api/conversations/{other}/takeover", house.keys[LEAD], {}) == 404
    assert house.status("POST", f"/api/conversations/{mine}/takeover", house.keys[HEAD], {}) == 403
    assert house.status("POST", f"/api/conversations/{mine}/takeover", house.keys[LEAD], {}) == 200
    queue = house.world.ask("GET", "/api/handoffs", None, house.keys[LEAD])["rows"]
    assert [row["handoff"]["branch"] for row in queue] == ["porto-01"]
    assert house.status("POST", f"/api/conversations/{mine}/resumption", house.keys[LEAD], {}) == 200


def test_a_viewer_of_some_branches_sees_nothing_that_is_of_all(house: House) -> None:
    paths = (
        "/api/status",
        "/api/traces",
        "/api/channels?app=chain",
        "/api/apps/chain/spec",
        "/api/budgets",
        "/metrics",
    )
    assert {path: house.status("GET", path, house.keys[HEAD]) for path in paths} == dict.fromkeys(paths, 403)
    assert [a["name"] for a in house.world.ask("GET", "/api/apps", None, house.keys[HEAD])] == ["chain"]


def test_who_is_taken_out_of_the_sheet_sees_nothing_at_once_and_their_key_ends_when_it_is_applied(
    house: House, sheet: tuple[Branch, ...]
) -> None:
    house.force(changed(sheet, porto_01=()), house.operator)
    gone = house.keys[LEAD]
    assert house.sees(LEAD) == []
    assert ("porto-01", "") not in house.sees(HEAD), "the head of many branches has lost this one"
    found = {line["email"]: line for line in house.plan()["people"] if line["state"] != "same"}
    assert {email: line["state"] for email, line in found.items()} == {
        LEAD: "gone", "office@porto-01.example": "gone", HEAD: "changed"
    }  # fmt: skip
    house.apply()
    assert house.status("GET", "/api/conversations", gone) == 401
    newest = house.audited()[:3]
    assert {(e["action"], e["detail"]["name"]) for e in newest} == {
        ("key.revoke_person", LEAD), ("key.revoke_person", "office@porto-01.example"), ("key.change_person", HEAD)
    }  # fmt: skip
    assert "porto-01=" not in next(e for e in newest if e["action"] == "key.change_person")["detail"]["branches"]


def test_a_sheet_gives_nothing_until_an_owner_applies_what_they_saw(house: House, sheet: tuple[Branch, ...]) -> None:
    eve = Person("eve@school.example", "desk")
    seen = house.plan()["plan"]
    house.force(changed(sheet, porto_01=(*sheet[0].people, eve)), house.operator)
    for who in (house.operator, house.keys[LEAD]):
        body = {"plan": house.plan()["plan"]}
        assert house.status("POST", "/api/apps/chain/people", who, body) == 403
    assert house.status("POST", "/api/apps/chain/people", house.world.key, {"plan": seen}) == 409
    assert eve.email not in {key["name"] for key in house.world.ask("GET", "/api/keys")}


def test_a_record_that_no_sheet_made_gives_no_role_that_no_sheet_can_give(
    house: House, sheet: tuple[Branch, ...]
) -> None:
    house.force(changed(sheet, porto_01=(Person("eve@school.example", "owner"), *sheet[0].people)))
    assert house.plan()["waiting"] == 0


def test_an_owner_applies_the_sheet_by_hand_and_a_lost_key_is_made_again(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = next(line for line in house.plan()["people"] if line["email"] == LEAD)["key_id"]
    house.world.ask("POST", f"/api/keys/{lost}/revocation", {})
    headers = {"authorization": f"Bearer {house.world.key}", "accept": "text/html"}
    page = send(house.world.url, "GET", "/people?app=chain", None, headers).body.decode()
    assert "Apply the sheet" in page
    assert "make a key" in page
    monkeypatch.setenv("WATERLINE_URL", house.world.url)
    monkeypatch.setenv("WATERLINE_KEY", house.world.key)

    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["waterline", *words])
        with contextlib.suppress(SystemExit):
            main()
        return capsys.readouterr().out

    [made] = re.findall(r"wl-[0-9a-f]{8}[A-Za-z0-9_-]{43}", said("people", "apply", "chain", "--yes"))
    house.keys[LEAD] = made
    assert house.sees(LEAD) == [("porto-01", "351900000")]
    again = said("people", "apply", "chain", "--yes")
    assert "0 of 6" in again
    assert "wl-" not in again
    assert "porto-01 (1 of chain)" in said("key", "list")
