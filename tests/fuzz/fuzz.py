"""Seeded mutational fuzzing of everything that parses what a stranger or a provider sent.

    python tests/fuzz/fuzz.py --inputs 1000000 [--seed N] [--target NAME]

An input is a seed of the corpus, mutated. What reads a stream must come to the same result at every split of it; what
decodes must accept or refuse, the same way twice, and only by the errors it declares. The same seed gives the same
inputs; a failure prints what reproduces it. Prints the count of each target.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from functools import partial
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

from corpus import (
    ANSWERS,
    ANTHROPIC_STREAMS,
    ARRIVALS,
    GEMINI_STREAMS,
    MESSAGES,
    OPENAI_STREAMS,
    REQUESTS,
    RESPONSES,
    TOKENS,
)
from responses_api import CALLS, decode_call, tell_stream

from waterline.access.keys import SYSTEM
from waterline.api import http
from waterline.api.heads import Heads
from waterline.api.messages_answer import MessagesTranslator
from waterline.core.completion import UNREADABLE
from waterline.core.errors import InvalidRequest, RequestError
from waterline.core.messages import decode_messages
from waterline.core.release import Release, Route
from waterline.core.request import Kind, decode_request
from waterline.gateway.media import media_bound
from waterline.gateway.relay import DONE
from waterline.gateway.render import render
from waterline.providers import upstream_connection
from waterline.providers.anthropic import Anthropic, AnthropicStream
from waterline.providers.base import Provider, ProviderFault, StreamReader
from waterline.providers.gemini import Gemini, GeminiStream
from waterline.providers.openai import OpenAI
from waterline.providers.openai_wire import OpenAIStream
from waterline.providers.upstream import Origin, Pool, UpstreamError

MOST_BYTES = 4096
EVERY_SPLIT_OF = 64  # one input in so many is also cut at every byte


class Finding(AssertionError):
    """Two readings differ, or an invariant is broken."""


# --- inputs ------------------------------------------------------------------------------------------------------


def mutate(rng: Random, seeds: list[bytes]) -> bytes:
    """One to four changes of a seed; one input in thirty is the seed itself."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((0, *[1] * 12, *[2] * 9, *[3] * 5, *[4] * 3))):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.choice((1, 1, 2, 4, 16, 64)))
        match rng.randrange(8):
            case 0:
                data[at:to] = b""
            case 1:
                data[at:at] = rng.choice(TOKENS)
            case 2:
                data[at:to] = rng.choice(TOKENS)
            case 3:
                data[at:at] = data[at:to] * rng.choice((1, 2, 8))
            case 4:
                del data[at:]
            case 5:
                other = rng.choice(seeds)
                begin = rng.randrange(len(other))
                data[at:to] = other[begin : begin + rng.choice((4, 32, 256))]
            case 6 if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
            case _ if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data[:MOST_BYTES])


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    for start, end in pairwise(sorted({0, len(data), *cuts})):
        yield data[start:end]


def some_cuts(rng: Random, data: bytes) -> list[int]:
    return [rng.randrange(len(data) + 1) for _ in range(rng.choice((1, 1, 2, 3, 8)))]


# --- readers of streams ------------------------------------------------------------------------------------------

Read = Callable[[bytes, list[int]], object]


def read_stream(make: Callable[[], StreamReader]) -> Read:
    def read(data: bytes, cuts: list[int]) -> object:
        reader, out, fault = make(), b"", ""
        try:
            for piece in pieces(data, cuts):
                out += reader.feed(piece)
            out += reader.end()
        except ProviderFault as error:
            fault = f"{error.kind}: {error.message}"
            out += reader.pending
        state = (reader.began, reader.finished, reader.done, reader.finish_reason, reader.usage, reader.chunks)
        if reader.finished and not fault and not reader.finish_reason:
            raise Finding("a finished stream has no finish reason")
        for event in out.split(b"\n\n")[:-1]:
            if not event.startswith((b"data:", b"event:", b"id:", b"retry:", b":")) and b"\ndata:" not in event:
                raise Finding(f"forwards {event!r}, which is no event")
        return out, fault, state, "".join(reader.text)

    return read


def read_message(make: Callable[[], StreamReader]) -> Read:
    """What a caller of the Messages API hears of a provider's stream."""

    def read(data: bytes, cuts: list[int]) -> object:
        reader, translator, out = make(), MessagesTranslator("m"), b""
        try:
            for piece in pieces(data, cuts):
                out += translator.feed(reader.feed(piece))
            if reader.done:
                out += translator.feed(DONE)
        except (ProviderFault, *UNREADABLE):
            return "broken off"  # with what was said until then, which is not the same at every split
        if not reader.done and b"event: message_stop" in out:
            raise Finding("a stream that did not end has a message_stop")
        blocks = [e for e in out.split(b"\n\n") if e.startswith(b"event: content_block_st")]
        if any(a[20:24] == b[20:24] for a, b in pairwise(blocks)):
            raise Finding("content blocks overlap")
        return out

    return read


class _Wire(asyncio.Transport):
    """A socket that takes everything, and is closed by `abort`."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = False
        self.written = b""

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.ended

    def abort(self) -> None:
        self.ended = True

    close = abort

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def read_response(pool: Pool) -> Read:
    """The upstream client: one response on a fresh connection, which then ends."""
    limits = upstream_connection.Limits(60.0, 60.0, 60.0, False, pool.loop.time() + 3600.0)

    def feed(data: bytes, cuts: list[int]) -> tuple[upstream_connection.Response, bool]:
        connection, wire = upstream_connection.Connection(pool), _Wire()
        connection.connection_made(wire)
        response = connection.start(b"POST / HTTP/1.1\r\n", b"x", limits)
        for piece in pieces(data, cuts):
            if not wire.ended:
                connection.data_received(piece)
        kept = connection.usable and response._done and response.framed
        pool._idle.pop(connection, None)
        connection.connection_lost(None)
        return response, kept

    def read(data: bytes, cuts: list[int]) -> object:
        response, kept = feed(data, cuts)
        if response._error is None and not response._done:
            raise Finding("a response neither ended nor failed")
        if response._error is not None and not isinstance(response._error, UpstreamError):
            raise Finding(f"fails with {response._error!r}")
        body = b"".join(response._parts)
        if len(body) > len(data):
            raise Finding("a body is longer than what came")
        if kept and data.endswith((b"\r", b"\n")) and feed(data[:-1], [])[1]:
            kept = False  # an empty line after the end: a parser skips it, or it ends the connection; both are safe
        status = response.status if response._head_in else 0
        return status, body, type(response._error).__name__, kept, response.framed and response._done

    return read


class _Gate:
    """Answers every request with nothing, and keeps what it was."""

    def __init__(self) -> None:
        self.handled: list[object] = []

    def admit(self, exchange: http.Exchange) -> None:
        exchange.limit, exchange.handle, exchange.principal = 1000, self.handle, SYSTEM

    async def handle(self, exchange: http.Exchange) -> None:
        body = await exchange.body(1000)
        headers = tuple(h for h in exchange.headers if h[0] != b"content-length")  # the body says it; see heads.py
        self.handled.append((exchange.method, exchange.target, headers, body, exchange.version))
        await exchange.sink.begin(200, b"text/plain", [(b"content-length", b"0")])
        await exchange.sink.end(b"")

    async def refuse(self, exchange: http.Exchange, error: RequestError) -> None:
        if not 400 <= error.status < 600:
            raise Finding(f"refused by {error.status}")
        await exchange.sink.fail(error, [])

    def left_while_sending(self) -> None:
        pass


class _Called:
    """What a connection's task waits for: the next request."""

    def __init__(self, later: "_Later") -> None:
        self.later = later

    def __await__(self) -> Generator["_Called", None, None]:
        yield self

    def set_result(self, _: None) -> None:
        self.later.ready += self.later.idle
        self.later.idle = []


class _Later:
    """A loop of which tasks run when they are told to, until there is nothing to answer: nothing else is waited for."""

    def __init__(self) -> None:
        self.ready: list[Coroutine[Any, None, None]] = []
        self.idle: list[Coroutine[Any, None, None]] = []

    def create_task(self, task: Coroutine[Any, None, None]) -> object:
        self.ready.append(task)
        return self

    def create_future(self) -> _Called:
        return _Called(self)

    def run(self) -> None:
        while self.ready:
            task = self.ready.pop(0)
            try:
                waits_for = task.send(None)
            except StopIteration:
                continue
            if not isinstance(waits_for, _Called):
                raise Finding("a task waits")
            self.idle.append(task)

    def close(self) -> None:
        for task in self.ready + self.idle:
            task.close()

    def cancel(self) -> None:
        pass


_HEADS = Heads()  # kept: a head that is known must mean what it meant when it was read


def read_arrivals(data: bytes, cuts: list[int]) -> object:
    """The server: which requests are handled, what is answered, and whether the connection ends."""
    gate, later, wire = _Gate(), _Later(), _Wire()
    server: Any = SimpleNamespace(
        gate=gate, loop=later, now=0.0, patience=http.Patience(), connections=set(), in_flight=0, clock_us=lambda: 0,
        heads=_HEADS,
    )  # fmt: skip
    connection = http.Connection(server)
    connection.connection_made(wire)
    for piece in pieces(data, cuts):
        if not wire.ended:
            connection.data_received(piece)
    later.run()  # only now, so that how quick an answer was does not decide what was read before it
    statuses = [status for status in re.findall(rb"HTTP/1\.1 (\d+) ", wire.written) if status != b"100"]
    if len(gate.handled) != statuses.count(b"200"):
        raise Finding(f"{len(gate.handled)} requests were handled, {statuses} answered")
    if b"400" in statuses[:-1]:
        raise Finding(f"something is answered after what could not be read: {statuses}")
    ended = wire.ended or connection.deaf
    connection.connection_lost(None)
    later.close()
    return gate.handled, statuses, ended


def splits(read: Read, seeds: list[bytes], rng: Random) -> Callable[[int], bytes]:
    def one(number: int) -> bytes:
        data = mutate(rng, seeds)
        _same(read, data, some_cuts(rng, data))
        if number % EVERY_SPLIT_OF == 0:
            _same(read, data, list(range(len(data))))
        return data

    return one


def _same(read: Read, data: bytes, cuts: list[int]) -> None:
    try:
        whole, cut = read(data, []), read(data, cuts)
        if whole != cut:
            where = sorted(set(cuts)) if len(cuts) < 20 else "every byte"
            raise Finding(f"read as {whole!r} in one piece, as {cut!r} cut at {where}")
    except Exception as error:
        error.add_note(f"input: {data!r}")
        raise


def every_split(read: Read, seeds: list[bytes]) -> int:
    """Every way to cut each seed in two."""
    count = 0
    for data in seeds:
        for at in range(len(data) + 1):
            _same(read, data, [at])
            count += 1
    return count


# --- decoders ----------------------------------------------------------------------------------------------------

ROUTE = Route(provider="anthropic", model="m", max_tokens=100)


def decode(kind: Kind, data: bytes) -> None:
    """A request is refused, or what we act on is what the provider will read."""
    try:
        request = decode_request(kind, "/v1", data, 0)
    except InvalidRequest as error:
        if not 400 <= error.status < 500 or not error.message:
            raise Finding(f"refused by {error.status} {error.message!r}") from error
        return
    again = decode_request(kind, "/v1", data, 0)
    if again != request:
        raise Finding("decoded differently the second time")
    sent = OpenAI().request(request.fields, ROUTE)
    media_bound(sent, request.fields.get("messages"), ROUTE)
    read = json.loads(sent)
    acted = {"model": request.model, "stream": request.stream, "n": request.choices}
    for name, value in acted.items():
        said = read.get(name)
        if said is not None and said != value and not (kind == "embeddings" and name == "stream"):
            raise Finding(f"we act on {name} = {value!r}, the provider reads {said!r}")
    lengths = {read.get(name) for name in ("max_tokens", "max_completion_tokens")} - {None}
    if lengths and request.max_tokens not in lengths:
        raise Finding(f"we act on {request.max_tokens} tokens, the provider reads {lengths}")
    if kind == "chat":
        try:
            json.loads(Anthropic(lambda: 0).request(request.fields, ROUTE))
        except ProviderFault as fault:
            if fault.kind != "invalid":
                raise Finding(f"a request that cannot be said is {fault.kind}") from fault
    try:
        json.loads(Gemini(lambda: 0).request(request.fields, ROUTE))
    except ProviderFault as fault:
        if fault.kind != "invalid":
            raise Finding(f"a request that cannot be said is {fault.kind}") from fault


def decode_message(data: bytes) -> None:
    """A Messages request is refused, or every provider can be given it, or refuses it."""
    try:
        request = decode_messages("/v1/messages", data, 0)
    except InvalidRequest as error:
        if not 400 <= error.status < 500 or not error.message:
            raise Finding(f"refused by {error.status} {error.message!r}") from error
        return
    if decode_messages("/v1/messages", data, 0) != request:
        raise Finding("decoded differently the second time")
    said = json.loads(data)
    if (said["model"], said["max_tokens"], bool(said.get("stream"))) != (
        request.model, request.max_tokens, request.stream
    ):  # fmt: skip
        raise Finding("we act on what the caller did not say")
    providers: list[Provider] = [OpenAI(), Anthropic(lambda: 0), Gemini(lambda: 0)]
    for provider in providers:
        try:
            sent = json.loads(
                render(request, Release(app="a"), Route(provider=provider.kind, model="m"), provider, {}, 5)
            )
        except ProviderFault as fault:
            if fault.kind != "invalid":
                raise Finding(f"a request that cannot be said is {fault.kind}") from fault
            continue
        if provider.kind != "anthropic" and "anthropic" in sent:
            raise Finding("another provider is sent what is Anthropic's own")


def decode_answer(data: bytes) -> None:
    providers: list[Provider] = [OpenAI(), Anthropic(lambda: 0), Gemini(lambda: 0)]
    for provider in providers:
        for read in (provider.answer, partial(provider.embeddings, asked={}, route=ROUTE)):
            try:
                answer = read(data)
            except ProviderFault:
                continue
            if read == provider.answer:
                json.loads(answer.body.decode())
        fault = provider.fault(200 + len(data) % 400, [(b"retry-after", data[:12])], data)
        if len(fault.message) > 1100:
            raise Finding("an error is told at any length")


def decoders(check: Callable[[bytes], None], seeds: list[bytes], rng: Random) -> Callable[[int], bytes]:
    def one(number: int) -> bytes:
        data = mutate(rng, seeds)
        try:
            check(data)
        except Exception as error:
            error.add_note(f"input: {data!r}")
            raise
        return data

    return one


# --- running -----------------------------------------------------------------------------------------------------


class Target(NamedTuple):
    name: str
    one: Callable[[int], bytes]  # the number of the input -> the input, checked
    read: Read | None
    seeds: list[bytes]


def targets(seed: int) -> list[Target]:
    """Needs a running loop (the upstream client's)."""
    streams: list[tuple[str, Read, list[bytes]]] = [
        ("openai stream", read_stream(lambda: OpenAIStream(forward_usage=False)), OPENAI_STREAMS),
        ("openai stream, usage asked for", read_stream(lambda: OpenAIStream(forward_usage=True)), OPENAI_STREAMS),
        ("anthropic stream", read_stream(lambda: AnthropicStream(0, forward_usage=True)), ANTHROPIC_STREAMS),
        ("messages of an openai stream", read_message(lambda: OpenAIStream(forward_usage=True)), OPENAI_STREAMS),
        (
            "messages of an anthropic stream",
            read_message(lambda: AnthropicStream(0, forward_usage=True)),
            ANTHROPIC_STREAMS,
        ),
        ("gemini stream", read_stream(lambda: GeminiStream(0, forward_usage=True)), GEMINI_STREAMS),
        ("requests on a connection", read_arrivals, ARRIVALS),
        ("upstream response", read_response(Pool(Origin("fuzz", 80, tls=False))), RESPONSES),
    ]
    checks: list[tuple[str, Callable[[bytes], None], list[bytes]]] = [
        ("chat request", lambda data: decode("chat", data), REQUESTS),
        ("embeddings request", lambda data: decode("embeddings", data), REQUESTS),
        ("messages request", decode_message, MESSAGES),
        ("plain answer", decode_answer, ANSWERS),
        ("responses call", decode_call, CALLS),
        ("responses events", tell_stream, OPENAI_STREAMS),
    ]
    found = [Target(n, splits(r, s, Random(f"{seed}:{n}")), r, s) for n, r, s in streams]
    return found + [Target(n, decoders(c, s, Random(f"{seed}:{n}")), None, s) for n, c, s in checks]


async def run(inputs: int, seed: int = 0, only: str = "") -> dict[str, int]:
    """So many inputs in all, shared out evenly. Returns the count of each target; raises what was found."""
    chosen = [t for t in targets(seed) if only in t.name]
    counts = {}
    for target in chosen:
        done = every_split(target.read, target.seeds) if target.read is not None else 0
        for number in range(-(-inputs // len(chosen))):
            try:
                target.one(number)
            except Exception as error:
                error.add_note(f"target: {target.name}, seed {seed}, input number {number}")
                raise
            done += 1
        counts[target.name] = done
    return counts


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--inputs", type=int, default=100_000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--target", default="", help="only targets whose name holds this")
    said = asked.parse_args()
    began = time.monotonic()
    counts = asyncio.run(run(said.inputs, said.seed, said.target))
    for name, count in counts.items():
        print(f"{count:>10,}  {name}")
    print(f"{sum(counts.values()):>10,}  inputs in all, seed {said.seed}, {time.monotonic() - began:.0f} s, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
