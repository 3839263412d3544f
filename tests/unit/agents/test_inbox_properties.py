"""Whatever a channel does (repeats, disorder, batches, two deliveries at once), each message is read once, in one turn,
in its conversation's order."""

import asyncio
import itertools
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import World

from waterline.agents.agent import TurnInput
from waterline.core.conversation import Alias, Effect, Inbound, Outbound, Turn
from waterline.core.conversing import Conversing
from waterline.store import conversations

SENDERS = ("351911", "351912", "351913")
messages = st.lists(st.tuples(st.sampled_from(SENDERS), st.integers(0, 3)), min_size=1, max_size=12)


@st.composite
def deliveries(draw: Any) -> tuple[list[Inbound], list[list[Inbound]]]:
    """Messages, and how they are delivered: each at least once, in batches, in any order."""
    made = [
        Inbound("whatsapp", "100", f"m{n}", sender, n, text=f"{n}", aliases=(Alias("phone", f"+{sender}"),))
        for n, (sender, _) in enumerate(draw(messages))
    ]
    repeated = made + draw(st.lists(st.sampled_from(made), max_size=10))
    shuffled = draw(st.permutations(repeated))
    cuts = sorted(draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    edges = [0, *cuts, len(shuffled)]
    return made, [list(shuffled[a:b]) for a, b in itertools.pairwise(edges) if a < b]


def echo(turn: TurnInput) -> Turn:
    heard = ",".join(m.text for m in turn.messages)
    return Turn(turn.state + f"{heard};".encode(), (Effect("reply", Outbound(heard)),))


async def play(made: list[Inbound], batches: list[list[Inbound]], crash_after: int, at_once: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), echo, Conversing(quiet_s=0.0, longest_quiet_s=0.0)).open()
        try:
            if at_once:  # two workers of the channel hand in the same deliveries
                await asyncio.gather(*(world.desk.inbound(batch) for batch in batches + batches[::-1]))
            for n, batch in enumerate(batches):
                await world.desk.inbound(batch)
                if n == crash_after:
                    await world.close()
                    world.open()
            await world.idle()
            for sender in SENDERS:
                mine = [m.text for m in made if m.sender == sender]
                found = [c for c in world.all() if c.sender == sender]
                assert len(found) == (1 if mine else 0)
                if not mine:
                    continue
                turns = found[0].state.decode().rstrip(";").split(";")
                assert sorted(t for turn in turns for t in turn.split(",")) == sorted(mine), "each once"
                assert all(turn == ",".join(sorted(turn.split(","), key=int)) for turn in turns), "in order"
                said = [words for to, words, _ in world.phone.sent if to == sender]
                assert said == turns, "one reply a turn, in the order of the turns"
                kept = world.store.read_sync(lambda tx, c=found[0].id: conversations.messages(tx, c))  # type: ignore[misc]
                assert [k.sequence for k in kept] == list(range(1, len(mine) + 1))
        finally:
            await world.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries(), st.integers(-1, 4), st.booleans())
def test_each_message_is_read_once_and_in_order_however_it_is_delivered(
    given: tuple[list[Inbound], list[list[Inbound]]], crash_after: int, at_once: bool
) -> None:
    asyncio.run(play(*given, crash_after, at_once))
