"""The simulated provider's server: raw ASGI on uvicorn, with a hand on the connection for the faults HTTP cannot say.

    POST /<target>/v1/chat/completions, /v1/embeddings, /v1/messages     GET /<target>/v1/models
    POST /<target>/v1beta/models/<model>:generateContent, :streamGenerateContent, :batchEmbedContents, :embedContent
    GET /sim/stats, GET /sim/health, POST /sim/script (TOML or JSON)

The `/v1` or `/v1beta` may be left out. The prefix names the target; without one it is "default".
"""

import asyncio
import base64
import contextlib
import hashlib
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Literal
from urllib.parse import unquote

import msgspec
import uvicorn
from msgspec import Struct, structs
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from waterline.providers import simulated_answers as answers
from waterline.providers import simulated_gemini as gemini
from waterline.providers import simulated_messages
from waterline.providers.simulated_answers import Ask, Bill, Events, Head, Message, Said
from waterline.providers.simulated_script import Fault, Script, ScriptError, Target, parse_script

Dialect = Literal["openai", "anthropic", "gemini"]
MAX_BODY_BYTES = 64 << 20
MAX_TARGETS = 256  # prefixes that are told apart; more count as "default"
GEMINI_ACTIONS = ("generateContent", "streamGenerateContent", "batchEmbedContents", "embedContent")
KEPT_BODIES = 1000
KEPT_SECONDS = 3600
FOREVER_S = 3600.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
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


class Stats(Struct):
    uptime_s: float
    script_s: float  # since the script was set; what `from_s` and `until_s` count
    targets: dict[str, TargetStats]


class Left(Exception):
    """The client has gone, we closed the connection, or the server stops: nothing more can be said."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, handed to the application, so that it can wait on it and break it."""

    gone = False
    _waiter: asyncio.Future[bool] | None = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["connection"] = self

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.leave()

    def leave(self) -> None:
        self.gone = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    async def wait(self, future: asyncio.Future[bool]) -> None:
        """Until the future is done. Raises Left as soon as the connection is lost."""
        if self.gone:
            raise Left
        self._waiter = future
        try:
            await future
        finally:
            self._waiter = None
        if self.gone:
            raise Left

    async def pause(self, seconds: float) -> None:
        if seconds <= 0:
            if self.gone:
                raise Left
            return
        future: asyncio.Future[bool] = self.loop.create_future()
        timer = self.loop.call_later(seconds, _wake, future)
        try:
            await self.wait(future)
        finally:
            timer.cancel()

    async def hang(self) -> None:
        """Say nothing more until the client leaves."""
        while True:
            await self.pause(FOREVER_S)

    async def close(self, *, reset: bool) -> None:
        """Break the connection: after what was written (FIN), or at once (RST). Raises Left when it is done."""
        if reset:
            await self.pause(0.01)  # let the loop flush what belongs before the reset
            raw = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError), socket.socket(fileno=socket.dup(raw.fileno())) as own:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()
        await self.hang()


def _wake(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(True)


class _Bucket:
    """A token bucket; `rate` a second up to `most`."""

    def __init__(self, per_minute: float, most: float, now: float) -> None:
        self.rate, self.most, self.level, self.at = per_minute / 60, most, most, now

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; 0: it is."""
        self.level = min(self.most, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, (amount - self.level) / self.rate)


class _Slots:
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


class _Play:
    """One target under one script: its limits, its counters."""

    def __init__(self, target: Target, seed: int, name: str, now: float) -> None:
        limits = target.limits
        self.target, self.started = target, now
        self.seed = seed ^ int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        self.number = 0  # requests so far
        self.matching = [0] * len(target.faults)
        self.rpm = _Bucket(limits.rpm, limits.burst or limits.rpm, now) if limits.rpm else None
        self.tpm = _Bucket(limits.tpm, limits.tpm, now) if limits.tpm else None
        self.running = 0
        self.slots = _Slots(target.capacity.slots, target.capacity.queue) if target.capacity.slots else None

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


class _Call(Struct):
    """One request on its way."""

    connection: Connection
    send: Send
    play: _Play
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
                body = answers.openai_error(status, message, code)
        await self.whole(status, body, retry_after_s=retry_after_s)


class SimulatedApp:
    """The ASGI application. One script at a time; a new one resets limits and fault counters, never the statistics."""

    def __init__(self, script: Script) -> None:
        self.started = time.monotonic()
        self.tallies: dict[str, TargetStats] = {}
        self.play(script)

    def play(self, script: Script) -> None:
        self.script = script
        self.set_at = time.monotonic()
        self.plays: dict[str, _Play] = {}

    def stats(self) -> Stats:
        now = time.monotonic()
        return Stats(now - self.started, now - self.set_at, self.tallies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(Left):
            await self._route(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        body = await _body(receive)
        if path.startswith("/sim/"):
            await self._control(scope["method"], path, body, send)
            return
        found = _place(path)
        if found is None:
            message = f"Unknown path {path}. Known: [/target]/v1/chat/completions, messages, embeddings, models."
            await _reply(send, 404, answers.openai_error(404, message))
            return
        prefix, suffix = found
        name = prefix or "default"
        if name not in self.plays and len(self.plays) >= MAX_TARGETS:
            name = "default"
        play = self.plays.get(name)
        if play is None:
            target = self.script.targets.get(name, self.script.default)
            play = self.plays[name] = _Play(target, self.script.seed, name, self.set_at)
        if suffix == "/models":
            listed = [{"id": m, "object": "model", "created": 0, "owned_by": "simulated"} for m in play.target.models]
            await _reply(send, 200, answers.encode({"object": "list", "data": listed}))
            return
        tally = self.tallies.setdefault(name, TargetStats())
        await self._count(scope, send, play, tally, suffix, path, body)

    async def _count(
        self, scope: Scope, send: Send, play: _Play, tally: TargetStats, suffix: str, path: str, body: bytes | None
    ) -> None:
        """Statistics around one request."""
        play.number += 1
        tally.requests += 1
        tally.in_flight += 1
        tally.max_in_flight = max(tally.max_in_flight, tally.in_flight)
        second = int(time.time())
        tally.attempts_by_second[second] = tally.attempts_by_second.get(second, 0) + 1
        if len(tally.attempts_by_second) > KEPT_SECONDS:
            del tally.attempts_by_second[next(iter(tally.attempts_by_second))]
        tally.bodies.append(hashlib.sha256(body or b"").hexdigest())
        if len(tally.bodies) > 2 * KEPT_BODIES:
            del tally.bodies[:-KEPT_BODIES]
        dialect: Dialect = "gemini" if ":" in suffix else "anthropic" if suffix.startswith("/messages") else "openai"
        tally.betas = dict(scope["headers"]).get(b"anthropic-beta", b"").decode("latin-1")
        call = _Call(scope["state"]["connection"], send, play, tally, dialect, play.number, False, None)
        try:
            await self._ask(call, scope, suffix, path, body)
        except Left:
            if call.fault_kind not in _WE_CLOSE:
                tally.aborted += 1
        finally:
            tally.in_flight -= 1

    async def _ask(self, call: _Call, scope: Scope, suffix: str, path: str, body: bytes | None) -> None:
        """Read the request, let a fault or a limit have it, else answer."""
        target = call.play.target
        if body is None:
            await call.error(413, f"The request is larger than {MAX_BODY_BYTES} bytes.")
            return
        try:
            if call.dialect == "gemini":
                model, _, action = suffix.removeprefix("/models/").rpartition(":")
                ask, messages = gemini.read_ask(unquote(model), action, body, thinks=call.thinks)
            else:
                ask = answers.decode_ask(body)
                messages = answers.decode_messages(ask.messages) if bytes(ask.messages) else []
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            await call.error(400, f"We could not parse the JSON body of your request: {error}")
            return
        except gemini.Wrong as error:
            await call.error(400, str(error))
            return
        call.streamed = bool(ask.stream)
        call.tally.streamed += call.streamed
        now = time.monotonic()
        call.fault = call.play.fault(path, call.streamed, now)
        if call.fault is not None:
            call.tally.faults[call.fault.kind] = call.tally.faults.get(call.fault.kind, 0) + 1
            if await _fail(call, call.fault, ask):
                return
        if (problem := _invalid(scope, call, ask, messages, suffix)) is not None:
            await call.error(*problem)
            return
        prompt = answers.prompt_tokens(ask)
        if target.context_tokens and prompt > target.context_tokens:
            await _too_long(call, prompt, target.context_tokens)
            return
        if suffix in COUNTS:
            await _reply(call.send, 200, answers.encode({"input_tokens": prompt}))
            return
        said = [] if _embeds(suffix) else _say(call, ask, messages)
        bill = answers.bill(prompt, target, said)
        wait_s = call.play.refusal_s(bill.prompt + bill.output, now)
        if wait_s is not None:
            call.tally.limited += 1
            told = target.limits.retry_after_s if target.limits.retry_after_s is not None else max(1, -(-wait_s // 1))
            await call.error(429, retry_after_s=told if target.limits.retry_after else None)
            return
        await self._in_turn(call, suffix, ask, said, bill)

    async def _in_turn(self, call: _Call, suffix: str, ask: Ask, said: list[Said], bill: Bill) -> None:
        slots = call.play.slots
        if slots is not None and slots.full:
            await call.error(529 if call.dialect == "anthropic" else 503)
            return
        call.play.running += 1
        try:
            if slots is not None:
                await slots.acquire(call.connection)
            call.tally.input_tokens += bill.prompt
            try:
                if said:
                    await _answer(call, ask, said, bill)
                else:
                    await _embed(call, ask, bill, suffix.rpartition(":")[2])
            finally:
                if slots is not None:
                    slots.release()
        finally:
            call.play.running -= 1
        call.tally.answered += 1

    async def _control(self, method: str, path: str, body: bytes | None, send: Send) -> None:
        match method, path:
            case "GET", "/sim/stats":
                stats = self.stats()
                for tally in stats.targets.values():
                    del tally.bodies[:-KEPT_BODIES]
                await _reply(send, 200, answers.encode(stats))
            case "GET", "/sim/health":
                await _reply(send, 200, b'{"status":"ok"}')
            case "POST", "/sim/script":
                try:
                    script = parse_script(body or b"")
                except ScriptError as error:
                    await _reply(send, 400, answers.encode({"error": {"message": str(error)}}))
                else:
                    self.play(script)
                    await _reply(send, 200, b'{"status":"ok"}')
            case _:
                message = "Known: GET /sim/stats, GET /sim/health, POST /sim/script."
                await _reply(send, 404, answers.encode({"error": {"message": message}}))


def _place(path: str) -> tuple[str, str] | None:
    """The target's prefix, and what is asked of it: a path's end, or "/models/<model>:<action>"."""
    for suffix in ("/chat/completions", *COUNTS, "/messages", "/embeddings", "/models"):
        if path.endswith(suffix):
            return path.removesuffix(suffix).removesuffix("/v1").strip("/"), suffix
    head, models, rest = path.rpartition("/models/")
    if models and rest.rpartition(":")[2] in GEMINI_ACTIONS:
        return head.removesuffix("/v1beta").removesuffix("/v1").strip("/"), models + rest
    return None


def _embeds(suffix: str) -> bool:
    return suffix.endswith(("/embeddings", ":batchEmbedContents", ":embedContent"))


COUNTS = ("/messages/count_tokens", "/chat/completions/input_tokens")  # Anthropic's; llama.cpp's
_WE_CLOSE = ("refuse_connection", "reset_before_headers", "cut", "wrong_content_length")


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None if it is too large (it is read to the end all the same)."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        return body
    parts, size = [body], len(body)
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY_BYTES:
            parts.append(part)
    if message["type"] != "http.request":
        raise Left
    return b"".join(parts) if size <= MAX_BODY_BYTES else None


async def _reply(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _invalid(
    scope: Scope, call: _Call, ask: Ask, messages: list[Message], suffix: str
) -> tuple[int, str] | tuple[int, str, str] | None:
    """What a provider would refuse: status, message, code."""
    target = call.play.target
    headers = dict(scope["headers"])
    if target.api_key:
        bearer = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if target.api_key.encode() not in (bearer, headers.get(b"x-api-key"), headers.get(b"x-goog-api-key")):
            return (400, gemini.BAD_KEY) if call.dialect == "gemini" else (401, "")
    if not ask.model:
        return 400, "you must provide a model parameter", "missing_required_parameter"
    if target.only_models and ask.model not in target.models:
        return 404, f"The model `{ask.model}` does not exist or you do not have access to it."
    if _embeds(suffix):
        return None if bytes(ask.input) else (400, "Missing required parameter: 'input'.")
    if not messages:
        return 400, "messages: at least one message is required", "missing_required_parameter"
    if target.prefill == "refuse" and messages[-1].role == "assistant":
        return 400, "This model does not support assistant message prefill: the conversation must end with a user turn."
    if call.dialect == "anthropic":
        if b"anthropic-version" not in headers:
            return 400, "anthropic-version: header is required"
        if suffix not in COUNTS and (ask.max_tokens is None or ask.max_tokens < 1):
            return 400, "max_tokens: Field required, at least 1"
        for i, message in enumerate(messages):
            if message.role not in ("user", "assistant"):
                return 400, f"messages.{i}.role: Input should be 'user' or 'assistant'"
            if message.content in ("", None, []):
                return 400, f"messages.{i}: all messages must have non-empty content"
        if (wrong := simulated_messages.wrong_blocks(messages, target, thinks=answers.thinks(ask))) is not None:
            return 400, wrong
    return None


async def _too_long(call: _Call, prompt: int, most: int) -> None:
    if call.dialect == "anthropic":
        await call.error(400, f"prompt is too long: {prompt} tokens > {most} maximum")
        return
    if call.dialect == "gemini":
        said = f"The input token count ({prompt}) exceeds the maximum number of tokens allowed ({most})."
        await call.error(400, said)
        return
    message = (
        f"This model's maximum context length is {most} tokens. However, your messages resulted in {prompt} tokens."
    )
    await call.error(400, message, "context_length_exceeded")


def _say(call: _Call, ask: Ask, messages: list[Message]) -> list[Said]:
    count = 1 if call.dialect == "anthropic" else max(1, min(ask.n or 1, 128))
    u = call.chance(1)
    target = call.play.target
    said = [answers.say(ask, target, messages, u, choice) for choice in range(count)]
    if target.thinking and (call.dialect == "openai" or (call.dialect == "anthropic" and answers.thinks(ask))):
        redacted = target.redacted_thinking if call.dialect == "anthropic" else ""
        said = [structs.replace(one, thinking=target.thinking, redacted=redacted) for one in said]
    if call.fault is not None and call.fault.kind == "content_filter":
        said = [Said(one.pieces[: call.fault.after], "content_filter") for one in said]
    return said


async def _fail(call: _Call, fault: Fault, ask: Ask) -> bool:
    """Play a fault that replaces the whole answer. False: this kind happens within the answer."""
    match fault.kind:
        case "refuse_connection" | "reset_before_headers":
            await call.connection.close(reset=fault.kind == "reset_before_headers")
        case "silence":
            await call.connection.hang()
        case "http" | "unauthorized":
            status = 401 if fault.kind == "unauthorized" else fault.status or 500
            if fault.body is not None:
                await call.whole(status, fault.body.encode(), retry_after_s=fault.retry_after_s)
            elif fault.kind == "unauthorized" and call.dialect == "gemini":
                await call.error(400, gemini.BAD_KEY)
            else:
                await call.error(status, retry_after_s=fault.retry_after_s)
        case "context_length":
            await _too_long(call, answers.prompt_tokens(ask), call.play.target.context_tokens or 1)
        case "html":
            status = fault.status or 502
            page = f"<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>"
            body = fault.body if fault.body is not None else page
            await call.whole(status, body.encode(), b"text/html", fault.retry_after_s)
        case "garbage":
            kind = b"text/event-stream" if call.streamed else b"application/json"
            body_bytes = fault.body.encode() if fault.body is not None else b'data: {"id": \x00\xfe]]garbage\n\n'
            await call.whole(fault.status or 200, body_bytes, kind)
        case _:
            return False
    return True


async def _embed(call: _Call, ask: Ask, bill: Bill, action: str) -> None:
    inputs = msgspec.json.decode(bytes(ask.input) or b'""')
    batch = inputs if isinstance(inputs, list) and not (inputs and isinstance(inputs[0], int)) else [inputs]
    size = max(1, min(ask.dimensions or call.play.target.dimensions, 4096))
    if call.dialect == "gemini":
        vectors = [answers.embedding(str(item), size) for item in batch]
        await call.connection.pause(_first_token_s(call))
        usage = None if call.fault_kind == "missing_usage" else bill
        await _deliver(call, gemini.embeddings(vectors, action, usage))
        return
    data = []
    for index, item in enumerate(batch):
        text = item if isinstance(item, str) else answers.encode(item).decode()
        vector: Any = answers.embedding(text, size)
        if ask.encoding_format == "base64":
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    body: dict[str, Any] = {"object": "list", "data": data, "model": ask.model}
    if call.fault_kind != "missing_usage":
        body["usage"] = {"prompt_tokens": bill.prompt, "total_tokens": bill.prompt}
    await call.connection.pause(_first_token_s(call))
    await _deliver(call, answers.encode(body))


def _first_token_s(call: _Call) -> float:
    seconds = answers.draw(call.play.target.first_token_ms, call.chance(2)) / 1000
    if call.fault is not None and call.fault.kind == "slow_first_token" and not call.streamed:
        seconds += call.fault.ms / 1000
    return seconds


async def _answer(call: _Call, ask: Ask, said: list[Said], bill: Bill) -> None:
    usage = None if call.fault_kind == "missing_usage" else bill
    identity = f"{call.play.seed & 0xFFFFFF:06x}{call.number:08x}"
    head = Head(_PREFIX[call.dialect] + identity, int(time.time()), ask.model)
    if call.streamed:
        match call.dialect:
            case "anthropic":
                events = simulated_messages.events(head, said[0], usage)
            case "gemini":
                events = gemini.events(head, said, usage, thinks=call.thinks)
            case "openai":
                events = answers.openai_events(head, ask, said, usage)
        await _stream(call, events)
        return
    pieces = sum(len(one.pieces) for one in said)
    await call.connection.pause(_first_token_s(call) + pieces * call.play.target.per_token_ms / 1000)
    if call.fault_kind == "error_event":
        await call.error(529 if call.dialect == "anthropic" else 500)
        return
    match call.dialect:
        case "anthropic":
            body = simulated_messages.plain(head, said[0], usage)
        case "gemini":
            body = gemini.plain(head, said, usage, thinks=call.thinks)
        case "openai":
            body = answers.openai_plain(head, ask, said, usage)
    await _deliver(call, body)
    call.tally.output_tokens += bill.output


_PREFIX: dict[Dialect, str] = {"openai": "chatcmpl-", "anthropic": "msg_", "gemini": "gm"}


async def _deliver(call: _Call, body: bytes) -> None:
    """A plain 200, or what a fault makes of it."""
    match call.fault_kind:
        case "stall" | "cut" | "wrong_content_length" as kind:
            await call.start(200, b"application/json", len(body) + (64 if kind == "wrong_content_length" else 0))
            await call.write(body if kind == "wrong_content_length" else body[: len(body) // 2], more=True)
            if kind == "stall":
                await call.connection.hang()
            await call.connection.close(reset=kind == "cut")
        case "malformed_event":
            await call.whole(200, body[: len(body) // 2])
        case _:
            await call.whole(200, body)


async def _stream(call: _Call, events: Events) -> None:
    """Events at their pace: one timer a burst, none where there is no pace."""
    target, kind, loop = call.play.target, call.fault_kind, call.connection.loop
    first_s = _first_token_s(call)
    length = None
    if kind == "wrong_content_length":
        length = 64 + sum(map(len, (events.begin, *events.content, *events.end, events.done)))
    if kind == "slow_first_token" and call.fault is not None:
        await call.connection.pause(first_s)
        await call.start(200, b"text/event-stream", length)
        await call.connection.pause(call.fault.ms / 1000)
    else:
        await call.connection.pause(first_s)
        await call.start(200, b"text/event-stream", length)
    content = events.content
    stops = call.fault is not None and kind in ("stall", "cut", "error_event", "malformed_event")
    if call.fault is not None and stops:
        content = content[: max(0, call.fault.after)]
    pace_s = target.per_token_ms / 1000
    burst = target.burst or (1 if pace_s else max(1, len(content)))
    began = loop.time()
    out = events.begin
    for at in range(0, len(content), burst):
        if at:
            await call.write(out, more=True)
            out = b""
            if pace_s:
                await call.connection.pause(began + at * pace_s - loop.time())
        part = content[at : at + burst]
        out += b"".join(part)
        call.tally.output_tokens += len(part)
    await _end(call, events, out, len(content))


async def _end(call: _Call, events: Events, out: bytes, sent: int) -> None:
    """The last write of a stream, or what a fault makes of it."""
    tail = b"".join(events.end)
    match call.fault_kind:
        case "stall":
            await call.write(out, more=True)
            await call.connection.hang()
        case "cut":
            await call.write(out, more=True)
            await call.connection.close(reset=False)
        case "error_event":
            await call.write(out + _error_event(call.dialect) + b"\n\n", more=False)
        case "malformed_event":
            broken = (events.content[sent] if sent < len(events.content) else events.begin or events.done)[
                :-12
            ] + b"\n\n"
            rest = b"".join(events.content[sent + 1 :])
            await call.write(out + broken + rest + tail + events.done, more=False)
        case "missing_done":
            await call.write(out + tail, more=False)
        case "wrong_content_length":
            await call.write(out + tail + events.done, more=True)
            await call.connection.close(reset=False)
        case _:
            call.tally.output_tokens += call.play.target.reasoning_tokens
            await call.write(out + tail + events.done, more=False)


def _error_event(dialect: Dialect) -> bytes:
    match dialect:
        case "anthropic":
            return b"event: error\ndata: " + simulated_messages.error(529)
        case "gemini":
            return b"data: " + gemini.error(503)
        case "openai":
            return b"data: " + answers.openai_error(500)


class SimulatedServer(uvicorn.Server):
    """uvicorn without its signal handlers; stopping wakes whoever waits."""

    def __init__(self, app: SimulatedApp, announce: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            loop="none",
            log_level="error",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self.announce = announce

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.leave()
                connection.transport.close()
        await super().shutdown(sockets)


def bound_socket(host: str, port: int) -> socket.socket:
    """A listening address. Port 0: any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _UntilClosed(asyncio.Protocol):
    """Stops the server when the pipe from the parent is closed, so no orphan stays behind."""

    def __init__(self, server: uvicorn.Server) -> None:
        self.server = server

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.should_exit = True


async def serve(script: Script, sock: socket.socket, *, announce: Callable[[str], None], until_stdin: bool) -> None:
    """Until SIGINT or SIGTERM, or (`until_stdin`) until the standard input is closed."""
    server = SimulatedServer(SimulatedApp(script), lambda: announce(address_of(sock)))

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if until_stdin:
        await loop.connect_read_pipe(lambda: _UntilClosed(server), sys.stdin)
    await server.serve([sock])
