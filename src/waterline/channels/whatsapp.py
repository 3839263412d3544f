"""WhatsApp behind the channel's port: every message passes, in this order, what could refuse it for nothing, what costs
a count, what costs money; then it is sent, and what came of it teaches the number's health."""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from waterline.channels.base import Entry, SendFault, Sent
from waterline.channels.fees import Fees, Wanted
from waterline.channels.graph import MEDIA_BYTES, Graph, Unsure
from waterline.channels.numbers import PATIENCE_S, Numbers, Told
from waterline.channels.templates import Templates
from waterline.channels.whatsapp_errors import fault
from waterline.channels.whatsapp_parse import AccountEvent, Preference
from waterline.channels.whatsapp_render import payloads
from waterline.core.channels import WhatsAppPolicy, wish
from waterline.core.conversation import Alias, ChannelKind, Inbound, Media, Outbound, Status
from waterline.store import channels as rows
from waterline.store.channels import EventRow
from waterline.store.db import Store, Tx

log = logging.getLogger("waterline.whatsapp")
SYNC_S = 600.0
ECHO_S = 30.0


class Owner(Struct, frozen=True):
    """Whose number it is. `branches`: how many share the portfolio's limit."""

    app: str
    branch: str
    branches: int = 1


class Desk(Protocol):
    """Where messages go: on disk when it returns."""

    async def inbound(self, messages: Sequence[Inbound]) -> None: ...
    async def statuses(self, statuses: Sequence[Status]) -> None: ...
    async def joined(self, people: Sequence[tuple[Alias, ...]]) -> None: ...


class WhatsApp:
    """`accounts`: the WhatsApp Business Accounts whose numbers and templates are asked for. `moved`: a number's id at
    another provider, by the address that it has here. `digest_key`: users are counted by a keyed hash."""

    kind: ChannelKind = "whatsapp"
    sends_once = False
    echo_s = ECHO_S

    def __init__(
        self,
        *,
        graph: Graph,
        store: Store,
        numbers: Numbers,
        fees: Fees,
        owner: Callable[[str], Owner | None],
        policy: Callable[[str], WhatsAppPolicy],
        desk: Desk,
        clock_us: Callable[[], int],
        digest_key: bytes,
        accounts: Sequence[str] = (),
        moved: Callable[[str], str] = lambda address: address,
    ) -> None:
        self.graph = graph
        self.numbers = numbers
        self.templates = Templates()
        self.fees = fees
        self._store = store
        self._owner = owner
        self._policy = policy
        self._desk = desk
        self._clock_us = clock_us
        self._digest_key = digest_key
        self._accounts = accounts
        self._moved = moved
        self._task: asyncio.Task[None] | None = None

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """What was known before; then the API is asked, now and every ten minutes. Inside the event loop."""
        since = self._clock_us() - 86_400_000_000
        found = self._store.read_sync(lambda tx: (rows.numbers(tx), rows.templates(tx), rows.begun_since(tx, since)))
        self.numbers.restore(found[0])
        self.templates.restore(found[1])
        for row in found[2]:
            self.numbers.begins.restore(f"{row['app']}/{row['branch']}", row["contact"], row["at_us"])
        self.fees.restore()
        if self._accounts:
            self._task = asyncio.create_task(self._sync_for_ever())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.graph.close()

    async def sync(self) -> None:
        """Raises SendFault."""
        for account in self._accounts:
            numbers, templates = await asyncio.gather(self.graph.numbers(account), self.graph.templates(account))
            await self._keep(self.numbers.synced(account, list(numbers)))
            found = self.templates.synced(account, list(templates), self._clock_us())
            await self._store.write(lambda tx, f=found: rows.put_templates(tx, f))  # type: ignore[misc]

    async def _sync_for_ever(self) -> None:
        while True:
            try:
                await self.sync()
            except SendFault as error:
                log.warning("numbers and templates could not be asked for: %s", error)
            except Exception:
                log.exception("numbers and templates could not be kept")
            await asyncio.sleep(SYNC_S)

    # --- sending -------------------------------------------------------------------------------------------------

    async def send(self, address: str, to: str, message: Outbound, key: str, window_open: bool) -> Sent:
        return await self.send_booked(address, to, message, key, window_open, _NoEntry())

    async def send_booked(
        self, address: str, to: str, message: Outbound, key: str, window_open: bool, entry: Entry
    ) -> Sent:
        """As the port says. Whatever else it raises (Unsure) means that nobody knows whether the message left."""
        owner = self._owner(address)
        if owner is None:
            raise SendFault(
                "number_stopped", f"No branch of any app has the number {address}. Declare it, and promote."
            )
        if window_open and message.text:
            message = replace(message, template=None)
        elif message.template is not None:
            message = replace(message, template=self.templates.meant(message.template))
        policy, template = self._policy(owner.app), message.template
        if template is None and not window_open:
            raise SendFault("window_closed", "The user wrote more than 24 hours ago. Send a template.", code=131047)
        if template is not None:
            self.templates.check(template)
        category = self.templates.category(template, message.purpose) if template is not None else "service"
        marketing = category == "marketing"
        if template is not None:
            await self._consented(to, marketing, policy)
        begins = template is not None and not window_open
        number = self.numbers.route(address, begins=template is not None, marketing=marketing)
        bubbles = payloads(to, message, key, policy.list_button)
        contact = hmac.digest(self._digest_key, to.encode(), "sha256").hex()[:32]
        who = f"{owner.app}/{owner.branch}"
        self.numbers.pairs.take(number, to, time.monotonic())
        for lane in self.numbers.lanes(number, begins=template is not None):
            await lane.turn(who, PATIENCE_S)
        new = begins and self.numbers.begins.take(who, contact, owner.branches, self._clock_us())
        wanted = Wanted(key, owner.app, owner.branch, address, to, contact, category, begins)
        try:
            price = await self.fees.reserve(wanted, entry.leaving)
        except BaseException:
            if new:
                self.numbers.begins.give_back(contact)
            raise
        try:
            message_id = ""
            for bubble in bubbles:
                message_id = await self.graph.send(self._moved(number), bubble)
        except SendFault as error:
            if new:
                self.numbers.begins.give_back(contact)
            await self.fees.settle(wanted, price, "")
            await self._keep(self.numbers.failed(number, to, error))
            raise
        except Unsure:
            log.warning("whether %s left is not known; a status will say", key)
            raise
        self.numbers.went_well(number)
        await self.fees.settle(wanted, price, message_id, entry.left)
        return Sent(message_id, self._clock_us())

    async def _consented(self, to: str, marketing: bool, policy: WhatsAppPolicy) -> None:
        wishes = await self._store.read(lambda tx: rows.consents(tx, "whatsapp", to))
        if wishes.get("all") is False:
            raise SendFault("opted_out", "The user asked for no more messages. Only they can change that.")
        if marketing and wishes.get("marketing") is False:
            raise SendFault("opted_out", "The user has stopped marketing messages.", code=131050)
        if marketing and policy.marketing_needs_opt_in and not (wishes.get("marketing") or wishes.get("all")):
            raise SendFault("opted_out", "The user has not asked for marketing messages.")

    async def fetch(self, media: Media, most: int) -> bytes:
        return (await self.graph.download(media, min(most, MEDIA_BYTES["audio"])))[0]

    # --- what comes in (the web hook calls these) ----------------------------------------------------------------

    async def inbound(self, messages: Sequence[Inbound]) -> None:
        for message in messages:
            owner = self._owner(message.address)
            said = wish(message.text, self._policy(owner.app)) if owner is not None and message.text else None
            if said is not None:
                for contact in _names(message):
                    await self._wish(contact, "all", said, f"wrote {message.text.strip()[:40]!r}", message.at_us)
        await self._desk.inbound(messages)

    async def statuses(self, statuses: Sequence[Status]) -> None:
        """What is billed and what became of a message are one transaction, as two writes at once are."""
        await asyncio.gather(self.fees.statuses(list(statuses)), self._desk.statuses(statuses))
        for status in statuses:
            if status.state == "failed" and status.code:
                told = self.numbers.failed(status.address, "", fault(status.code, 200, status.reason))
                await self._keep(told)

    async def joined(self, people: Sequence[tuple[Alias, ...]]) -> None:
        await self._desk.joined(people)

    async def preferences(self, preferences: Sequence[Preference]) -> None:
        for one in preferences:
            await self._wish(one.contact, "marketing", one.wanted, "their settings in WhatsApp", one.at_us)

    async def events(self, events: Sequence[AccountEvent]) -> None:
        for event in events:
            row = self.templates.event(event, self._clock_us()) if "template" in event.field else None
            if row is None:
                await self._keep(self.numbers.event(event))
                continue
            good = row.status in ("APPROVED", "PENDING")
            why = "" if row.reason in ("", "NONE") else f": {row.reason}"
            text = f"Template {row.name} ({row.language}) is {row.status}{why}."
            told = EventRow(event.at_us, "whatsapp", row.name, "info" if good else "warning", event.field, text)
            await self._store.write(lambda tx, r=row: rows.put_templates(tx, [r]))  # type: ignore[misc]
            await self._keep(Told((), (told,)))

    async def _wish(self, contact: str, scope: str, wanted: bool, source: str, at_us: int) -> None:
        await self._store.write(lambda tx: rows.put_consent(tx, "whatsapp", contact, scope, wanted, source, at_us))

    async def _keep(self, told: Told) -> None:
        if told.numbers or told.events:

            def keep(tx: Tx) -> None:
                rows.put_numbers(tx, list(told.numbers))
                rows.add_events(tx, list(told.events))

            await self._store.write(keep)


class _NoEntry:
    """Nobody but us writes anything down."""

    def leaving(self, tx: Tx) -> bool:
        return True

    def left(self, tx: Tx, message_id: str) -> None:
        pass


def _names(message: Inbound) -> set[str]:
    """Every name under which we may later write to this person."""
    return {message.sender} | {alias.value.lstrip("+") for alias in message.aliases}
