"""What the store promises about conversations: once, in order, never back, and gone when erased."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from waterline.core.conversation import Alias, Effect, Handoff, Inbound, Outbound, Status
from waterline.store import conversations, effects, handoffs, identities, retention
from waterline.store.db import Store, Tx

TABLES = (
    "conversations", "conversation_ways", "inbox", "turns", "effects", "sent_messages", "conversation_stages",
    "handoffs", "identities", "aliases",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "waterline.db")
    yield store
    store.close()


def text(message_id: str, said: str = "hello") -> Inbound:
    return Inbound("whatsapp", "100", message_id, "351911", 1, text=said, aliases=(Alias("phone", "+351911"),))


def begin(tx: Tx, conversation: str = "c1", identity: str = "i1", sender: str = "351911") -> conversations.Conversation:
    conversations.add(
        tx, id=conversation, app="school", env="production", branch="lisbon", channel="whatsapp", address="100",
        sender=sender, identity=identity, now_us=5,
    )  # fmt: skip
    conversations.add_way(tx, "whatsapp", "100", sender, conversation)
    found = conversations.get(tx, conversation)
    assert found is not None
    return found


def count(tx: Tx, table: str) -> int:
    found: int = tx._connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    return found


def test_messages_get_sequences_in_the_order_of_arrival_and_a_turn_reads_them_once(store: Store) -> None:
    def go(tx: Tx) -> None:
        begin(tx)
        assert [conversations.put(tx, "c1", text(m), 10) for m in "abc"] == [1, 2, 3]
        assert conversations.knows(tx, text("b"))
        assert [w.message.message_id for w in conversations.waiting(tx, "c1", 10)] == ["a", "b", "c"]
        same = {"stage": "", "language": "", "slots": "{}", "wake_us": 0, "release": "r", "now_us": 20}
        assert conversations.turned(tx, "c1", 1, 2, state=b"one", **same) == 1, "the third message waits still"
        assert conversations.turned(tx, "c1", 1, 3, state=b"again", **same) is None, "the same turn twice"
        kept = conversations.get(tx, "c1")
        assert kept is not None
        assert (kept.state, kept.turn, kept.waiting) == (b"one", 1, 1)
        assert conversations.due(tx, 20, 10) == ["c1"]

    store.write_sync(go)


def test_a_turn_that_ends_after_a_person_took_over_changes_nothing(store: Store) -> None:
    def go(tx: Tx) -> None:
        begin(tx)
        conversations.put(tx, "c1", text("a"), 10)
        assert conversations.take(tx, "c1", "ana", 11)
        assert not conversations.take(tx, "c1", "rui", 12), "two people at once: one wins"
        values = {"state": b"x", "stage": "", "language": "", "slots": "{}", "wake_us": 0, "release": ""}
        assert conversations.turned(tx, "c1", 1, 1, **values, now_us=13) is None
        assert conversations.due(tx, 99, 10) == [], "nothing is asked of the agent meanwhile"
        conversations.answered_by_person(tx, "c1")
        assert conversations.give_back(tx, "c1", 14)
        kept = conversations.get(tx, "c1")
        assert kept is not None
        assert (kept.state, kept.waiting, kept.mode) == (b"", 0, "bot")

    store.write_sync(go)


def test_an_effect_is_planned_once_however_often_its_turn_is_run(store: Store) -> None:
    def go(tx: Tx) -> None:
        begin(tx)
        book = Effect("book", connector="calendar", operation="book", key="visit-1")
        for _ in range(3):
            assert effects.plan(tx, "school", "production", "c1", 1, book, 10) is None
        row = effects.head(tx, "c1", "calendar")
        assert row is not None
        assert (row.key, row.state, count(tx, "effects")) == ("visit-1", "planned", 1)
        assert effects.start(tx, row.n, 11)
        assert effects.finish(tx, row.n, "done", 12, result='{"uid": "u"}')
        assert not effects.finish(tx, row.n, "failed", 13), "what ended well stays so"
        known = effects.plan(tx, "school", "production", "c1", 2, book, 14)
        assert known is not None
        assert known.result == '{"uid": "u"}'
        assert effects.head(tx, "c1", "calendar") is None

    store.write_sync(go)


def test_an_effect_that_was_refused_may_be_planned_anew_under_its_key(store: Store) -> None:
    def go(tx: Tx) -> None:
        begin(tx)
        book = Effect("book", connector="calendar", operation="book", arguments={"at": "9:00"}, key="visit-1")
        effects.plan(tx, "school", "production", "c1", 1, book, 10)
        first = effects.head(tx, "c1", "calendar")
        assert first is not None
        effects.finish(tx, first.n, "refused", 11, reason="taken")
        later = Effect("book", connector="calendar", operation="book", arguments={"at": "10:00"}, key="visit-1")
        assert effects.plan(tx, "school", "production", "c1", 2, later, 12) is None
        row = effects.head(tx, "c1", "calendar")
        assert row is not None
        assert (row.effect.arguments, row.turn, row.reason) == ({"at": "10:00"}, 2, "")

    store.write_sync(go)


def test_what_waits_behind_an_effect_waits_with_it_and_other_lanes_go_on(store: Store) -> None:
    def go(tx: Tx) -> None:
        begin(tx)
        for name, connector in (("lead", "crm"), ("note", "crm"), ("book", "calendar")):
            effects.plan(tx, "school", "production", "c1", 1, Effect(name, connector=connector, operation="x"), 10)
        row = effects.head(tx, "c1", "crm")
        assert row is not None
        effects.start(tx, row.n, 11)
        effects.again(tx, row, 5000, "down")
        assert effects.due(tx, 4000, 10) == [("c1", "calendar")]
        assert sorted(effects.due(tx, 5000, 10)) == [("c1", "calendar"), ("c1", "crm")]
        head = effects.head(tx, "c1", "crm")
        assert head is not None
        assert head.name == "lead"

    store.write_sync(go)


ORDERS = list(itertools.permutations(["sent", "delivered", "read", "failed"], 3))


@pytest.mark.parametrize("order", ORDERS)
def test_statuses_apply_monotonically_in_every_order(store: Store, order: tuple[str, ...]) -> None:
    def go(tx: Tx) -> str:
        for at, state in enumerate(order):
            effects.note(tx, Status("whatsapp", "100", "m1", state, at))  # type: ignore[arg-type]
        row = effects.sent(tx, "whatsapp", "100", "m1")
        assert row is not None
        return row.state

    found = store.write_sync(go)
    reached = [s for s in order if s != "failed"]
    best = max(reached, key=lambda s: effects.RANK[s])
    before_failing = list(order[: order.index("failed")]) if "failed" in order else []
    delivered_first = bool({"delivered", "read"} & set(before_failing))
    assert found == ("failed" if "failed" in order and not delivered_first else best)


def test_the_price_of_a_message_comes_with_any_status_and_stays(store: Store) -> None:
    def go(tx: Tx) -> None:
        effects.note(tx, Status("whatsapp", "100", "m1", "delivered", 2))
        effects.note(tx, Status("whatsapp", "100", "m1", "sent", 1, billable=True, category="service"))
        effects.note(tx, Status("whatsapp", "100", "m1", "read", 3))
        row = effects.sent(tx, "whatsapp", "100", "m1")
        assert row is not None
        assert (row.state, row.billable, row.category) == ("read", 1, "service")

    store.write_sync(go)


def test_two_names_that_turn_out_to_be_one_person_are_joined_with_their_conversations(store: Store) -> None:
    ids = iter(["i1", "i2", "i3"])
    phone, bsuid = Alias("phone", "+351911"), Alias("bsuid", "PT.77")

    def go(tx: Tx) -> None:
        first = identities.resolve(tx, "school", [phone], 1, lambda: next(ids))
        second = identities.resolve(tx, "school", [bsuid], 2, lambda: next(ids))
        assert (first, second) == ("i1", "i2")
        begin(tx, "c2", second, "PT.77")
        assert identities.resolve(tx, "school", [bsuid, phone], 3, lambda: next(ids)) == "i1"
        kept = conversations.get(tx, "c2")
        assert kept is not None
        assert kept.identity == "i1"
        assert identities.resolve(tx, "school", [bsuid], 4, lambda: next(ids)) == "i1"
        assert set(identities.with_merged(tx, "i2")) == {"i1", "i2"}
        assert identities.resolve(tx, "other app", [phone], 5, lambda: next(ids)) == "i3", "apps share nobody"

    store.write_sync(go)


def test_saying_that_an_address_is_mine_never_joins_me_with_its_owner(store: Store) -> None:
    ids = iter(["owner", "liar"])

    def go(tx: Tx) -> None:
        mail = Alias("email", "head@school.pt")
        owner = identities.resolve(tx, "school", [mail], 1, lambda: next(ids))
        liar = identities.resolve(tx, "school", [Alias("phone", "+1")], 2, lambda: next(ids))
        identities.claim(tx, "school", liar, mail, 3)
        assert identities.find(tx, "school", mail) == owner
        assert identities.resolve(tx, "school", [mail], 4, lambda: "new") == owner
        assert sorted(identities.anybody(tx, "school", mail)) == ["liar", "owner"]

    store.write_sync(go)


def test_erasing_a_person_leaves_nothing_and_a_late_repeat_brings_nothing_back(store: Store) -> None:
    def fill(tx: Tx) -> str:
        who = identities.resolve(tx, "school", [Alias("phone", "+351911")], 1, lambda: "i1")
        at = begin(tx, "c1", who)
        conversations.put(tx, "c1", text("a", "my son is called Rui"), 10)
        conversations.add_stage(tx, at, "first_message", 10)
        conversations.turned(
            tx, "c1", 1, 1, state=b"Rui", stage="booked", language="pt", slots='{"child": "Rui"}', wake_us=0,
            release="r", now_us=11,
        )  # fmt: skip
        conversations.add_turn(tx, "c1", conversations.TurnRow(1, 10, 11, "r", "booked", 1, ("t1",)))
        effects.plan(tx, "school", "production", "c1", 1, Effect("reply", message=Outbound("Hello Rui")), 11)
        row = effects.head(tx, "c1", "reply")
        assert row is not None
        effects.left(tx, row, "whatsapp", "100", "out1", 12)
        handoffs.ask(tx, "school", "production", "lisbon", "c1", Handoff("asked", "Rui's mother"), 13)
        return who

    who = store.write_sync(fill)
    everything = store.read_sync(lambda tx: conversations.export(tx, who))
    [kept] = everything["conversations"]
    assert all(len(kept[table]) == 1 for table in ("messages", "turns", "effects", "sent", "handoffs"))
    assert store.write_sync(lambda tx: conversations.erase(tx, who, 20)) == ["c1"]
    left = store.read_sync(lambda tx: {table: count(tx, table) for table in TABLES})
    assert left == dict.fromkeys(TABLES, 0)
    assert store.read_sync(lambda tx: conversations.knows(tx, text("a")))
    assert not store.read_sync(lambda tx: conversations.knows(tx, text("b")))
    store.write_sync(lambda tx: retention.sweep(tx, "school", 21, 20))
    assert store.read_sync(lambda tx: conversations.knows(tx, text("a")))
    store.write_sync(lambda tx: retention.sweep(tx, "school", 21, 21))
    assert store.read_sync(lambda tx: count(tx, "erased_messages")) == 0, (
        "when nobody delivers it any more, not even a digest is kept"
    )


def test_a_conversation_is_in_the_queue_once_and_the_first_reply_is_measured(store: Store) -> None:
    def go(tx: Tx) -> None:
        at = ("school", "production", "lisbon", "c1")
        begin(tx)
        assert handoffs.ask(tx, *at, Handoff("asked", "wants a person"), 100)
        assert not handoffs.ask(tx, *at, Handoff("anger", "is angry now", urgent=True), 200)
        [row] = handoffs.queue(tx, "school", None)
        assert (row.reason, row.summary, row.urgent, row.asked_us) == ("asked", "is angry now", 1, 100)
        handoffs.take(tx, *at, "ana", 300)
        handoffs.replied(tx, "c1", 400)
        handoffs.replied(tx, "c1", 900)
        assert handoffs.waits_us(tx, "school", None, 0, 1000) == {"lisbon": [300]}
        handoffs.close(tx, "c1", 950)
        handoffs.take(tx, *at, "rui", 1000)
        handoffs.replied(tx, "c1", 1001)
        assert handoffs.waits_us(tx, "school", None, 0, 2000) == {"lisbon": [300]}, "nobody waited for the second"

    store.write_sync(go)
