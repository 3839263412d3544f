"""Performs an operation of a connector: the same care for all of them.

Arguments are checked, calls are bounded in number and time, what may be repeated is repeated, a system that is down is
left alone for a while, results are bounded, and neither a secret nor personal data leaves in an error or a record.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from waterline.connectors.arguments import misfit
from waterline.connectors.base import Config, Connector, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.breaker import LONGEST_PAUSE_S, Breaker
from waterline.connectors.fair import Fair

AT_ONCE = 8  # calls of one connector
WAITING = 64  # calls that wait for their turn
MAX_RESULT_BYTES = 64 * 1024
MAX_KEY = 300
BACKOFF_S = (0.2, 0.8, 2.0)  # the longest before each repeat; jitter is over the whole of it
COUNTED = ("slow", "down", "credentials")  # what says something about the system, not about the call

log = logging.getLogger("waterline.connectors")


class Record(Struct, frozen=True):
    """What became of one call; for metrics and traces. `outcome`: done, or the kind of the fault. Nothing personal."""

    connector: str
    kind: str
    operation: str
    effect: str
    outcome: str
    attempts: int  # 0: it was not tried (arguments, breaker)
    took_ms: float
    bytes: int = 0


class Ready:
    """A connector with what is known about its system now."""

    def __init__(
        self,
        connector: Connector,
        config: Config,
        *,
        at_once: int = AT_ONCE,
        record: Callable[[Record], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.connector = connector
        self.name = config.name
        self._breakers: dict[str, Breaker] = {}  # by branch: one's calendar that hangs says nothing of the others'
        self._everybodys = Breaker(
            connector.manifest.breaker
        )  # wrong credentials are wrong for all, and repeating them locks accounts
        self._waiting: dict[str, int] = {}
        self.clock, self.chance = clock, chance
        self.record = record or (lambda _: None)
        self._turns = Fair(at_once)
        names = connector.manifest.secrets
        self._secrets = tuple(v for n in names if len(v := config.settings.get(n, "")) >= 4)

    @property
    def manifest(self) -> Manifest:
        return self.connector.manifest

    @property
    def waiting(self) -> int:
        return sum(self._waiting.values())

    def breaker(self, scope: Scope) -> Breaker:
        if self._everybodys.open:
            return self._everybodys
        return self._breakers.setdefault(scope.branch, Breaker(self.manifest.breaker))

    def failed(self, scope: Scope, began_s: float, fault: ConnectorFault) -> None:
        breaker = self._everybodys if fault.kind == "credentials" else self.breaker(scope)
        breaker.failed(self.clock(), began_s, fault.kind, fault.message, fault.retry_after_s)

    def succeeded(self, scope: Scope, began_s: float) -> None:
        self._everybodys.succeeded(began_s)
        self.breaker(scope).succeeded(began_s)

    async def turn(self, branch: str, within_s: float) -> None:
        """Waits for one of the places. Raises ConnectorFault("down") when there are too many, or none in time."""
        waiting = self._waiting.get(branch, 0)
        if waiting >= WAITING:
            raise ConnectorFault("down", f"{self.name}: {WAITING} calls wait already. Try later", retry_after_s=2.0)
        self._waiting[branch] = waiting + 1
        try:
            await asyncio.wait_for(self._turns.take(branch), within_s)
        except TimeoutError:
            raise ConnectorFault(
                "down", f"{self.name}: no call could begin within {within_s:g} s, all are taken", retry_after_s=2.0
            ) from None
        finally:
            self._waiting[branch] -= 1

    def done(self, branch: str) -> None:
        self._turns.give_back(branch)

    def clean(self, fault: ConnectorFault, personal: tuple[str, ...] = ()) -> ConnectorFault:
        """The same fault, named, without secrets and without what is personal in the arguments."""
        message = fault.message
        for hidden in (*self._secrets, *personal):
            message = message.replace(hidden, "(hidden)")
        named = message if message.startswith(f"{self.name}:") else f"{self.name}: {message}"
        return ConnectorFault(fault.kind, named[:500], retry_after_s=fault.retry_after_s)


async def perform(
    ready: Ready,
    operation: str,
    arguments: Mapping[str, Any],
    key: str,
    scope: Scope,
    *,
    confirmed: bool = False,
    reads_only: bool = False,
) -> dict[str, Any]:
    """Does it, or raises ConnectorFault; its message may be shown to people in the office.

    `key` (writes): the same act has the same key. `confirmed`: somebody said yes, where the operation asks for it.
    `reads_only`: refuses what changes something (a lookup of a flow, a model's tool call)."""
    began_s = ready.clock()
    attempts, outcome, size = 0, "done", 0
    known: Operation | None = None
    try:
        known = ready.manifest.operation(operation)
        _check(known, arguments, key, confirmed, reads_only)
        personal = _personal(known, arguments)
        while True:
            attempts += 1
            try:
                result = await _attempt(ready, known, arguments, key, scope, personal)
                break
            except ConnectorFault as fault:
                pause_s = _pause(ready, scope, known, fault, attempts)
                # Somebody waits for what is only read: a system that said nothing in its time is not asked once more.
                if pause_s is None or (reads_only and fault.kind == "slow"):
                    raise
            await asyncio.sleep(pause_s)
        result, size = _bounded(known, result)
        return result
    except ConnectorFault as fault:
        outcome = fault.kind
        raise ready.clean(fault) from None
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    finally:
        effect = known.effect if known else "read"
        took_ms = (ready.clock() - began_s) * 1000
        name = known.name if known else "unknown"
        ready.record(Record(ready.name, ready.manifest.kind, name, effect, outcome, attempts, took_ms, size))


def _check(known: Operation, arguments: Mapping[str, Any], key: str, confirmed: bool, reads_only: bool) -> None:
    wrong = misfit(arguments, known.parameters)
    if wrong:
        raise ConnectorFault("invalid", f"{known.name}: {wrong}")
    if known.effect == "read":
        return
    if reads_only:
        raise ConnectorFault("invalid", f"{known.name} changes something ({known.effect}); only reading is allowed")
    if known.confirm and not confirmed:
        raise ConnectorFault("invalid", f"{known.name} needs somebody's yes first")
    if not key or len(key) > MAX_KEY or not key.isprintable():
        raise ConnectorFault("invalid", f"{known.name} needs a key of 1 to {MAX_KEY} printable characters")


def _personal(known: Operation, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts in personal arguments, longest first, so that none is left in pieces."""
    found: list[str] = []
    waiting = [arguments[name] for name in known.personal if name in arguments]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str | int) and len(str(value)) >= 3:
            found.append(str(value))
    return tuple(sorted(found, key=len, reverse=True))


async def _attempt(
    ready: Ready, known: Operation, arguments: Mapping[str, Any], key: str, scope: Scope, personal: tuple[str, ...]
) -> dict[str, Any]:
    """Once. Whatever goes wrong becomes a ConnectorFault and is booked with the breaker."""
    await ready.turn(scope.branch, known.timeout_s)
    began_s = ready.clock()
    try:
        breaker = ready.breaker(scope)
        wait_s = breaker.wait_s(began_s)
        if wait_s:
            kind: Any = breaker.kind
            raise ConnectorFault(kind, f"not asked again for {wait_s:.0f} s: {breaker.why}", retry_after_s=wait_s)
        breaker.begin(began_s)
        try:
            result = await asyncio.wait_for(ready.connector.call(known.name, arguments, key, scope), known.timeout_s)
        except ConnectorFault as fault:
            clean = ready.clean(fault, personal)
        except TimeoutError:
            text = f"{known.name} had no answer within {known.timeout_s:g} s; whether it happened is not known"
            clean = ready.clean(ConnectorFault("slow", text))
        except Exception as error:  # noqa: BLE001  a mistake of the connector, which the conversation must outlive
            log.error("connector %s: %s failed%s", ready.name, known.name, _place(error))
            clean = ready.clean(ConnectorFault("data", f"{known.name} cannot make sense of the answer{_place(error)}"))
        else:
            ready.succeeded(scope, began_s)
            return result
    finally:
        ready.done(scope.branch)
    if clean.kind in COUNTED:
        ready.failed(scope, began_s, clean)
    else:
        ready.succeeded(scope, began_s)
    raise clean


def _place(error: Exception) -> str:
    """Where it happened, not what was said: the message of an exception often holds a value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f", {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else ""
    return f" ({type(error).__name__}{at})"


def _pause(ready: Ready, scope: Scope, known: Operation, fault: ConnectorFault, attempts: int) -> float | None:
    """How long before it is tried again; None: not at all."""
    if fault.kind not in ("slow", "down") or attempts > known.retries:
        return None
    if known.effect != "read" and not known.once:
        return None
    longest_s = BACKOFF_S[min(attempts, len(BACKOFF_S)) - 1]
    pause_s = max(ready.chance() * longest_s, fault.retry_after_s or 0.0)
    return None if pause_s > LONGEST_PAUSE_S or ready.breaker(scope).open else pause_s


def _bounded(known: Operation, result: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """What a model or a flow may be given. An act that happened is not undone by a long answer."""
    try:
        size = len(msgspec.json.encode(result))
    except (TypeError, ValueError):
        raise ConnectorFault("data", f"{known.name} answered what is no JSON") from None
    if size <= MAX_RESULT_BYTES:
        return result, size
    if known.effect == "read":
        raise ConnectorFault(
            "data", f"{known.name} answered {size} bytes; at most {MAX_RESULT_BYTES} are taken. Ask for less"
        )
    return {"cut": True}, size


def contracts(name: str, manifest: Manifest, effects: tuple[str, ...] = ("read",)) -> list[dict[str, Any]]:
    """The operations as tools for models and MCP: `<connector>_<operation>`, JSON Schema, effect class."""
    return [
        {
            "name": f"{name}_{operation.name}",
            "description": operation.description,
            "parameters": {"additionalProperties": False, **operation.parameters},
            "effect": operation.effect,
            "confirmation": operation.confirm,
            "timeout_s": operation.timeout_s,
        }
        for operation in manifest.operations
        if operation.effect in effects
    ]
