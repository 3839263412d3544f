"""POST /v1/messages: Anthropic's Messages API, served as a chat completion and told in Anthropic's words."""

from waterline.access.roles import Principal
from waterline.api.asgi import claims
from waterline.api.chat import Completions, FindServed
from waterline.api.http import Exchange
from waterline.api.messages_answer import MessagesTranslator, error_body, error_event
from waterline.api.sink import HttpSink
from waterline.api.translate import TranslatingSink
from waterline.core.errors import InvalidRequest, RequestError
from waterline.core.messages import decode_messages
from waterline.core.request import Request
from waterline.gateway.deps import Deps
from waterline.gateway.serve import refuse


class MessagesSink(HttpSink):
    """Every answer under /v1/messages, those too that come before the request is understood."""

    __slots__ = ()

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

    async def __call__(self, exchange: Exchange, principal: Principal) -> None:
        said = claims(exchange.headers, principal)
        session = said.get(b"x-waterline-session", "")
        trace_id = self._deps.next_id()
        served = self._find(principal, session, trace_id)
        body = b""
        try:
            body = await exchange.body(self._max_body_bytes)
            request = decode_messages(exchange.path, body, exchange.received_us)
            request.trace_id = trace_id
            if said:
                self._note(request, said)
        except RequestError as error:
            nothing = Request("chat", exchange.path, body[:4096], {}, "", exchange.received_us, session=session)
            await refuse(nothing, served, principal, self._deps, exchange.sink, error)
            return
        await self._serve(
            request,
            served,
            principal,
            exchange.sink,
            lambda caller: TranslatingSink(caller, MessagesTranslator(request.model)),
        )


async def count_tokens(exchange: Exchange, principal: Principal) -> None:
    """Only the provider's own tokenizer could answer; an estimate that looks like a count would be a lie."""
    raise InvalidRequest(
        "Waterline does not count tokens before a request: only the model's own tokenizer could. "
        "The `usage` of an answer is the count.",
        status=404,
    )
