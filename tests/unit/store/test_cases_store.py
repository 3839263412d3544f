"""Case sets: named by content, versions that stay what they were, found by words, tag and side."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from waterline.core.case import Case, Expect, Message, Origin, case_digest, case_set_id
from waterline.store import cases
from waterline.store.cases import Filter
from waterline.store.db import Store, StoreConflict

GOOD = Expect(contains=("8:00",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "waterline.db")
    yield store
    store.close()


def case(name: str, text: str = "When do you open?", **more: object) -> Case:
    return Case(id=name, input=text, expect=GOOD, **more)  # type: ignore[arg-type]


def add(store: Store, *given: Case, removed: tuple[str, ...] = (), name: str = "front") -> cases.Version | None:
    return store.write_sync(lambda tx: cases.add_version(tx, "shop", name, given, removed, "ana", "why", 7))


def ids(store: Store, version: int, **where: str) -> list[str]:
    return [
        row.name
        for row in store.read_sync(lambda tx: cases.page(tx, "shop", "front", version, Filter(**where), "", 99))
    ]


def test_the_optional_fields_of_a_case_do_not_change_the_digests_of_old_ones() -> None:
    old = Case(id="a", expect=GOOD, input="When do you open?", tags=("en",), source="a mail")
    assert case_digest(old) == "86843c1a252e75eeaeb65653e3b77b26bf8eff4bccf01efe219dc63101cbf42b"
    talk = (Message(role="user", content="Hi"),)
    assert case_digest(Case(id="b", expect=GOOD, messages=talk)) != case_digest(old)


def test_a_version_is_named_by_its_content_and_keeps_it_for_ever(store: Store) -> None:
    first = add(store, case("a"), case("b"))
    changed = case("a", "When do you close?")
    second = add(store, changed, case("c"), removed=("b",))
    assert first is not None
    assert second is not None
    assert first.digest == case_set_id([case("a"), case("b")])
    assert (second.version, second.parent, second.digest) == (2, first.digest, case_set_id([changed, case("c")]))
    assert (second.cases, second.added, second.removed) == (2, 2, 2)
    assert (ids(store, 1), ids(store, 2)) == (["a", "b"], ["a", "c"])
    assert list(store.read_sync(lambda tx: list(cases.each(tx, "shop", "front", 1)))) == [case("a"), case("b")]
    with pytest.raises(StoreConflict, match="append-only"):
        store.write_sync(lambda tx: tx._connection.execute("DELETE FROM case_versions"))


def test_the_same_cases_again_make_no_version_and_going_back_gives_the_old_digest(store: Store) -> None:
    first = add(store, case("a"))
    assert add(store, case("a")) is None
    add(store, case("b"))
    third = add(store, removed=("b",))
    assert first is not None
    assert third is not None
    assert (third.version, third.digest) == (3, first.digest)
    assert store.read_sync(lambda tx: cases.of_digest(tx, "shop", "front", first.digest[:8])) == 3


def test_what_two_versions_do_not_share_is_listed_by_case(store: Store) -> None:
    add(store, case("a"), case("b"), case("same"))
    add(store, case("a", "other words"), case("new"), removed=("b",))
    found = {c.name: c for c in store.read_sync(lambda tx: cases.diff(tx, "shop", "front", 1, 2, 10))}
    assert set(found) == {"a", "b", "new"}
    assert found["a"].first == case_digest(case("a"))
    assert found["a"].second == case_digest(case("a", "other words"))
    assert (bool(found["b"].second), bool(found["new"].first)) == (False, False)
    back = store.read_sync(lambda tx: cases.diff(tx, "shop", "front", 2, 1, 10))
    assert {c.name for c in back} == {"a", "b", "new"}


def test_cases_are_found_by_words_without_accents_by_tag_side_and_origin_and_nothing_typed_is_an_operator(
    store: Store,
) -> None:
    add(
        store,
        case("a", "Olá, a que horas ABREM?", tags=("pt", "hours"), split="tuning"),
        case("b", "100% sure_thing", tags=("en",), split="held_out", origin=Origin(trace="0" * 24, found="failure")),
    )
    assert ids(store, 1, text="horas abrem") == ["a"]
    assert ids(store, 1, text="%") == ["a", "b"]  # nothing in it to look for
    assert ids(store, 1, text="sure_thing") == ["b"]
    assert ids(store, 1, tag="h%") == []
    assert ids(store, 1, tag="hours") == ["a"]
    assert ids(store, 1, split="held_out") == ["b"]
    assert ids(store, 1, found="failure") == ["b"]
    assert store.read_sync(lambda tx: cases.count(tx, "shop", "front", 1, Filter(tag="pt"))) == (1, 0)
    groups = store.read_sync(lambda tx: cases.groups(tx, "shop", "front", 1))
    assert groups["tag"] == {"en": 1, "hours": 1, "pt": 1}
    assert groups["found"] == {"failure": 1, "file": 1}


@pytest.mark.slow
def test_a_hundred_thousand_cases_are_listed_searched_and_counted_in_under_a_second(store: Store) -> None:
    words = ["price", "visit", "bus", "lunch", "uniform", "grade", "fee", "hours", "holiday", "address"]
    made = [
        case(f"case-{n:06}", f"{words[n % 10]} number {n} please, for my {words[n % 7]}", tags=(words[n % 10],),
             split="tuning" if n % 2 else "held_out")
        for n in range(100_000)
    ]  # fmt: skip
    for at in range(0, len(made), 5000):
        add(store, *made[at : at + 5000])
    head = store.read_sync(lambda tx: cases.head(tx, "shop", "front"))
    assert head is not None
    assert (head.cases, head.digest) == (100_000, case_set_id(made))
    took: dict[str, float] = {}
    for name, where in {
        "all": Filter(),
        "words": Filter(text="number 99321"),
        "tag": Filter(tag="bus", split="tuning"),
    }.items():
        start = time.perf_counter()
        total, _ = store.read_sync(lambda tx, w=where: cases.count(tx, "shop", "front", 20, w))  # type: ignore[misc]
        rows = store.read_sync(lambda tx, w=where: cases.page(tx, "shop", "front", 20, w, "", 51))  # type: ignore[misc]
        took[name] = time.perf_counter() - start
        assert len(rows) == min(51, total)
    start = time.perf_counter()
    store.read_sync(lambda tx: cases.groups(tx, "shop", "front", 20))
    took["groups"] = time.perf_counter() - start
    start = time.perf_counter()
    add(store, case("one-more"))
    took["one more case"] = time.perf_counter() - start
    print({name: f"{s * 1000:.0f} ms" for name, s in took.items()})
    assert max(took.values()) < 5.0
