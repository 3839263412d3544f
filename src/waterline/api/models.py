"""GET /v1/models and /v1/models/{name}: the routes of the app's live release, and the names they answer to. Who sends
`anthropic-version`, as Anthropic's SDKs do, gets them in Anthropic's words."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from waterline.access.roles import Principal
from waterline.api.http import Exchange
from waterline.api.ops import reply
from waterline.core.errors import InvalidRequest
from waterline.gateway.route import Served, Target

TREE = "/v1/models"
UNKNOWN_DATE = "1970-01-01T00:00:00Z"  # as Anthropic writes it where the day of a release is not known
_encode = msgspec.json.Encoder().encode


class Models:
    def __init__(self, find: Callable[[Principal, str, str], Served]) -> None:
        self._find = find

    async def __call__(self, exchange: Exchange, principal: Principal, *, method: str, query: bytes) -> None:
        rest = exchange.path.removeprefix(TREE)
        if rest and (rest[0] != "/" or rest == "/"):
            raise InvalidRequest(f"There is no {exchange.path[:200]} here.", status=404)
        if method != "GET":
            raise InvalidRequest(f"{exchange.path[:200]} takes GET, not {method}.", status=405)
        served = self._find(principal, "", "models")
        told = _as_anthropic if b"anthropic-version" in exchange.named else _as_openai
        if rest:
            name = unquote(rest[1:])
            out = told(name, served.plan(name)[0], served)
        else:
            rows = [told(name, plan[0], served) for name, plan in sorted(served.plans.items())]
            out = {"object": "list", "data": rows}
            if told is _as_anthropic:
                first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
                out = {"data": rows, "has_more": False, "first_id": first, "last_id": last}
        await reply(exchange.sink, _encode(out))


def _as_openai(name: str, target: Target, served: Served) -> dict[str, Any]:
    owner = {"object": "model", "created": 0, "owned_by": target.route.provider}
    return {"id": name, **owner, "waterline": _ours(target, served)}


def _as_anthropic(name: str, target: Target, served: Served) -> dict[str, Any]:
    shown = {"type": "model", "display_name": name, "created_at": UNKNOWN_DATE}
    return {"id": name, **shown, "waterline": _ours(target, served)}


def _ours(target: Target, served: Served) -> dict[str, str]:
    return {"route": target.name, "model": target.route.model, "release": served.id}
