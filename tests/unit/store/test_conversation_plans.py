"""What people look at is found by an index, however many conversations there are."""

from collections.abc import Iterator
from typing import Any

import pytest

from waterline.store.db import Store, Tx

SPAN = {"since_us": 1, "until_us": 2}
ANY = {"app": None, "env": None, "branch": None}
PAGE = {**ANY, "stage": None, "mode": None, "channel": None, "before_us": None, "limit": 50}
ACTS = {"app": None, "branch": None, "state": None, "before": None, "limit": 50}
SCHOOL = {"app": "school"}
PORTO = {"app": "school", "branch": "porto"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("plans") / "waterline.db")
    yield store
    store.close()


@pytest.mark.parametrize(
    ("statement", "given", "by"),
    [
        ("conversations.page", PAGE, "conversations_moved"),
        ("conversations.page", PAGE | SCHOOL, "conversations_moved"),
        ("conversations.page", PAGE | {"before_us": 5, "before_id": "c"}, "conversations_moved"),
        ("conversations.page", PAGE | PORTO, "conversations_of_branch"),
        ("conversations.funnel", ANY | SPAN | SCHOOL, "conversation_stages_begun"),
        ("conversations.funnel", ANY | SPAN | PORTO, "conversation_stages_of_branch"),
        ("conversations.figures", ANY | SPAN | SCHOOL, "conversations_begun"),
        ("conversations.figures", ANY | SPAN | PORTO, "conversations_begun_in"),
        ("conversations.spent_by_branch", ANY | SPAN | SCHOOL, "traces_of_conversations"),
        ("conversations.spent_by_branch", ANY | SPAN | PORTO, "traces_of_conversations"),
        ("conversations.fees_by_branch", ANY | SPAN | SCHOOL, "channel_fees_by_time"),
        ("channels.oldest_month", SCHOOL | {"month": "2026-10"}, "channel_fees_by_month"),
        ("channels.old_fees", SCHOOL | {"month": "2026-10", "limit": 9}, "channel_fees_by_month"),
        ("conversations.spent", {"conversation": "c"}, "traces_by_session"),
        ("conversations.fees", {"conversation": "c", "channel": "whatsapp"}, "effects_of"),
        ("conversations.due", {"now_us": 1, "limit": 9}, "conversations_waiting"),
        ("conversations.to_wake", {"now_us": 1, "limit": 9}, "conversations_wake"),
        ("effects.due", {"now_us": 1, "limit": 9}, "effects_due"),
        ("effects.head", {"conversation": "c", "lane": "reply"}, "effects_open"),
        ("effects.lanes", {"conversation": "c"}, "effects_open"),
        ("effects.heard", {"conversation": "c", "since_us": 1, "now_us": 2}, "effects_held"),
        ("effects.of_lane_kind", ACTS | {"state": "failed"}, "effects_acts"),
        ("effects.of_lane_kind", ACTS | {"branch": "porto"}, "effects_acts_of_branch"),
        ("handoffs.queue", {"app": "school", "branch": None, "limit": 9}, "handoffs_waiting"),
        ("handoffs.to_remind", {"app": None, "asked_before_us": 1, "limit": 9}, "handoffs_waiting"),
        ("handoffs.times", {"app": None, "branch": None, **SPAN, "limit": 9}, "handoffs_asked"),
    ],
)
def test_a_page_reads_what_it_shows_and_not_everything(
    store: Store, statement: str, given: dict[str, Any], by: str
) -> None:
    def plan(tx: Tx) -> list[str]:
        text = tx._statements.sql(statement, given)
        return [row[3] for row in tx._connection.execute("EXPLAIN QUERY PLAN " + text, given)]

    steps = store.read_sync(plan)
    assert any(f"INDEX {by} " in f"{step} " for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN") and "INDEX" not in step], steps
    if statement in ("conversations.page", "effects.due"):
        assert not [step for step in steps if "ORDER BY" in step], ("sorted by hand", steps)


def test_the_newest_acts_come_without_sorting(store: Store) -> None:
    text = store.read_sync(lambda tx: tx._statements.sql("effects.of_lane_kind", ACTS))
    steps = store.read_sync(lambda tx: [r[3] for r in tx._connection.execute("EXPLAIN QUERY PLAN " + text, ACTS)])
    assert steps == ["SCAN effects"], "from the newest backwards, until the page is full"
