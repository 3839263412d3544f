"""Turns that happen once and in order, whatever the channel, the model and the people do."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from msgspec import structs
from world import LISBON, World, echo, text

from waterline.agents.agent import AskFailed, TurnInput
from waterline.agents.handoff import give_back, reply, take
from waterline.core.branch import Hours
from waterline.core.conversation import Alias, Effect, Handoff, Outbound, Turn
from waterline.core.conversing import Conversing
from waterline.core.errors import BudgetExceeded
from waterline.store import conversations, handoffs


async def test_a_message_is_answered(world: World) -> None:
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    assert world.phone.sent == [("351911", "you said: hello", f"{world.one.id}/1/reply")]
    assert (world.one.stage, world.one.turn, world.one.state, world.one.waiting) == ("answered", 1, b"x", 0)


async def test_duplicate_deliveries_are_answered_once_also_after_a_restart(world: World) -> None:
    """Chatwoot 11901; and in-memory de-duplication is lost on restart."""
    message = text("hello")
    await world.desk.inbound([message, message])
    await world.until(lambda: world.phone.sent)
    await world.desk.inbound([message])
    await world.idle()
    await world.close()
    world.open()
    await world.desk.inbound([message])
    await world.idle()
    assert world.phone.texts == ["you said: hello"]


async def test_two_fast_messages_are_one_turn(make_world: Callable[..., World]) -> None:
    """Typebot 1453: two fast messages fire the flow twice."""
    world = make_world(echo, Conversing(quiet_s=1.5, longest_quiet_s=10))  # this machine may stall between the two
    await world.desk.inbound([text("I would like")])
    await world.desk.inbound([text("to visit")])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    assert world.agent.heard == [["I would like", "to visit"]]
    assert len(world.phone.sent) == 1


async def test_a_user_who_never_stops_writing_is_answered_all_the_same(make_world: Callable[..., World]) -> None:
    world = make_world()
    for n in range(200):
        await world.desk.inbound([text(f"{n}")])
        await asyncio.sleep(0.02)
        if world.phone.sent:
            break
    assert world.phone.sent


async def test_messages_that_arrive_in_disorder_are_read_as_they_were_sent(world: World) -> None:
    now = world.clock_us()
    await world.desk.inbound([text("second", at_us=now), text("first", at_us=now - 5_000_000)])
    await world.until(lambda: world.phone.sent)
    assert world.agent.heard == [["first", "second"]]


async def test_one_conversation_has_one_turn_at_a_time_and_many_go_on_at_once(world: World) -> None:
    gate = asyncio.Event()
    world.agent.hold = gate.wait
    for n in range(5):
        await world.desk.inbound([text("hello", sender=f"35191{n}")])
    await world.until(lambda: world.agent.at_once == 5)
    await world.desk.inbound([text("more", sender="351910")])
    await asyncio.sleep(0.3)
    assert world.agent.at_once == 5, "a second turn of the same conversation began"
    gate.set()
    await world.idle()
    assert sorted(world.agent.heard) == sorted([["hello"]] * 5 + [["more"]])
    assert [t for to, t, _ in world.phone.sent if to == "351910"] == ["you said: hello", "you said: more"]


async def test_while_the_model_is_down_messages_wait_and_the_user_hears_one_honest_sentence(world: World) -> None:
    world.agent.failing = AskFailed("the provider is down")
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.phone.sent)
    await world.desk.inbound([text("anybody there?")])
    await world.until(lambda: world.one.tries >= 3)
    assert len(world.phone.sent) == 1
    assert "technical problem" in world.phone.texts[0]
    [asked] = world.store.read_sync(lambda tx: handoffs.queue(tx, "school", None))
    assert asked.reason == "trouble"
    world.agent.failing = None
    await world.until(lambda: len(world.phone.sent) == 2)
    assert world.agent.heard == [["hello", "anybody there?"]]
    assert (world.one.tries, world.one.trouble, world.one.excused) == (0, "", 0)
    assert world.store.read_sync(lambda tx: handoffs.queue(tx, "school", None)) == [], "nobody is needed any more"


async def test_a_spent_budget_is_said_at_once_and_not_asked_again_and_again(world: World) -> None:
    world.agent.failing = BudgetExceeded("spent")
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    assert world.one.tries == 1
    assert world.one.retry_us > world.clock_us() + 300_000_000


async def test_a_mistake_in_one_conversation_stops_no_other(make_world: Callable[..., World]) -> None:
    def answer(given: TurnInput) -> Turn:
        if given.messages[0].text == "bad":
            raise ZeroDivisionError
        return echo(given)

    world = make_world(answer)
    await world.desk.inbound([text("bad", sender="1"), text("good", sender="2")])
    await world.until(lambda: any(t == "you said: good" for t in world.phone.texts))
    await world.until(lambda: any("technical problem" in t for t in world.phone.texts))


# --- people ----------------------------------------------------------------------------------------------------------


async def test_the_agent_never_answers_over_a_person_who_took_over_while_it_was_thinking(world: World) -> None:
    """Chatwoot 13880, 13881: the bot answers over the human after a handoff."""
    gate = asyncio.Event()
    world.agent.hold = gate.wait
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.agent.at_once)
    at = world.one
    assert await world.store.write(lambda tx: take(tx, at, "ana", world.clock_us()))
    gate.set()
    await world.until(lambda: world.counts.get("turns_overtaken"))
    await world.desk.inbound([text("are you there?")])
    await asyncio.sleep(0.4)
    assert world.phone.sent == []
    assert world.one.state == b"", "the turn never was"
    assert len(world.agent.given) == 1


async def test_that_the_office_is_closed_is_said_in_the_language_of_the_same_turn(
    make_world: Callable[..., World],
) -> None:
    in_three_days = (datetime.now(UTC).weekday() + 3) % 7
    branch = structs.replace(LISBON, office_hours=(Hours(in_three_days, 540, 600),), languages=("en", "pt"))
    turn = Turn(b"", (), Handoff("asked", "wants a person"), language="pt")
    world = make_world(lambda given: turn, branches=(branch,))
    await world.desk.inbound([text("quero falar com uma pessoa")])
    await world.until(lambda: world.phone.sent)
    assert world.phone.texts[0].startswith("Neste momento não há ninguém no escritório.")


async def test_a_reply_planned_before_the_takeover_and_not_yet_sent_is_dropped(world: World) -> None:
    gate = asyncio.Event()
    asked = asyncio.Event()

    async def hold() -> None:
        asked.set()
        await gate.wait()

    def two(given: TurnInput) -> Turn:
        return Turn(b"x", (Effect("one", Outbound("first bubble")), Effect("two", Outbound("second bubble"))))

    world.agent.answer, world.phone.hold = two, hold
    await world.desk.inbound([text("hello")])
    await asked.wait()
    at = world.one
    await world.store.write(lambda tx: take(tx, at, "ana", world.clock_us()))
    gate.set()
    await world.idle()
    assert world.phone.texts == ["first bubble"], "that one had left the house"
    assert [row.state for row in world.effects()] == ["done", "dropped"]


async def test_a_person_replies_through_the_channel_and_gives_back_without_a_repetition(world: World) -> None:
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    at = world.one
    await world.store.write(lambda tx: take(tx, at, "ana", world.clock_us()))
    await world.desk.inbound([text("a person please")])
    await world.store.write(lambda tx: reply(tx, at, "ana", "Ana here", "k1", world.clock_us()))
    await world.store.write(lambda tx: reply(tx, at, "ana", "Ana here", "k1", world.clock_us()))
    await world.until(lambda: len(world.phone.sent) == 2)
    await world.store.write(lambda tx: give_back(tx, at, world.clock_us()))
    world.drain.wake(at.id)
    await world.until(lambda: len(world.agent.given) == 2)
    await world.idle()
    assert world.agent.heard == [["hello"], ["takeover bot"]], "what Ana answered is not answered again"
    assert world.phone.texts[:2] == ["you said: hello", "Ana here"]
    [row] = world.store.read_sync(lambda tx: handoffs.of(tx, at.id))
    assert row.taken_by == "ana"
    assert row.closed_us


async def test_what_nobody_answered_meanwhile_is_read_when_the_agent_has_it_again(world: World) -> None:
    await world.desk.inbound([text("hello")])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    at = world.one
    await world.store.write(lambda tx: take(tx, at, "ana", world.clock_us()))
    await world.desk.inbound([text("and the fees?")])
    await world.store.write(lambda tx: give_back(tx, at, world.clock_us()))
    world.drain.wake(at.id)
    await world.until(lambda: len(world.agent.given) == 2)
    assert world.agent.heard[1] == ["and the fees?", "takeover bot"]


# --- who and where ---------------------------------------------------------------------------------------------------


async def test_a_number_that_changes_its_provider_keeps_the_conversation(world: World) -> None:
    """Switching the WhatsApp provider mid-conversation loses and doubles nothing, and replies leave by the new way."""
    first = text("hello", address="100")
    await world.desk.inbound([first])
    await world.until(lambda: world.phone.sent)
    await world.idle()
    await world.desk.inbound([text("me again", address="200")])
    await world.until(lambda: len(world.phone.sent) == 2)
    await world.idle()
    await world.desk.inbound([first])
    assert world.one.turn == 2
    assert world.phone.ways == ["100", "200"]


async def test_a_person_whose_number_became_a_user_id_is_the_same_person(world: World) -> None:
    """WhatsApp: the phone number is no longer a safe key."""
    names = (Alias("phone", "+351911"), Alias("bsuid", "PT.77"))
    await world.desk.inbound([text("hello", aliases=names)])
    await world.until(lambda: world.phone.sent)
    await world.desk.inbound([text("me again", sender="PT.77", aliases=(Alias("bsuid", "PT.77"),))])
    await world.until(lambda: len(world.phone.sent) == 2)
    assert [to for to, _, _ in world.phone.sent] == ["351911", "PT.77"]
    assert world.one.turn == 2


async def test_the_same_person_at_two_branches_has_two_conversations(world: World) -> None:
    await world.desk.inbound([text("hello", address="100"), text("hello", address="300")])
    await world.until(lambda: len(world.phone.sent) == 2)
    found = world.all()
    assert sorted(c.branch for c in found) == ["lisbon", "porto"]
    assert len({c.identity for c in found}) == 1


async def test_what_a_person_told_one_branch_is_known_in_the_first_turn_with_another(
    make_world: Callable[..., World],
) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    def answer(given: TurnInput) -> Turn:
        seen.append((given.branch.id, given.known))
        return msgspec.structs.replace(echo(given), slots={"name": "Ana"} if given.branch.id == "lisbon" else {})

    world = make_world(answer)
    for address, sender in (("100", "351911"), ("300", "351911"), ("300", "351911"), ("300", "351922")):
        sent = len(world.phone.sent)
        await world.desk.inbound([text("hello", address=address, sender=sender)])
        await world.until(lambda n=sent: len(world.phone.sent) > n)  # type: ignore[misc]
    assert seen == [("lisbon", {}), ("porto", {"name": "Ana"}), ("porto", {}), ("porto", {})]


async def test_a_message_to_an_address_that_nobody_declared_stops_no_other(world: World) -> None:
    await world.desk.inbound([text("lost", address="999"), text("hello")])
    await world.until(lambda: world.phone.sent)
    assert world.phone.texts == ["you said: hello"]


async def test_an_agent_is_woken_when_it_asked_to_be_and_once(make_world: Callable[..., World]) -> None:
    def answer(given: TurnInput) -> Turn:
        ticked = any(m.kind == "tick" for m in given.messages)
        said = "still there?" if ticked else "hello"
        return Turn(b"", (Effect("reply", Outbound(said)),), wake_us=0 if ticked else given.now_us + 200_000)

    world = make_world(answer)
    await world.desk.inbound([text("hello")])
    await world.until(lambda: len(world.phone.sent) == 2)
    await asyncio.sleep(0.3)
    await world.drain.look()
    await world.idle()
    assert world.phone.texts == ["hello", "still there?"]


async def test_a_closed_window_is_known_when_a_reply_is_sent(world: World) -> None:
    """Chatwoot 14800: nothing is sent after 24 hours because no template was used. The channel is told, and can."""
    old = world.clock_us() - 25 * 3600 * 1_000_000
    await world.desk.inbound([text("hello", at_us=old)])
    await world.until(lambda: world.phone.sent)
    assert world.phone.windows == [False]
    assert not world.agent.given[0].window_open
    await world.desk.inbound([text("hello again")])
    await world.until(lambda: len(world.phone.sent) == 2)
    assert world.phone.windows == [False, True]


async def test_the_funnel_counts_a_conversation_once_at_each_stage(world: World) -> None:
    await world.desk.inbound([text("a"), text("b", sender="2")])
    await world.until(lambda: len(world.phone.sent) == 2)
    await world.desk.inbound([text("c")])
    await world.until(lambda: len(world.phone.sent) == 3)
    rows = world.store.read_sync(lambda tx: conversations.funnel(tx, "school", None, None, 0, 1 << 60))
    assert {r.stage: r.conversations for r in rows} == {"first_message": 2, "answered": 2}


async def test_an_erased_conversation_disturbs_nobody_who_is_at_work_on_it(world: World) -> None:
    gate = asyncio.Event()
    world.agent.hold = gate.wait
    message = text("hello")
    await world.desk.inbound([message, text("hello", sender="2")])
    await world.until(lambda: world.agent.at_once == 2)
    mine = next(c for c in world.all() if c.sender == "351911")
    await world.store.write(lambda tx: conversations.erase(tx, mine.identity, world.clock_us()))
    gate.set()
    await world.until(lambda: world.phone.sent)
    await world.desk.inbound([message])
    await world.idle()
    assert [to for to, _, _ in world.phone.sent] == ["2"]
    assert len(world.all()) == 1
