"""The answer cache by itself: its bound, its age, its key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.access.roles import Principal
from waterline.core.request import Request, decode_request
from waterline.gateway.cache import AnswerCache, Kept, key_of, may_be_kept

SECRET = b"s" * 32
SECOND = 1_000_000


def kept(body: bytes, at_us: int = 0) -> Kept:
    return Kept(body, at_us, "t", ("text",), "stop", 1)


def a_request(**more: object) -> Request:
    made = decode_request("chat", "/v1/chat/completions", b'{"model":"main","messages":[{"role":"user"}]}', 0)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def a_principal(**more: str) -> Principal:
    given = {"key_id": "k1", "app": "school", "env": "production", **more}
    return Principal(kind="app", name="n", **given)


def key(
    *,
    shared: bool = False,
    release: str = "r",
    route: str = "main",
    body: bytes = b"{}",
    who: Principal | None = None,
    **request: object,
) -> str:
    return key_of(a_request(**request), who or a_principal(), release, route, body, shared=shared, secret=SECRET)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30_000)), max_size=60))
def test_the_cache_never_holds_more_than_its_bound(puts: list[tuple[int, int]]) -> None:
    cache = AnswerCache()
    for name, size in puts:
        cache.keep(str(name), kept(b"x" * size), 100_000)
        assert cache.bytes <= 100_000
        assert cache.bytes == sum(k.size for k in cache._kept.values())


def test_the_least_recently_used_goes_first() -> None:
    cache = AnswerCache()
    size = kept(b"x" * 1000).size
    for name in "abcdefgh":
        cache.keep(name, kept(b"x" * 1000), 8 * size)
    assert cache.find("a", 0, 60)
    cache.keep("i", kept(b"x" * 1000), 8 * size)
    assert cache.find("a", 0, 60)
    assert cache.find("b", 0, 60) is None


def test_an_answer_is_not_served_past_its_time_nor_after_the_clock_was_set_back() -> None:
    cache = AnswerCache()
    cache.keep("a", kept(b"x", at_us=100 * SECOND), 1 << 20)
    assert cache.find("a", 159 * SECOND, 60)
    assert cache.find("a", 160 * SECOND, 60) is None
    cache.keep("a", kept(b"x", at_us=100 * SECOND), 1 << 20)
    assert cache.find("a", 99 * SECOND, 60) is None


DIFFERENT: dict[str, dict[str, object]] = {
    "another app": {"who": a_principal(app="clinic")},
    "another environment": {"who": a_principal(env="staging")},
    "another branch": {"who": a_principal(branch="porto")},
    "another key": {"who": a_principal(key_id="k2")},
    "another subject": {"subject": "s"},
    "other groups": {"groups": ("teachers",)},
    "another release": {"release": "r2"},
    "another route": {"route": "spare"},
    "another upstream body": {"body": b"{ }"},
    "another path": {"path": "/v1/responses"},
    "a streamed answer": {"stream": True},
    "a stream with usage": {"stream": True, "include_usage": True},
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_whatever_the_answer_depends_on_is_in_the_key(name: str) -> None:
    every = [key(), *(key(**d) for d in DIFFERENT.values())]  # type: ignore[arg-type]
    assert len(set(every)) == len(every)
    assert key(**DIFFERENT[name]) == key(**DIFFERENT[name])  # type: ignore[arg-type]


def test_shared_means_between_keys_and_subjects_and_never_between_groups() -> None:
    assert key(shared=True) == key(shared=True, subject="s", who=a_principal(key_id="k2"))
    assert key(shared=True) != key(shared=True, groups=("teachers",))
    assert key(shared=True) != key(shared=True, who=a_principal(app="clinic"))
    assert key(shared=True) != key(shared=True, who=a_principal(branch="porto"))
    assert key(shared=True, groups=("a", "b")) == key(shared=True, groups=("b", "a"))


@pytest.mark.parametrize("reason", ["length", "content_filter", "", "max_tokens", "tool_calls", "error"])
def test_what_is_not_whole_is_not_kept(reason: str) -> None:
    assert not may_be_kept(reason, b"{}", chat=True, tool_calls=False)


def test_a_tool_call_is_seen_even_where_the_provider_says_stop() -> None:
    calling = b'{"choices":[{"message":{"content":null,"tool_calls":[{"id":"1"}]},"finish_reason":"stop"}]}'
    assert not may_be_kept("stop", calling, chat=True, tool_calls=False)
    assert may_be_kept("stop", calling, chat=True, tool_calls=True)
    assert may_be_kept("tool_calls", calling, chat=True, tool_calls=True)
    for harmless in (b'{"tool_calls":null}', b'{"tool_calls": []}', rb'{"content":"say \"tool_calls\": 1"}'):
        assert may_be_kept("stop", harmless, chat=True, tool_calls=False)
