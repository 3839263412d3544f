"""Traces in the database: pages, search, figures, money, retention."""

import random
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.money import Usage
from waterline.core.trace import Ended, Event, Received, TraceRow
from waterline.core.verdict import JudgeRef, Outcome, Ref, Verdict
from waterline.store import deleted_responses, retention, text_search, traces, verdicts
from waterline.store.db import Store, Tx
from waterline.store.traces import Cursor, TraceFilter, bucket_us, latency_bucket, percentile_us

EVENTS: list[Event] = [Received(0, "/v1/chat/completions", 12), Ended(900, "answered")]
BASE = TraceRow(
    id="t1",
    app="school",
    env="production",
    purpose="live",
    release="r1",
    route="main",
    provider="openai",
    model="gpt-4o-mini",
    key="wl-00000001",
    session="s1",
    subject="",
    tags="a,b",
    stream=True,
    started_us=1_000_000,
    first_token_us=200,
    duration_us=900,
    outcome="answered",
    status=200,
    code="",
    attempts=1,
    usage=Usage(input=10, cached_input=1, cache_write=2, output=5, reasoning=3, audio_input=4, audio_output=6),
    cost_nano_usd=77,
    reserved_nano_usd=100,
    price_version="2026-11",
    boot="b1",
    idempotency_key="idem",
)


def trace(trace_id: str, **changes: Any) -> TraceRow:
    return msgspec.structs.replace(BASE, id=trace_id, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "waterline.db")
    yield store
    store.close()


def insert(store: Store, *rows: TraceRow, text: str = "") -> int:
    def write(tx: Tx) -> int:
        at = traces.insert_batch(tx, [traces.write_of(row, EVENTS) for row in rows])
        text_search.index_batch(
            tx, [(at[r.id], text, r.session, r.tags) for r in rows if r.id in at and r.outcome != "open"]
        )
        return len(at)

    return store.write_sync(write)


def page_ids(store: Store, **where: Any) -> list[str]:
    found = store.read_sync(lambda tx: traces.page(tx, TraceFilter(**where), limit=100))
    assert store.read_sync(lambda tx: traces.count(tx, TraceFilter(**where))) == len(found.rows)
    return sorted(row.id for row in found.rows)


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_trace_comes_back_as_it_was(store: Store) -> None:
    nothing_known = trace("t2", first_token_us=None, cost_nano_usd=None, stream=False, usage=Usage(estimated=True))
    insert(store, BASE, nothing_known)
    assert store.read_sync(lambda tx: traces.get(tx, "t1")) == (BASE, EVENTS)
    assert store.read_sync(lambda tx: traces.get(tx, "t2")) == (nothing_known, EVENTS)
    assert store.read_sync(lambda tx: traces.get(tx, "t3")) is None
    assert store.read_sync(traces.apps) == ["school"]


def test_an_outcome_replaces_an_open_row_and_nothing_replaces_an_outcome(store: Store) -> None:
    insert(store, trace("t1", outcome="open", cost_nano_usd=0))
    assert insert(store, BASE) == 1
    assert insert(store, trace("t1", outcome="open")) == 0
    assert insert(store, trace("t1", outcome="failed")) == 0
    assert store.read_sync(lambda tx: traces.get(tx, "t1")) == (BASE, EVENTS)


@pytest.mark.parametrize("size", [1, 127, 128, 5000, 300_000])
@pytest.mark.parametrize("together", [True, False])
def test_a_body_comes_back_byte_for_byte(store: Store, size: int, together: bool) -> None:
    plain, noise = b"ab" * size, random.Random(size).randbytes(size)
    at = store.write_sync(lambda tx: traces.insert_batch(tx, [traces.write_of(trace(i), []) for i in ("t1", "t2")]))
    first, second = at["t1"], at["t2"]
    if together:
        store.write_sync(lambda tx: traces.insert_bodies(tx, [(first, plain, noise)]))
    else:
        store.write_sync(lambda tx: traces.insert_bodies(tx, [(first, plain, b"")]))
        store.write_sync(lambda tx: traces.insert_bodies(tx, [(first, b"", noise)]))
    store.write_sync(lambda tx: traces.insert_bodies(tx, [(first, b"another", b""), (second, b"", b"")]))
    assert store.read_sync(lambda tx: traces.body(tx, "t1", "request")) == plain
    assert store.read_sync(lambda tx: traces.body(tx, "t1", "answer")) == noise
    assert store.read_sync(lambda tx: traces.body(tx, "t2", "answer")) is None


def test_an_answer_that_comes_with_its_request_again_is_stored_beside_what_was_there(store: Store) -> None:
    n = store.write_sync(lambda tx: traces.insert_batch(tx, [traces.write_of(BASE, [])]))[BASE.id]
    for request, answer in ((b"asked", b""), (b"asked", b"answered"), (b"other", b"other")):
        store.write_sync(lambda tx, r=request, a=answer: traces.insert_bodies(tx, [(n, r, a)]))  # type: ignore[misc]
    assert store.read_sync(lambda tx: traces.body(tx, BASE.id, "request")) == b"asked"
    assert store.read_sync(lambda tx: traces.body(tx, BASE.id, "answer")) == b"answered"


# --- pages -----------------------------------------------------------------------------------------------------------


def test_pages_show_every_trace_once_newest_first_even_while_new_ones_arrive(store: Store) -> None:
    insert(store, *(trace(f"t{n:03}", started_us=1000 + n // 7) for n in range(100)))
    seen: list[TraceRow] = []
    before: Cursor | None = None
    for turn in range(20):
        found = store.read_sync(lambda tx, b=before: traces.page(tx, TraceFilter(app="school"), before=b, limit=9))  # type: ignore[misc]
        seen += found.rows
        insert(store, trace(f"new{turn}", started_us=9000 + turn))
        if found.next is None:
            break
        before = Cursor.parse(str(found.next))
    assert [r.id for r in seen] == sorted((f"t{n:03}" for n in range(100)), reverse=True)
    assert [r.started_us for r in seen] == sorted((r.started_us for r in seen), reverse=True)


@pytest.mark.parametrize("text", ["", "x", "-", "1-", "-t1", "1.5-t", "²-t", "9" * 30 + "-t"])
def test_a_broken_cursor_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        Cursor.parse(text)


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ({"app": "x"}, {"app": "x"}),
        ({"env": "x"}, {"env": "x"}),
        ({"release": "x"}, {"release": "x"}),
        ({"outcome": "failed"}, {"outcome": "failed"}),
        ({"route": "x"}, {"route": "x"}),
        ({"provider": "x"}, {"provider": "x"}),
        ({"model": "x"}, {"model": "x"}),
        ({"purpose": "trial"}, {"purpose": "trial"}),
        ({"session": "x"}, {"session": "x"}),
        ({"subject": "x"}, {"subject": "x"}),
        ({"key": "x"}, {"key": "x"}),
        ({"code": "x"}, {"code": "x"}),
        ({"since_us": 2_000_000}, {"started_us": 2_000_000}),
        ({"until_us": 999_999}, {"started_us": 999_998}),
        ({"min_cost_nano_usd": 78}, {"cost_nano_usd": 78}),
        ({"min_duration_us": 901}, {"duration_us": 901}),
    ],
)
def test_each_filter_selects(store: Store, where: dict[str, Any], change: dict[str, Any]) -> None:
    insert(store, BASE, trace("wanted", **change))
    assert page_ids(store) == ["t1", "wanted"]
    assert page_ids(store, **where) == ["wanted"]


# --- search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    ["matrícula", "MATRICULA", "matric", "joão matrícula", '"da matrícula"', "s-42", "tag-x", "  matrícula  ", "joa"],
)
def test_search_finds_words_without_accents_beginnings_phrases_sessions_and_tags(store: Store, typed: str) -> None:
    insert(store, trace("t1", session="s-42", tags="tag-x"), text="O valor da matrícula do João é hoje")
    insert(store, trace("t2", session="s-43", tags="tag-y"), text="something else")
    assert page_ids(store, text=typed) == ["t1"]


@pytest.mark.parametrize(
    "typed",
    [
        "' OR 1=1 --", '"; DROP TABLE traces; --', "text:else", "else OR nothing", "else AND", "NOT else", "el*se",
        "NEAR(something else, 2)", "^something", "{text}: else", '"', '""', "'", "*", "()", "\0else\0x", "-else", "+",
        "a" * 10_000, '" else', "%", "🌊",
    ],
)  # fmt: skip
def test_nothing_typed_into_the_search_box_is_an_operator_or_an_error(store: Store, typed: str) -> None:
    insert(store, trace("t1"), text="something else")
    insert(store, trace("t2"), text="drop table traces or not near text")
    assert page_ids(store, text=typed) in ([], ["t1"], ["t2"])
    assert page_ids(store) == ["t1", "t2"]


@given(typed=st.text(max_size=60))
def test_any_text_is_a_valid_query(search_store: Store, typed: str) -> None:
    search_store.read_sync(lambda tx: traces.page(tx, TraceFilter(text=typed)))


@pytest.fixture(scope="module")
def search_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("search") / "waterline.db")
    insert(store, BASE, text="something else")
    yield store
    store.close()


def test_words_that_are_operators_are_searched_as_words(store: Store) -> None:
    insert(store, trace("t1"), text="this or that")
    insert(store, trace("t2"), text="this that")
    assert page_ids(store, text="this OR that") == ["t1"]


def test_an_empty_search_box_shows_everything_and_one_without_a_word_nothing(store: Store) -> None:
    insert(store, BASE)
    assert page_ids(store, text="  ") == ["t1"]
    assert page_ids(store, text="?!") == []


# --- figures ---------------------------------------------------------------------------------------------------------


@given(us=st.integers(1, 10**11))
def test_a_bucket_is_at_most_five_percent_off(us: int) -> None:
    assert abs(bucket_us(latency_bucket(us)) / us - 1) <= 0.05


@given(st.lists(st.integers(1, 10**8), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_at_most_five_percent_off_the_exact_ones(durations: list[int], share: float) -> None:
    histogram: dict[int, int] = {}
    for us in durations:
        histogram[latency_bucket(us)] = histogram.get(latency_bucket(us), 0) + 1
    rank = -(-int(share * 100) * len(durations) // 100)
    exact = sorted(durations)[max(1, rank) - 1]
    found = percentile_us(histogram, share)
    assert found is not None
    assert abs(found / exact - 1) <= 0.05


def test_the_overview_adds_up_by_time_and_by_release(store: Store) -> None:
    rnd = random.Random(1)
    rows = [
        trace(
            f"t{n}",
            started_us=3_600_000_000 + rnd.randrange(600_000_000),
            release=rnd.choice(["r1", "r2"]),
            outcome=rnd.choice(["answered", "answered", "failed", "refused"]),
            duration_us=int(rnd.lognormvariate(13, 1)),
            first_token_us=rnd.choice([None, rnd.randrange(1, 10**6)]),
            cost_nano_usd=rnd.choice([None, 5, 10]),
        )
        for n in range(500)
    ]
    insert(store, *rows, trace("other", app="x", started_us=3_600_000_001))
    insert(store, trace("trial", purpose="trial", started_us=3_600_000_001), trace("outside", started_us=1))
    step = 60_000_000
    found = store.read_sync(lambda tx: traces.overview(tx, "school", 3_600_000_000, 4_200_000_000, step))
    assert found.total.requests == 500
    assert found.total.cost_nano_usd == sum(r.cost_nano_usd or 0 for r in rows)
    assert found.total.unpriced == sum(r.cost_nano_usd is None for r in rows)
    assert found.total.tokens_in == 500 * 17
    assert found.total.tokens_out == 500 * 14
    assert found.total.outcomes["failed"] == found.total.failed == sum(r.outcome == "failed" for r in rows)
    answered = [r.duration_us for r in rows if r.outcome == "answered"]
    assert found.total.p50_us == pytest.approx(statistics.median_low(answered), rel=0.06)
    for figures in (found.points, found.times, found.releases):
        assert sum(f.requests for f in figures) == 500
        assert sum(f.cost_nano_usd for f in figures) == found.total.cost_nano_usd
    assert [f.release for f in found.releases] == ["r1", "r2"]
    assert all(f.at_us % step == 0 and 3_600_000_000 <= f.at_us < 4_200_000_000 for f in found.points)
    of_r1 = [r.first_token_us for r in rows if r.release == "r1" and r.outcome == "answered"]
    ttfts = sorted(t for t in of_r1 if t is not None)
    assert found.releases[0].ttft_p95_us == pytest.approx(ttfts[-(-95 * len(ttfts) // 100) - 1], rel=0.05)
    everyone = store.read_sync(lambda tx: traces.overview(tx, None, 3_600_000_000, 4_200_000_000, step))
    assert everyone.total.requests == 501


def test_an_overview_of_nothing_has_no_percentiles(store: Store) -> None:
    found = store.read_sync(lambda tx: traces.overview(tx, None, 0, 10, 5))
    assert found.points == found.releases == []
    assert (found.total.requests, found.total.p95_us) == (0, None)


# --- money and interruption ------------------------------------------------------------------------------------------


def test_spent_counts_live_traces_with_the_worst_case_of_what_is_not_settled(store: Store) -> None:
    insert(
        store,
        trace("a", cost_nano_usd=1),
        trace("b", cost_nano_usd=None),
        trace("open", outcome="open", cost_nano_usd=0, reserved_nano_usd=20),
        trace("gone", outcome="interrupted", cost_nano_usd=None, reserved_nano_usd=300),
        trace("refused", outcome="refused", cost_nano_usd=0, reserved_nano_usd=4000),
        trace("trial", purpose="trial", cost_nano_usd=50_000),
        trace("other", app="x", cost_nano_usd=600_000),
        trace("old", started_us=5, cost_nano_usd=7_000_000),
    )
    assert store.read_sync(lambda tx: traces.spent(tx, "school", 10)) == 321
    assert store.read_sync(lambda tx: traces.spent(tx, "nobody", 10)) == 0


def test_what_another_process_left_open_is_interrupted_at_its_worst_case(store: Store) -> None:
    insert(
        store,
        trace("mine", outcome="open", boot="b2"),
        trace("priced", outcome="open", cost_nano_usd=0, reserved_nano_usd=20),
        trace("unpriced", outcome="open", cost_nano_usd=0, reserved_nano_usd=0, price_version=""),
        trace("done"),
    )
    interrupted = store.write_sync(lambda tx: traces.interrupt_other_boots(tx, "b2"))
    assert sorted(one.row.id for one in interrupted) == ["priced", "unpriced"]
    rows = {r.id: r for r in store.read_sync(lambda tx: traces.page(tx, TraceFilter())).rows}
    assert {i: r.outcome for i, r in rows.items()} == {
        "mine": "open", "priced": "interrupted", "unpriced": "interrupted", "done": "answered",
    }  # fmt: skip
    assert rows["priced"].cost_nano_usd == 20
    assert rows["unpriced"].cost_nano_usd is None


# --- retention -------------------------------------------------------------------------------------------------------


def test_retention_takes_bodies_first_then_whole_traces_of_one_app_only(store: Store) -> None:
    rows = [trace(f"t{n}", started_us=n) for n in range(10)]
    insert(store, *rows, trace("other", app="x", started_us=0), text="needle")
    insert(store, trace("open", started_us=0, outcome="open"))

    def more(tx: Tx) -> None:
        for app in ("school", "x"):
            old = tx.all("retention.old_traces", app=app, before_us=99, limit=99)
            traces.insert_bodies(tx, [(row["n"], b"body", b"") for row in old])
        verdict = Verdict(Ref("trace", "t0"), "thumb", Outcome.PASS, None, "", JudgeRef("user"))
        verdicts.add_feedback(tx, verdicts.Feedback("t0", "rating", "said Ana", "", "ana", 5, verdict))
        for n in (0, 0, 9):  # deleting twice changes nothing
            deleted_responses.add(tx, f"t{n}", 5, "wl-1")

    store.write_sync(more)
    swept = store.write_sync(lambda tx: retention.sweep(tx, "school", bodies_before_us=6, rows_before_us=3))
    assert swept == retention.Swept(bodies=3, rows=3)
    assert not swept.more
    assert page_ids(store, text="needle") == sorted(["other", *(f"t{n}" for n in range(3, 10))])
    assert "open" in page_ids(store)
    have = [n for n in range(10) if store.read_sync(lambda tx, n=n: traces.body(tx, f"t{n}", "request"))]  # type: ignore[misc]
    assert have == [6, 7, 8, 9]
    assert store.read_sync(lambda tx: traces.body(tx, "other", "request")) == b"body"
    assert store.read_sync(lambda tx: verdicts.of(tx, "trace", "t0")) == []
    assert store.read_sync(lambda tx: verdicts.feedback_of(tx, "t0")) == []
    assert store.read_sync(lambda tx: [deleted_responses.known(tx, i) for i in ("t0", "t8", "t9")]) == [0, 0, 1]
    assert store.write_sync(lambda tx: retention.sweep(tx, "school", 6, 3)) == retention.Swept(0, 0)


def test_retention_works_in_bounded_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 4)
    insert(store, *(trace(f"t{n}", started_us=n) for n in range(10)))
    batches = []
    while (swept := store.write_sync(lambda tx: retention.sweep(tx, "school", 100, 100))).more:
        batches.append(swept.rows)
    assert [*batches, swept.rows] == [4, 4, 2]
    assert page_ids(store) == []
