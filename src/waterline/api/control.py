"""The control plane over HTTP: `/api/...`, JSON in and out. Thin: what may be done and by whom is in `control/`."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waterline.access.roles import Principal
from waterline.api import (
    behaviour,
    canaries,
    cases,
    conversations,
    costs,
    experiments,
    gates,
    judges,
    keys,
    releases,
    subjects,
    traces,
)
from waterline.api.ask import Ask, Resource
from waterline.api.sink import error_body
from waterline.control.plane import Plane
from waterline.core.errors import InvalidRequest, Refused, RequestError

RESOURCES = (
    Resource("GET", "/status", lambda ask: ask.plane.status(ask.who)),
    Resource("GET", "/apps", lambda ask: ask.plane.apps(ask.who)),
    Resource("GET", "/apps/{app}/spec", lambda ask: ask.plane.spec(ask.who, ask.path("app"))),
    Resource("GET", "/providers", lambda ask: ask.plane.providers(ask.who, ask.query("app") or None)),
    Resource("GET", "/channels", lambda ask: ask.plane.channels(ask.who, ask.query("app"))),
    *traces.RESOURCES,
    *releases.RESOURCES,
    *gates.RESOURCES,
    *canaries.RESOURCES,
    *experiments.RESOURCES,
    *cases.RESOURCES,
    *judges.RESOURCES,
    *behaviour.RESOURCES,
    *conversations.RESOURCES,
    *subjects.RESOURCES,
    *costs.RESOURCES,
    *keys.RESOURCES,
)
Authenticate = Callable[[Any, str], Principal]
_encode = msgspec.json.Encoder().encode


def control_routes(plane: Plane, authenticate: Authenticate) -> list[Route]:
    """Every route of the control plane. A principal is found first; the plane checks its right."""
    return [Route(f"/api{r.path}", _endpoint(r, plane, authenticate), methods=[r.method]) for r in RESOURCES]


def _endpoint(resource: Resource, plane: Plane, authenticate: Authenticate) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            address = request.client.host if request.client else ""
            who = authenticate(request.scope["headers"], address)
            value = await resource.answer(Ask(plane, who, request))
        except RequestError as error:
            later = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else None
            return Response(error_body(error), error.status, later, media_type="application/json")
        except Refused as error:
            refused = InvalidRequest(str(error), status=error.status)
            return Response(error_body(refused), error.status, media_type="application/json")
        if isinstance(value, Response):
            return value
        return Response(_encode(value), resource.status, media_type="application/json")

    return endpoint
