"""What every page shares: who asks, what may be shown, HTML or JSON, and the way errors look.

A page is declared as method, path, Action and a function from `Ask` to an answer; `pages.py` lists them all. The
endpoint made here finds the session, asks the role matrix, checks the form's token, and only then calls the function.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import parse_qs, quote, urlencode

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from waterline import __version__
from waterline.access.keys import KeyRing, hide_keys
from waterline.access.roles import Action, Principal, require
from waterline.access.sessions import (
    FORM_FIELD,
    SAFE_METHODS,
    Sessions,
    Visit,
    check_origin,
    check_unsafe,
    own_origin,
    token_of,
)
from waterline.console.shown import FILTERS
from waterline.control.plane import Plane
from waterline.core.app_spec import plain
from waterline.core.errors import InvalidApiKey, InvalidRequest, Overloaded, RateLimited, Refused, RequestError
from waterline.settings import Settings

MAX_FORM_BYTES = 64 << 10
MAX_FIELDS = 40
RETRY_S = 5

# The pages by what somebody comes for. A section is shown as its first page that the role may see.
NAVIGATION = (
    ("Overview", (("/", "Overview", Action.OVERVIEW_READ),)),
    (
        "Conversations",
        (
            ("/conversations", "Live", Action.CONVERSATION_LIST),
            ("/handoffs", "For people", Action.CONVERSATION_LIST),
            ("/funnel", "Funnel", Action.CONVERSATION_LIST),
            ("/bookings", "Bookings", Action.CONVERSATION_LIST),
            ("/channels", "Channels", Action.OVERVIEW_READ),
        ),
    ),
    (
        "Requests",
        (
            ("/traces", "Traces", Action.TRACES_READ),
            ("/behaviour", "Behaviour", Action.OVERVIEW_READ),
            ("/providers", "Providers", Action.OVERVIEW_READ),
        ),
    ),
    (
        "Evidence",
        (
            ("/experiments", "Evaluations", Action.EXPERIMENT_READ),
            ("/load-lines", "Load lines", Action.LOAD_LINE_READ),
            ("/judges", "Judges", Action.JUDGE_READ),
            ("/cases", "Cases", Action.CASE_LIST),
            ("/review", "Review", Action.CASE_READ),
            ("/coverage", "Coverage", Action.CASE_READ),
        ),
    ),
    (
        "Releases",
        (
            ("/releases", "Releases", Action.ROLLOUT_READ),
            ("/canaries", "Canaries", Action.ROLLOUT_READ),
            ("/shadows", "Shadow traffic", Action.ROLLOUT_READ),
            ("/incidents", "Incidents", Action.INCIDENT_READ),
        ),
    ),
    ("Money", (("/budgets", "Budgets", Action.OVERVIEW_READ), ("/forecast", "Forecast", Action.OVERVIEW_READ))),
    (
        "Access",
        (
            ("/keys", "Keys", Action.KEY_READ),
            ("/people", "People", Action.KEY_READ),
            ("/audit", "Audit", Action.AUDIT_READ),
        ),
    ),
)


def _nothing(action: Action) -> bool:
    """What a stranger may do."""
    return False


class Link(Struct, frozen=True):
    to: str
    name: str
    here: bool


def navigation(path: str, may: Callable[[Action], bool]) -> tuple[list[Link], list[Link]]:
    """The sections, and the pages of the one that `path` belongs to (none where it has a single page)."""

    def within(to: str) -> bool:
        return path == to or (to != "/" and path.startswith(f"{to}/"))

    sections, pages = [], list[Link]()
    for name, entries in NAVIGATION:
        shown = [Link(to, page, within(to)) for to, page, action in entries if may(action)]
        if shown:
            here = any(page.here for page in shown)
            sections.append(Link(shown[0].to, name, here))
            if here and len(shown) > 1:
                pages = shown
    return sections, pages


def home_of(may: Callable[[Action], bool]) -> str:
    """The first page that somebody may see."""
    sections, _ = navigation("/", may)
    return sections[0].to if sections else "/"


class View(Struct, frozen=True):
    """A page: the template with its context, and `value`, what the same address answers as JSON."""

    template: str
    value: Any
    context: dict[str, Any] = {}
    status: int = 200


class Moved(Struct, frozen=True):
    """An act is done: see its result there. `value` is the answer as JSON."""

    to: str
    value: Any
    status: int = 200


Answer: TypeAlias = View | Moved | Response


class Ask:
    """One request by somebody who is known, for a page that the role may see."""

    def __init__(self, request: Request, visit: Visit, form: dict[str, str], plane: Plane, now_us: int) -> None:
        self.request = request
        self.who = visit.principal
        self.form = form
        self.plane = plane
        self.now_us = now_us

    def query(self, name: str) -> str:
        return self.request.query_params.get(name, "").strip()

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def may(self, action: Action) -> bool:
        return self.who.may(action)


Draw: TypeAlias = Callable[[Ask], Awaitable[Answer]]


class Page(Struct, frozen=True):
    method: str
    path: str
    action: Action
    draw: Draw


def url(path: str, **query: object) -> str:
    """A local address; empty parameters are left out."""
    kept = {k: str(v) for k, v in query.items() if v not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path


def local_path(text: str) -> str:
    """`text` if it is a path of this site, else "/": a login never leads elsewhere."""
    good = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if good else "/"


def wants_json(accept: str) -> bool:
    """Whether the Accept header (RFC 9110 12.5.1) prefers JSON to HTML; in doubt it does not."""
    weights = {"application/json": 0.0, "text/html": 0.0}
    for part in accept.split(","):
        kind, *params = (p.strip().lower() for p in part.split(";"))
        q = next((p[2:] for p in params if p.startswith("q=")), "1")
        try:
            weight = float(q)
        except ValueError:
            weight = 0.0
        if kind in weights:
            weights[kind] = max(weights[kind], weight)
        elif kind in ("*/*", "text/*"):
            weights["text/html"] = max(weights["text/html"], weight)
    return weights["application/json"] > weights["text/html"]


class Frame:
    def __init__(
        self, plane: Plane, keys: KeyRing, sessions: Sessions, settings: Settings, clock_us: Callable[[], int]
    ) -> None:
        self.plane = plane
        self.sessions = sessions
        self._keys = keys
        self._public_url = settings.public_url
        self.secure = settings.public_url.startswith("https://")
        self.clock_us = clock_us
        self._templates = Environment(
            loader=PackageLoader("waterline.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= FILTERS
        self._templates.globals |= {"url": url, "Action": Action, "version": __version__}

    # --- who asks ------------------------------------------------------------------------------------------------

    async def visit(self, request: Request) -> Visit:
        """By API key if one is sent (a browser never does that by itself), else by cookie. Raises InvalidApiKey, or
        RateLimited after too many wrong keys."""
        headers = request.scope["headers"]
        if any(name in (b"authorization", b"x-api-key") for name, _ in headers):
            return Visit(self._keys.authenticate(headers, request.client.host if request.client else ""), "", "")
        return await self.sessions.visit(self.token(request))

    def token(self, request: Request) -> str:
        return token_of(request.scope["headers"], secure=self.secure)

    def origin(self, request: Request) -> str:
        return own_origin(request.scope["headers"], request.url.scheme, self._public_url)

    def check_origin(self, request: Request) -> None:
        check_origin(request.scope["headers"], self.origin(request))

    # --- a page --------------------------------------------------------------------------------------------------

    def endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            visit: Visit | None = None
            try:
                visit = await self.visit(request)
                require(visit.principal, page.action)
                form = await self.form(request, visit) if request.method not in SAFE_METHODS else {}
                ask = Ask(request, visit, form, self.plane, self.clock_us())
                return self._respond(request, visit, await page.draw(ask))
            except InvalidApiKey as error:
                return self.sign_in(request, error)
            except RateLimited as error:
                return await self.too_often(request, error)
            except (RequestError, Refused) as error:
                return self.failure(
                    request, visit, error.status, str(error), getattr(error, "code", InvalidRequest.code)
                )

        return answer

    async def form(self, request: Request, visit: Visit | None) -> dict[str, str]:
        """The fields of an urlencoded form, within a bound. With a visit by cookie, its token is checked."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > MAX_FORM_BYTES:
                raise Refused(f"The form is larger than {MAX_FORM_BYTES:,} bytes.", 413)
            parts.append(part)
        try:
            fields = parse_qs(b"".join(parts).decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError:  # not UTF-8, or too many fields
            raise Refused("The form cannot be read. Load the page again and repeat the act.", 400) from None
        form = {name: values[-1].strip() for name, values in fields.items()}
        if visit is not None and visit.session_id:
            given = form.get(FORM_FIELD, "")
            check_unsafe(request.method, request.scope["headers"], self.origin(request), visit, given)
        return form

    # --- answers -------------------------------------------------------------------------------------------------

    def _respond(self, request: Request, visit: Visit, answer: Answer) -> Response:
        if isinstance(answer, Response):
            return answer
        if wants_json(request.headers.get("accept", "")):
            return _json(answer.value, answer.status)
        if isinstance(answer, Moved):
            return RedirectResponse(answer.to, 303)
        return self.html(request, visit, answer.template, answer.context, answer.status)

    def html(
        self, request: Request, visit: Visit | None, template: str, context: dict[str, Any], status: int = 200
    ) -> Response:
        who: Principal | None = visit.principal if visit else None
        may = who.may if who else _nothing
        sections, pages = navigation(request.url.path, may)
        shared = {
            "who": who,
            "csrf": visit.csrf if visit else "",
            "may": may,
            "sections": sections,
            "home": home_of(may),
            "pages_here": pages,
        }
        return Response(
            self._templates.get_template(template).render(**shared, **context), status, media_type="text/html"
        )

    def sign_in(self, request: Request, error: InvalidApiKey) -> Response:
        """Nobody is signed in: JSON says so, a browser is led to the login page (and back, after a GET)."""
        if wants_json(request.headers.get("accept", "")):
            return self.failure(request, None, 401, str(error), error.code)
        back = hide_keys(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
        to = "/login" if request.method not in SAFE_METHODS or back == "/" else f"/login?next={quote(back, safe='')}"
        return RedirectResponse(to, 303)

    def failure(
        self, request: Request, visit: Visit | None, status: int, message: str, code: str = "internal_error"
    ) -> Response:
        if wants_json(request.headers.get("accept", "")) or request.url.path.startswith("/api/"):
            return _json({"error": {"message": message, "code": code}}, status)
        titles = {
            400: "That does not fit", 403: "Your role may not do that", 404: "Not found", 405: "Not like that",
            409: "Refused", 413: "Too large", 429: "Too often", 500: "Something went wrong on our side",
            503: "Not possible now",
        }  # fmt: skip
        context: dict[str, Any] = {
            "status": status,
            "title": titles.get(status, "That did not work"),
            "message": message,
        }
        context["back"] = self._back(request)
        return self.html(request, visit, "error.html", context, status)

    def _back(self, request: Request) -> str:
        """The page of ours that led here, "" if there is none."""
        origin, came_from = self.origin(request), request.headers.get("referer", "")
        path = local_path(came_from[len(origin) :]) if came_from.startswith(f"{origin}/") else ""
        return "" if path == request.url.path else path

    async def http_error(self, request: Request, error: Exception) -> Response:
        """An address or a method that no page has; a stranger learns neither."""
        assert isinstance(error, HTTPException)
        if request.url.path.startswith("/api/"):
            said = f"There is no {request.url.path[:200]} here."
            if error.status_code == 405:
                said = f"{request.url.path[:200]} does not take {request.method}."
            return self.failure(request, None, error.status_code, said, InvalidRequest.code)
        try:
            visit = await self.visit(request)
        except InvalidApiKey as unknown:
            return self.sign_in(request, unknown)
        except RateLimited as limited:
            return await self.too_often(request, limited)
        if error.status_code == 405:
            said = f"{request.url.path[:200]} does not take {request.method}."
        else:
            said = f"There is no page {request.url.path[:200]}."
        return self.failure(request, visit, error.status_code, said, InvalidRequest.code)

    async def too_often(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RateLimited)
        response = self.failure(request, None, error.status, error.message, error.code)
        if error.retry_after_s is not None:
            response.headers["retry-after"] = str(error.retry_after_s)
        return response

    async def not_stored(self, request: Request, error: Exception) -> Response:
        """The database takes nothing now (a full disk, say); its message names the file and the next step."""
        response = self.failure(request, None, Overloaded.status, str(error), Overloaded.code)
        response.headers["retry-after"] = str(RETRY_S)
        return response

    async def crash(self, request: Request, error: Exception) -> Response:
        said = "It is in the server's log. Nothing that was answered or stored is touched by it."
        return secured(self.failure(request, None, 500, said))


def _json(value: Any, status: int) -> Response:
    return Response(msgspec.json.encode(plain(value)), status, media_type="application/json")


# --- headers of every answer -------------------------------------------------------------------------------------

SECURITY = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


def secured(response: Response) -> Response:
    for name, value in SECURITY.items():
        response.headers.setdefault(name, value)
    return response


class SecurityHeaders:
    """Puts them on whatever leaves; an answer that sets one itself (a report in its frame) keeps its own."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def secure_send(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers: Iterable[tuple[bytes, bytes]] = message.get("headers", [])
                there = {name.lower() for name, _ in headers}
                added = [(n.encode(), v.encode()) for n, v in SECURITY.items() if n.encode() not in there]
                message = {**message, "headers": [*headers, *added]}
            await send(message)

        await self._app(scope, receive, secure_send)
