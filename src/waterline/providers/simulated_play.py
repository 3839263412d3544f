"""A target of the simulated provider under its script: limits, places, faults, counters; and one call on its way."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

from msgspec import Struct

from waterline.providers import simulated_answers as answers
from waterline.providers import simulated_gemini as gemini
from waterline.providers import simulated_messages, simulated_openai
from waterline.providers.simulated_connection import Connection, Left
from waterline.providers.simulated_script import Fault, Target

Dialect = Literal["openai", "anthropic", "gemini"]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class TargetStats(Struct):
    """What happened at one target since the server started."""

    requests: int = 0
    streamed: int = 0
    answered: int = 0  # whole answers delivered
    aborted: int = 0  # the client left first
    limited: int = 0  # 429 by the declared limits
    in_flight: int = 0
    max_in_flight: int = 0
    input_tokens: int = 0  # of requests that an answer was begun for
    output_tokens: int = 0  # sent, those of unfinished answers too
    statuses: dict[int, int] = {}
    faults: dict[str, int] = {}
    attempts_by_second: dict[int, int] = {}  # Unix second -> requests, the last hour
    betas: str = ""  # the header anthropic-beta of the last request
    bodies: list[str] = []  # SHA-256 of the last 1000 request bodies, oldest first


class Bucket:
    """A token bucket; `rate` a second up to `most`."""

    def __init__(self, per_minute: float, most: float, now: float) -> None:
        self.rate, self.most, self.level, self.at = per_minute / 60, most, most, now

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; 0: it is."""
        self.level = min(self.most, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, (amount - self.level) / self.rate)


class Slots:
    """`count` answers at once, the others in turn."""

    def __init__(self, count: int, queue: int) -> None:
        self.free, self.queue = count, queue
        self.waiting: deque[asyncio.Future[bool]] = deque()

    @property
    def full(self) -> bool:
        return self.free == 0 and 0 < self.queue <= len(self.waiting)

    async def acquire(self, connection: Connection) -> None:
        if self.free > 0:
            self.free -= 1
            return
        turn: asyncio.Future[bool] = connection.loop.create_future()
        self.waiting.append(turn)
        try:
            await connection.wait(turn)
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.result():
                self.release()
            elif turn in self.waiting:
                self.waiting.remove(turn)
            raise

    def release(self) -> None:
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(True)
                return
        self.free += 1


class Play:
    """One target under one script: its limits, its counters."""

    def __init__(self, target: Target, seed: int, name: str, now: float) -> None:
        limits = target.limits
        self.target, self.started = target, now
        self.seed = seed ^ int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        self.number = 0  # requests so far
        self.matching = [0] * len(target.faults)
        self.rpm = Bucket(limits.rpm, limits.burst or limits.rpm, now) if limits.rpm else None
        self.tpm = Bucket(limits.tpm, limits.tpm, now) if limits.tpm else None
        self.running = 0
        self.slots = Slots(target.capacity.slots, target.capacity.queue) if target.capacity.slots else None

    def fault(self, path: str, streamed: bool, now: float) -> Fault | None:
        since = now - self.started
        for index, fault in enumerate(self.target.faults):
            when = fault.when
            if when.streamed is not None and when.streamed != streamed:
                continue
            if not path.startswith(when.path) or since < when.from_s:
                continue
            if when.until_s is not None and since >= when.until_s:
                continue
            if when.on_s is not None and (since - when.from_s) % (when.on_s + when.off_s) >= when.on_s:
                continue
            self.matching[index] += 1
            number = self.matching[index]
            if when.first is not None and number > when.first:
                continue
            if when.every is not None and number % when.every:
                continue
            if when.probability is not None and answers.uniform(self.seed, index, number) >= when.probability:
                continue
            return fault
        return None

    def refusal_s(self, tokens: int, now: float) -> float | None:
        """Seconds to wait if the limits refuse this request; None: it is admitted, and counted."""
        limits = self.target.limits
        if limits.concurrency and self.running >= limits.concurrency:
            return 1.0
        rpm_s = self.rpm.wait_s(1, now) if self.rpm else 0.0
        tpm_s = self.tpm.wait_s(tokens, now) if self.tpm else 0.0
        if rpm_s or tpm_s:
            return max(rpm_s, tpm_s)
        if self.rpm:
            self.rpm.level -= 1
        if self.tpm:
            self.tpm.level -= tokens
        return None


class Call(Struct):
    """One request on its way."""

    connection: Connection
    send: Send
    play: Play
    tally: TargetStats
    dialect: Dialect
    number: int
    streamed: bool
    fault: Fault | None

    @property
    def thinks(self) -> bool:
        return self.play.target.reasoning_tokens > 0

    @property
    def fault_kind(self) -> str:
        return self.fault.kind if self.fault is not None else ""

    def chance(self, purpose: int) -> float:
        return answers.uniform(self.play.seed, self.number, purpose)

    async def start(
        self, status: int, content_type: bytes, length: int | None, retry_after_s: float | None = None
    ) -> None:
        self.tally.statuses[status] = self.tally.statuses.get(status, 0) + 1
        headers = [(b"content-type", content_type), (b"x-request-id", b"req-%d" % self.number)]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        if retry_after_s is not None:
            headers.append((b"retry-after", b"%g" % retry_after_s))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, more: bool) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})
        if self.connection.gone:
            raise Left

    async def whole(
        self, status: int, body: bytes, content_type: bytes = b"application/json", retry_after_s: float | None = None
    ) -> None:
        await self.start(status, content_type, len(body), retry_after_s)
        await self.write(body, more=False)

    async def error(self, status: int, message: str = "", code: str = "", retry_after_s: float | None = None) -> None:
        match self.dialect:
            case "anthropic":
                body = simulated_messages.error(status, message)
            case "gemini":
                body, retry_after_s = gemini.error(status, message, retry_after_s), None
            case "openai":
                body = simulated_openai.error(status, message, code)
        await self.whole(status, body, retry_after_s=retry_after_s)
