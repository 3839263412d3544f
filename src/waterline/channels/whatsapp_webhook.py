"""The web hook of WhatsApp. Nothing is believed before its signature is checked, and nothing is answered with 200
before the store has it: what we refuse or cannot store, WhatsApp delivers again for up to seven days."""

import hmac
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from waterline.channels.whatsapp_parse import AccountEvent, Delivery, NotAWebhook, Preference, parse
from waterline.connectors.fair import Fair
from waterline.core.conversation import Alias, Inbound, Status
from waterline.core.errors import WaterlineError
from waterline.core.web import Page, Visit

log = logging.getLogger("waterline.whatsapp")
AT_ONCE = 64  # deliveries that are being stored: as many as share a transaction, and far fewer than may queue for one
MOST_WAITING = 1000  # of one number; a flood is delivered again later, and nobody else's message waits behind it
MOST_BODY = 4 << 20  # a batch; WhatsApp's own limit is 3 MB


class Takes(Protocol):
    """Where a delivery goes. Each returns when it is on disk, and may be called again with the same."""

    async def inbound(self, messages: Sequence[Inbound]) -> None: ...
    async def statuses(self, statuses: Sequence[Status]) -> None: ...
    async def joined(self, people: Sequence[tuple[Alias, ...]]) -> None: ...
    async def events(self, events: Sequence[AccountEvent]) -> None: ...
    async def preferences(self, preferences: Sequence[Preference]) -> None: ...


class Webhook:
    """`secrets`: the app's secret; more than one while a provider or a secret is being replaced."""

    def __init__(
        self,
        verify_token: str,
        secrets: Sequence[str],
        takes: Takes,
        clock_us: Callable[[], int],
        count: Callable[[str], None] = lambda name: None,
        address_of: Callable[[str], str] = lambda number: number,
    ) -> None:
        self._verify_token = verify_token.encode()
        self._secrets = [s.encode() for s in secrets if s]
        self._takes = takes
        self._clock_us = clock_us
        self._count = count
        self._fair = Fair(AT_ONCE)
        self._waiting: dict[str, int] = {}  # deliveries, by number
        self._address_of = address_of  # a number that moved to another provider keeps the address it had

    async def __call__(self, visit: Visit) -> Page:
        if visit.method == "GET":
            return self._verify(visit.asked())
        if visit.method != "POST":
            return Page(405, b"GET or POST\n")
        if not self.signed(visit.body, visit.header(b"x-hub-signature-256")):
            self._count("whatsapp_bad_signature")
            return Page(401, b"The signature does not fit.\n")
        try:
            delivery = self._named(parse(visit.body, self._clock_us()))
        except NotAWebhook as error:
            log.warning("a signed web hook was not understood: %s", error)
            return Page(400, b"This is no web hook of WhatsApp's.\n")
        number = _number(delivery)
        if self._waiting.get(number, 0) >= MOST_WAITING:
            self._count("whatsapp_not_stored")
            return Page(503, b"Too much at once from this number; deliver it again.\n", headers=(("retry-after", "5"),))
        self._waiting[number] = self._waiting.get(number, 0) + 1
        try:
            async with self._fair.place(number):
                await self._store(delivery)
        except WaterlineError as error:
            log.error("a web hook could not be stored; WhatsApp will deliver it again: %s", error)
            self._count("whatsapp_not_stored")
            return Page(503, b"Not stored; deliver it again.\n", headers=(("retry-after", "5"),))
        finally:
            self._waiting[number] -= 1
            if not self._waiting[number]:
                del self._waiting[number]
        return Page(200, b"ok")

    def signed(self, body: bytes, signature: bytes) -> bool:
        """X-Hub-Signature-256 over the raw bytes, in constant time. Without a secret nothing is signed."""
        given = signature.removeprefix(b"sha256=")
        fits = False
        for secret in self._secrets:
            expected = hmac.digest(secret, body, "sha256").hex().encode()
            fits |= hmac.compare_digest(expected, given)
        return fits and signature.startswith(b"sha256=")

    def _verify(self, asked: dict[str, str]) -> Page:
        token = asked.get("hub.verify_token", "").encode()
        good = bool(self._verify_token) and hmac.compare_digest(token, self._verify_token)
        if good and asked.get("hub.mode") == "subscribe":
            return Page(200, asked.get("hub.challenge", "")[:256].encode())
        return Page(403, b"The verify token does not fit.\n")

    async def _store(self, delivery: Delivery) -> None:
        """Who is who first: a message may come under the new name."""
        takes: list[tuple[Callable[..., Awaitable[None]], Sequence[object]]] = [
            (self._takes.joined, delivery.joined),
            (self._takes.preferences, delivery.preferences),
            (self._takes.inbound, delivery.inbound),
            (self._takes.statuses, delivery.statuses),
            (self._takes.events, delivery.events),
        ]
        for take, what in takes:
            if what:
                await take(what)

    def _named(self, delivery: Delivery) -> Delivery:
        of = self._address_of
        return Delivery(
            tuple(replace(m, address=of(m.address)) for m in delivery.inbound),
            tuple(replace(s, address=of(s.address)) for s in delivery.statuses),
            delivery.events,
            delivery.joined,
            tuple(replace(p, address=of(p.address)) for p in delivery.preferences),
        )


def _number(delivery: Delivery) -> str:
    """Whose delivery it is; a batch counts as its first one's."""
    addresses = [m.address for m in delivery.inbound[:1]] + [s.address for s in delivery.statuses[:1]]
    return next(iter(addresses + [p.address for p in delivery.preferences[:1]]), "")
