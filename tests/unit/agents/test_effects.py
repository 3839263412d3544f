"""What turns planned happens in the world: in order, under its key, told by the next turn, whatever the systems do."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
from world import World, said, text

from waterline.agents.agent import TurnInput
from waterline.agents.effects import NotSent
from waterline.connectors.base import ConnectorFault
from waterline.core.conversation import Alias, Effect, Outbound, Status, Turn
from waterline.core.conversing import Conversing
from waterline.store import conversations, effects, handoffs, identities

QUICK = Conversing(quiet_s=0.05, longest_quiet_s=0.3, late_s=0.3, give_up_s=3600)


def book(given: TurnInput) -> Turn:
    """Books at a user's message, and says how that went when it hears of it."""
    done: list[Effect] = []
    for message in given.messages:
        if message.outcome is None:
            done.append(Effect("book", connector="calendar", operation="book", arguments={"at": "9:00"}, key="visit"))
    told = [s for s in said(given) if s.startswith("book ")]
    if told:
        done.append(Effect("reply", Outbound(", ".join(told))))
    return Turn(b"", tuple(done))


def texts(world: World) -> list[str]:
    return world.phone.texts


async def test_the_next_turn_tells_what_an_act_came_to(make_world: Callable[..., World]) -> None:
    world = make_world(book)
    await world.desk.inbound([text("tomorrow at nine")])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    assert texts(world) == ["book done"]
    assert world.system.calls == [("calendar", "book", "visit")]
    assert world.system.scopes[0].place == "/lisbon/"
    outcome = world.agent.given[1].messages[0].outcome
    assert outcome is not None
    assert outcome.result == {"id": 1, "at": "9:00"}


async def test_an_act_that_was_done_before_is_told_and_not_done_again(make_world: Callable[..., World]) -> None:
    """Langgraph 7780: a resumed graph runs its side effects again."""
    world = make_world(book)
    for _ in range(2):
        before = len(world.phone.sent)
        await world.desk.inbound([text("tomorrow at nine")])
        await world.until(lambda before=before: len(world.phone.sent) > before)
        await world.idle()
    assert texts(world) == ["book done", "book done"]
    assert world.system.calls == [("calendar", "book", "visit")]


async def test_what_takes_long_is_said_once_and_confirmed_later(make_world: Callable[..., World]) -> None:
    world = make_world(book, QUICK)
    world.system.slow_s = 1.5
    await world.desk.inbound([text("tomorrow at nine")])
    await world.until(lambda: len(world.phone.sent) == 2)
    await world.idle()
    assert texts(world) == ["book late", "book done"]
    assert len(world.system.calls) == 1


async def test_a_system_that_is_down_is_an_honest_sentence_now_and_a_booking_later(
    make_world: Callable[..., World],
) -> None:
    world = make_world(book, QUICK)
    world.system.faults = [ConnectorFault("down", "calendar: no connection"), ConnectorFault("slow", "calendar: slow")]
    await world.desk.inbound([text("tomorrow at nine")])
    await world.until(lambda: texts(world) == ["book late"])
    world.skip_us += 400_000_000
    await world.until(lambda: len(world.system.calls) == 2)
    await world.idle()
    world.skip_us += 400_000_000
    await world.until(lambda: len(world.phone.sent) == 2)
    assert texts(world) == ["book late", "book done"], "late is said once"
    assert {key for *_, key in world.system.calls} == {"visit"}


async def test_a_slot_that_was_taken_is_an_ordinary_turn(make_world: Callable[..., World]) -> None:
    world = make_world(book)
    world.system.faults = [ConnectorFault("refused", "the slot is taken")]
    await world.desk.inbound([text("tomorrow at nine")])
    await world.until(lambda: world.phone.sent)
    assert texts(world) == ["book refused"]
    assert world.store.read_sync(lambda tx: handoffs.queue(tx, None, None)) == []


@pytest.mark.parametrize("kind", ["credentials", "schema", "data", "invalid"])
async def test_what_only_people_can_mend_is_handed_to_them(make_world: Callable[..., World], kind: str) -> None:
    world = make_world(book)
    world.system.faults = [ConnectorFault(kind, "calendar: the password is wrong")]  # type: ignore[arg-type]
    await world.desk.inbound([text("tomorrow at nine")])
    await world.until(lambda: world.phone.sent)
    assert texts(world) == ["book failed"]
    [row] = world.store.read_sync(lambda tx: handoffs.queue(tx, "school", "lisbon"))
    assert row.reason == "failed_effect"
    assert "calendar.book" in row.summary
    assert "9:00" in row.summary, "the person sees what was to be done"


async def test_what_is_down_for_too_long_is_handed_over(make_world: Callable[..., World]) -> None:
    world = make_world(book, QUICK)
    world.system.faults = [ConnectorFault("down", "no connection") for _ in range(3)]
    await world.desk.inbound([text("tomorrow at nine")])
    await world.until(lambda: texts(world) == ["book late"])
    world.skip_us += 2 * 3_600_000_000
    await world.until(lambda: len(world.phone.sent) == 2)
    assert texts(world) == ["book late", "book failed"]


async def test_one_system_that_is_down_holds_up_no_other_and_no_reply(make_world: Callable[..., World]) -> None:
    def answer(given: TurnInput) -> Turn:
        if given.messages[0].kind == "outcome":
            return Turn(b"", (Effect("reply", Outbound(" ".join(said(given)))),))
        acts = [Effect(name, connector=name, operation="x") for name in ("crm", "calendar")]
        return Turn(b"", (*acts, Effect("reply", Outbound("one moment"))))

    world = make_world(answer, QUICK)

    async def call(connector: str, *_: object, **__: object) -> dict[str, object]:
        if connector == "crm":
            raise ConnectorFault("down", "crm: no connection")
        return {}

    world.system.call = call  # type: ignore[method-assign,assignment]
    await world.desk.inbound([text("hello")])
    heard = lambda: sorted(" ".join(texts(world)[1:]).split())  # noqa: E731  (in one turn or in two)
    await world.until(lambda: heard() == ["calendar", "crm", "done", "late"])
    assert texts(world)[0] == "one moment"


async def test_acts_on_one_system_happen_in_the_order_of_their_turns(make_world: Callable[..., World]) -> None:
    def answer(given: TurnInput) -> Turn:
        return Turn(b"", tuple(Effect(n, connector="crm", operation=n, quiet=True) for n in ("a", "b", "c")))

    world = make_world(answer)
    world.system.faults = [ConnectorFault("down", "x", retry_after_s=1)]
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.system.calls)
    world.skip_us += 10_000_000
    await world.until(lambda: len(world.system.calls) == 4)
    assert [operation for _, operation, _ in world.system.calls] == ["a", "a", "b", "c"]
    assert len(world.agent.given) == 1, "nobody waits for the outcome of what is quiet"


# --- replies ---------------------------------------------------------------------------------------------------------


async def test_replies_leave_in_order_though_the_first_is_held_up(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.phone.faults = [NotSent("later", "slow down", 1, 131056)]
    await world.desk.inbound([text("one")])
    await world.until(lambda: world.counts.get("replies_later"))
    await world.desk.inbound([text("two")])
    await world.until(lambda: world.one.turn == 2)
    world.skip_us += 60_000_000
    await world.until(lambda: len(world.phone.sent) == 2)
    assert texts(world) == ["you said: one", "you said: two"]


@pytest.mark.parametrize("kind", ["never", "window_closed", "template"])
async def test_a_user_who_cannot_be_reached_is_handed_to_a_person_and_the_agent_is_not_asked(
    make_world: Callable[..., World], kind: str
) -> None:
    world = make_world()
    world.phone.faults = [NotSent(kind, "cannot be delivered")]  # type: ignore[arg-type]
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.store.read_sync(lambda tx: handoffs.queue(tx, None, None)))
    await world.idle()
    assert len(world.agent.given) == 1
    assert world.effects()[0].state == "failed"


async def test_nothing_is_forced_on_who_opted_out(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.phone.faults = [NotSent("opted_out", "they do not want this")]
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.counts.get("replies_opted_out"))
    await world.idle()
    assert world.effects()[0].state == "refused"
    assert world.store.read_sync(lambda tx: handoffs.queue(tx, None, None)) == []


async def crash_while_sending(world: World) -> str:
    """The process dies between the moment a message leaves and the moment that is written down. Returns its key."""
    left = asyncio.Event()

    async def hold() -> None:
        left.set()
        await asyncio.Event().wait()

    world.phone.sends_once, world.phone.hold = False, hold
    await world.desk.inbound([text("hello")])
    await left.wait()
    key = world.effects()[0].key
    assert world.effects()[0].state == "sending"
    await world.close()
    world.phone.hold = None
    return key


async def test_after_a_crash_while_sending_an_echo_proves_that_the_message_left(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    key = await crash_while_sending(world)
    world.phone.echo_s = 30.0
    world.open()
    await world.desk.statuses([Status("whatsapp", "100", "out.77", "sent", 1, key=key)])
    await world.idle()
    world.skip_us += 60_000_000
    await world.drain.look()
    await world.idle()
    assert world.phone.sent == [], "it was sent before"
    assert (world.effects()[0].state, world.effects()[0].message_id) == ("done", "out.77")


async def test_without_an_echo_the_message_is_sent_after_the_declared_wait_and_not_before(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    key = await crash_while_sending(world)
    world.phone.echo_s = 30.0
    world.open()
    await world.drain.look()
    await world.idle()
    assert world.phone.sent == []
    world.skip_us += 31_000_000
    await world.until(lambda: world.phone.sent)
    assert world.phone.sent == [("351911", "you said: hello", key)]


async def test_a_channel_that_knows_its_keys_is_simply_asked_again(make_world: Callable[..., World]) -> None:
    world = make_world()
    await crash_while_sending(world)
    world.phone.sends_once = True
    world.open()
    await world.until(lambda: world.phone.sent)
    assert len(world.phone.sent) == 1


async def test_a_status_may_come_before_the_answer_to_our_own_call(make_world: Callable[..., World]) -> None:
    world = make_world()

    async def hold() -> None:
        key = world.effects()[0].key
        await world.desk.statuses([Status("whatsapp", "100", "out.1", "delivered", 5, key=key, billable=True)])

    world.phone.hold = hold
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    [row] = world.store.read_sync(lambda tx: effects.sent_of(tx, world.one.id))
    assert (row.state, row.billable, row.key) == ("delivered", 1, world.effects()[0].key)


@pytest.mark.parametrize("order", list(itertools.permutations(["sent", "delivered", "read"])))
async def test_statuses_in_any_order_end_at_the_furthest(
    make_world: Callable[..., World], order: tuple[str, ...]
) -> None:
    world = make_world()
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    await world.desk.statuses([Status("whatsapp", "100", "out.1", state, 1) for state in order])  # type: ignore[arg-type]
    [row] = world.store.read_sync(lambda tx: effects.sent_of(tx, world.one.id))
    assert row.state == "read"


async def test_a_message_that_did_not_arrive_brings_a_person_once(make_world: Callable[..., World]) -> None:
    world = make_world()
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    failed = Status("whatsapp", "100", "out.1", "failed", 9, code=131026, reason="Message undeliverable")
    for _ in range(2):
        await world.desk.statuses([failed])
    [row] = world.store.read_sync(lambda tx: handoffs.queue(tx, None, None))
    assert "131026" in row.summary


async def test_the_number_of_a_lead_is_a_name_of_its_person_and_joins_nobody(make_world: Callable[..., World]) -> None:
    """Also where the agent does not hear of the act: two people whose lead is one stay two, and both are found by it."""

    def note_lead(given: TurnInput) -> Turn:
        lead = Effect("lead", connector="crm", operation="upsert_lead", arguments={"number": "L7"}, quiet=True)
        return Turn(b"", (Effect("reply", Outbound("noted")), lead))

    world = make_world(note_lead)
    for sender in ("351911", "351912"):
        await world.desk.inbound([text("hello", message_id=f"m{sender}", sender=sender)])
    await world.until(lambda: len(world.phone.sent) == 2 and len(world.system.calls) == 2)
    await world.idle()
    found = world.store.read_sync(lambda tx: identities.anybody(tx, "school", Alias("crm", "L7")))
    rows, _ = world.store.read_sync(lambda tx: conversations.page(tx, conversations.Filter()))
    assert len({row.identity for row in rows}) == 2
    assert sorted(found) == sorted(row.identity for row in rows)
    assert world.store.read_sync(lambda tx: identities.find(tx, "school", Alias("crm", "L7"))) is None
