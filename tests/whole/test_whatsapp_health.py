"""The health of our numbers in the whole app: what the simulated WhatsApp tells by web hook slows, pauses, stops and
reroutes, and people hear of it. What a telephone shows is what counts."""

import contextlib
import re
import sqlite3
import time
from importlib import resources
from typing import Any

import msgspec
from phones import ANA, NUMBER, WhatsAppSim, until
from test_whatsapp import Make, answered, make, settled, waiting
from whole_app import Server, send

from waterline.core.conversation import Effect, Outbound, Template

__all__ = ["make"]
EFFECTS = resources.files("waterline.store").joinpath("sql/effects.sql").read_text()
SECOND = "100000000000002"
NUMBERS = [{"id": NUMBER, "display": "+351 210 000 001"}, {"id": SECOND, "display": "+351 210 000 002"}]
REMINDER = Template("visit_reminder", "en", ("Ana", "Tuesday at ten"))


def health(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.ask("GET", "/api/channels", app="school")
    return found


def number(server: Server, wanted: str = NUMBER) -> dict[str, Any]:
    found: dict[str, Any] = next((n for n in health(server)["numbers"] if n["number"] == wanted), {})
    return found


def events(server: Server) -> list[tuple[str, str]]:
    return [(e["level"], e["event"]) for e in health(server)["events"]]


def plan(server: Server, name: str, message: Outbound, who: str = ANA) -> None:
    """What an agent does in a turn of its own: a message to somebody, long after they wrote."""
    sql = re.search(r"-- name: plan\n(.*?)(?=\n-- name|$)", EFFECTS, re.DOTALL)
    assert sql is not None
    [(conversation,)] = query(server, "SELECT id FROM conversations WHERE sender = :who", who=who)
    values = {
        "app": "school", "env": "production", "conversation": conversation, "turn": 99, "name": name, "lane": "reply",
        "quiet": 0, "body": msgspec.json.encode(Effect(name, message=message)), "author": "",
        "key": f"{conversation}/99/{name}", "now_us": time.time_ns() // 1000,
    }  # fmt: skip
    assert query(server, sql[1], **values) == []


def query(server: Server, sql: str, **values: Any) -> list[Any]:
    with contextlib.closing(sqlite3.connect(server.data / "waterline.db", timeout=10)) as db, db:
        return db.execute(sql, values).fetchall()


def day_later(whatsapp: WhatsAppSim, server: Server) -> None:
    """For both sides: the window of every conversation has closed."""
    whatsapp.do("clock", add_s=25 * 3600)
    query(server, "UPDATE conversations SET window_until_us = 1")


def counted(server: Server, name: str) -> bool:
    return name in send(server.url, "GET", "/metrics", None, {"authorization": f"Bearer {server.key}"}).body.decode()


def reminded(whatsapp: WhatsAppSim, who: str = NUMBER) -> list[str]:
    return [b["text"] for b in whatsapp.shown(ANA, who) if b["template"]]


def begun(make: Make, **policy: Any) -> tuple[WhatsAppSim, Server]:
    """Ana has written once, and has her answer."""
    whatsapp, server = make(policy, numbers=NUMBERS)
    whatsapp.say("hello")
    assert answered(whatsapp, 1), (whatsapp.stats(), server.log()[-3000:])
    settled(whatsapp)
    assert until(lambda: number(server).get("state") == "well", 90)
    return whatsapp, server


def test_a_ban_stops_the_number_and_tells_people_and_what_waited_leaves_once_when_it_is_lifted(make: Make) -> None:
    """Before the ban is lifted nothing is sent, not even tried; afterwards each message leaves once."""
    whatsapp, server = begun(make)
    whatsapp.do("number", id=NUMBER, status="BANNED")
    assert until(lambda: number(server)["state"] == "stopped", 90)
    whatsapp.say("is anybody there?")
    assert until(lambda: counted(server, "replies_number_stopped"), 90)
    assert len(whatsapp.sent()) == 1
    assert ("critical", "stopped") in events(server)
    assert counted(server, "whatsapp_critical")
    shown = page(server, "/channels?app=school")
    assert "Nothing can be sent from it. WhatsApp says DISABLE." in shown
    assert "+351 210 000 001" in shown
    whatsapp.do("number", id=NUMBER, status="CONNECTED")
    assert until(lambda: number(server)["state"] == "well", 90)
    query(server, "UPDATE effects SET next_us = 0 WHERE state IN ('planned', 'sending')")  # not in five minutes: now
    assert answered(whatsapp, 2), server.log()[-3000:]
    settled(whatsapp)
    assert len(whatsapp.sent()) == 2
    assert not waiting(server)


def test_an_announced_ban_pauses_what_we_begin_and_not_our_answers(make: Make) -> None:
    whatsapp, server = begun(make)
    whatsapp.do("number", id=NUMBER, status="FLAGGED")
    assert until(lambda: number(server)["state"] == "paused", 90)
    assert ("critical", "ban announced") in events(server)
    whatsapp.say("and still answered?")
    assert answered(whatsapp, 2)
    settled(whatsapp)
    day_later(whatsapp, server)
    plan(server, "reminder", Outbound("Tuesday at ten?", template=REMINDER))
    assert until(lambda: counted(server, "replies_later"), 90)
    assert reminded(whatsapp) == []
    whatsapp.do("number", id=NUMBER, status="CONNECTED")
    assert until(lambda: number(server)["state"] == "well", 90)
    query(server, "UPDATE effects SET next_us = 0 WHERE state IN ('planned', 'sending')")
    assert until(lambda: len(reminded(whatsapp)) == 1, 90), server.log()[-3000:]


def test_a_falling_rating_stops_marketing_first_and_slows_the_other_templates(make: Make) -> None:
    whatsapp, server = begun(make, marketing_needs_opt_in=False)
    whatsapp.do("number", id=NUMBER, quality="RED")
    assert until(lambda: number(server)["state"] == "careful", 90)
    assert any(level == "critical" and what.startswith("quality") for level, what in events(server))
    day_later(whatsapp, server)
    plan(server, "offer", Outbound("Open day!", template=Template("open_day", "en", ("Tuesday",)), purpose="marketing"))
    assert until(lambda: counted(server, "replies_later"), 90)
    assert len(whatsapp.sent()) == 1  # WhatsApp was not even asked
    whatsapp.do("number", id=NUMBER, quality="GREEN")
    assert until(lambda: number(server)["state"] == "well", 90)
    query(server, "UPDATE effects SET next_us = 0 WHERE state IN ('planned', 'sending')")
    assert until(lambda: len(reminded(whatsapp)) == 1, 90), server.log()[-3000:]


def test_a_stopped_number_has_its_templates_sent_by_the_one_that_stands_in(make: Make) -> None:
    whatsapp, server = begun(make, reserve={NUMBER: SECOND})
    day_later(whatsapp, server)
    whatsapp.do("number", id=NUMBER, status="BANNED")
    assert until(lambda: number(server)["state"] == "stopped", 90)
    assert number(server)["stands_in"] == SECOND
    plan(server, "reminder", Outbound("Tuesday at ten?", template=REMINDER))
    assert until(lambda: len(reminded(whatsapp, SECOND)) == 1, 90), server.log()[-3000:]
    settled(whatsapp)
    assert reminded(whatsapp) == []
    assert not waiting(server)


def test_a_paused_template_is_not_sent_and_a_person_hears_of_it(make: Make) -> None:
    whatsapp, server = begun(make)
    day_later(whatsapp, server)
    whatsapp.do("template", name="visit_reminder", language="en", status="PAUSED", reason="LOW_QUALITY")
    assert until(lambda: ("warning", "message_template_status_update") in events(server), 90)
    plan(server, "reminder", Outbound("Tuesday at ten?", template=REMINDER))
    assert until(lambda: query(server, "SELECT reason FROM handoffs"), 90), server.log()[-3000:]
    assert len(whatsapp.sent()) == 1
    paused = [t for t in health(server)["templates"] if (t["name"], t["language"]) == ("visit_reminder", "en")]
    assert [t["status"] for t in paused] == ["PAUSED"]
    shown = page(server, "/channels?app=school")
    assert '<span class="badge fail">paused</span>' in shown
    assert "low quality" in shown


def test_a_message_with_a_template_goes_as_text_while_the_window_is_open(make: Make) -> None:
    """A template is billed and has no buttons: it is only for a closed window."""
    whatsapp, server = begun(make)
    plan(server, "booked", Outbound("You are booked.", template=REMINDER))
    assert answered(whatsapp, 2)
    assert reminded(whatsapp) == []


def test_what_is_billed_is_reconciled_with_the_statuses(make: Make) -> None:
    whatsapp, server = begun(make)
    day_later(whatsapp, server)
    plan(server, "reminder", Outbound("Tuesday at ten?", template=REMINDER))
    assert until(lambda: len(reminded(whatsapp)) == 1, 90)
    settled(whatsapp)
    fees = server.ask("GET", "/api/channel-fees", app="school")
    kinds = {k["branch"]: k for k in fees["kinds"]}
    assert (kinds["service"]["messages"], kinds["service"]["spent_nano_usd"]) == (1, 0)
    assert (kinds["utility"]["messages"], kinds["utility"]["unconfirmed"], kinds["utility"]["different"]) == (1, 0, 0)
    assert kinds["utility"]["billed_nano_usd"] == kinds["utility"]["expected_nano_usd"] > 0
    [branch] = fees["branches"]
    assert (branch["branch"], branch["messages"], branch["people"]) == ("lisbon", 2, 1)
    assert fees["spent_nano_usd"] == branch["spent_nano_usd"]
    shown = page(server, "/channels/fees?app=school")
    assert "lisbon" in shown
    assert "utility" in shown
    assert "No projection yet" in shown  # a day is no month
    assert "No message in 2026-01" in page(server, "/channels/fees?app=school&month=2026-01")
    assert send(server.url, "GET", "/api/channel-fees?app=nobody", None, auth(server)).status == 404
    assert send(server.url, "GET", "/api/channel-fees?app=school&month=2026-13", None, auth(server)).status == 400


def test_a_telephone_is_a_page_that_shows_one_business_or_lets_choose(make: Make) -> None:
    whatsapp, _server = make()
    whatsapp.say("hello <b>")
    assert answered(whatsapp, 1)
    shown = send(whatsapp.address, "GET", f"/phone/{ANA}", None, {})
    text = shown.body.decode()
    assert "<h1>Riverside School</h1>" in text
    assert "hello &lt;b&gt;" in text
    assert "<select" not in text
    assert "frame-ancestors *" in shown.headers["content-security-policy"]
    part = send(whatsapp.address, "GET", f"/phone/{ANA}?number={NUMBER}&part=chat", None, {}).body.decode()
    assert part in text
    two, _ = make(numbers=NUMBERS)
    assert "<select" in send(two.address, "GET", f"/phone/{ANA}", None, {}).body.decode()


def page(server: Server, path: str) -> str:
    shown = send(server.url, "GET", path, None, auth(server) | {"accept": "text/html"})
    assert shown.status == 200
    return shown.body.decode()


def auth(server: Server) -> dict[str, str]:
    return {"authorization": f"Bearer {server.key}"}
