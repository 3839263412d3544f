"""What the simulated provider says, at its pace, in the dialect it was asked in; and what a fault makes of it."""

import base64
import struct
import time
from typing import Any

import msgspec
from msgspec import structs

from waterline.providers import simulated_answers as answers
from waterline.providers import simulated_gemini as gemini
from waterline.providers import simulated_messages, simulated_openai
from waterline.providers.simulated_answers import Ask, Bill, Events, Head, Message, Said
from waterline.providers.simulated_play import Call, Dialect
from waterline.providers.simulated_script import Fault
from waterline.providers.simulated_voice import Spoken


async def too_long(call: Call, prompt: int, most: int) -> None:
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


def say_all(call: Call, ask: Ask, messages: list[Message]) -> list[Said]:
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


async def fail(call: Call, fault: Fault, ask: Ask) -> bool:
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
            await too_long(call, answers.prompt_tokens(ask), call.play.target.context_tokens or 1)
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


async def embed(call: Call, ask: Ask, bill: Bill, action: str) -> None:
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


async def write_down(call: Call, ask: Ask) -> None:
    spoken = msgspec.json.decode(bytes(ask.input), type=Spoken)
    body: dict[str, Any] = {"text": spoken.words}
    if call.fault_kind != "missing_usage":
        body["usage"] = {"type": "duration", "seconds": spoken.seconds}
    await call.connection.pause(_first_token_s(call))
    await _deliver(call, answers.encode(body))


def _first_token_s(call: Call) -> float:
    seconds = answers.draw(call.play.target.first_token_ms, call.chance(2)) / 1000
    if call.fault is not None and call.fault.kind == "slow_first_token" and not call.streamed:
        seconds += call.fault.ms / 1000
    return seconds


async def answer(call: Call, ask: Ask, said: list[Said], bill: Bill) -> None:
    usage = None if call.fault_kind == "missing_usage" else bill
    identity = f"{call.play.seed & 0xFFFFFF:06x}{call.number:08x}"
    head = Head(_PREFIX[call.dialect] + identity, int(time.time()), ask.model)
    if call.streamed:
        match call.dialect:
            case "anthropic":
                events = simulated_messages.events(head, said[0], usage)
            case "gemini":
                events = gemini.events(head, ask, said, usage, thinks=call.thinks)
            case "openai":
                events = simulated_openai.events(head, ask, said, usage)
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
            body = gemini.plain(head, ask, said, usage, thinks=call.thinks)
        case "openai":
            body = simulated_openai.plain(head, ask, said, usage)
    await _deliver(call, body)
    call.tally.output_tokens += bill.output


_PREFIX: dict[Dialect, str] = {"openai": "chatcmpl-", "anthropic": "msg_", "gemini": "gm"}


async def _deliver(call: Call, body: bytes) -> None:
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


async def _stream(call: Call, events: Events) -> None:
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


async def _end(call: Call, events: Events, out: bytes, sent: int) -> None:
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
            call.tally.output_tokens += call.play.target.reasoning_tokens + events.beyond
            await call.write(out + tail + events.done, more=False)


def _error_event(dialect: Dialect) -> bytes:
    match dialect:
        case "anthropic":
            return b"event: error\ndata: " + simulated_messages.error(529)
        case "gemini":
            return b"data: " + gemini.error(503)
        case "openai":
            return b"data: " + simulated_openai.error(500)
