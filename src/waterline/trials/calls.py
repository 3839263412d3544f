"""The client of the drills: chat completions as an SDK would make them, light enough to load a gateway.

It is strict where users are not: a stream that ends without [DONE] and without an error event was cut, and a plain
answer without a finish reason is no answer.
"""

import asyncio
import time
from typing import Any

import msgspec
from msgspec import Struct

from waterline.providers.base import ProviderFault
from waterline.providers.openai_wire import OpenAIStream
from waterline.providers.upstream import Origin, Pool, UpstreamError

_encode = msgspec.json.Encoder().encode


class Call(Struct):
    """What became of one call. Seconds, from the moment it was meant to be sent."""

    status: int = 0  # 0: no HTTP answer
    complete: bool = False  # a whole answer that said so itself
    truncated: bool = False  # presented as success, but not whole: the worst outcome there is
    code: str = ""  # of the error, in-band or not
    message: str = ""
    ttft_s: float | None = None
    total_s: float = 0.0
    text: str = ""
    finish_reason: str = ""
    model: str = ""  # that says it answered; of a plain answer
    trace: str = ""
    release: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: str = ""
    retry_after_s: float | None = None
    tools: tuple[tuple[str, str], ...] = ()  # of a plain answer: (name, arguments as JSON)


class _Error(Struct):
    code: str | int | None = None
    message: str = ""


class _Function(Struct):
    name: str = ""
    arguments: str = ""


class _ToolCall(Struct):
    function: _Function | None = None


class _Message(Struct):
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(Struct):
    model: str | None = None
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | None = None


class Caller:
    """Speaks to one address with one key. Use it as an async context manager."""

    def __init__(self, base_url: str, key: str = "", *, connections: int = 1024) -> None:
        self._origin = Origin.from_url(base_url)
        self._path = base_url.split("://", 1)[1].partition("/")[2].rstrip("/")
        self._key = key
        self._connections = connections
        self._pool: Pool | None = None

    async def __aenter__(self) -> "Caller":
        self._pool = Pool(self._origin, max_conns=self._connections, max_waiters=100_000)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.close()

    async def chat(
        self,
        messages: list[dict[str, Any]],
        *,
        model: str = "main",
        stream: bool = False,
        session: str = "",
        subject: str = "",
        deadline_ms: int | None = None,
        give_up_s: float = 180.0,
        meant_at: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Call:
        """Never raises for what the server does; `meant_at` is the loop time at which the call should have left."""
        assert self._pool is not None
        loop = asyncio.get_running_loop()
        start = loop.time() if meant_at is None else meant_at
        body: dict[str, Any] = {"model": model, "messages": messages, **(extra or {})}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {self._key}".encode())]
        if session:
            headers.append((b"x-waterline-session", session.encode()))
        if subject:
            headers.append((b"x-waterline-subject", subject.encode()))
        if deadline_ms is not None:
            headers.append((b"x-waterline-deadline-ms", str(deadline_ms).encode()))
        head = self._pool.head("POST", f"/{self._path}/chat/completions", headers)
        call = Call()
        try:
            response = await self._pool.send(head, _encode(body), first_byte=give_up_s, idle=give_up_s, total=give_up_s)
            call.status = response.status
            call.trace = (response.header(b"x-waterline-trace") or b"").decode()
            call.release = (response.header(b"x-waterline-release") or b"").decode()
            told = (response.header(b"retry-after") or b"").decode()
            call.retry_after_s = float(told) if told.isdigit() else None
            call.cost_usd = (response.header(b"x-waterline-cost-usd") or b"").decode()
            if response.status == 200 and stream:
                reader = OpenAIStream(forward_usage=True)
                async for data in response:
                    reader.feed(data)
                    if call.ttft_s is None and reader.began:
                        call.ttft_s = loop.time() - start
                self._read_stream(call, reader)
            else:
                self._read_plain(call, await response.read())
        except UpstreamError as error:
            call.code, call.message = "connection", str(error)  # a client raises on it: no success, and not honest
        except ProviderFault as fault:
            call.code, call.message = "in_band", fault.message
        call.total_s = loop.time() - start
        return call

    def _read_stream(self, call: Call, reader: OpenAIStream) -> None:
        call.text, call.finish_reason = "".join(reader.text), reader.finish_reason
        call.complete = reader.done and reader.finished
        call.truncated = not call.complete
        if reader.usage is not None:
            call.tokens_in, call.tokens_out = reader.usage.total_input, reader.usage.total_output

    def _read_plain(self, call: Call, body: bytes) -> None:
        try:
            read = msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError):
            call.truncated = call.status == 200
            call.code = "" if call.truncated else "not_json"
            return
        if read.error is not None:
            call.code, call.message = str(read.error.code), read.error.message
            return
        call.model = read.model or ""
        first = read.choices[0] if read.choices else None
        call.text = (first.message.content or "") if first else ""
        called = (first.message.tool_calls or []) if first else []
        call.tools = tuple((c.function.name, c.function.arguments) for c in called if c.function is not None)
        call.finish_reason = (first.finish_reason or "") if first else ""
        call.complete = call.status == 200 and bool(call.finish_reason)
        call.truncated = call.status == 200 and not call.complete
        if read.usage is not None:
            call.tokens_in, call.tokens_out = read.usage.prompt_tokens, read.usage.completion_tokens


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def wall_us() -> int:
    return time.time_ns() // 1000
