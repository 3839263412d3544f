"""The gateway's canonical answer as a response object, and a canonical stream as the events of one.

Ids come from the trace's id alone, so a stored response is made again from its trace exactly as it was sent.
Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from waterline.core.completion import ChatUsage, ChunkChoice, Completion, Said, ToolPart, chunks, decode_completion
from waterline.core.errors import RateLimited, RequestError
from waterline.core.response_items import seal_thinking
from waterline.core.responses import Asked

_encode = msgspec.json.Encoder().encode
_COMPLETE = ("stop", "tool_calls", "function_call")


class _Open(Struct):
    """An item of the output that is being said."""

    at: int  # output_index
    item: dict[str, Any]
    pieces: list[str] = []
    part: dict[str, Any] | None = None  # of a message: the content part that is being said
    logprobs: list[Raw] = []
    blocks: list[dict[str, Any]] = []  # of reasoning


class ResponseTranslator:
    """One answer. `answer` for a plain one; `feed`, then perhaps `broken`, for a stream."""

    alive = b""

    def __init__(self, asked: Asked, trace_id: str) -> None:
        self._asked = asked
        self._trace_id = trace_id
        self._out: list[bytes] = []
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._speaking: _Open | None = None  # reasoning or a message: one at a time
        self._calls: dict[int, _Open] = {}  # they may interleave, so all end at the end
        self._model = ""
        self._finish = ""
        self._usage: ChatUsage | None = None
        self.response: dict[str, Any] = {}  # once the answer has ended

    def answer(self, body: bytes) -> bytes:
        self._whole(decode_completion(body))
        self._out.clear()
        return _encode(self.response)

    def answer_as_events(self, body: bytes) -> bytes:
        """A plain answer as the stream that would have said each piece of it at once."""
        read = decode_completion(body)
        self._model = read.model or ""
        self._begin()
        self._whole(read)
        return self._written()

    def feed(self, events: bytes) -> bytes:
        for chunk in chunks(events):
            if chunk is None:
                self._begin()
                self._end(self._finish)
                continue
            self._model = self._model or chunk.model or ""
            self._begin()
            self._usage = chunk.usage or self._usage
            for choice in chunk.choices:
                if choice.index == 0:
                    self._choice(choice)
        return self._written()

    def broken(self, error: RequestError) -> bytes:
        """response.failed. What was said until then is in it, and incomplete."""
        if not self.response:
            self._begin()
            events, sequence = len(self._out), self._sequence
            self._settle("incomplete")
            del self._out[events:]  # no event says "done" of half a text or half of a tool's arguments
            self._sequence = sequence
            # The API knows few codes; the message says what happened.
            code = "rate_limit_exceeded" if isinstance(error, RateLimited) else "server_error"
            self.response = self._object("failed", error={"code": code, "message": error.message})
            self._emit("response.failed", response=self.response)
        return self._written()

    # --- the whole ---------------------------------------------------------------------------------------------------

    def _whole(self, read: Completion) -> None:
        if not read.choices:
            raise msgspec.ValidationError("no choices")
        choice = read.choices[0]
        self._model, self._usage = read.model or "", read.usage
        logprobs = choice.logprobs.content if choice.logprobs is not None else None
        self._say(choice.message, logprobs or [])
        self._end(choice.finish_reason or "")

    def _begin(self) -> None:
        if not self._sequence:
            started = self._object("in_progress")
            self._emit("response.created", response=started)
            self._emit("response.in_progress", response=started)

    def _end(self, finish: str) -> None:
        if self.response:
            return
        reason = (
            None if finish in _COMPLETE else "content_filter" if finish == "content_filter" else "max_output_tokens"
        )
        if not self._output:
            self._message()
        self._settle("completed" if reason is None else "incomplete")
        if reason is None:
            self.response = self._object("completed")
            self._emit("response.completed", response=self.response)
        else:  # never call success what was cut, or what ended for a reason that we do not know
            self.response = self._object("incomplete", incomplete_details={"reason": reason})
            self._emit("response.incomplete", response=self.response)

    def _settle(self, status: str) -> None:
        """Nothing more is said: every item that is open ends."""
        self._close_speaking(status)
        for call in self._calls.values():
            self._close_call(call, status)
        self._calls.clear()

    def _object(self, status: str, **more: Any) -> dict[str, Any]:
        out: dict[str, Any] = {
            "id": f"resp_{self._trace_id}",
            "object": "response",
            "created_at": self._asked.request.received_us // 1_000_000,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self._model or self._asked.request.model,
            "output": list(self._output),
            **self._asked.echo,
            **more,
        }
        if self._usage is not None:
            out["usage"] = _usage(self._usage)
        return out

    # --- its items ---------------------------------------------------------------------------------------------------

    def _choice(self, choice: ChunkChoice) -> None:
        if choice.delta is not None:
            logprobs = choice.logprobs.content if choice.logprobs is not None else None
            self._say(choice.delta, logprobs or [])
        if choice.finish_reason is not None:
            self._finish = choice.finish_reason

    def _say(self, said: Said, logprobs: list[Raw]) -> None:
        if said.reasoning_content or said.thinking_blocks:
            self._think(said.reasoning_content or "", said.thinking_blocks or [])
        if said.content:
            self._speak("output_text", said.content, logprobs)
        if said.refusal:
            self._speak("refusal", said.refusal, [])
        for i, part in enumerate(said.tool_calls or ()):
            self._call(part, part.index or i)

    def _think(self, text: str, blocks: list[dict[str, Any]]) -> None:
        open_ = self._speaking
        if open_ is None or open_.item["type"] != "reasoning":
            open_ = self._speaking = self._open({"type": "reasoning", "summary": []}, "rs")
        open_.blocks += blocks
        if not text:
            return
        where = {"item_id": open_.item["id"], "output_index": open_.at, "summary_index": 0}
        if not open_.pieces:
            self._emit("response.reasoning_summary_part.added", **where, part={"type": "summary_text", "text": ""})
        open_.pieces.append(text)
        self._emit("response.reasoning_summary_text.delta", **where, delta=text)

    def _message(self) -> _Open:
        open_ = self._speaking
        if open_ is None or open_.item["type"] != "message":
            item = {"type": "message", "role": "assistant", "content": [], "status": "in_progress"}
            open_ = self._speaking = self._open(item, "msg")
        return open_

    def _speak(self, kind: str, text: str, logprobs: list[Raw]) -> None:
        open_ = self._message()
        if open_.part is None or open_.part["type"] != kind:
            self._close_part(open_)
            empty = {"text": "", "annotations": [], "logprobs": []} if kind == "output_text" else {"refusal": ""}
            open_.part = {"type": kind, **empty}
            self._emit("response.content_part.added", **self._within(open_), part=dict(open_.part))
        open_.pieces.append(text)
        open_.logprobs += logprobs
        if kind == "output_text":
            self._emit("response.output_text.delta", **self._within(open_), delta=text, logprobs=logprobs)
        else:
            self._emit("response.refusal.delta", **self._within(open_), delta=text)

    def _call(self, part: ToolPart, index: int) -> None:
        call = self._calls.get(index)
        function = part.function
        if call is None:
            self._close_speaking("completed")
            name = (function.name if function is not None else None) or ""
            item = {"type": "function_call", "call_id": part.id or f"call_{index}", "name": name, "arguments": "",
                    "status": "in_progress"}  # fmt: skip
            call = self._calls[index] = self._open(item, "fc")
        if function is not None and function.arguments:
            call.pieces.append(function.arguments)
            where = {"item_id": call.item["id"], "output_index": call.at}
            self._emit("response.function_call_arguments.delta", **where, delta=function.arguments)

    def _open(self, item: dict[str, Any], short: str) -> _Open:
        self._close_speaking("completed")
        at = len(self._output)
        item = {"id": f"{short}_{self._trace_id}_{at}", **item}
        self._output.append(item)
        self._emit("response.output_item.added", output_index=at, item=item)
        return _Open(at, item)

    # --- their ends --------------------------------------------------------------------------------------------------

    def _close_speaking(self, status: str) -> None:
        open_, self._speaking = self._speaking, None
        if open_ is None:
            return
        if open_.item["type"] == "reasoning":
            self._close_reasoning(open_)
        else:
            self._close_part(open_)
            open_.item["status"] = status
        self._emit("response.output_item.done", output_index=open_.at, item=open_.item)

    def _close_reasoning(self, open_: _Open) -> None:
        if open_.blocks:
            open_.item["encrypted_content"] = seal_thinking(open_.blocks)
        if open_.pieces:
            part = {"type": "summary_text", "text": "".join(open_.pieces)}
            open_.item["summary"] = [part]
            where = {"item_id": open_.item["id"], "output_index": open_.at, "summary_index": 0}
            self._emit("response.reasoning_summary_text.done", **where, text=part["text"])
            self._emit("response.reasoning_summary_part.done", **where, part=part)

    def _close_part(self, open_: _Open) -> None:
        part = open_.part
        if part is None:
            return
        text, where = "".join(open_.pieces), self._within(open_)
        if part["type"] == "output_text":
            part |= {"text": text, "logprobs": open_.logprobs}
            self._emit("response.output_text.done", **where, text=text, logprobs=open_.logprobs)
        else:
            part["refusal"] = text
            self._emit("response.refusal.done", **where, refusal=text)
        self._emit("response.content_part.done", **where, part=part)
        open_.item["content"].append(part)
        open_.part, open_.pieces, open_.logprobs = None, [], []

    def _close_call(self, call: _Open, status: str) -> None:
        call.item |= {"arguments": "".join(call.pieces), "status": status}
        self._emit(
            "response.function_call_arguments.done",
            item_id=call.item["id"], output_index=call.at, name=call.item["name"], arguments=call.item["arguments"],
        )  # fmt: skip
        self._emit("response.output_item.done", output_index=call.at, item=call.item)

    def _within(self, open_: _Open) -> dict[str, Any]:
        return {"item_id": open_.item["id"], "output_index": open_.at, "content_index": len(open_.item["content"])}

    def _emit(self, kind: str, **data: Any) -> None:
        event = _encode({"type": kind, "sequence_number": self._sequence, **data})
        self._sequence += 1
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), event))

    def _written(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out


def _usage(said: ChatUsage) -> dict[str, Any]:
    prompt, completion = said.prompt_tokens_details, said.completion_tokens_details
    return {
        "input_tokens": said.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": (prompt.cached_tokens if prompt else None) or 0,
            "cache_write_tokens": (prompt.cache_write_tokens if prompt else None) or 0,
        },
        "output_tokens": said.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": (completion.reasoning_tokens if completion else None) or 0},
        "total_tokens": said.prompt_tokens + said.completion_tokens,
    }
