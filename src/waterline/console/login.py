"""Signing in with a personal key, and out."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from waterline.access.roles import Principal
from waterline.access.sessions import clear_cookie, set_cookie
from waterline.console.frame import Frame, home_of, local_path, wants_json
from waterline.core.errors import InvalidApiKey, InvalidRequest, PermissionDenied, RateLimited, Refused, RequestError

Endpoint = Callable[[Request], Awaitable[Response]]


def login_page(frame: Frame) -> Endpoint:
    async def show(request: Request) -> Response:
        back = local_path(request.query_params.get("next", "/"))
        try:
            visit = await frame.visit(request)
        except InvalidApiKey as reason:
            # Only somebody who had a session is told why it is over.
            said = str(reason) if frame.token(request) else ""
            return frame.html(request, None, "login.html", {"back": back, "problem": "", "note": said})
        return RedirectResponse(_home(back, visit.principal), 303)

    return show


def _home(back: str, who: Principal) -> str:
    """The overview is not everybody's."""
    return home_of(who.may) if back == "/" else back


def sign_in(frame: Frame) -> Endpoint:
    async def act(request: Request) -> Response:
        back, as_json = "/", wants_json(request.headers.get("accept", ""))
        try:
            frame.check_origin(request)  # there is no session yet, so the browser's word stands alone
            form = await frame.form(request, None)
            back = local_path(form.get("next", "/"))
            address = request.client.host if request.client else ""
            if not form.get("key"):
                raise InvalidApiKey("Paste a personal key; it begins with wl-.")
            login = await frame.sessions.login(form["key"], address, frame.token(request))
        except (InvalidApiKey, PermissionDenied, RateLimited, Refused) as error:
            return _refused(frame, request, error, back, as_json)
        response = Response(status_code=204) if as_json else RedirectResponse(_home(back, login.visit.principal), 303)
        response.headers["set-cookie"] = set_cookie(login.token, secure=frame.secure)
        return response

    return act


def _refused(frame: Frame, request: Request, error: RequestError | Refused, back: str, as_json: bool) -> Response:
    if as_json:
        response = frame.failure(request, None, error.status, str(error), getattr(error, "code", InvalidRequest.code))
    else:
        shown = {"back": back, "problem": str(error), "note": ""}
        response = frame.html(request, None, "login.html", shown, error.status)
    if isinstance(error, RateLimited) and error.retry_after_s:
        response.headers["retry-after"] = str(error.retry_after_s)
    return response


def logout(frame: Frame) -> Endpoint:
    async def act(request: Request) -> Response:
        try:
            visit = await frame.visit(request)
            await frame.form(request, visit)
            if visit.session_id:
                await frame.sessions.logout(visit)
        except InvalidApiKey:
            pass  # there is no session to end
        except (PermissionDenied, Refused) as error:
            return frame.failure(request, None, error.status, str(error))
        response = RedirectResponse("/login", 303)
        response.headers["set-cookie"] = clear_cookie(secure=frame.secure)
        return response

    return act
