"""Visits in a real calendar (Radicale): booked once, by one, at a time that exists."""

import asyncio
import datetime as dt
import threading
from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from realservers.killing import kill_after
from realservers.patient import patient
from realservers.radicale import PASSWORD, USER, Radicale
from realservers.wire import Wire
from waterline.connectors import caldav, calendar_times
from waterline.connectors.base import Config, ConnectorFault, Scope
from waterline.connectors.caldav import Calendar
from waterline.connectors.calendar_times import Reader
from waterline.connectors.http import Reply, Site
from waterline.connectors.run import Ready, perform

# Mondays 09:00-12:00 local: slots of 45 minutes at 09:00, 09:45, 10:30, 11:15
VISITS = {"hours": [[0, 540, 720]], "minutes": 45, "at_once": 1, "closed": []}
MONDAY = "2031-03-31"  # the day after the clocks change in Lisbon
ZONE = "Europe/Lisbon"
AT = f"{MONDAY}T09:45:00+01:00"


class Office:
    """A branch with a calendar of its own on the real server."""

    def __init__(self, server: Radicale, **settings: str) -> None:
        self.server = server
        self.calendar = server.calendar(uuid4().hex)
        self.settings = {"url": server.url, "user": USER, "password": PASSWORD, **settings}
        self.scope = Scope("lisbon", self.calendar, ZONE)
        self.ready = self.again()

    def again(self, **settings: str) -> Ready:
        """One more caller, which knows nothing of the others."""
        config = Config("calendar", {**self.settings, **settings})
        return patient("caldav", config)

    async def do(self, operation: str, key: str = "", ready: Ready | None = None, **arguments: Any) -> dict[str, Any]:
        return await perform(ready or self.ready, operation, arguments, key, self.scope, confirmed=True)

    async def book(self, key: str, start: str = AT, visits: Any = VISITS, **more: Any) -> dict[str, Any]:
        return await self.do("book", key, visits=visits, start=start, **more)

    async def free(self, visits: Any = VISITS, day: str = MONDAY, **more: Any) -> list[tuple[str, int]]:
        found = await self.do("free_slots", visits=visits, **{"from": day, "days": 1, **more})
        return [(slot["start"], slot["left"]) for slot in found["slots"]]

    @property
    def events(self) -> list[str]:
        return self.server.events(self.calendar)

    def put(self, text: str) -> None:
        self.server.put(self.calendar, f"{uuid4().hex}.ics", text)


@pytest.fixture
def office(radicale: Radicale) -> Office:
    return Office(radicale)


def event(*lines: str) -> str:
    uid = f"UID:{uuid4().hex}"
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:people", "BEGIN:VEVENT", uid, "DTSTAMP:20300101T000000Z"]
    return "\r\n".join([*head, *lines, "END:VEVENT", "END:VCALENDAR", ""])


async def kind_of(call: Any) -> str:
    with pytest.raises(ConnectorFault) as told:
        await call
    return told.value.kind


async def test_free_slots_are_the_hours_of_the_branch_less_what_is_booked(office: Office) -> None:
    assert [start for start, _ in await office.free()] == [
        f"{MONDAY}T{at}+01:00" for at in ("09:00", "09:45", "10:30", "11:15")
    ]
    await office.book("a")
    assert [start[11:16] for start, _ in await office.free()] == ["09:00", "10:30", "11:15"]
    assert await office.free({**VISITS, "closed": [MONDAY]}) == []
    assert await office.free(day="2031-04-01") == []
    assert await office.free(day="2020-01-06") == [], "the past is not offered"
    assert len(await office.free(not_before=f"{MONDAY}T10:00:00+01:00")) == 2


async def test_nine_in_the_morning_stays_nine_when_the_clocks_change(office: Office) -> None:
    before = await office.free(day="2031-03-24")
    assert before[0][0] == "2031-03-24T09:00+00:00"
    assert (await office.free())[0][0] == f"{MONDAY}T09:00+01:00"


async def test_an_hour_that_the_change_of_clocks_leaves_out_holds_no_slot(office: Office) -> None:
    night = {"hours": [[6, 0, 240]], "minutes": 30}  # Sundays, midnight to four
    starts = [start[11:16] for start, _ in await office.free(night, day="2031-03-30")]
    assert starts == ["00:00", "00:30", "02:00", "02:30", "03:00", "03:30"]


async def test_a_booking_is_an_event_that_people_can_read_and_a_repeat_books_nothing(office: Office) -> None:
    first = await office.book("lead-7/visit", name="Ana; João, Lda", phone="+351912345678", note="Grade 3\nallergies")
    assert first["start"] == f"{MONDAY}T09:45+01:00"
    again = await office.book("lead-7/visit", name="Ana; João, Lda")
    assert (again["uid"], again["again"]) == (first["uid"], True)
    (text,) = office.events
    assert "DTSTART:20310331T084500Z" in text
    assert "SUMMARY:Visit Ana\\; João\\, Lda" in text
    assert "lead-7" not in text, "the key may name a person"


async def test_a_long_line_in_any_script_survives_the_folding(office: Office) -> None:
    note = "Çõã 中文 " * 60
    await office.book("a", note=note)
    text = office.events[0].replace("\r\n ", "").replace("\n ", "")
    assert note.strip() in text


@pytest.mark.parametrize("at_once", [1, 3])
async def test_of_many_who_book_the_last_places_at_once_exactly_so_many_succeed(office: Office, at_once: int) -> None:
    visits = {**VISITS, "at_once": at_once}
    callers = [office.again() for _ in range(12)]

    async def one(number: int) -> str:
        try:
            await office.do("book", f"lead-{number}", callers[number], visits=visits, start=AT)
        except ConnectorFault as fault:
            return fault.kind
        return "booked"

    outcomes = await asyncio.gather(*[one(number) for number in range(12)])
    assert sorted(outcomes) == ["booked"] * at_once + ["refused"] * (12 - at_once)
    assert len(office.events) == at_once
    assert f"{MONDAY}T09:45+01:00" not in [start for start, _ in await office.free(visits)]


@pytest.mark.parametrize("at_once", [1, 3])
async def test_two_callers_with_the_same_key_at_once_make_one_visit(office: Office, at_once: int) -> None:
    visits = {**VISITS, "at_once": at_once}
    callers = [office.again() for _ in range(6)]
    results = await asyncio.gather(*[office.do("book", "k", ready, visits=visits, start=AT) for ready in callers])
    assert len({result["start"] for result in results}) == 1
    assert len(office.events) == 1


async def test_an_old_place_that_became_free_does_not_make_a_second_visit_of_the_same_key(office: Office) -> None:
    two = {**VISITS, "at_once": 2}
    await office.book("other", visits=two)
    await office.book("k", visits=two)  # at the second place
    await office.do("cancel", "c", booking="other")
    assert (await office.book("k", visits=two))["place"] == 2
    assert len(office.events) == 1


async def test_what_people_put_into_the_calendar_is_respected(office: Office) -> None:
    office.put(event("DTSTART;TZID=Europe/Lisbon:20310331T091500", "DURATION:PT45M", "SUMMARY:Fire drill"))
    assert [start[11:16] for start, _ in await office.free()] == ["10:30", "11:15"]
    assert await kind_of(office.book("a")) == "refused"
    assert await office.free({**VISITS, "at_once": 3}) == [
        (f"{MONDAY}T{at}+01:00", left) for at, left in (("09:00", 2), ("09:45", 2), ("10:30", 3), ("11:15", 3))
    ]
    office.put(event("DTSTART;VALUE=DATE:20310331", "SUMMARY:Holiday"))
    assert await office.free({**VISITS, "at_once": 3}) == []


@pytest.mark.parametrize("line", ["TRANSP:TRANSPARENT", "STATUS:CANCELLED"])
async def test_an_event_that_takes_no_time_takes_no_place(office: Office, line: str) -> None:
    office.put(event("DTSTART:20310331T080000Z", "DTEND:20310331T110000Z", line))
    assert len(await office.free()) == 4


async def test_a_repeated_event_takes_its_place_each_time(office: Office) -> None:
    office.put(event("DTSTART:20310303T090000Z", "DTEND:20310303T094500Z", "RRULE:FREQ=WEEKLY", "SUMMARY:Choir"))
    assert [start[11:16] for start, _ in await office.free(day="2031-03-24")] == ["09:45", "10:30", "11:15"]


async def test_dirty_entries_stop_nobody_and_are_counted(office: Office) -> None:
    folder = office.server.on_disk(office.calendar)
    await office.book("a", start=f"{MONDAY}T11:15:00+01:00")
    office.put(event("DTSTART;TZID=Mars/Olympus:20310331T090000", "SUMMARY:A time zone that is none"))
    office.put(event("DTSTART:20310331T094500", "DTEND:20310331T093000", "SUMMARY:Floating, ends before it begins"))
    (folder / "dirty.ics").write_text(event("DTSTART:20310231T090000Z", "SUMMARY:Never"))
    (folder / "worse.ics").write_bytes(b"BEGIN:VCALENDAR\r\n\xff\xfe not even text")
    found = await office.do("free_slots", visits=VISITS, **{"from": MONDAY, "days": 1})
    starts = [slot["start"][11:16] for slot in found["slots"]]
    assert "10:30" in starts
    assert not {"09:00", "11:15"} & set(starts), "what can be read is respected"


async def test_an_entry_that_only_we_cannot_read_is_passed_over_and_counted(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.put(event("DTSTART:20310331T080000Z", "DTEND:20310331T084500Z", "SUMMARY:good"))
    office.put(event("DTSTART:20310331T080000Z", "DTEND:20310331T084500Z", "SUMMARY:bad"))

    async def spoilt(self: Any, filters: str) -> list[Any]:
        found = await query(self, filters)
        return [
            replace(e, text=e.text.replace("DTSTART:2031", "DTSTART:203x") if "SUMMARY:bad" in e.text else e.text)
            for e in found
        ]

    query = Calendar.query
    monkeypatch.setattr(Calendar, "query", spoilt)
    found = await office.do("free_slots", visits={**VISITS, "at_once": 2}, **{"from": MONDAY, "days": 1})
    assert (found["slots"][0]["left"], found["unreadable"]) == (1, 1)


ENDLESS = [
    ["DTSTART:20310301T000000Z", "DURATION:PT1S", "RRULE:FREQ=SECONDLY"],
    ["DTSTART:20310301T000000Z", "DURATION:PT1M", "RRULE:FREQ=MINUTELY;INTERVAL=1"],
    ["DTSTART:20310301T000000Z", "DURATION:PT1S", "RRULE:FREQ=DAILY;BYHOUR=8,9;BYMINUTE=0,1;BYSECOND="
     + ",".join(map(str, range(60)))],
    ["DTSTART:20310301T000000Z", "DURATION:PT1S", "RRULE:FREQ=SECONDLY;COUNT=100000000"],
]  # fmt: skip


@pytest.mark.parametrize("lines", ENDLESS, ids=lambda lines: lines[-1][6:40])
def test_an_entry_that_repeats_without_end_is_passed_over(lines: list[str]) -> None:
    start = dt.datetime(2031, 3, 30, tzinfo=dt.UTC)
    named = [("x.ics", event(*lines)), ("y.ics", event("DTSTART:20310331T084500Z", "DTEND:20310331T093000Z"))]
    found, unreadable = Reader().taken(named, start, start + dt.timedelta(days=14), ZoneInfo(ZONE))
    assert (len(found), unreadable) == (1, 1)


@pytest.mark.parametrize(
    ("rule", "times"),
    [
        ("FREQ=HOURLY", 14 * 24),
        ("FREQ=SECONDLY;COUNT=5", 5),
        ("FREQ=MINUTELY;INTERVAL=30", 14 * 48),
        ("FREQ=DAILY", 14),
    ],
)
def test_what_people_repeat_often_is_respected(rule: str, times: int) -> None:
    start = dt.datetime(2031, 3, 30, tzinfo=dt.UTC)
    text = event("DTSTART:20310330T000000Z", "DURATION:PT1S", f"RRULE:{rule}")
    found, unreadable = Reader().taken([("x.ics", text)], start, start + dt.timedelta(days=14), ZoneInfo(ZONE))
    assert (len(found), unreadable) == (times, 0)


def test_an_entry_that_took_long_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    start, reader = dt.datetime(2031, 3, 30, tzinfo=dt.UTC), Reader()
    named = [("x.ics", event("DTSTART:20310331T084500Z", "DTEND:20310331T093000Z"))]
    given = (named, start, start + dt.timedelta(days=14), ZoneInfo(ZONE))
    monkeypatch.setattr(calendar_times, "MOST_CPU_S", -1.0)
    assert [len(reader.taken(*given)[0]) for _ in range(2)] == [1, 0]
    monkeypatch.setattr(calendar_times, "MOST_CPU_S", 1.0)
    assert reader.taken(*given) == ([], 1), "it is remembered"
    assert Reader().taken(*given)[1] == 0


async def test_nothing_of_a_calendar_is_worked_out_on_the_event_loop(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    times = calendar_times.times
    noted: Any = lambda *given: threads.append(threading.current_thread().name) or times(*given)  # noqa: E731
    monkeypatch.setattr(calendar_times, "times", noted)
    office.put(event("DTSTART:20310331T080000Z", "DTEND:20310331T084500Z", "SUMMARY:good"))
    assert len(await office.free()) == 3
    assert threads
    assert all(name.startswith("connector-") for name in threads)


@pytest.mark.parametrize(
    ("before", "understood"),
    [
        ("", True),
        ("<?xml version='1.0'?>\n<!-- a server's greeting -->\n", True),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>", False),
        ("<!--" + " " * 2000 + "--><!DOCTYPE x>", False),
    ],
)
def test_an_entry_in_a_cdata_section_is_read_and_a_document_type_is_not(before: str, understood: bool) -> None:
    text = event("DTSTART:20310331T080000Z")
    body = f"""{before}<D:multistatus xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:response>
    <D:href>/c/x.ics</D:href><D:propstat><D:prop><C:calendar-data><![CDATA[{text}]]></C:calendar-data></D:prop>
    </D:propstat></D:response></D:multistatus>"""
    reply, site = Reply(207, {}, body.encode()), Site("http", "calendar.example", 80, "")
    if understood:
        [entry] = caldav._entries(reply, site)
        assert (entry.target, "SUMMARY" in entry.text or "DTSTART" in entry.text) == ("/c/x.ics", True)
    else:
        with pytest.raises(ConnectorFault, match="not as a calendar does"):
            caldav._entries(reply, site)


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (f"{MONDAY}T09:10:00+01:00", "not on the grid"),
        ("2031-04-01T09:45:00+01:00", "no visits on Tuesdays"),
        ("2020-01-06T09:45:00+00:00", "past"),
    ],
)
async def test_a_time_at_which_no_visit_begins_is_refused(office: Office, start: str, why: str) -> None:
    assert await kind_of(office.book("a", start=start)) == "refused", why
    assert office.events == []


async def test_a_visit_is_moved_with_what_people_added_to_it_and_a_repeat_moves_nothing(office: Office) -> None:
    await office.book("k", name="Ana")
    (path,) = office.server.on_disk(office.calendar).glob("*.ics")
    office.server.put(
        office.calendar, path.name, path.read_text().replace("END:VEVENT", "COMMENT:bring a chair\r\nEND:VEVENT")
    )
    late = f"{MONDAY}T11:15:00+01:00"
    for _ in range(2):
        moved = await office.do("move", "m", visits=VISITS, booking="k", start=late)
        assert moved["start"] == f"{MONDAY}T11:15+01:00"
        (text,) = office.events
        assert "bring a chair" in text
        assert "DTSTART:20310331T101500Z" in text
        assert "SEQUENCE:1" in text
    assert (await office.book("k"))["start"] == f"{MONDAY}T11:15+01:00", "a late repeat of the booking books nothing"
    assert (await office.do("find", booking="k"))["start"] == f"{MONDAY}T11:15+01:00"


async def test_a_move_to_a_taken_time_leaves_the_visit_where_it_was(office: Office) -> None:
    await office.book("k")
    await office.book("other", start=f"{MONDAY}T11:15:00+01:00")
    move = office.do("move", "m", visits=VISITS, booking="k", start=f"{MONDAY}T11:15:00+01:00")
    assert await kind_of(move) == "refused"
    assert (await office.do("find", booking="k"))["start"] == f"{MONDAY}T09:45+01:00"
    assert await kind_of(office.do("move", "m", visits=VISITS, booking="nobody", start=AT)) == "refused"


async def test_a_cancelled_visit_is_gone_its_time_is_free_and_a_repeat_is_no_fault(office: Office) -> None:
    await office.book("k")
    assert await office.do("cancel", "c", booking="k") == {"cancelled": True, "found": True}
    assert await office.do("cancel", "c", booking="k") == {"cancelled": True, "found": False}
    assert await office.do("find", booking="k") == {"found": False}
    assert len(await office.free()) == 4
    await office.book("k")
    assert len(office.events) == 1


async def slow(office: Office, wire: Wire) -> Ready:
    wire.silent = True
    return office.again(url=f"http://127.0.0.1:{wire.port}")


async def down(office: Office, wire: Wire) -> Ready:
    wire.close()
    return office.again(url=f"http://127.0.0.1:{wire.port}")


async def credentials(office: Office, wire: Wire) -> Ready:
    return office.again(password="wrong-password")


async def schema(office: Office, wire: Wire) -> Ready:
    status, said = office.server.request("DELETE", f"{office.calendar}/")
    assert status == 200, said
    return office.again()


@pytest.mark.parametrize("fault", [slow, down, credentials, schema], ids=lambda f: f.__name__)
@pytest.mark.parametrize("operation", ["free_slots", "book", "cancel"])
async def test_each_fault_is_named_and_holds_no_secret(
    office: Office, wire_to: Callable[[int], Wire], fault: Any, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = await fault(office, wire_to(office.server.port))
    monkeypatch.setattr("waterline.connectors.caldav.TIMEOUT_S", 0.3)
    given: dict[str, Any] = {
        "free_slots": {"visits": VISITS, "from": MONDAY},
        "book": {"visits": VISITS, "start": AT, "name": "Ana Sousa"},
        "cancel": {"booking": "k"},
    }[operation]
    with pytest.raises(ConnectorFault) as told:
        await office.do(operation, "k", ready, **given)
    assert told.value.kind == fault.__name__
    for hidden in ("wrong-password", PASSWORD, "Ana Sousa"):
        assert hidden not in told.value.message


async def test_a_place_outside_of_the_url_is_refused(office: Office) -> None:
    for place in ("../other", "a/%2e%2e/b", "http://elsewhere.example/x", "//elsewhere/../x"):
        scope = Scope("lisbon", place, ZONE)
        with pytest.raises(ConnectorFault):
            await perform(office.ready, "find", {"booking": "k"}, "", scope)


@pytest.mark.slow
async def test_a_caller_killed_at_any_moment_and_started_again_makes_one_visit(
    office: Office, wire_to: Callable[[int], Wire]
) -> None:
    """kill -9 after each of the server's answers, booking and then moving; the same act again; one visit, each time."""
    wire = wire_to(office.server.port)
    config = {"name": "calendar", "settings": {**office.settings, "url": f"http://127.0.0.1:{wire.port}"}}
    scope = {"branch": "lisbon", "place": office.calendar, "timezone": ZONE}
    acts = [
        ("book", {"visits": VISITS, "start": AT}),
        ("move", {"visits": VISITS, "booking": "k", "start": f"{MONDAY}T11:15:00+01:00"}),
    ]
    for operation, arguments in acts:
        for answers in count():
            asked = {"config": config, "kind": "caldav", "operation": operation, "key": "k", "scope": scope}
            killed = kill_after(wire, answers, {**asked, "arguments": arguments})
            assert len(office.events) <= 2, "while moving there may be two for a moment, never more"
            done = await office.do(operation, "k", **arguments)
            assert len(office.events) == 1, f"killed after {answers} answers"
            assert dt.datetime.fromisoformat(done["start"]) == dt.datetime.fromisoformat(arguments["start"])
            if not killed:
                break
            await office.do("cancel", "c", booking="k")
            if operation == "move":
                await office.book("k")
