"""A stream that broke after content had left: may another route finish it, and how is the caller told?

    fail       (the default) the caller gets an error event, and no [DONE]
    continue   a fallback that takes a prefill is given the text so far and says the rest: one answer
    restart    a fallback begins again; only for callers who said that they understand the event (`x-waterline-delivery:
               restartable`), because everybody else would read two halves as one answer

Before the first event of the second route the caller gets one with the field `waterline`, an empty delta for every SDK.
Never continued: several choices, tool calls, reasoning, refusals, audio, log-probabilities, structured output.
"""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from waterline.core.money import Usage
from waterline.core.request import Request
from waterline.core.trace import Resumed
from waterline.gateway.call import Call
from waterline.gateway.faults import Broken
from waterline.gateway.route import Target

_encode = msgspec.json.Encoder().encode


class _Choice(Struct):
    index: int = 0
    delta: dict[str, Any] = {}
    logprobs: Any = None


class _Chunk(Struct):
    id: str = ""
    created: int = 0
    model: str = ""
    choices: list[_Choice] = []


class _Message(Struct):
    role: str


class _Format(Struct):
    type: str = "text"


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_event = msgspec.json.Decoder(dict[str, Any]).decode
_decode_messages = msgspec.json.Decoder(list[_Message]).decode


class Delivered(Struct):
    """What the caller has of a broken answer. `text_only`: nothing but text of one choice."""

    id: str = ""
    created: int = 0
    model: str = ""
    text: str = ""
    text_only: bool = True
    chunks: int = 0


def delivered(events: bytes) -> Delivered:
    """Read back what was forwarded, in the canonical form."""
    seen = Delivered()
    texts: list[str] = []
    for event in events.split(b"\n\n"):
        payload = event.removeprefix(b"data: ")
        if payload == event or payload == b"[DONE]":
            continue
        chunk = _decode_chunk(payload)
        if not seen.id:
            seen.id, seen.created, seen.model = chunk.id, chunk.created, chunk.model
        for choice in chunk.choices:
            if choice.index or choice.logprobs:
                seen.text_only = False
            for name, value in choice.delta.items():
                if name == "content" and isinstance(value, str):
                    texts.append(value)
                    seen.chunks += bool(value)
                elif name != "role" and value:
                    seen.text_only = False
    seen.text = "".join(texts)
    return seen


class Resume:
    """How the rest of a broken answer is asked for, and said."""

    def __init__(self, mode: Literal["continued", "restarted"], seen: Delivered, before: Usage, reason: str) -> None:
        self.mode = mode
        self.seen = seen
        self.before = before  # what the attempts until now have used
        self.reason = reason
        # Providers refuse a prefill that ends in white space; what the caller has of it is not said again.
        self.prefill = seen.text.rstrip() if mode == "continued" else ""
        self._spaces = len(seen.text) > len(self.prefill)

    @property
    def prefill_characters(self) -> int | None:
        return len(self.prefill) or None

    def wanted(self, max_tokens: int | None) -> int | None:
        """What is left of the length that the caller wants."""
        if max_tokens is None or self.mode == "restarted":
            return max_tokens
        return max(1, max_tokens - self.seen.chunks)

    def label(self, target: Target) -> bytes:
        """The event that tells the caller: an empty delta for every SDK, with a field of ours."""
        told: dict[str, Any] = {
            "event": self.mode,
            "route": target.name,
            "model": target.route.model,
            "reason": self.reason,
        }
        told |= {"after_characters": len(self.seen.text)} if self.mode == "continued" else {"void_before": True}
        return _event(
            {
                "id": self.seen.id,
                "object": "chat.completion.chunk",
                "created": self.seen.created,
                "model": self.seen.model,
                "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
                "waterline": told,
            }
        )

    def said(self, events: bytes) -> bytes:
        """The second route's events, as the rest of the first one's answer."""
        if self.mode == "restarted":
            return events
        return b"".join(_event(e) for event in events.split(b"\n\n") if event and (e := self._joined(event)))

    def _joined(self, event: bytes) -> dict[str, Any] | None:
        chunk = _decode_event(event.removeprefix(b"data: "))
        chunk |= {"id": self.seen.id, "created": self.seen.created, "model": self.seen.model}
        if isinstance(chunk.get("usage"), dict):
            self._add_usage(chunk["usage"])
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            delta.pop("role", None)
            if self._spaces and delta.get("content"):
                delta["content"] = delta["content"].lstrip()
                self._spaces = not delta["content"]
            if not any(delta.values()) and choice.get("finish_reason") is None:
                return None
        return chunk

    def _add_usage(self, usage: dict[str, Any]) -> None:
        usage["prompt_tokens"] = usage.get("prompt_tokens", 0) + self.before.total_input
        usage["completion_tokens"] = usage.get("completion_tokens", 0) + self.before.total_output
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"


def resume(call: Call, broken: Broken, position: int) -> Resume | None:
    """By the policy of the route that was asked; None: the caller hears of the failure."""
    trail, rest = call.trail, call.plan[position + 1 :]
    request, policy = trail.request, call.plan[0].route.on_broken_stream
    if policy == "fail" or not rest or call.left_s <= 0 or request.choices != 1:
        return None
    if call.plan[position].route.params.get("n", 1) != 1:
        return None
    seen = delivered(b"".join(trail.answer[call.answer_from :]))
    reason = broken.error.code
    if policy == "continue" and seen.text.strip() and _continuable(request, seen, call.plan[position], rest):
        return Resume("continued", seen, trail.usage, reason)
    if request.delivery == "restartable":
        return Resume("restarted", seen, trail.usage, reason)
    return None


def _continuable(request: Request, seen: Delivered, target: Target, rest: list[Target]) -> bool:
    if not seen.text_only or not any(t.route.prefill for t in rest):
        return False
    form = request.fields.get("response_format", Raw(_encode(target.route.params.get("response_format"))))
    if bytes(form) != b"null" and msgspec.json.decode(form, type=_Format).type != "text":
        return False
    return _decode_messages(request.fields["messages"])[-1].role != "assistant"  # the caller's own prefill


def takes(call: Call, target: Target) -> bool:
    """Can this target give what is asked for now?"""
    return call.resume is None or call.resume.mode == "restarted" or target.route.prefill


async def announce(call: Call, target: Target) -> None:
    """Tell the caller, just before the second route's first content."""
    resumed, trail = call.resume, call.trail
    assert resumed is not None
    label = resumed.label(target)
    trail.answer.append(label)
    trail.events.append(Resumed(trail.elapsed_us, resumed.mode, target.name, len(resumed.seen.text)))
    trail.note = f'{resumed.mode} by "{target.name}"'
    trail.deps.metrics.count(f"stream_{resumed.mode}")
    if resumed.mode == "restarted":
        call.answer_from = len(trail.answer)
    await call.sink.write(label)
