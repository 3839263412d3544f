"""Wrong keys are counted by address; a right key is never held up by them."""

import sys

import pytest

from waterline.access.keys import KeyRing, MemoryKeys
from waterline.access.throttle import WrongKeys
from waterline.core.errors import InvalidApiKey, RateLimited

GUESS = "wl-12345678" + "A" * 43


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.now_us


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + key.encode())]


def refused(
    ring: KeyRing, headers: list[tuple[bytes, bytes]], address: str = "192.0.2.1"
) -> InvalidApiKey | RateLimited:
    with pytest.raises((InvalidApiKey, RateLimited)) as caught:
        ring.authenticate(headers, address)
    return caught.value


def test_after_twenty_wrong_keys_an_address_is_told_when_to_come_back() -> None:
    clock = Clock()
    ring = KeyRing(MemoryKeys(), clock)
    assert {refused(ring, bearer(GUESS)).status for _ in range(20)} == {401}
    limited = refused(ring, bearer(GUESS))
    assert (limited.status, limited.code, limited.retry_after_s) == (429, "rate_limited", 120)
    assert "wrong API keys" in limited.message
    assert GUESS not in limited.message
    assert refused(ring, bearer(GUESS), "192.0.2.2").status == 401
    clock.now_us += 120_000_000
    assert refused(ring, bearer(GUESS)).status == 401


def test_a_right_key_works_from_an_address_that_guesses() -> None:
    ring = KeyRing(MemoryKeys(), Clock())
    right = ring.create_first_key().text
    for _ in range(30):
        refused(ring, bearer(GUESS))
    assert ring.authenticate(bearer(right), "192.0.2.1").name == "operator"  # never seen before: not from memory
    assert ring.authenticate(bearer(right), "192.0.2.1").name == "operator"
    assert refused(ring, bearer(GUESS)).status == 429


def test_who_sends_no_key_has_not_guessed() -> None:
    ring = KeyRing(MemoryKeys(), Clock())
    assert {refused(ring, []).status for _ in range(50)} == {401}
    assert refused(ring, bearer(GUESS)).status == 401


def test_a_million_addresses_take_bounded_memory() -> None:
    wrong = WrongKeys(Clock())
    error = InvalidApiKey("no")
    for n in range(30_000):
        wrong.answer(error, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(wrong._throttle._seen) == 10_000
    full = next(reversed(wrong._throttle._seen.values()))
    for _ in range(100):
        full.append(0)
    assert sys.getsizeof(full) < 2_000
