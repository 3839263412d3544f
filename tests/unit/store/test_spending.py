"""Budgets, reports and forecasts read sums that are kept as traces come to their outcome; they are what the traces
say, whatever befell them."""

import random
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from waterline.control.views import CostRow
from waterline.core.money import Usage
from waterline.core.trace import TraceRow
from waterline.store import channels, costs, erasure, retention, spending, traces
from waterline.store.db import Store, Tx

QUARTER_US = spending.QUARTER_US
BASE = TraceRow(
    id="t", app="school", env="production", purpose="live", release="r", route="main", provider="openai", model="m",
    key="k", session="", subject="", tags="", stream=False, started_us=0, first_token_us=None, duration_us=1,
    outcome="open", status=200, code="", attempts=1, usage=Usage(), cost_nano_usd=None, reserved_nano_usd=0,
    price_version="p", boot="b", idempotency_key="",
)  # fmt: skip
FINAL = ("answered", "failed", "cancelled", "refused")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "waterline.db")

    def also_gone(tx: Tx) -> None:
        """Traces that retention deletes, remembered: they were paid for all the same."""
        for statement in (
            "CREATE TABLE gone AS SELECT * FROM traces WHERE n < 0",
            "CREATE TRIGGER remembered BEFORE DELETE ON traces WHEN OLD.outcome <> 'interrupted' "
            "BEGIN INSERT INTO gone SELECT * FROM traces WHERE n = OLD.n; END",
            "CREATE VIEW all_traces AS SELECT * FROM traces UNION ALL SELECT * FROM gone",
        ):
            tx._connection.execute(statement)

    store.write_sync(also_gone)
    yield store
    store.close()


def put(store: Store, *rows: TraceRow) -> None:
    store.write_sync(lambda tx: traces.insert_batch(tx, [traces.write_of(row, []) for row in rows]))


def by_the_traces(store: Store, scope: str, since_us: int, purpose: str) -> dict[str, int]:
    """Added up from the rows themselves."""
    column = {"app": "app", "branch": "branch", "key": "key_id"}[scope]

    def read(tx: Tx) -> dict[str, int]:
        sums: dict[str, int] = {}
        rows = tx._connection.execute(
            f"SELECT {column}, outcome, cost_nano_usd, reserved_nano_usd FROM all_traces "
            "WHERE app = 'school' AND purpose = ? AND started_us >= ?", (purpose, since_us),
        )  # fmt: skip
        for who, outcome, cost, reserved in rows:
            spent = max(cost or 0, reserved) if outcome in traces.UNFINISHED else cost or 0
            sums[who] = sums.get(who, 0) + spent
        return {who: nano for who, nano in sums.items() if who and nano}

    return store.read_sync(read)


COLUMNS = {
    "model": "''",
    "route": "route",
    "release": "release",
    "key": "key_id",
    "branch": "branch",
    "day": "hour / 24",
}


def used_by_the_traces(store: Store, by: costs.By, since_day: int | None) -> list[tuple[object, ...]]:
    def read(tx: Tx) -> list[tuple[object, ...]]:
        return tx._connection.execute(
            f"SELECT purpose, provider, model, CAST({COLUMNS[by]} AS TEXT) AS what, COUNT(*), SUM(input), SUM(output), "
            "COALESCE(SUM(cost_nano_usd), 0), SUM(cost_nano_usd IS NULL), SUM(estimated), "
            "COALESCE(SUM(CASE WHEN estimated = 1 THEN cost_nano_usd ELSE 0 END), 0), SUM(attempts > 1) "
            "FROM all_traces WHERE app = 'school' AND attempts > 0 AND outcome <> 'open' AND hour / 24 >= ? "
            "GROUP BY purpose, provider, model, what", (since_day or 0,),
        ).fetchall()  # fmt: skip

    return sorted(store.read_sync(read), key=str)


def used(store: Store, by: costs.By, since_day: int | None) -> list[tuple[object, ...]]:
    since_us = None if since_day is None else since_day * costs.DAY_US
    found = [
        (c.purpose, c.provider, c.model, c.what, c.requests, c.usage.input, c.usage.output, c.cost_nano_usd, c.unpriced,
         c.estimated, c.estimated_nano_usd, c.retried)
        for c in store.read_sync(lambda tx: costs.sums(tx, by, "school", since_us, None))
    ]  # fmt: skip
    return sorted(found, key=str)


def routed_by_the_traces(store: Store, app: str | None, since_us: int) -> list[tuple[object, ...]]:
    """What the statement said that read them all; of a day of which a part is asked for, what is still there."""

    def read(tx: Tx) -> list[tuple[object, ...]]:
        return tx._connection.execute(
            "SELECT app, route, provider, model, COUNT(*), "
            "SUM(input + cached_input + cache_write + cache_write_1h + audio_input), "
            "SUM(output + reasoning + audio_output), COALESCE(SUM(cost_nano_usd), 0), SUM(cost_nano_usd IS NULL) "
            "FROM (SELECT * FROM traces UNION ALL SELECT * FROM gone WHERE started_us >= ?) "
            "WHERE attempts > 0 AND started_us >= ? AND (? IS NULL OR app = ?) GROUP BY app, route, provider, model",
            (-(-since_us // costs.DAY_US) * costs.DAY_US, since_us, app, app),
        ).fetchall()

    return sorted(store.read_sync(read), key=str)


def routed(store: Store, app: str | None, since_us: int) -> list[tuple[object, ...]]:
    found = store.read_sync(lambda tx: costs.by_route(tx, app, since_us))
    return sorted((tuple(row[name] for name in CostRow.__struct_fields__) for row in found), key=str)


def spent(store: Store, scope: str, since_us: int, purpose: str) -> dict[str, int]:
    return store.read_sync(lambda tx: traces.spent_by(tx, "school", scope, since_us, 99, lambda: (), purpose))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(12))
def test_the_sums_are_those_of_the_traces(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    rows = [
        msgspec.structs.replace(
            BASE, id=f"t{n}", app=chance.choice(("school", "school", "other")), key=chance.choice(("k1", "k2")),
            purpose=chance.choice(("live", "live", "judge")), branch=chance.choice(("", "north", "south")),
            started_us=chance.choice((0, costs.DAY_US)) + chance.randrange(12 * QUARTER_US),
            reserved_nano_usd=chance.choice((0, 900)),
            boot=chance.choice(("b1", "b2")), model=chance.choice(("m", "n")), route=chance.choice(("main", "spare")),
            subject=chance.choice(("", "ana", "bob")), session=chance.choice(("", "s1", "s2")),
        )
        for n in range(60)
    ]  # fmt: skip
    person = erasure.Person(("ana",), (), ("s1",), ())
    for _ in range(6):
        batch = {}
        for row in chance.sample(rows, 25):  # open, again, an outcome, a late one, one that came already
            outcome = chance.choice(("open", *FINAL))
            cost = chance.choice((None, 0, chance.randrange(1, 2000)))
            batch[row.id] = msgspec.structs.replace(
                row,
                outcome=outcome,
                attempts=chance.randrange(4),
                cost_nano_usd=None if outcome == "open" else cost,
                usage=Usage(*(chance.randrange(9) for _ in range(7)), estimated=chance.random() < 0.3),
            )
        put(store, *batch.values())
        if chance.random() < 0.3:
            store.write_sync(lambda tx: traces.interrupt_other_boots(tx, "b2"))
        if chance.random() < 0.3:
            store.write_sync(lambda tx: erasure.erase_traces(tx, person, erasure.Count()))
        if chance.random() < 0.3:
            before_us = costs.DAY_US * chance.randrange(2) + chance.randrange(13) * QUARTER_US
            store.write_sync(lambda tx, at=before_us: retention.sweep(tx, "school", at, at))  # type: ignore[misc]
        for scope in ("app", "branch", "key"):
            for purpose in ("live", "judge"):
                since_us = QUARTER_US * chance.randrange(13)
                assert spent(store, scope, since_us, purpose) == by_the_traces(store, scope, since_us, purpose)
        for by in costs.BY:
            since_day = chance.choice((None, 0, 1, 2))
            assert used(store, by, since_day) == used_by_the_traces(store, by, since_day)
        for app in ("school", None):
            since_us = chance.choice((0, costs.DAY_US)) + chance.choice((0, 0, chance.randrange(12 * QUARTER_US)))
            assert routed(store, app, since_us) == routed_by_the_traces(store, app, since_us)


@pytest.mark.parametrize(
    ("migration", "table"),
    [
        ("0025_spending.sql", "spending"),
        ("0026_usage_days.sql", "usage_days"),
        ("0028_reply_months.sql", "channel_reply_months"),
    ],
)
def test_a_database_from_before_is_summed_up_once(store: Store, migration: str, table: str) -> None:
    outcomes = enumerate((*FINAL, "open", *FINAL, "interrupted"), 1)
    rows_before = [
        msgspec.structs.replace(BASE, id=f"t{n}", started_us=n * QUARTER_US // 3, outcome=outcome, cost_nano_usd=n)
        for n, outcome in outcomes
    ]
    put(store, *rows_before)
    for n in range(9):
        category = "utility" if n % 4 == 0 else "service"
        fee = channels.FeeRow("whatsapp", f"k{n}", "school", "porto", f"n{n % 2}", "c", "PT", category, 0, 5, "v",
                              "2026-11", 1)  # fmt: skip
        store.write_sync(lambda tx, fee=fee: channels.reserve_fee(tx, fee))  # type: ignore[misc]
        if n > 5:
            store.write_sync(lambda tx, n=n: channels.settle_fee(tx, "whatsapp", f"k{n}", "failed", ""))  # type: ignore[misc]
    script = resources.files("waterline.store").joinpath(f"migrations/{migration}").read_text()
    fill = next(part for part in script.split(";") if f"INSERT INTO {table}" in part)

    def rows(tx: Tx) -> list[tuple[object, ...]]:
        return sorted(tx._connection.execute(f"SELECT * FROM {table}").fetchall())

    before = store.read_sync(rows)

    def anew(tx: Tx) -> None:
        tx._connection.execute(f"DELETE FROM {table}")
        tx._connection.execute(fill)

    store.write_sync(anew)
    assert before
    assert store.read_sync(rows) == before


def test_traces_that_are_deleted_were_paid_for_all_the_same(store: Store) -> None:
    put(store, msgspec.structs.replace(BASE, outcome="answered", cost_nano_usd=5, started_us=QUARTER_US))
    store.write_sync(lambda tx: retention.sweep(tx, "school", 3 * QUARTER_US, 3 * QUARTER_US))
    assert store.read_sync(lambda tx: traces.count(tx, traces.TraceFilter())) == 0
    assert spent(store, "app", 0, "live") == {"school": 5}
    later = 3 * QUARTER_US + spending.MONTH_US
    store.write_sync(lambda tx: retention.sweep(tx, "school", later, later))
    assert spent(store, "app", 0, "live") == {}


@pytest.mark.parametrize("statement", ["spending.by", "cost.sums", "traces.interrupt"])
def test_no_month_of_traces_is_read(store: Store, statement: str) -> None:
    def plan(tx: Tx) -> list[str]:
        named = tx._statements.named[statement].text(())
        given = dict.fromkeys(re.findall(r"(?<!:):(\w+)", named), 0)
        text = tx._statements.sql(statement, given)
        return [row[3] for row in tx._connection.execute("EXPLAIN QUERY PLAN " + text, given)]

    steps = [step for step in store.read_sync(plan) if re.match(r"(SCAN|SEARCH) traces\b", step)]
    assert steps
    assert all("traces_unfinished" in step for step in steps), steps
