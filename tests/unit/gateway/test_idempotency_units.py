"""What is kept for a repeat has a bound and an end."""

import asyncio

from waterline.gateway import idempotency
from waterline.gateway.idempotency import Once, _Recording


class Clock:
    now_us = 0

    def __call__(self):
        return self.now_us


async def nothing(ident, since_us):
    return None


class Deaf:
    started = gone = False

    async def begin(self, status, content_type, headers): ...
    async def end(self, data): ...


def recorded(size, at_us=0):
    made = _Recording(Deaf(), b"", at_us)
    asyncio.run(made.begin(200, b"", []))
    asyncio.run(made.end(b"x" * size))
    return made


def test_memory_is_bounded_and_the_oldest_goes_first(monkeypatch):
    monkeypatch.setattr(idempotency, "MAX_BYTES", 1000)
    once = Once(Clock(), nothing)
    for n in range(50):
        once._keep(("a", "e", "k", str(n)), recorded(300))
    assert once._bytes <= 1000
    assert [i[3] for i in once._kept] == ["47", "48", "49"]


def test_a_huge_answer_is_not_held_in_memory(monkeypatch):
    monkeypatch.setattr(idempotency, "MAX_ONE_BYTES", 100)
    made = recorded(101)
    assert not made.complete
    assert not made.parts


def test_after_24_hours_it_is_forgotten():
    clock = Clock()
    once = Once(clock, nothing)
    once._keep(("a", "e", "k", "1"), recorded(10))
    clock.now_us = idempotency.KEPT_US + 1
    once._expire()
    assert not once._kept
    assert once._bytes == 0
