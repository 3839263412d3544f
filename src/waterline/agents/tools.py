"""What an agent may ask for during a turn, done: a model through the gateway, a read of a connected system."""

from typing import Any, Protocol

import msgspec

from waterline.access.roles import Principal
from waterline.agents.agent import Asked, AskFailed
from waterline.connectors.base import ConnectorFault, Scope
from waterline.core.branch import Branch
from waterline.core.completion import UNREADABLE, decode_completion
from waterline.core.errors import RequestError
from waterline.core.money import NANO
from waterline.core.request import decode_request
from waterline.gateway.deps import Deps
from waterline.gateway.route import Served
from waterline.gateway.serve import serve

PATH = "/v1/chat/completions"


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
    ) -> None:
        self._deps = deps
        self._served = served
        self._principal = principal
        self._conversation = conversation
        self._subject = subject
        self._branch = branch
        self._systems = systems
        self._deadline_ms = deadline_ms
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
        sink, trace = Collected(), self._deps.next_id()
        try:
            request = decode_request("chat", PATH, msgspec.json.encode(body), self._deps.clock_us())
            request.trace_id = trace
            request.session, request.subject = self._conversation, self._subject
            request.deadline_ms = self._deadline_ms
            self.traces.append(trace)
            await serve(request, self._served, self._principal, self._deps, sink)
        except RequestError as error:
            sink.error = error
        if sink.error is not None:
            failed = sink.error
            raise AskFailed(
                failed.message, code=failed.code, again=failed.retryable, retry_after_s=failed.retry_after_s
            ) from failed
        try:
            said = decode_completion(bytes(sink.body)).choices[0]
        except (*UNREADABLE, IndexError) as error:
            raise AskFailed(f"the model's answer cannot be read: {error}") from error
        if said.finish_reason == "length" and schema is not None:
            raise AskFailed("the model's answer was cut off before its end", code="cut_off")
        return Asked(said.message.content or "", trace, cost_of(sink.headers))

    async def look(self, connector: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if self._systems is None:
            raise ConnectorFault("invalid", f'There is no connector "{connector}": app.toml declares none.')
        scope = scope_of(self._branch, connector)
        return await self._systems.call(connector, operation, arguments, "", scope, reads_only=True)


def scope_of(branch: Branch, connector: str) -> Scope:
    return Scope(branch.id, branch.scope.get(connector, ""), branch.timezone)


def cost_of(headers: dict[bytes, bytes]) -> int | None:
    said = headers.get(b"x-waterline-cost-usd")
    if said is None:
        return None
    whole, _, fraction = said.decode().partition(".")
    return int(whole) * NANO + int(fraction.ljust(9, "0"))
