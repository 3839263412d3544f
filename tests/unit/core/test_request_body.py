"""What is said of a body that is no JSON."""

import pytest

from waterline.core.errors import InvalidRequest
from waterline.core.messages import decode_messages
from waterline.core.request import decode_request
from waterline.core.responses import decode_responses

HALVES = (rb"\ud83d", rb"\ud83d and more", rb"\udc00", rb"\ude00\ud83d", rb"\\\ud83d", rb"\ud83d\ude00\ude00")
WHOLE = (rb"\ud83d\ude00", rb"\\ud83d", rb"plain")


@pytest.mark.parametrize("text", HALVES)
def test_half_of_a_surrogate_pair_is_named_and_not_called_truncated(text: bytes) -> None:
    chat = b'{"model": "m", "messages": [{"role": "user", "content": "%s"}]}' % text
    for decode in (lambda b: decode_request("chat", "/", b, 0), lambda b: decode_messages("/", b, 0)):
        with pytest.raises(InvalidRequest, match=r"\\u\w{4} \(byte \d+\) is one half of a surrogate pair"):
            decode(chat)
    with pytest.raises(InvalidRequest, match="one half of a surrogate pair"):
        decode_responses("/", b'{"model": "m", "input": "%s"}' % text, 0)


@pytest.mark.parametrize("text", WHOLE)
def test_what_is_truncated_is_called_so(text: bytes) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "%s' % text
    with pytest.raises(InvalidRequest, match="truncated"):
        decode_request("chat", "/", body, 0)
