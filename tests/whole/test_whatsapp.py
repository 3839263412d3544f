"""Whole conversations on WhatsApp: a server, a simulated model, a simulated Cloud API whose deliveries are as bad as
real ones. What a telephone shows is what counts."""

import contextlib
import hashlib
import hmac
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from phones import ANA, NUMBER, WhatsAppSim, until
from whole_app import App, Server, request, send

from waterline.core.branch import Branch
from waterline.core.channels import Channels, WhatsAppPolicy
from waterline.core.conversing import Conversing
from waterline.core.release import Route

QUICK = Conversing(quiet_s=0.05, longest_quiet_s=0.3, late_s=60, turn_s=30)
ACCOUNT = "200000000000001"
BRANCHES = (Branch("lisbon", "Lisbon", addresses={"whatsapp": (NUMBER,)}),)
Make = Callable[..., tuple[WhatsAppSim, Server]]


@pytest.fixture
def make(sim: Any, tmp_path: Path) -> Iterator[Make]:
    made: list[Any] = []

    def both(policy: dict[str, Any] | None = None, **script: Any) -> tuple[WhatsAppSim, Server]:
        whatsapp = WhatsAppSim(tmp_path / f"sim{len(made)}", **script)
        made.append(whatsapp)
        server = Server(tmp_path / f"data{len(made)}", f"{sim.address}/{{route}}", **settings(whatsapp))
        made.append(server)
        connect(whatsapp, server)
        install(server, **(policy or {}))
        return whatsapp, server

    yield both
    for one in reversed(made):
        one.stop()


def settings(whatsapp: WhatsAppSim) -> dict[str, str]:
    return {
        "WATERLINE_WHATSAPP_URL": whatsapp.address, "WATERLINE_WHATSAPP_TOKEN": "simulated-token",
        "WATERLINE_WHATSAPP_APP_SECRET": "simulated-secret", "WATERLINE_WHATSAPP_VERIFY_TOKEN": "verify me",
        "WATERLINE_WHATSAPP_ACCOUNTS": ACCOUNT,
    }  # fmt: skip


def connect(whatsapp: WhatsAppSim, server: Server) -> None:
    whatsapp.do("settings", webhook=f"{server.url}/webhooks/whatsapp")


def install(server: Server, branches: tuple[Branch, ...] = BRANCHES, reopen: str = "", **policy: Any) -> App:
    routes = {"main": Route(provider="simulated", model="small", total_s=30.0)}
    channels = Channels(whatsapp=WhatsAppPolicy(**policy))
    return App(
        server,
        "school",
        routes,
        branches=branches,
        conversations=structs.replace(QUICK, reopen=reopen),
        channels=channels,
    )


def answered(whatsapp: WhatsAppSim, count: int, who: str = ANA, number: str = NUMBER) -> bool:
    return until(lambda: len(whatsapp.replies(who, number)) >= count, 90)


def settled(whatsapp: WhatsAppSim) -> None:
    """Everything that was to be delivered has been."""
    assert until(lambda: whatsapp.stats()["waiting"] == 0, 90), whatsapp.stats()


def test_a_message_is_answered_once_and_its_statuses_come_back(make: Make) -> None:
    whatsapp, server = make()
    whatsapp.say("Hello, is there a place in grade 3?")
    assert answered(whatsapp, 1), server.log()[-3000:]
    settled(whatsapp)
    [reply] = [b for b in whatsapp.shown() if b["ours"]]
    assert reply["status"] == "read"
    assert reply["key"]
    [sent] = whatsapp.sent()
    assert sent["to"] == ANA


def test_duplicate_and_disordered_deliveries_are_answered_once_each(make: Make) -> None:
    """PEERS: duplicate deliveries answered twice (chatwoot 11901)."""
    whatsapp, _ = make(deliveries={"duplicate": 1.0, "disorder": 0.7, "late_s": 1.5, "batch": 3})
    people = [f"35191200000{n}" for n in range(5)]
    for who in people:
        whatsapp.say("first", who)
    for who in people:
        assert answered(whatsapp, 1, who)
    settled(whatsapp)
    whatsapp.say("second", people[0])
    assert answered(whatsapp, 2, people[0])
    settled(whatsapp)
    assert [len(whatsapp.replies(who)) for who in people] == [2, 1, 1, 1, 1]
    assert whatsapp.stats()["delivered"] >= 2 * (6 + 6)


def test_what_is_not_signed_is_refused_and_not_answered(make: Make) -> None:
    whatsapp, server = make()
    value = {"metadata": {"phone_number_id": NUMBER}, "messages": [
        {"from": "351999", "id": "wamid.forged", "timestamp": "1", "type": "text", "text": {"body": "hi"}}],
    }  # fmt: skip
    body = json.dumps({"entry": [{"id": "w", "changes": [{"field": "messages", "value": value}]}]})
    assert whatsapp.do("post", body=body, secret="a guess")["status"] == 401
    assert request(server.url, "POST", "/webhooks/whatsapp", body.encode())[0] == 401
    whatsapp.say("a real one")
    assert answered(whatsapp, 1)
    assert whatsapp.replies("351999") == []
    assert whatsapp.do("post", body=body)["status"] == 200


def test_the_web_hook_is_registered_by_who_knows_the_verify_token(make: Make) -> None:
    _, server = make()
    asked = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
    good = send(server.url, "GET", f"/webhooks/whatsapp?{asked}verify%20me", b"", {})
    assert (good.status, good.body) == (200, b"1158201444")
    assert send(server.url, "GET", f"/webhooks/whatsapp?{asked}no", b"", {}).status == 403


def test_a_body_of_a_web_hook_has_a_limit(make: Make) -> None:
    _, server = make()
    assert send(server.url, "POST", "/webhooks/whatsapp", b"x" * (5 << 20), {}).status == 413


def test_what_comes_while_we_are_down_is_answered_once_when_we_are_back(make: Make) -> None:
    whatsapp, server = make(deliveries={"repeat_s": 0.3})
    server.kill9()
    for n in range(3):
        whatsapp.say(f"anybody there? {n}", f"35193000000{n}")
    assert until(lambda: whatsapp.stats()["refused"] >= 3)
    server.start()
    connect(whatsapp, server)
    for n in range(3):
        assert answered(whatsapp, 1, f"35193000000{n}")
    settled(whatsapp)
    assert [len(whatsapp.replies(f"35193000000{n}")) for n in range(3)] == [1, 1, 1]


def test_an_answer_that_was_lost_is_not_a_message_that_was_lost(make: Make) -> None:
    """The connection breaks after WhatsApp took the message: its status says so, under our key, and nothing is sent
    again."""
    whatsapp, server = make(faults=[{"code": 0, "lose": "answer", "times": 1}])
    whatsapp.say("hello")
    assert answered(whatsapp, 1)
    settled(whatsapp)
    whatsapp.say("and again")
    assert answered(whatsapp, 2), server.log()[-3000:]
    assert len(whatsapp.sent()) == 2


@pytest.mark.parametrize("code", [130429, *(pytest.param(code, marks=pytest.mark.slow) for code in (131000, 131016))])
def test_an_error_that_may_pass_is_tried_again_and_arrives_once(make: Make, code: int) -> None:
    whatsapp, server = make(faults=[{"code": code, "times": 1}])
    whatsapp.say("hello")
    assert answered(whatsapp, 1), server.log()[-3000:]
    assert len(whatsapp.sent()) == 2
    assert len(whatsapp.replies()) == 1


def test_a_reply_that_whatsapp_will_never_deliver_is_handed_over_and_not_repeated(make: Make) -> None:
    whatsapp, _server = make(faults=[{"code": 131026}])
    whatsapp.say("hello")
    assert until(lambda: len(whatsapp.sent()) == 1, 90)
    settled(whatsapp)
    assert len(whatsapp.sent()) == 1
    assert whatsapp.replies() == []


def test_switching_the_provider_in_the_middle_loses_and_doubles_nothing(sim: Any, make: Make, tmp_path: Path) -> None:
    """Another provider of the same API: another address, another id of the same number, another secret. Late deliveries
    of the old one are still believed; the conversation goes on where it was."""
    old, server = make(deliveries={"repeat_s": 0.2})
    old.say("before the move")
    assert answered(old, 1)
    server.kill9()
    old.say("while it moves")  # the old provider holds it, and delivers it to us later
    theirs = "999000000000009"
    new = WhatsAppSim(tmp_path / "new", app_secret="new-secret", token="new-token", numbers=[{"id": theirs}])
    try:
        server.environ |= settings(new) | {
            "WATERLINE_WHATSAPP_TOKEN": "new-token", "WATERLINE_WHATSAPP_APP_SECRET": "new-secret,simulated-secret",
            "WATERLINE_WHATSAPP_MOVED": f"{NUMBER}={theirs}",
        }  # fmt: skip
        server.start()
        connect(old, server)
        connect(new, server)
        new.say("after the move", number=theirs)
        assert until(lambda: len(taken(server)) == 3 and not waiting(server), 90)
        new.say("and on", number=theirs)
        assert until(lambda: len(taken(server)) == 4 and not waiting(server), 90)
        settled(old)
        settled(new)
        assert [row["text"] for row in taken(server)] == [
            "before the move",
            "while it moves",
            "after the move",
            "and on",
        ]
        assert len({row["conversation"] for row in taken(server)}) == 1
        assert len(old.sent()) == 1  # nothing more leaves there
        keys = [sent["biz_opaque_callback_data"] for sent in new.sent()]
        assert len(keys) == len(set(keys)) == len(new.replies(number=theirs))
        assert len(keys) in (2, 3)  # what came together is one turn
    finally:
        new.stop()


def taken(server: Server) -> list[dict[str, Any]]:
    """What people wrote, as the inbox has it, in the order in which they wrote."""
    with contextlib.closing(sqlite3.connect(server.data / "waterline.db")) as db:
        rows = db.execute("SELECT conversation, body FROM inbox WHERE channel = 'whatsapp' ORDER BY n").fetchall()
    found = [json.loads(body) | {"conversation": conversation} for conversation, body in rows]
    return sorted(found, key=lambda m: m["at_us"])


def waiting(server: Server) -> bool:
    """Whether anything is to be answered, or to be sent."""
    with contextlib.closing(sqlite3.connect(server.data / "waterline.db")) as db:
        inbox = db.execute("SELECT count(*) FROM inbox WHERE turn = 0").fetchone()[0]
        effects = db.execute("SELECT count(*) FROM effects WHERE state IN ('planned', 'sending')").fetchone()[0]
    return bool(inbox or effects)


def test_a_hook_in_the_log_names_no_secret_and_no_text(make: Make) -> None:
    whatsapp, server = make()
    whatsapp.say("my secret story 4711")
    assert answered(whatsapp, 1)
    log = server.log()
    assert not re.search("simulated-token|simulated-secret|4711", log)


def test_a_signature_takes_the_raw_body_whatever_its_spaces(make: Make) -> None:
    _, server = make()
    body = b'{ "object":"whatsapp_business_account" ,\n "entry": [ ] }'
    signature = "sha256=" + hmac.new(b"simulated-secret", body, hashlib.sha256).hexdigest()
    assert send(server.url, "POST", "/webhooks/whatsapp", body, {"x-hub-signature-256": signature}).status == 200
