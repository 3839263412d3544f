"""What runs every few seconds reads what waits, however many rows a month has left: a plan that looked right on an
empty database went through all traces once the statistics said that nothing waits."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from waterline.store.db import Store, Tx

GROW = ("traces", "bodies", "conversations", "inbox", "turns", "effects", "sent_messages", "channel_fees", "sessions",
        "session_steps", "conversation_stages", "conversation_ways", "identities", "aliases")  # fmt: skip
OFTEN = ("behaviour.in_line", "behaviour.waiting", "behaviour.quiet", "behaviour.moved_conversations",
         "conversations.due", "conversations.to_wake", "effects.due", "handoffs.to_remind", "canaries.under_way",
         "shadows.under_way")  # fmt: skip
# Nobody waits for these, but everybody's writes wait while they run.
WRITES = ("channels.fee_of_message", "channels.old_fees", "channels.delete_fee", "channels.fee",
          "identities.mark_merged", "erasure.traces_of_subject", "erasure.traces_of_session",
          "erasure.traces_of_subject_after", "erasure.open_traces", "effects.sent", "effects.status",
          "conversations.turned", "conversations.heard", "traces.spent_in")  # fmt: skip


@pytest.fixture(
    scope="module", params=["150000", "4000000"]
)  # fewer and more than the planner takes a table without figures for
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path: Path = tmp_path_factory.mktemp("plans") / "waterline.db"
    Store.open(path).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ANALYZE")
        db.execute("DELETE FROM sqlite_stat1")
        db.executemany("INSERT INTO sqlite_stat1 VALUES (?, NULL, ?)", [(table, request.param) for table in GROW])
    store = Store.open(path)
    yield store
    store.close()


def plan_of(store: Store, statement: str, *optional: str) -> list[str]:
    def plan(tx: Tx) -> list[str]:
        named = tx._statements.named[statement]
        given = dict.fromkeys(re.findall(r"(?<!:):(\w+)", named.text(optional)), 0)
        text = tx._statements.sql(statement, given)
        return [row[3] for row in tx._connection.execute("EXPLAIN QUERY PLAN " + text, given)]

    return store.read_sync(plan)


@pytest.mark.parametrize("statement", [*OFTEN, *WRITES])
def test_what_runs_often_goes_through_no_table_that_grows(store: Store, statement: str) -> None:
    steps = plan_of(store, statement)
    aliases = re.findall(r"(?:FROM|JOIN) (\w+) (\w+)\b", store.statements.named[statement].text(()))
    grow = {*GROW, *(alias for table, alias in aliases if table in GROW)}
    through = [step for step in steps if (found := re.match(r"SCAN (\w+)", step)) and found[1] in grow]
    assert not [step for step in through if "INDEX" not in step], steps


@pytest.mark.parametrize("optional", [(), ("app",)])
def test_the_cost_of_routes_reads_no_trace_of_a_whole_day(store: Store, optional: tuple[str, ...]) -> None:
    steps = [step for step in plan_of(store, "cost.by_route", *optional) if re.match(r"(SCAN|SEARCH) traces\b", step)]
    assert len(steps) == 2
    assert "started_us>? AND started_us<?" in steps[0]
    assert "traces_unfinished" in steps[1]
