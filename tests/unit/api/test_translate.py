"""The sink of every API beside chat completions."""

import asyncio
import json
from typing import Any

import pytest

from waterline.api.response_events import ResponseTranslator
from waterline.api.responses import ResponsesSink
from waterline.api.sink import HttpSink
from waterline.api.translate import TranslatingSink
from waterline.core.errors import Overloaded, ProviderUnavailable
from waterline.core.responses import decode_responses
from waterline.gateway.faults import AfterContent

SSE = b"text/event-stream; charset=utf-8"
PLAIN = b'{"model":"m","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
HI = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'


class Connection:
    """As much of a connection as a sink needs."""

    paused_at = 0.0

    def __init__(self) -> None:
        self.transport = self
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data


class Wire:
    """What an HttpSink sent."""

    def __init__(self) -> None:
        asked = decode_responses("/v1/responses", b'{"model":"main","input":"x"}', 0)
        self.connection: Any = Connection()
        self.sink = TranslatingSink(HttpSink(self.connection, True, False), ResponseTranslator(asked, "0" * 24))

    @property
    def status(self) -> int:
        return int(self.connection.sent.split(b" ")[1])

    @property
    def headers(self) -> dict[bytes, bytes]:
        lines = self.connection.sent.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        return dict(line.split(b": ", 1) for line in lines)

    @property
    def body(self) -> bytes:
        return bytes(self.connection.sent.partition(b"\r\n\r\n")[2])


def test_a_plain_answer_has_its_own_length_and_keeps_the_other_headers():
    async def run() -> Wire:
        wire = Wire()
        await wire.sink.begin(200, b"application/json", [(b"x-waterline-trace", b"t")])
        assert not wire.sink.started  # an error may still be a status
        await wire.sink.end(PLAIN)
        return wire

    wire = asyncio.run(run())
    headers = wire.headers
    assert headers[b"content-length"] == b"%d" % len(wire.body)
    assert headers[b"x-waterline-trace"] == b"t"
    assert json.loads(wire.body)["output"][0]["content"][0]["text"] == "hi"


def test_a_plain_answer_that_cannot_be_said_is_an_error_before_anything_left():
    async def run() -> Wire:
        wire = Wire()
        await wire.sink.begin(200, b"application/json", [])
        with pytest.raises(ProviderUnavailable) as refused:
            await wire.sink.end(b'{"choices":[{"message":{"content":"a","tool_calls":"none"}}]}')
        await wire.sink.fail(refused.value, [])
        return wire

    assert asyncio.run(run()).status == 502


def test_events_that_cannot_be_said_end_the_stream_and_no_other_route_is_asked():
    async def run() -> Wire:
        wire = Wire()
        await wire.sink.begin(200, SSE, [])
        await wire.sink.write(HI)
        with pytest.raises(AfterContent) as broken:
            await wire.sink.write(b'data: {"choices":[{"delta":{"tool_calls":7}}]}\n\n')
        await wire.sink.fail(broken.value.error, [])
        return wire

    body = asyncio.run(run()).body
    assert b"event: response.failed" in body
    assert b"response.completed" not in body


def test_comments_that_keep_a_connection_alive_are_passed_on():
    async def run() -> Wire:
        wire = Wire()
        await wire.sink.begin(200, SSE, [])
        await wire.sink.write(b": keep-alive\n\n")
        await wire.sink.write(b": beside content\n\n" + HI)
        return wire

    body = asyncio.run(run()).body
    assert body.startswith(b": keep-alive\n\nevent: response.created\n")
    assert b"beside" not in body


def test_a_stream_that_the_server_must_end_says_failed_too():
    async def run() -> bytes:
        connection: Any = Connection()
        inner = ResponsesSink(connection, True, False)
        inner.translator = ResponseTranslator(
            decode_responses("/v1/responses", b'{"model":"m","input":"x"}', 0), "0" * 24
        )
        sink = TranslatingSink(inner, inner.translator)
        await sink.begin(200, SSE, [])
        await sink.write(HI)
        await inner.fail(Overloaded("The server is stopping.", retry_after_s=5), [])
        sent: bytes = connection.sent
        return sent

    body = asyncio.run(run())
    assert b"event: response.failed" in body
    assert b"The server is stopping." in body
    assert b"response.completed" not in body
