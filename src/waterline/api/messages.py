"""POST /v1/messages: Anthropic's Messages API, served as a chat completion and told in Anthropic's words."""

import re

from waterline.access.roles import Principal
from waterline.api.chat import Around, Completions, FindServed
from waterline.api.http import Exchange
from waterline.api.messages_answer import MessagesTranslator, error_body, error_event
from waterline.api.sink import Headers, HttpSink
from waterline.api.translate import TranslatingSink
from waterline.core.errors import InvalidRequest, RequestError
from waterline.core.messages import decode_messages
from waterline.core.request import Request
from waterline.gateway.deps import Deps


class MessagesSink(HttpSink):
    """Every answer under /v1/messages, those too that come before the request is understood."""

    async def begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """The SDKs show `request-id` with an answer; the trace's id is one."""
        found = [(b"request-id", value) for name, value in headers if name == b"x-waterline-trace"]
        await super().begin(status, content_type, [*headers, *found])

    def error_body(self, error: RequestError) -> bytes:
        return error_body(error)

    def error_event(self, error: RequestError) -> bytes:
        return error_event(error)


class Messages(Completions):
    def __init__(self, find: FindServed, deps: Deps, max_body_bytes: int) -> None:
        super().__init__("chat", find, deps, max_body_bytes)

    async def _understand(
        self, exchange: Exchange, principal: Principal, body: bytes, said: dict[bytes, str], trace_id: str
    ) -> tuple[Request, Around | None]:
        request = decode_messages(exchange.path, body, exchange.received_us)
        request.betas = betas(exchange.headers)
        self._note(request, said, trace_id)
        return request, lambda caller: TranslatingSink(caller, MessagesTranslator(request.model))


_BETA = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def betas(headers: Headers) -> tuple[str, ...]:
    """What `anthropic-beta` asks for, in the order of the header. Raises InvalidRequest."""
    found: dict[str, None] = {}
    for name, value in headers:
        if name == b"anthropic-beta":
            for beta in filter(None, (part.strip() for part in value.decode("latin-1").split(","))):
                if not _BETA.fullmatch(beta):
                    raise InvalidRequest(f"{beta[:40]!r} is no name of a beta.", param="anthropic-beta")
                found[beta] = None
    return tuple(found)
