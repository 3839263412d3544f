"""POST /v1/messages/count_tokens: what a message would have as `usage.input_tokens`, and nothing is answered.

Source: https://platform.claude.com/docs/en/api/messages-count-tokens
"""

from typing import Any

import msgspec
from msgspec import Raw

from waterline.access.roles import Principal
from waterline.api.asgi import claims
from waterline.api.chat import FindServed
from waterline.api.http import Exchange
from waterline.api.messages import betas
from waterline.api.ops import reply
from waterline.core.errors import InvalidRequest
from waterline.core.messages import decode_messages
from waterline.core.request import Request
from waterline.gateway.betas import check_betas
from waterline.gateway.counting import count_tokens
from waterline.gateway.deps import Deps

OVER = "token-counting-2024-11-01"  # the SDK still names it; this path itself was the beta
_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class CountTokens:
    def __init__(self, find: FindServed, deps: Deps, max_body_bytes: int) -> None:
        self._find = find
        self._deps = deps
        self._max_body_bytes = max_body_bytes

    async def __call__(self, exchange: Exchange, principal: Principal) -> None:
        session = claims(exchange.named, principal).get(b"x-waterline-session", "")
        served = self._find(principal, session, self._deps.next_id())
        request = _request(exchange, await exchange.body(self._max_body_bytes))
        check_betas(request, served.plan(request.model)[0])
        tokens = await count_tokens(request, served, principal, self._deps)
        await reply(exchange.sink, _encode({"input_tokens": tokens}))


def _request(exchange: Exchange, body: bytes) -> Request:
    """As a message's, which wants a length too. Raises InvalidRequest."""
    given: Any = None
    try:
        given = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not a JSON object: {error}.") from None
    given["max_tokens"], given["stream"] = Raw(b"1"), Raw(b"false")
    request = decode_messages(exchange.path, _encode(given), exchange.received_us)
    request.betas = tuple(beta for beta in betas(exchange.headers) if beta != OVER)
    return request
