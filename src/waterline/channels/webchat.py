"""Web chat: /chat/<site> is a page that works without a script; with its script, or through a one-line snippet on
another page, messages are posted and answers are waited for (long polls).

Who a visitor is: a token that the page keeps, made and signed by us (no cookie). What they may read is their own
conversation, by that token. Uploads are refused politely: there is nowhere to put them.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from secrets import token_bytes, token_hex
from typing import Protocol
from urllib.parse import parse_qs, unquote

import msgspec
from msgspec import Struct

from waterline.channels import webchat_page as pages
from waterline.channels.base import SendFault, Sent
from waterline.core.channels import WebchatPolicy
from waterline.core.conversation import Alias, ChannelKind, Inbound, Outbound
from waterline.core.errors import WaterlineError
from waterline.core.web import Page, Visit
from waterline.store import webchat as rows
from waterline.store.db import Store

MOST_TEXT = 4000  # characters of one message
WAIT_S = 20.0  # the longest poll
LOOK_S = 5.0  # it looks again by itself: another process may have answered
PATIENCE_S = 4.0  # how long the page without a script waits for an answer
MOST_WAITING = 2000  # polls at once
MOST_VISITORS = 20_000  # whose rate is remembered
NEW_AN_HOUR = 120  # tokens for one network address
JSON = "application/json"


class Inbox(Protocol):
    async def inbound(self, messages: Sequence[Inbound]) -> None: ...


class Said(Struct, forbid_unknown_fields=True):
    """What the script posts."""

    token: str = ""
    text: str = ""
    choice: str = ""
    id: str = ""  # made by the page: the same again is the same message


class Webchat:
    """`policy`: of a site, None if no branch has it."""

    kind: ChannelKind = "webchat"
    sends_once = True  # a reply is a row under its key
    echo_s = 0.0

    def __init__(
        self,
        *,
        inbox: Inbox,
        store: Store,
        policy: Callable[[str], WebchatPolicy | None],
        clock_us: Callable[[], int],
        secret: bytes,
    ) -> None:
        self._inbox = inbox
        self._store = store
        self._policy = policy
        self._clock_us = clock_us
        self._secret = hmac.new(secret, b"webchat visitors", hashlib.sha256).digest()
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = {}
        self._polls = 0
        self._rates: OrderedDict[str, deque[float]] = OrderedDict()

    def start(self) -> None:
        pass

    async def stop(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()

    # --- out -----------------------------------------------------------------------------------------------------

    async def send(self, address: str, to: str, message: Outbound, key: str, window_open: bool) -> Sent:
        """The reply is in the store already: who waits for it is woken."""
        if not message.text.strip():
            raise SendFault("never", "The web chat sends texts; this message has none.")
        for event in self._waiting.get((address, to), ()):
            event.set()
        return Sent(f"web.{key}", self._clock_us())

    # --- in ------------------------------------------------------------------------------------------------------

    async def __call__(self, visit: Visit) -> Page:
        """GET /chat/<site>, /chat/<site>/lines, /chat/<site>/snippet.js; POST /chat/<site>, /chat/<site>/messages"""
        site, _, rest = unquote(visit.path.removeprefix("/chat/")).partition("/")
        policy = self._policy(site)
        if policy is None:
            return pages.error(404, "There is no chat here.")
        origin = visit.header(b"origin").decode("latin-1")
        host = visit.header(b"host").decode("latin-1")
        foreign = origin not in ("", "null") and origin.partition("://")[2] != host
        if foreign and origin not in policy.origins:
            return pages.error(403, "This page may not show the chat.")
        match visit.method, rest:
            case "OPTIONS", _:
                page = Page(204, headers=pages.allowed_methods())
            case "GET", "":
                page = await self._shown(site, policy, visit)
            case "GET", "snippet.js":
                page = pages.snippet(site)
            case "GET", "lines":
                page = await self._lines(site, visit)
            case "POST", "messages":
                page = await self._posted(site, policy, visit)
            case "POST", "":
                page = await self._form(site, policy, visit)
            case _:
                page = pages.error(404, "There is nothing here.")
        return pages.shared(page, origin) if foreign else page

    async def _posted(self, site: str, policy: WebchatPolicy, visit: Visit) -> Page:
        try:
            said = msgspec.json.decode(visit.body, type=Said)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return pages.problem(400, "The message was not understood.")
        new = not said.token
        visitor = self._new_visitor(site, said.id) if new else self._visitor(site, said.token)
        if visitor is None:
            return pages.problem(403, "This conversation is not known here. Begin a new one.")
        if not said.text.strip() and not said.choice:
            return pages.problem(400, "Write something first.")
        trouble = await self._take(site, policy, visitor, visit.address, new, said)
        if trouble is not None:
            return trouble
        token = said.token or self._token(site, visitor)
        return Page(200, msgspec.json.encode({"token": token, "state": "stored"}), JSON)

    async def _form(self, site: str, policy: WebchatPolicy, visit: Visit) -> Page:
        """The page's own form, without a script."""
        if visit.header(b"content-type").startswith(b"multipart/"):
            return pages.error(415, "Files cannot be sent here. Describe it in words, or send it by e-mail.")
        form = parse_qs(visit.body.decode("utf-8", "replace"), max_num_fields=20)
        given = {name: values[-1] for name, values in form.items()}
        token = given.get("token", "")
        new = not token
        visitor = self._new_visitor(site, given.get("id", "")) if new else self._visitor(site, token)
        if visitor is None:
            return pages.error(403, "This conversation is not known here. Open the chat again.")
        said = Said(token, given.get("text", ""), given.get("choice", ""), given.get("id", ""))
        if said.text.strip() or said.choice:
            trouble = await self._take(site, policy, visitor, visit.address, new, said)
            if trouble is not None:
                return pages.error(trouble.status, msgspec.json.decode(trouble.body)["error"])
        # The token is in the page, not in its address: no history and no referrer holds it.
        return await self._drawn(site, policy, visitor, token or self._token(site, visitor))

    async def _take(
        self, site: str, policy: WebchatPolicy, visitor: str, peer: str, new: bool, said: Said
    ) -> Page | None:
        """What is wrong, or None when the message is on disk."""
        if len(said.text) > MOST_TEXT:
            return pages.problem(413, f"Please write at most {MOST_TEXT:,} characters at once.")
        if (new and self._too_often(f"new {peer}", NEW_AN_HOUR, 3600)) or self._too_often(
            f"{site} {visitor}", policy.messages_per_minute, 60
        ):
            return pages.problem(429, "That was a lot at once. Please wait a minute.")
        named = hashlib.sha256(f"{visitor} {said.id}".encode()).hexdigest()[:32] if said.id else token_hex(16)
        message = Inbound(
            channel="webchat",
            address=site,
            message_id=named,
            sender=visitor,
            at_us=self._clock_us(),
            kind="choice" if said.choice else "text",
            text=said.text.strip(),
            choice=said.choice[:200],
            aliases=(Alias("web", visitor),),
        )
        try:
            await self._inbox.inbound([message])
        except WaterlineError:
            return pages.problem(503, "Your message could not be kept. Please send it again.")
        return None

    # --- what a visitor reads ------------------------------------------------------------------------------------

    async def _shown(self, site: str, policy: WebchatPolicy, visit: Visit) -> Page:
        return pages.chat(site, policy, (), "", token_hex(8))

    async def _drawn(self, site: str, policy: WebchatPolicy, visitor: str, token: str) -> Page:
        await self._news(site, visitor, PATIENCE_S)
        lines = await self._store.read(lambda tx: rows.whole(tx, site, visitor))
        return pages.chat(site, policy, lines, token, token_hex(8))

    async def _lines(self, site: str, visit: Visit) -> Page:
        """What is new after `after`; waits for it."""
        asked = visit.asked()
        token = visit.header(b"x-chat-token").decode("latin-1")
        visitor = self._visitor(site, token)
        if visitor is None:
            return pages.problem(403, "This conversation is not known here.")
        after = int(asked["after"]) if asked.get("after", "").isdigit() and len(asked["after"]) < 18 else 0
        if asked.get("all"):
            lines = await self._store.read(lambda tx: rows.whole(tx, site, visitor))
        else:
            lines = await self._replies(site, visitor, after)
        return Page(200, msgspec.json.encode({"lines": lines}), JSON, (("cache-control", "no-store"),))

    async def _replies(self, site: str, visitor: str, after: int) -> list[rows.Line]:
        """What is new; waits for it. Listens before it looks, so that nothing falls between."""
        with self._listening(site, visitor) as event:
            end = asyncio.get_running_loop().time() + (WAIT_S if self._polls < MOST_WAITING else 0)
            while True:
                event.clear()
                lines = await self._store.read(lambda tx: rows.replies(tx, site, visitor, after))
                left = end - asyncio.get_running_loop().time()
                if lines or left <= 0:
                    return lines
                await _within(event, min(left, LOOK_S))

    async def _news(self, site: str, visitor: str, wait_s: float) -> None:
        with self._listening(site, visitor) as event:
            await _within(event, wait_s)

    @contextlib.contextmanager
    def _listening(self, site: str, visitor: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        waiting = self._waiting.setdefault((site, visitor), set())
        waiting.add(event)
        self._polls += 1
        try:
            yield event
        finally:
            self._polls -= 1
            waiting.discard(event)
            if not waiting:
                self._waiting.pop((site, visitor), None)

    # --- who a visitor is ----------------------------------------------------------------------------------------

    def _new_visitor(self, site: str, first: str) -> str:
        """`first`: the page's own random id of the first message. Posted again, it is the same visitor."""
        known = hmac.new(self._secret, f"first\n{site}\n{first}".encode(), hashlib.sha256).digest()
        return base64.b32encode(known[:15] if len(first) >= 16 else token_bytes(15)).decode().lower()

    def _token(self, site: str, visitor: str) -> str:
        return f"{visitor}.{self._signature(site, visitor)}"

    def _visitor(self, site: str, token: str) -> str | None:
        visitor, _, signature = token.partition(".")
        good = hmac.compare_digest(self._signature(site, visitor).encode(), signature.encode())
        return visitor if visitor and good else None

    def _signature(self, site: str, visitor: str) -> str:
        return hmac.new(self._secret, f"{site}\n{visitor}".encode(), hashlib.sha256).hexdigest()[:40]

    def _too_often(self, who: str, most: int, seconds: float) -> bool:
        now = time.monotonic()
        times = self._rates.pop(who, None) or deque()
        while times and times[0] < now - seconds:
            times.popleft()
        self._rates[who] = times
        if len(self._rates) > MOST_VISITORS:
            self._rates.popitem(last=False)
        if len(times) >= most:
            return True
        times.append(now)
        return False


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
