"""What holds for every connector, whatever its system does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from waterline.connectors.base import Breaking, Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.run import MAX_RESULT_BYTES, WAITING, Ready, Record, contracts, perform

WORD = {"type": "object", "properties": {"word": {"type": "string", "maxLength": 40}}, "required": ["word"]}
MANIFEST = Manifest(
    kind="pretend",
    title="A system",
    settings=("url", "password"),
    secrets=("password",),
    operations=(
        Operation("look", "read", "Looks", WORD, personal=("word",)),
        Operation("book", "write", "Books", WORD, once="uid", personal=("word",)),
        Operation("ring", "write", "Rings, each time again", WORD),
        Operation("dial", "write", "Rings, and waits not long", WORD, timeout_s=0.2),
        Operation("erase", "irreversible", "Erases", WORD, once="uid", confirm=True),
    ),
)
Does = Callable[[], Awaitable[dict[str, Any]] | dict[str, Any]]


class Pretend:
    manifest: Manifest = MANIFEST

    def __init__(self, *does: Does) -> None:
        self.does = list(does)
        self.calls = 0
        self.at_once = self.most_at_once = 0

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            result = self.does[min(self.calls, len(self.does)) - 1]()
            return await result if isinstance(result, Awaitable) else result
        finally:
            self.at_once -= 1

    async def close(self) -> None: ...


def fault(kind: Any, message: str = "it said so", retry_after_s: float | None = None) -> Does:
    def does() -> dict[str, Any]:
        raise ConnectorFault(kind, message, retry_after_s=retry_after_s)

    return does


def good() -> dict[str, Any]:
    return {"ok": True}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ready(pretend: Pretend, **more: Any) -> Ready:
    return Ready(pretend, Config("crm", {"url": "x", "password": "hunter22"}), chance=lambda: 0.0, **more)


async def do(line: Ready, operation: str = "look", word: Any = "hello", key: str = "k", **more: Any) -> Any:
    return await perform(line, operation, {"word": word}, key, Scope("porto"), **more)


async def kind_of(call: Awaitable[Any]) -> str:
    with pytest.raises(ConnectorFault) as told:
        await call
    return told.value.kind


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"word": 1}, {"word": "x" * 41}, {"word": "a\0b"}, {"word": "\ud800"}, {"word": "x", "more": 1}],
    ids=repr,
)
async def test_arguments_that_do_not_fit_never_reach_the_system(arguments: dict[str, Any]) -> None:
    pretend = Pretend(good)
    assert await kind_of(perform(ready(pretend), "look", arguments, "", Scope("a"))) == "invalid"
    assert pretend.calls == 0


@pytest.mark.parametrize("kind", ["slow", "down"])
async def test_what_may_be_repeated_is_repeated(kind: str) -> None:
    for operation in ("look", "book"):
        pretend = Pretend(fault(kind), good)
        assert await do(ready(pretend), operation) == {"ok": True}
        assert pretend.calls == 2


async def test_a_silent_system_is_not_asked_again_while_somebody_waits() -> None:
    for kind, calls in (("slow", 1), ("down", 2)):
        pretend = Pretend(fault(kind), good)
        asked = do(ready(pretend), "look", reads_only=True)
        if kind == "slow":
            assert await kind_of(asked) == "slow"
        else:
            await asked
        assert pretend.calls == calls


async def test_what_is_not_known_to_happen_once_is_not_repeated() -> None:
    pretend = Pretend(fault("slow"), good)
    assert await kind_of(do(ready(pretend), "ring")) == "slow"
    assert pretend.calls == 1


@pytest.mark.parametrize("kind", ["credentials", "schema", "data", "refused", "invalid"])
async def test_what_a_repeat_cannot_mend_is_not_repeated(kind: str) -> None:
    pretend = Pretend(fault(kind))
    assert await kind_of(do(ready(pretend))) == kind
    assert pretend.calls == 1


async def test_no_answer_in_time_is_slow_and_says_that_nobody_knows() -> None:
    pretend = Pretend(lambda: asyncio.sleep(30, {}))
    with pytest.raises(ConnectorFault, match="whether it happened is not known") as told:
        await do(ready(pretend), "dial")
    assert told.value.kind == "slow"


async def test_a_write_needs_a_key_and_a_yes_where_the_manifest_asks_for_it() -> None:
    pretend = Pretend(good)
    line = ready(pretend)
    assert await kind_of(do(line, "book", key="")) == "invalid"
    assert await kind_of(do(line, "book", key="two\nlines")) == "invalid"
    assert await kind_of(do(line, "erase")) == "invalid"
    assert await kind_of(do(line, "book", reads_only=True)) == "invalid"
    assert pretend.calls == 0
    assert await do(line, "erase", confirmed=True) == {"ok": True}


async def test_a_system_that_is_down_is_left_alone_and_probed_by_one_call() -> None:
    pretend, clock = Pretend(fault("down")), Clock()
    line = ready(pretend, clock=clock)
    assert await kind_of(do(line)) == "down"
    assert pretend.calls == 3  # and the breaker is open
    for _ in range(50):
        with pytest.raises(ConnectorFault, match="not asked again for") as told:
            await do(line)
    assert told.value.retry_after_s
    assert pretend.calls == 3
    clock.now += 2.1
    gate = asyncio.Event()

    async def slowly() -> dict[str, Any]:
        await gate.wait()
        return {"ok": True}

    pretend.does = [slowly]
    probe = asyncio.create_task(do(line))
    await until(lambda: pretend.calls == 4)
    assert await asyncio.gather(*[kind_of(do(line)) for _ in range(5)]) == ["down"] * 5
    assert pretend.calls == 4, "one probe at a time"
    gate.set()
    assert await probe == {"ok": True}
    assert await do(line) == {"ok": True}


async def test_when_a_system_is_left_alone_and_for_how_long_is_the_manifests_to_say() -> None:
    pretend, clock = Pretend(fault("down")), Clock()
    pretend.manifest = replace(MANIFEST, breaker=Breaking(failures=1, pauses_s=(60.0, 90.0)))
    line = ready(pretend, clock=clock)
    for pause_s in (60.0, 90.0, 90.0):
        calls = pretend.calls
        assert await kind_of(do(line)) == "down"
        assert pretend.calls == calls + 1
        clock.now += pause_s - 1
        with pytest.raises(ConnectorFault, match="not asked again for 1 s"):
            await do(line)
        assert pretend.calls == calls + 1
        clock.now += 1.1


async def test_a_silent_probe_holds_up_nobody_for_ever() -> None:
    pretend, clock = Pretend(fault("down")), Clock()
    line = ready(pretend, clock=clock)
    await kind_of(do(line))
    clock.now += 2.1
    pretend.does = [lambda: asyncio.sleep(30, {})]
    probe = asyncio.create_task(do(line, "dial"))
    await until(lambda: pretend.calls == 4)
    clock.now += 5.1
    pretend.does = [good]
    assert await do(line) == {"ok": True}
    assert await kind_of(probe) == "slow"
    assert await do(line) == {"ok": True}, "a probe that began before the good news says nothing"


async def test_wrong_credentials_are_not_tried_again_and_again() -> None:
    pretend, clock = Pretend(fault("credentials")), Clock()
    line = ready(pretend, clock=clock)
    for _ in range(20):
        assert await kind_of(do(line)) == "credentials"
        clock.now += 1
    assert pretend.calls == 1


async def test_a_refusal_is_an_answer_and_opens_nothing() -> None:
    pretend = Pretend(fault("refused"))
    line = ready(pretend)
    for _ in range(10):
        assert await kind_of(do(line)) == "refused"
    assert pretend.calls == 10


async def test_a_retry_after_that_is_long_is_told_and_not_waited_for() -> None:
    pretend = Pretend(fault("down", retry_after_s=60))
    with pytest.raises(ConnectorFault) as told:
        await do(ready(pretend))
    assert told.value.retry_after_s == 60
    assert pretend.calls == 1


async def test_calls_at_once_are_bounded_and_so_are_those_that_wait() -> None:
    pretend = Pretend(lambda: asyncio.sleep(0.01, {}))
    line = ready(pretend, at_once=2)
    await asyncio.gather(*[do(line) for _ in range(10)])
    assert pretend.most_at_once == 2
    gate = asyncio.Event()

    async def held() -> dict[str, Any]:
        await gate.wait()
        return {}

    pretend.does = [held]
    held_ones = [asyncio.create_task(do(line, "ring")) for _ in range(2)]
    await until(lambda: pretend.calls == 12)
    held_ones += [asyncio.create_task(do(line, "ring")) for _ in range(WAITING)]
    await until(lambda: line.waiting == WAITING)
    assert await kind_of(do(line, "ring")) == "down"
    gate.set()
    await asyncio.gather(*held_ones)


async def test_neither_secrets_nor_personal_data_leave_in_a_fault_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = "login as hunter22 for Maria Silva (Maria) failed"
    for does in (fault("refused", said), fault("data", said)):
        with pytest.raises(ConnectorFault) as told:
            await do(ready(Pretend(does)), word="Maria Silva (Maria)")
        assert told.value.message == "crm: login as (hidden) for (hidden) failed"
        assert told.value.__cause__ is None

    def crashes() -> dict[str, Any]:
        raise ValueError(said)

    with pytest.raises(ConnectorFault) as told:
        await do(ready(Pretend(crashes)), word="Maria Silva")
    assert told.value.kind == "data"
    for text in (told.value.message, caplog.text):
        assert "hunter22" not in text
        assert "Maria" not in text
    assert "ValueError" in caplog.text
    assert "hunter22" not in repr(Config("crm", {"password": "hunter22"}))


async def test_what_the_breaker_repeats_to_others_holds_nothing_personal_of_the_first() -> None:
    line = ready(Pretend(fault("down", "no route for Maria Silva")), clock=Clock())
    await kind_of(do(line, word="Maria Silva"))
    with pytest.raises(ConnectorFault) as told:
        await do(line, word="Joao")
    assert "Maria" not in told.value.message


async def test_a_long_answer_is_refused_of_a_read_and_cut_of_a_write() -> None:
    def long() -> dict[str, Any]:
        return {"text": "x" * MAX_RESULT_BYTES}

    assert await kind_of(do(ready(Pretend(long)))) == "data"
    assert await do(ready(Pretend(long)), "book") == {"cut": True}


async def test_every_call_leaves_a_record_without_anything_personal() -> None:
    records: list[Record] = []
    line = ready(Pretend(fault("down"), good, fault("refused")), record=records.append)
    await do(line, "book", word="Maria Silva")
    await kind_of(do(line, "look", word="Maria Silva"))
    await kind_of(do(line, "look", word=7))
    await kind_of(perform(line, "no such", {}, "", Scope("a")))
    assert [(r.operation, r.outcome, r.attempts) for r in records] == [
        ("book", "done", 2),
        ("look", "refused", 1),
        ("look", "invalid", 0),
        ("unknown", "invalid", 0),
    ]
    assert "Maria" not in repr(records)


def test_a_manifest_becomes_tool_contracts_of_what_is_allowed() -> None:
    assert [tool["name"] for tool in contracts("crm", MANIFEST)] == ["crm_look"]
    tools = contracts("crm", MANIFEST, ("read", "write", "irreversible"))
    assert [tool["effect"] for tool in tools] == ["read", "write", "write", "write", "irreversible"]
    assert all(tool["parameters"]["additionalProperties"] is False for tool in tools)
    assert tools[4]["confirmation"] is True
