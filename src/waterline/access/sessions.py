"""Console sessions: a random 256-bit token in a cookie, of which only the SHA-256 is kept (the session's id).

A session belongs to a personal key and asks the key ring at every request: revoking the key ends it. It ends 12 hours
after login, or after 2 unused (settings). Against cross-site requests there are two lines: a token that only our own
pages know (HMAC of the session's id) on every unsafe method, and the browser's own word (Sec-Fetch-Site, Origin).
Source: OWASP Session Management and Cross-Site Request Forgery Prevention cheat sheets.

Requests with an API key instead of a cookie need none of this: no browser sends a key by itself.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from waterline.access import audit
from waterline.access.keys import Act, KeyRing
from waterline.access.roles import Principal
from waterline.access.stored import AuditRows
from waterline.access.throttle import Throttle
from waterline.core.errors import InvalidApiKey, PermissionDenied
from waterline.core.ids import sha256_hex
from waterline.store import keys as rows
from waterline.store.db import Store, Tx

HOUR_US = 3_600_000_000
TOUCH_US = 60_000_000  # a session's last use is written at most once a minute
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
FORM_FIELD = "csrf"
CSRF_HEADER = b"x-waterline-csrf"  # for scripts; forms send the field

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_COOKIE = "waterline_session"
_SECURE_COOKIE = "__Host-waterline_session"  # the browser itself then insists on Secure, Path=/ and no Domain

Headers = Iterable[tuple[bytes, bytes]]


class Session(Struct, frozen=True):
    """As kept. Times are Unix microseconds."""

    id: str  # SHA-256 of the token, 64 hex digits
    key_id: str
    created_us: int
    seen_us: int
    expires_us: int


class Visit(Struct, frozen=True):
    """A request by somebody who is signed in."""

    principal: Principal
    session_id: str
    csrf: str  # goes into every form of the page


class Login(Struct, frozen=True):
    """A session at its birth: the only moment at which `token` exists. Set it as the cookie, never keep it."""

    token: str
    visit: Visit

    def __repr__(self) -> str:
        return f"Login({self.visit.principal.key_id})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("key_id", self.visit.principal.key_id)]


class SessionStore(Protocol):
    """Where sessions are kept. `add` and `end` write the audit log in their own transaction."""

    async def get(self, session_id: str) -> Session | None: ...

    async def add(self, session: Session, act: Act, *, instead_of: str, idle_since_us: int) -> None:
        """Also ends the session `instead_of` (empty: none) and all that have expired."""
        ...

    async def touch(self, session_id: str, seen_us: int) -> None: ...

    async def end(self, session_id: str, act: Act) -> None: ...


class MemorySessions:
    """A SessionStore for tests."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.acts: list[Act] = []

    async def get(self, session_id: str) -> Session | None:
        return self.sessions.get(session_id)

    async def add(self, session: Session, act: Act, *, instead_of: str, idle_since_us: int) -> None:
        now_us = session.created_us
        self.sessions = {
            s.id: s
            for s in self.sessions.values()
            if s.id != instead_of and s.expires_us > now_us and s.seen_us > idle_since_us
        }
        self.sessions[session.id] = session
        self.acts.append(act)

    async def touch(self, session_id: str, seen_us: int) -> None:
        if session_id in self.sessions:
            self.sessions[session_id] = replace(self.sessions[session_id], seen_us=seen_us)

    async def end(self, session_id: str, act: Act) -> None:
        if self.sessions.pop(session_id, None) is not None:
            self.acts.append(act)


class StoredSessions:
    """The SessionStore of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, session_id: str) -> Session | None:
        row = await self._store.read(lambda tx: rows.get_session(tx, session_id))
        return None if row is None else Session(row.digest, row.key_id, row.created_us, row.seen_us, row.expires_us)

    async def add(self, session: Session, act: Act, *, instead_of: str, idle_since_us: int) -> None:
        # The CSRF token is derived from the session's id, so none is kept.
        row = rows.SessionRow(session.id, session.key_id, "", session.created_us, session.seen_us, session.expires_us)

        def change(tx: Tx) -> None:
            rows.end_expired_sessions(tx, session.created_us, idle_since_us)
            if instead_of:
                rows.end_session(tx, instead_of)
            rows.add_session(tx, row)
            _note(tx, act)

        await self._store.write(change)

    async def touch(self, session_id: str, seen_us: int) -> None:
        await self._store.write(lambda tx: rows.touch_session(tx, session_id, seen_us))

    async def end(self, session_id: str, act: Act) -> None:
        def change(tx: Tx) -> None:
            if rows.end_session(tx, session_id):
                _note(tx, act)

        await self._store.write(change)


def _note(tx: Tx, act: Act) -> None:
    audit.append(AuditRows(tx), at_us=act.at_us, by=act.by, action=act.action, target=act.target, detail=act.detail)


class Sessions:
    """Who is signed in to the console. All state is in the store, but for the recent failures of each address."""

    def __init__(
        self,
        store: SessionStore,
        keys: KeyRing,
        master_key: bytes,
        clock_us: Callable[[], int],
        *,
        hours: int = 12,
        idle_hours: int = 2,
    ) -> None:
        self._store = store
        self._keys = keys
        self._master_key = master_key
        self._clock_us = clock_us
        self._hours = hours
        self._idle_hours = idle_hours
        self._throttle = Throttle(clock_us)

    async def login(self, key: str, address: str, old_token: str = "") -> Login:
        """A new session for whoever pasted this personal key; the browser's old session (its token) ends.

        Raises RateLimited (too many failures from `address`), InvalidApiKey, or PermissionDenied for an app key."""
        self._throttle.check(address)
        try:
            principal = self._keys.check(key.strip().encode("utf-8", "replace"))
            if principal.kind != "person":
                raise PermissionDenied(
                    f"{principal.key_id} is an app's key; the console needs a personal key. "
                    "An owner makes one: waterline key create --role ROLE."
                )
        except (InvalidApiKey, PermissionDenied):
            self._throttle.failed(address)
            raise
        self._throttle.passed(address)
        now_us = self._clock_us()
        token = secrets.token_urlsafe(32)
        session = Session(session_id(token), principal.key_id, now_us, now_us, now_us + self._hours * HOUR_US)
        act = Act(principal, "session.login", principal.key_id, {"address": address[:64]}, now_us)
        old_id = session_id(old_token) if _TOKEN.fullmatch(old_token) else ""
        await self._store.add(session, act, instead_of=old_id, idle_since_us=now_us - self._idle_hours * HOUR_US)
        return Login(token, self._visit(principal, session.id))

    async def visit(self, token: str) -> Visit:
        """Who has this session. Raises InvalidApiKey, whose message may stand on the login page."""
        session = await self._store.get(session_id(token)) if _TOKEN.fullmatch(token) else None
        if session is None:
            raise InvalidApiKey("You are not signed in. Sign in with a personal key.")
        now_us = self._clock_us()
        if now_us >= session.expires_us:
            raise InvalidApiKey(f"Your session ended {self._hours} hours after login. Sign in again.")
        if now_us - session.seen_us >= self._idle_hours * HOUR_US:
            raise InvalidApiKey(f"Your session ended after {self._idle_hours} hours unused. Sign in again.")
        principal = self._keys.principal(session.key_id)
        if now_us - session.seen_us >= TOUCH_US:
            await self._store.touch(session.id, now_us)
        return self._visit(principal, session.id)

    async def logout(self, visit: Visit) -> None:
        act = Act(visit.principal, "session.logout", visit.principal.key_id, {}, self._clock_us())
        await self._store.end(visit.session_id, act)

    def _visit(self, principal: Principal, sid: str) -> Visit:
        return Visit(principal, sid, csrf_token(self._master_key, sid))


def session_id(token: str) -> str:
    return sha256_hex(token.encode("utf-8", "replace"))


# --- cookies -----------------------------------------------------------------------------------------------------


def set_cookie(token: str, *, secure: bool) -> str:
    """The value of Set-Cookie. `secure`: people reach the console by https. No Max-Age: it ends with the browser.

    Lax, not Strict: a link to a trace in a chat message must find its reader signed in; unsafe methods have CSRF
    protection of their own."""
    name = _SECURE_COOKIE if secure else _COOKIE
    return f"{name}={token}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"


def clear_cookie(*, secure: bool) -> str:
    name = _SECURE_COOKIE if secure else _COOKIE
    return f"{name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{'; Secure' if secure else ''}"


def token_of(headers: Headers, *, secure: bool) -> str:
    """The session's token from the Cookie header, else "". Only the cookie that this scheme sets counts."""
    wanted = (_SECURE_COOKIE if secure else _COOKIE).encode()
    for name, value in headers:
        if name == b"cookie":
            for pair in value.split(b";"):
                key, _, token = pair.strip().partition(b"=")
                if key == wanted:
                    return token.decode("latin-1")
    return ""


# --- cross-site requests -----------------------------------------------------------------------------------------


def csrf_token(master_key: bytes, sid: str) -> str:
    if not master_key:
        raise ValueError("a CSRF token needs a master key")
    return hmac.digest(master_key, b"waterline csrf\0" + sid.encode(), hashlib.sha256).hex()


def check_unsafe(method: str, headers: Headers, origin: str, visit: Visit, given: str = "") -> None:
    """Return, or raise PermissionDenied. Call it before any act that a cookie allows.

    `given` is the form's field, else the header x-waterline-csrf is read; `origin` is ours, see `own_origin`."""
    if method.upper() in SAFE_METHODS:
        return
    found = dict(headers)
    check_origin(found.items(), origin)
    token = given.encode("utf-8", "replace") if given else found.get(CSRF_HEADER, b"")
    if not hmac.compare_digest(token, visit.csrf.encode()):
        raise PermissionDenied(
            "The form was not made by this session (its token does not fit). Load the page again and repeat the act."
        )


def check_origin(headers: Headers, origin: str) -> None:
    """Refuse what the browser says comes from another site; also for the login form, which has no session yet.

    A client that sends neither Sec-Fetch-Site nor Origin is no current browser; then the token alone decides."""
    found = dict(headers)
    site, sent = found.get(b"sec-fetch-site"), found.get(b"origin")
    if site is not None:
        good = site in (b"same-origin", b"none")
    else:
        good = sent is None or _plain_origin(sent.decode("latin-1")) == origin != "null"
    if not good:
        raise PermissionDenied(
            f"The request comes from another site than {origin}. If this is your own address behind a proxy, "
            "set WATERLINE_PUBLIC_URL to it."
        )


def own_origin(headers: Headers, scheme: str, public_url: str = "") -> str:
    """Where our pages come from: WATERLINE_PUBLIC_URL if it is set, else what the browser asked for (Host)."""
    if public_url:
        return _plain_origin(public_url)
    host = next((value for name, value in headers if name == b"host"), b"")
    return _plain_origin(f"{scheme}://{host.decode('latin-1')}")


def _plain_origin(url: str) -> str:
    """scheme://host[:port] in lower case, without the scheme's own port (RFC 6454 6.2); "null" if it has none."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return "null"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "null"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (
        f":{port}" if port and port != {"http": 80, "https": 443}[parts.scheme] else ""
    )
