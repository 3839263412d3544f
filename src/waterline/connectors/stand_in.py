"""A system that is played by somebody else: what its kind can do stays the same, the call goes to one address for all.

For trials, which must not touch real calendars: the server's setting `redirect_systems`, as `redirect_providers` is for
models. What is tried is everything around the call: its checks, time-outs, repeats, breaker and turns.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from waterline.connectors.base import ConnectorFault, Manifest, Scope
from waterline.connectors.http import judge, send, site_of
from waterline.connectors.threads import Threads

LONGEST_S = 60.0  # the operation's own time-out comes first


class Asked(msgspec.Struct, frozen=True):
    """The body of the POST. The answer is the operation's result, a JSON object."""

    connector: str
    operation: str
    arguments: dict[str, Any]
    key: str
    branch: str
    place: str


class StandIn:
    def __init__(self, name: str, manifest: Manifest, url: str) -> None:
        self.manifest = manifest
        self._name = name
        self._site = site_of(url)
        self._threads = Threads(name)

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        asked = Asked(self._name, operation, dict(arguments), key, scope.branch, scope.place)
        headers = {"content-type": "application/json"}
        reply = await send(self._threads, self._site, "POST", "/", headers, msgspec.json.encode(asked), LONGEST_S)
        judge(reply, str(self._site))
        try:
            return msgspec.json.decode(reply.body, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise ConnectorFault("data", f"{self._site} answered what is no JSON object.") from None

    async def close(self) -> None:
        self._threads.close()
