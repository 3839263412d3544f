"""What the simulated provider says in OpenAI's dialect: from what is said to bytes."""

from functools import lru_cache
from typing import Any

from waterline.providers.simulated_answers import Ask, Bill, Call, Events, Head, Said, cut, encode, uniform


def billed(b: Bill) -> dict[str, Any]:
    return {
        "prompt_tokens": b.prompt,
        "completion_tokens": b.output,
        "total_tokens": b.prompt + b.output,
        "prompt_tokens_details": {"cached_tokens": b.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": b.reasoning, "audio_tokens": 0},
    }


def _logprobs(pieces: tuple[str, ...], top: int) -> dict[str, Any]:
    def one(piece: str) -> dict[str, Any]:
        p = -uniform(*piece.encode())
        return {"token": piece, "logprob": p, "bytes": list(piece.encode())}

    return {
        "content": [
            {**one(piece), "top_logprobs": [{**one(piece), "logprob": one(piece)["logprob"] - i} for i in range(top)]}
            for piece in pieces
        ],
        "refusal": None,
    }


def _openai_call(head: Head, index: int, call: Call) -> dict[str, Any]:
    return {
        "id": f"call_{head.id[-12:]}_{index}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def plain(head: Head, ask: Ask, said: list[Said], usage: Bill | None) -> bytes:
    choices = []
    for index, one in enumerate(said):
        message: dict[str, Any] = {"role": "assistant", "content": one.text, "refusal": None}
        if one.call is not None:
            message = {"role": "assistant", "content": None, "refusal": None}
            message["tool_calls"] = [_openai_call(head, index, one.call)]
        if one.thinking:
            message["reasoning_content"] = one.thinking
        wants = ask.logprobs and one.call is None
        logprobs = _logprobs(one.pieces, ask.top_logprobs or 0) if wants else None
        choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": one.finish})
    out: dict[str, Any] = {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": choices,
        "system_fingerprint": "fp_simulated",
    }
    if usage is not None:
        out["usage"] = billed(usage)
    return encode(out)


@lru_cache(4096)
def json_string(piece: str) -> bytes:
    return encode(piece)


def events(head: Head, ask: Ask, said: list[Said], usage: Bill | None) -> Events:
    """The stream. Choices take turns, as a provider interleaves them."""
    include = ask.stream_options is not None and ask.stream_options.include_usage
    start = (
        b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,'
        b'"system_fingerprint":"fp_simulated","choices":['
    ) % (encode(head.id), head.created, encode(head.model))
    stop = b'],"usage":null}\n\n' if include else b"]}\n\n"

    def event(choice: bytes) -> bytes:
        return start + choice + stop

    begin = b""
    lanes: list[list[bytes]] = []
    end: list[bytes] = []
    for index, one in enumerate(said):
        first: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
        deltas = _openai_deltas(index, ask, one)
        if one.call is not None:
            call = _openai_call(head, index, Call(one.call.name, ""))
            first = {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]}
        if one.thinking:
            deltas = [*_openai_thoughts(index, one), _openai_delta(index, first), *deltas]
            first = {"role": "assistant", "content": None}
        begin += event(_openai_delta(index, first))
        lanes.append([event(choice) for choice in deltas])
        end.append(event(encode({"index": index, "delta": {}, "logprobs": None, "finish_reason": one.finish})))
    if len(lanes) == 1:
        content = lanes[0]
    else:
        longest = max((len(lane) for lane in lanes), default=0)
        content = [lane[i] for i in range(longest) for lane in lanes if i < len(lane)]
    if include and usage is not None:
        end.append(start + b'],"usage":' + encode(billed(usage)) + b"}\n\n")
    return Events(begin, content, end, b"data: [DONE]\n\n")


def _openai_delta(index: int, delta: dict[str, Any]) -> bytes:
    return encode({"index": index, "delta": delta, "logprobs": None, "finish_reason": None})


def _openai_thoughts(index: int, one: Said) -> list[bytes]:
    shape = b'{"index":%d,"delta":{"reasoning_content":%b},"finish_reason":null}'
    return [shape % (index, json_string(piece)) for piece in cut(one.thinking)]


def _openai_deltas(index: int, ask: Ask, one: Said) -> list[bytes]:
    if one.call is not None:
        shape = b'{"index":%d,"delta":{"tool_calls":[{"index":0,"function":{"arguments":%b}}]},"finish_reason":null}'
    elif ask.logprobs:
        top = ask.top_logprobs or 0
        return [
            encode(
                {
                    "index": index,
                    "delta": {"content": piece},
                    "logprobs": _logprobs((piece,), top),
                    "finish_reason": None,
                }
            )
            for piece in one.pieces
        ]
    else:
        shape = b'{"index":%d,"delta":{"content":%b},"logprobs":null,"finish_reason":null}'
    return [shape % (index, json_string(piece)) for piece in one.pieces]


_OPENAI_ERRORS: dict[int, tuple[str, str, str]] = {
    400: ("invalid_request_error", "invalid_request", "The request is invalid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "permission_denied", "This key may not do this."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    503: ("server_error", "overloaded", "That model is currently overloaded with other requests."),
}


def error(status: int, message: str = "", code: str = "") -> bytes:
    kind, usual_code, usual = _OPENAI_ERRORS.get(
        status, ("server_error", "server_error", "The server had an error while processing your request.")
    )
    return encode({"error": {"message": message or usual, "type": kind, "param": None, "code": code or usual_code}})
