"""What an agent may ask for during a turn, done: a model through the gateway, a read of a connected system."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from waterline.access.roles import Principal
from waterline.agents.agent import Asked, AskFailed
from waterline.connectors.base import ConnectorFault, Scope
from waterline.core.branch import Branch
from waterline.core.completion import UNREADABLE, decode_completion
from waterline.core.conversation import Inbound
from waterline.core.errors import RequestError
from waterline.core.money import NANO
from waterline.core.ogg import opus_seconds
from waterline.core.request import Request, decode_request
from waterline.gateway.deps import Deps
from waterline.gateway.recording import transcription_request
from waterline.gateway.route import Served
from waterline.gateway.serve import serve

PATH = "/v1/chat/completions"
VOICE_BYTES_PER_S = 16_000  # 128 kbit/s: several times what a telephone records with
Fetch = Callable[[Inbound, int], Awaitable[bytes]]  # a message's file, of so many bytes at most; raises AskFailed


class Systems(Protocol):
    """The connected systems of an app, with their time-outs, retries and breakers (connectors/run.py)."""

    async def call(
        self,
        connector: str,
        operation: str,
        arguments: dict[str, Any],
        key: str,
        scope: Scope,
        *,
        reads_only: bool = False,
    ) -> dict[str, Any]:
        """Raises ConnectorFault, also when it is to read only and the operation changes something."""
        ...


class Collected:
    """A caller inside the process: it keeps what it is told."""

    def __init__(self) -> None:
        self.started = False
        self.gone = False
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.error: RequestError | None = None

    async def begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        self.headers = dict(headers)

    async def write(self, data: bytes) -> None:
        self.body += data

    async def end(self, data: bytes) -> None:
        self.body += data

    async def fail(self, error: RequestError, headers: list[tuple[bytes, bytes]]) -> None:
        self.error = error
        self.headers = dict(headers)


class TurnTools:
    """The Tools of one turn. `traces` are the model calls that it made, in their order."""

    def __init__(
        self,
        *,
        deps: Deps,
        served: Served,
        principal: Principal,
        conversation: str,
        subject: str,
        branch: Branch,
        systems: Systems | None,
        deadline_ms: int,
        fetch: Fetch | None = None,
    ) -> None:
        self._deps = deps
        self._served = served
        self._principal = principal
        self._conversation = conversation
        self._subject = subject
        self._branch = branch
        self._systems = systems
        self._deadline_ms = deadline_ms
        self._fetch = fetch
        self.traces: list[str] = []

    async def ask(
        self, route: str, messages: list[dict[str, Any]], schema: dict[str, Any] | None = None, max_tokens: int = 0
    ) -> Asked:
        body: dict[str, Any] = {"model": route, "messages": messages}
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            }
        if max_tokens:
            body["max_tokens"] = max_tokens
        try:
            request = decode_request("chat", PATH, msgspec.json.encode(body), self._deps.clock_us())
        except RequestError as error:
            raise _failed(error) from error
        sink = await self._serve(request, self._deadline_ms)
        trace = request.trace_id
        try:
            said = decode_completion(bytes(sink.body)).choices[0]
        except (*UNREADABLE, IndexError) as error:
            raise AskFailed(f"the model's answer cannot be read: {error}") from error
        if said.finish_reason == "length" and schema is not None:
            raise AskFailed("the model's answer was cut off before its end", code="cut_off")
        return Asked(said.message.content or "", trace, cost_of(sink.headers))

    async def hear(self, route: str, message: Inbound, longest_s: int, language: str = "") -> Asked:
        if self._fetch is None or message.media is None:
            raise AskFailed("this channel keeps no recordings", code="no_recording", again=False)
        data = await self._fetch(message, longest_s * VOICE_BYTES_PER_S)
        seconds = opus_seconds(data)
        if seconds is None:
            raise AskFailed("it is no voice note (Ogg with Opus)", code="no_recording", again=False)
        if seconds > longest_s:
            raise AskFailed(f"it has {seconds:.0f} s; at most {longest_s} are heard", code="too_long", again=False)
        deps = self._deps
        request = transcription_request(route, data, "audio/ogg", seconds, language, deps.digest_key, deps.clock_us())
        sink = await self._serve(request, self._deadline_ms // 2)  # there is more to do in the turn
        try:
            text = msgspec.json.decode(sink.body, type=_Heard).text
        except msgspec.DecodeError as error:
            raise AskFailed(f"the transcription cannot be read: {error}") from error
        return Asked(text, request.trace_id, cost_of(sink.headers))

    async def _serve(self, request: Request, deadline_ms: int) -> Collected:
        """Raises AskFailed."""
        request.trace_id = self._deps.next_id()
        request.session, request.subject = self._conversation, self._subject
        request.deadline_ms = deadline_ms
        self.traces.append(request.trace_id)
        sink = Collected()
        try:
            await serve(request, self._served, self._principal, self._deps, sink)
        except RequestError as error:
            sink.error = error
        if sink.error is not None:
            raise _failed(sink.error) from sink.error
        return sink

    async def look(self, connector: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if self._systems is None:
            raise ConnectorFault("invalid", f'There is no connector "{connector}": app.toml declares none.')
        scope = scope_of(self._branch, connector)
        return await self._systems.call(connector, operation, arguments, "", scope, reads_only=True)


class _Heard(msgspec.Struct):
    text: str


def _failed(error: RequestError) -> AskFailed:
    return AskFailed(error.message, code=error.code, again=error.retryable, retry_after_s=error.retry_after_s)


def scope_of(branch: Branch, connector: str) -> Scope:
    return Scope(branch.id, branch.scope.get(connector, ""), branch.timezone)


def cost_of(headers: dict[bytes, bytes]) -> int | None:
    said = headers.get(b"x-waterline-cost-usd")
    if said is None:
        return None
    whole, _, fraction = said.decode().partition(".")
    return int(whole) * NANO + int(fraction.ljust(9, "0"))
