"""Only what people asked is harvested; a person of a conversation is erased by their phone number, cases and all."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from test_harvest_words import ROW

from waterline.access.roles import Principal, Role
from waterline.control.erasure import ErasureBody, ErasureDesk
from waterline.control.harvest import Harvest, HarvestBody
from waterline.core.case import Case, Expect, Origin
from waterline.core.conversation import Alias, Inbound
from waterline.core.ids import keyed_digest
from waterline.core.trace import PURPOSES
from waterline.store import candidates, cases, conversations, identities, retention, traces
from waterline.store.db import Store, Tx

OWNER = Principal("wl-00000001", "person", "ana", role=Role.OWNER)
KEY = b"k" * 32
PHONE = "+351911222333"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "waterline.db")
    yield store
    store.close()


async def nothing() -> None:
    pass


def add(tx: Tx, trace_id: str, text: str, **changes: object) -> None:
    row = msgspec.structs.replace(ROW, id=trace_id, **changes)
    numbers = traces.insert_batch(tx, [traces.TraceWrite(row, b"[]")])
    body = msgspec.json.encode({"messages": [{"role": "user", "content": text}]})
    traces.insert_bodies(tx, [(numbers[trace_id], body, b'{"choices": []}')])


def test_traces_of_trials_evaluations_judges_and_shadows_are_never_harvested(store: Store) -> None:
    words = {"live": "When does it open", "trial": "Where is the lift", "eval": "Who sells maps",
             "judge": "How old is this house", "shadow": "Are there lockers for bags"}  # fmt: skip
    assert set(words) == set(PURPOSES)
    for n, (purpose, text) in enumerate(words.items()):
        store.write_sync(lambda tx, n=n, p=purpose, t=text: add(tx, f"{n:024x}", t, purpose=p))  # type: ignore[misc]
    harvest = Harvest(store, lambda: 9, lambda app: None, nothing, lambda: None)
    done = asyncio.run(harvest.run(OWNER, "shop", HarvestBody(by=["filter", "feedback", "score"], basis="consent")))
    assert (done.looked_at, done.made) == (1, 1)
    assert store.read_sync(lambda tx: candidates.waiting(tx, "shop", "main", 9))[0].asked == words["live"]


def test_what_waits_in_the_queue_goes_when_its_trace_goes(store: Store) -> None:
    def fill(tx: Tx) -> None:
        for n, text in enumerate(("Where is the old lighthouse", "Who sells maps here")):
            add(tx, f"{n:024x}", text, started_us=n + 5)
            case = Case(id=f"c{n}", input=text, expect=Expect())
            assert candidates.add(tx, "shop", "main", candidates.Made(case, f"{n:024x}", "filter", "", "", 0), 9)

    store.write_sync(fill)
    store.write_sync(lambda tx: retention.sweep(tx, "shop", 6, 6))
    assert [c.id for c in store.read_sync(lambda tx: candidates.waiting(tx, "shop", "main", 9))] == ["c1"]


def test_a_trace_that_is_erased_while_it_is_harvested_becomes_no_candidate(store: Store) -> None:
    store.write_sync(lambda tx: add(tx, "1" * 24, "Where is the old lighthouse", subject="s"))
    erased: list[bool] = []

    def embedder() -> None:  # asked for after the traces were read, before anything is written
        if not erased:
            erased.append(True)
            store.write_sync(lambda tx: tx.run("erasure.blank_trace", n=1, nothing=b"[]"))

    harvest = Harvest(store, lambda: 9, lambda app: None, nothing, embedder)
    done = asyncio.run(harvest.run(OWNER, "shop", HarvestBody(by=["filter"], basis="consent")))
    assert (done.made, done.no_text) == (0, 1)


def test_a_person_is_erased_by_their_phone_number_with_cases_whose_traces_are_long_gone(store: Store) -> None:
    # A peer: "erasing traces leaves prompts and datasets".

    def fill(tx: Tx) -> None:
        who = identities.resolve(tx, "shop", [Alias("phone", PHONE)], 1, lambda: "i1")
        conversations.add(
            tx, id="c1", app="shop", env="production", branch="b", channel="whatsapp", address="100", sender=PHONE,
            identity=who, now_us=5,
        )  # fmt: skip
        conversations.put(tx, "c1", Inbound("whatsapp", "100", "m1", PHONE, 1, text="my son Rui"), 10)
        subject = keyed_digest(KEY, f"person:{who}".encode())
        add(tx, "a" * 24, "my son Rui", session="c1", subject=subject)
        origin = Origin(trace="a" * 24, found="filter")
        case = Case(id="rui", input="my son Rui", expect=Expect(contains=("x",)), origin=origin)
        cases.add_version(tx, "shop", "main", [case], (), "ana", "", 11)
        tx.run("retention.delete_trace", n=1)  # its time was over

    store.write_sync(fill)
    desk = ErasureDesk(store, lambda: 12, KEY, nothing, [])
    done = asyncio.run(desk.erase(OWNER, ErasureBody(subject=PHONE)))
    assert (done.rewritten, done.count.cases, done.count.conversations) == (True, 1, 1)
    data = store.path.read_bytes()
    assert not any(word in data for word in (b"Rui", b"rui", PHONE.encode()))
    head = store.read_sync(lambda tx: cases.head(tx, "shop", "main"))
    assert head is not None
    assert (head.version, head.cases, head.removed) == (2, 0, 1)
