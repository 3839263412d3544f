"""Who watches a canary reads the sessions whose time has come, and never all traces."""

from collections.abc import Iterator
from typing import Any

import pytest

from waterline.store.db import Store, Tx

WHERE = {"app": "a", "env": "e", "release": "r", "purpose": "live"}
SESSION = {"session": "s", "since_us": 1, "until_us": 2, "limit": 9, **WHERE}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("plans") / "waterline.db")
    yield store
    store.close()


@pytest.mark.parametrize(
    ("statement", "given", "by"),
    [
        ("canaries.under_way", {}, "canaries_under_way"),
        ("canaries.due", {"canary": "c", "stage": 0, "until_us": 1, "limit": 9}, "canary_units_due"),
        ("canaries.waiting", {"canary": "c"}, "canary_units_due"),
        ("canaries.asked_in_session", SESSION, "traces_by_session"),
        ("canaries.said_in_session", SESSION | {"said_us": 3}, "traces_by_session"),
        ("canaries.said_in_session", SESSION | {"said_us": 3}, "verdicts_of"),
        ("canaries.said_once", {"id": "t", "said_us": 3, "limit": 9}, "verdicts_of"),
        ("canaries.recorded", {**WHERE, "since_us": 1, "limit": 9}, "traces_by_app"),
        ("canaries.list", {"limit": 9}, "canaries_by_time"),
        ("shadows.under_way", {"app": "a"}, "shadows_under_way"),
        ("shadows.pairs", {"shadow": "s", "limit": 9, "before": 5}, "shadow_pairs_of"),
    ],
)
def test_it_is_found_by_an_index(store: Store, statement: str, given: dict[str, Any], by: str) -> None:
    def plan(tx: Tx) -> list[str]:
        text = tx._statements.sql(statement, given)
        return [row[3] for row in tx._connection.execute("EXPLAIN QUERY PLAN " + text, given)]

    steps = store.read_sync(plan)
    assert any(f"INDEX {by} " in f"{step} " for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN") and "INDEX" not in step], steps
