"""What the fuzzer begins with: small valid examples of everything, and the pieces that parsers trip over."""

import json
from typing import Any


def _event(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return _event({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more})


_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
_CALL = {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"a":'}}]}
_DONE = _event(b"[DONE]")
_PLAIN = (
    _chunk({"role": "assistant", "content": ""})
    + _chunk({"content": "Olá\r\n \u2028"}, usage=None)
    + _chunk({"content": "!"}, "stop")
    + _event({"choices": [], "usage": _USAGE})
    + _DONE
)
OPENAI_STREAMS = [
    _PLAIN,
    _PLAIN.replace(b"\n", b"\r\n"),
    b": keep-alive\n\n" + _PLAIN.replace(b"data: ", b"data:") + _chunk({"content": "after"}),
    b"event: message\nid: 1\nretry: 5\n" + _PLAIN,
    _chunk(_CALL) + _chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}, "tool_calls") + _DONE,
    _chunk({"content": "a"}) + _chunk({"content": "b"}, index=1) + _chunk({}, "stop") + _chunk({}, "length", 1) + _DONE,
    _chunk({"reasoning_content": "hm"}) + _chunk({"refusal": "no"}, "content_filter"),
    _chunk({"content": "half"}) + _event({"error": {"message": "overloaded", "type": "server_error", "code": 529}}),
    _event({"error": "rate limited"}),
    b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"two lines"},"finish_reason":"stop"}]}\n\n' + _DONE,
]


def _named(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


_START = {
    "type": "message_start",
    "message": {"id": "m", "model": "c", "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}},
}
_TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
_SAY = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ol\u00e1\r\n"}}
_CLOSE = {"type": "content_block_stop", "index": 0}
_FINISH = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
_STOP = {"type": "message_stop"}
_USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
_TOOL = {"type": "content_block_start", "index": 1, "content_block": _USE}
_JSON = {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"q":1}'}}
_THOUGHT = {"type": "thinking", "thinking": "", "signature": ""}
_THINK = {"type": "content_block_start", "index": 0, "content_block": _THOUGHT}
_HM = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}
_SIGN = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}
_SPOKEN = _named(_START, {"type": "ping"}, _TEXT, _SAY, _CLOSE, _FINISH, _STOP)
ANTHROPIC_STREAMS = [
    _SPOKEN,
    _SPOKEN.replace(b"\n", b"\r\n"),
    b": hello\n\n" + _SPOKEN.replace(b"data: ", b"data:"),
    _named(_START, _TEXT, _SAY, _CLOSE, _TOOL, _JSON, {**_CLOSE, "index": 1}, _FINISH, _STOP),
    _named(_START, _THINK, _HM, _SIGN, _CLOSE, _FINISH, _STOP),
    _named(_START, _TEXT, _SAY, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
    _named(_START, _TEXT, _SAY, {"type": "news"}, _CLOSE),
]


def _gemini(*parts: dict[str, Any], finish: str = "", **more: Any) -> bytes:
    candidate = {
        "content": {"parts": parts, "role": "model"},
        "index": 0,
        **({"finishReason": finish} if finish else {}),
    }
    return _event({"candidates": [candidate], "modelVersion": "g", "responseId": "r", **more})


_COUNTED = {"usageMetadata": {"promptTokenCount": 9, "cachedContentTokenCount": 4, "candidatesTokenCount": 5}}
_FOUND = {"functionCall": {"name": "f", "args": {"a": [1]}}, "thoughtSignature": "c2ln"}
_HEARD = _gemini({"text": "Ol\u00e1\r\n"}) + _gemini({"text": "!"}, finish="STOP", **_COUNTED)
_PROBABLE = {
    "content": {"parts": [{"text": "Ol\u00e1"}]},
    "logprobsResult": {
        "chosenCandidates": [{"token": "Ol\u00e1", "tokenId": 3, "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "Oi", "logProbability": -2.5e-7}]}],
    },
}
GEMINI_STREAMS = [
    _HEARD,
    _event({"candidates": [_PROBABLE]}) + _gemini({"text": "!"}, finish="STOP", **_COUNTED),
    _HEARD.replace(b"\n", b"\r\n"),
    _gemini({"text": "hm", "thought": True}) + _gemini(_FOUND) + _gemini(finish="STOP", **_COUNTED),
    _gemini({"text": "hi"}) + _event({"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}}),
    _gemini({"text": "hi"}) + _gemini(finish="MALFORMED_FUNCTION_CALL"),
    _event({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}),
]

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSES = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
    _CHUNKED + b"3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nx-trailer: 1\r\n\r\n",
    _CHUNKED + b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nold",
    b"HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n",
    b"HTTP/1.1 429 Too Many\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
    b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nzz",
    b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
]

_POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"
_GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
ARRIVALS = [
    _POST + b"content-length: 5\r\n\r\nhello",
    _POST + b"content-length: 5\r\n\r\nhello" + _GET,
    _POST + b"transfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n" + _GET,
    _POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + _GET,
    _POST + b"content-length: 3\r\ncontent-length: 5\r\n\r\nabcde" + _GET,
    _POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\nok",
    _POST + b"connection: close\r\ncontent-length: 2\r\n\r\nok" + _GET,
    _GET * 4,
    b"GET / HTTP/1.0\r\n\r\n",
]

_CHAT = {
    "model": "main",
    "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "ol\u00e1 \U0001f600"}],
}
_PARTS = [
    {"type": "text", "text": "see"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
    {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf"}},
]
_TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
_LOOP = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    {"role": "tool", "tool_call_id": "t", "content": "42"},
]
REQUESTS = [
    json.dumps(said, ensure_ascii=plain).encode()
    for plain in (True, False)
    for said in (
        {**_CHAT, "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5},
        {**_CHAT, "n": 2, "max_completion_tokens": 7, "temperature": 0.5, "stop": ["a"], "seed": 1},
        {**_CHAT, "messages": [{"role": "user", "content": _PARTS}], "user": "u", "metadata": {"user_id": "u"}},
        {**_CHAT, "messages": _LOOP, "tools": _TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
        {**_CHAT, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}},
        {**_CHAT, "waterline": {"variables": {"a": "b"}}, "x_unknown": {"a": [1, 2.50, None, True]}},
        {"model": "e", "input": ["a", "b"], "encoding_format": "float"},
        {"model": "e", "input": "a", "dimensions": 3},
    )
]

_CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
ANSWERS = [
    json.dumps(said).encode()
    for said in (
        {"id": "c", "object": "chat.completion", "model": "m", "choices": [_CHOICE], "usage": _USAGE},
        {"choices": [{**_CHOICE, "message": {"role": "assistant", "content": None, "refusal": "no"}}]},
        {"object": "list", "data": [{"embedding": [0.1, -2e-3], "index": 0}], "usage": {"prompt_tokens": 3}},
        {"id": "m", "model": "c", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn",
         "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 1}},
        {"id": "m", "model": "c", "stop_reason": "tool_use",
         "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1]}}]},
        {"error": {"message": "bad", "type": "invalid_request_error", "code": "context_length_exceeded"}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
        {"error": "no"},
        {"candidates": [{"content": {"parts": [{"text": "hi"}, {"functionCall": {"name": "f", "args": {}}}]},
                         "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3}, "responseId": "r"},
        {"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "g"},
        {"embeddings": [{"values": [0.1, -2e-3]}], "usageMetadata": {"promptTokenCount": 3}},
        {"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED",
                   "details": [{"@type": "a/google.rpc.RetryInfo", "retryDelay": "3s"}]}},
    )
]  # fmt: skip

TOKENS = [
    b"\r\n", b"\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r\n", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\\u0000",
    b"\\ud800", b"\\", b'"', b"{", b"}", b"[", b"]", b":", b",", b" ", b"null", b"true", b"-1", b"1e999", b"1e-999",
    b"9" * 40, b"0x1", b"-0", b"NaN", b"data:", b"data: [DONE]\n\n", b"event: error\n", b"[DONE]", b": ping\n\n",
    b'"usage":null', b',"usage":{"prompt_tokens":-5}', b'"finish_reason":"stop"', b'"content":"x"', b'"index":1',
    b"[" * 300, b'{"a":' * 300, b"content-length: 3\r\n", b"content-length: +3\r\n", b"Content-Length : 3\r\n",
    b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip\r\n", b"0\r\n\r\n", b"ffffffffffffffff1\r\n",
    b"-1\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/2.0 200 OK\r\n", b"connection: close\r\n", b" folded\r\n", b"x: y\n",
    b'"model":"other"', b'"n":16', b'"max_tokens":1', b'"stream":true', b'"messages":[]', b'"image\\u005furl"',
]  # fmt: skip

_BLOCKS = [
    {"type": "text", "text": "ol\u00e1", "cache_control": {"type": "ephemeral"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
    {"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "n"}, "title": "t"},
    {"type": "document", "source": {"type": "file", "file_id": "f"}},
]
_SPOKEN = [
    {"type": "thinking", "thinking": "hm", "signature": "cw=="},
    {"type": "redacted_thinking", "data": "eA=="},
    {"type": "text", "text": "so"},
    {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1, 2.5, None]}},
]
_RESULTS = [
    {"type": "tool_result", "tool_use_id": "t", "content": "21", "is_error": True},
    {"type": "tool_result", "tool_use_id": "u", "content": [{"type": "text", "text": "x"}]},
    {"type": "text", "text": "and?"},
]
_MESSAGE = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = [
    json.dumps(said).encode()
    for said in (
        {**_MESSAGE, "stream": True, "stop_sequences": ["a"], "metadata": {"user_id": "u"}, "top_k": 3},
        {**_MESSAGE, "system": [{"type": "text", "text": "s"}], "messages": [{"role": "user", "content": _BLOCKS}]},
        {**_MESSAGE, "thinking": {"type": "enabled", "budget_tokens": 9}, "messages": [
            {"role": "user", "content": "hi"}, {"role": "assistant", "content": _SPOKEN},
            {"role": "user", "content": _RESULTS}, {"role": "system", "content": "rhyme"}]},
        {**_MESSAGE, "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "bash_1", "name": "b"}],
         "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        {**_MESSAGE, "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}}},
    )
]  # fmt: skip
