"""Nobody waits for what somebody else has too much of."""

import asyncio

import pytest

from waterline.connectors.fair import Fair


async def hold(fair: Fair, holder: str, log: list[str], until: asyncio.Event) -> None:
    async with fair.place(holder):
        log.append(holder)
        await until.wait()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_holder_never_has_all_places_and_another_gets_one_at_once() -> None:
    fair, log, end = Fair(8), [], asyncio.Event()
    tasks = [asyncio.create_task(hold(fair, "flood", log, end)) for _ in range(100)]
    await settle()
    assert log == ["flood"] * 6
    tasks.append(asyncio.create_task(hold(fair, "quiet", log, end)))
    await settle()
    assert log[-1] == "quiet"
    end.set()
    await asyncio.gather(*tasks)
    assert len(log) == 101, "everybody comes in at last"


async def test_a_place_that_becomes_free_goes_to_who_has_the_fewest() -> None:
    fair, log = Fair(4), []
    gates = {name: asyncio.Event() for name in ("a", "b", "c")}
    tasks = [asyncio.create_task(hold(fair, name, log, gates[name])) for name in ("a", "a", "a", "b", "a", "a", "c")]
    await settle()
    assert sorted(log) == ["a", "a", "a", "b"]
    gates["b"].set()
    await settle()
    assert log[4] == "c", "before the two of a, who came first"
    for gate in gates.values():
        gate.set()
    await asyncio.gather(*tasks)


async def test_who_gives_up_waiting_takes_no_place_with_them() -> None:
    fair, log, end = Fair(1), [], asyncio.Event()
    first = asyncio.create_task(hold(fair, "a", log, end))
    await settle()
    waiting = [asyncio.create_task(hold(fair, name, log, end)) for name in ("b", "c")]
    await settle()
    waiting[0].cancel()
    end.set()
    await first
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    await asyncio.wait_for(waiting[1], 10)
    assert log == ["a", "c"]
    await asyncio.wait_for(fair.take("d"), 10)


async def test_cancelled_in_the_moment_of_being_served_gives_the_place_on() -> None:
    fair = Fair(1)
    await fair.take("a")
    served = asyncio.create_task(fair.take("b"))
    await settle()
    fair.give_back("a")
    served.cancel()
    with pytest.raises(asyncio.CancelledError):
        await served
    await asyncio.wait_for(fair.take("c"), 10)


async def test_in_a_process_that_is_late_a_flood_has_an_eighth_while_others_are_about() -> None:
    """The processor is what is short then: what the flood does between two steps of another is that one's wait."""
    late = True
    fair, log, end = Fair(32, lambda: late), [], asyncio.Event()
    async with fair.place("quiet"):
        pass
    tasks = [asyncio.create_task(hold(fair, "flood", log, end)) for _ in range(100)]
    await settle()
    assert log == ["flood"] * 4
    tasks.append(asyncio.create_task(hold(fair, "quiet", log, end)))
    await settle()
    assert log[-1] == "quiet"
    late = False
    end.set()
    await asyncio.gather(*tasks)
    assert len(log) == 101, "everybody comes in at last"


async def test_who_is_alone_in_a_late_process_has_as_much_as_ever() -> None:
    now = 100.0
    fair, log, end = Fair(32, lambda: True, lambda: now), [], asyncio.Event()
    async with fair.place("quiet"):
        pass
    now += 11.0
    tasks = [asyncio.create_task(hold(fair, "only", log, end)) for _ in range(100)]
    await settle()
    assert log == ["only"] * 24
    end.set()
    await asyncio.gather(*tasks)
    assert len(log) == 100
