"""A trace of 32,000 events is shown by pages; every event is on one of them, and the counts say how many there are."""

from urllib.parse import parse_qs, urlsplit

import pytest

from waterline.console.trace_pages import PAGE_EVENTS, Timeline, timeline, whole_number
from waterline.control.views import TraceView
from waterline.core.errors import Refused
from waterline.core.money import Usage
from waterline.core.trace import Admitted, Attempted, Ended, Event, FellBack, Received, TraceRow

MANY = 32_000
ROW = TraceRow(
    "a" * 24, "school", "production", "live", "r1", "main", "openai", "m", "wl-1", "", "", "", False, 1, None, 5,
    "failed", 503, "", 1, Usage(), 0, 0, "", "b1",
)  # fmt: skip


def trace(events: list[Event]) -> TraceView:
    return TraceView(ROW, events, [], None, None, False)


@pytest.fixture(scope="module")
def long() -> TraceView:
    return made(MANY)


def made(many: int) -> TraceView:
    events: list[Event] = [Received(0, "/v1/chat/completions", 9), Admitted(1, "main")]
    for n in range((many - 4) // 2):
        error = "HTTP 503" if n % 100 == 0 else ""
        events.append(Attempted(10 * n, "main", "openai", "m", n + 1, 1, "d", ended_us=5, error=error))
        events.append(FellBack(10 * n + 5, "main", "backup", "why"))
    events += [FellBack(400_000, "main", "backup", "why"), Ended(400_001, "failed")]
    return trace(events)


def follow(found: TraceView, to: str) -> Timeline:
    asked = {name: values[0] for name, values in parse_qs(urlsplit(to).query).items()}
    return timeline(found, asked.get("kind", ""), bool(asked.get("bad")), int(asked.get("from", 0)))


def titles(found: TraceView, page: Timeline) -> list[str]:
    seen = [line.title for line in page.lines]
    while page.after:
        page = follow(found, page.after)
        assert len(page.lines) <= PAGE_EVENTS
        seen += [line.title for line in page.lines]
    return seen


def test_every_event_is_on_one_page() -> None:
    many = 1_250
    found = made(many)
    first = timeline(found)
    assert (first.first, first.last, first.fit, first.all) == (1, PAGE_EVENTS, many, many)
    seen = titles(found, first)
    assert len(seen) == many
    assert len({title for title in seen if title.startswith("attempt")}) == (many - 4) // 2


def test_the_first_and_the_last_page_of_32_000_events_are_one_step_away(long: TraceView) -> None:
    first = timeline(long)
    assert (first.first, first.last, first.fit, first.all) == (1, PAGE_EVENTS, MANY, MANY)
    last = follow(long, first.end)
    assert last.last == MANY
    assert (last.after, last.end, first.before, first.begin) == ("", "", "", "")
    assert follow(long, last.before).last == last.first - 1


def test_kinds_and_what_went_badly_are_counted_and_found(long: TraceView) -> None:
    kinds = {kind.name: kind for kind in timeline(long).kinds}
    assert (kinds["attempted"].n, kinds["attempted"].bad) == (15_998, 160)
    assert sum(kind.n for kind in kinds.values()) == MANY
    bad = follow(long, kinds["attempted"].to_bad)
    assert (bad.fit, bad.all, bad.whole) == (160, MANY, f"/traces/{ROW.id}")
    assert all(line.bad for line in bad.lines)


def test_a_short_trace_has_one_page_and_a_strange_place_is_the_last(long: TraceView) -> None:
    short = timeline(trace([Received(0, "/", 1), Ended(1, "answered")]))
    assert (short.all, short.after, short.end, short.whole) == (2, "", "", "")
    assert timeline(trace([])).first == 0
    assert timeline(long, start=10**11).last == MANY
    assert timeline(long, kind="nonsense").lines == []
    with pytest.raises(Refused, match="whole number"):
        whole_number("-1", "from")
