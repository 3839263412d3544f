"""The channels of a server, made from its settings: only those that are set, and none before an app needs one."""

from collections.abc import Callable, Sequence
from typing import Protocol

from waterline.channels.base import Channel
from waterline.channels.email import Email, Mailbox
from waterline.channels.fees import Fees, list_prices
from waterline.channels.graph import MEDIA_HOST, Graph, GraphAccess
from waterline.channels.numbers import Numbers
from waterline.channels.webchat import Webchat
from waterline.channels.whatsapp import Owner, WhatsApp
from waterline.channels.whatsapp_webhook import MOST_BODY, Webhook
from waterline.control.channels import LineState
from waterline.core.app_spec import AppSpec
from waterline.core.channel_prices import MessagePrices
from waterline.core.channels import EmailPolicy, WebchatPolicy, WhatsAppPolicy
from waterline.core.conversation import Alias, Inbound, Status
from waterline.core.egress import Egress
from waterline.core.web import Door
from waterline.settings import Settings
from waterline.store.db import Store


class Desk(Protocol):
    async def inbound(self, messages: Sequence[Inbound]) -> None: ...
    async def statuses(self, statuses: Sequence[Status]) -> None: ...
    async def joined(self, people: Sequence[tuple[Alias, ...]]) -> None: ...


class Opened(Channel, Protocol):
    def start(self) -> None: ...
    async def stop(self) -> None: ...


class Channels:
    """`specs`: the environment records in force. `doors` are for the API's server."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        desk: Desk,
        specs: Callable[[], Sequence[AppSpec]],
        clock_us: Callable[[], int],
        count: Callable[[str], None],
        digest_key: bytes,
    ) -> None:
        self._specs = specs
        self._clock_us = clock_us
        self._read_from: tuple[AppSpec, ...] = ()
        self._owners: dict[tuple[str, str], tuple[AppSpec, str]] = {}
        self._sharing = 0  # branches with a number: they share the portfolio's limit
        self._prices: dict[str, tuple[AppSpec, MessagePrices]] = {}
        self._text = list_prices()
        self.doors: dict[str, Door] = {}
        self.opened: list[Opened] = []
        self.whatsapp: WhatsApp | None = None
        if settings.whatsapp_token:
            self.whatsapp = self._whatsapp(settings, store, desk, clock_us, count, digest_key)
            self.opened.append(self.whatsapp)
        webchat = Webchat(inbox=desk, store=store, policy=self._chat, clock_us=clock_us, secret=digest_key)
        self.opened.append(webchat)
        self.doors["/chat/"] = Door(webchat)
        if settings.email_address:
            self.opened.append(self._email(settings, store, desk, clock_us))

    def start(self) -> None:
        for channel in self.opened:
            channel.start()

    async def stop(self) -> None:
        for channel in self.opened:
            await channel.stop()

    def state(self) -> LineState:
        """For the console."""
        mailbox = next((c.trouble for c in self.opened if isinstance(c, Email)), "")
        if self.whatsapp is None:
            return LineState(mailbox=mailbox)
        numbers = self.whatsapp.numbers
        return LineState(
            True, numbers.paces(), numbers.begins.limit, numbers.begins.by_branch(self._clock_us()), mailbox
        )

    # --- one channel each ----------------------------------------------------------------------------------------

    def _whatsapp(
        self,
        settings: Settings,
        store: Store,
        desk: Desk,
        clock_us: Callable[[], int],
        count: Callable[[str], None],
        digest_key: bytes,
    ) -> WhatsApp:
        policies = [policy for spec in self._specs() if (policy := spec.channels.whatsapp) is not None]
        rate = max((policy.messages_per_second for policy in policies), default=80)
        moved = settings.whatsapp_moved
        back = {theirs: ours for ours, theirs in moved.items()}
        whatsapp = WhatsApp(
            graph=Graph(
                GraphAccess(
                    settings.whatsapp_url,
                    settings.whatsapp_token,
                    settings.whatsapp_version,
                    tuple(filter(Egress(settings.egress_hosts).allows, (MEDIA_HOST,))),
                )
            ),
            store=store,
            numbers=Numbers(rate, clock_us, count, self._reserve),
            fees=Fees(store, clock_us, self._policy, self._prices_of),
            owner=self._owner,
            policy=self._policy,
            desk=desk,
            clock_us=clock_us,
            digest_key=digest_key,
            accounts=[a.strip() for a in settings.whatsapp_accounts.split(",") if a.strip()],
            moved=lambda address: moved.get(address, address),
        )
        hook = Webhook(
            settings.whatsapp_verify_token,
            [s.strip() for s in settings.whatsapp_app_secret.split(",")],
            whatsapp,
            clock_us,
            count,
            address_of=lambda number: back.get(number, number),
        )
        self.doors["/webhooks/whatsapp"] = Door(hook, MOST_BODY)
        return whatsapp

    def _email(self, settings: Settings, store: Store, desk: Desk, clock_us: Callable[[], int]) -> Email:
        address = settings.email_address.lower()
        user = settings.email_user or address
        mailbox = Mailbox(address, settings.email_imap, settings.email_smtp, user, settings.email_password)
        every_s = settings.email_every_s
        return Email(mailbox=mailbox, desk=desk, store=store, policy=self._mail, clock_us=clock_us, every_s=every_s)

    # --- what apps declare ---------------------------------------------------------------------------------------

    def _at(self, channel: str, address: str) -> tuple[AppSpec, str] | None:
        """The app and the branch that have this address; the first to declare it has it."""
        specs = tuple(self._specs())
        if len(specs) != len(self._read_from) or any(a is not b for a, b in zip(specs, self._read_from, strict=True)):
            self._read_from, self._owners = specs, {}
            for spec in specs:
                for branch in spec.branches:
                    for kind, addresses in branch.addresses.items():
                        for one in addresses:
                            self._owners.setdefault((kind, one), (spec, branch.id))
            owners = {(spec.name, branch) for (kind, _), (spec, branch) in self._owners.items() if kind == "whatsapp"}
            self._sharing = len(owners)
        return self._owners.get((channel, address))

    def _owner(self, number: str) -> Owner | None:
        found = self._at("whatsapp", number)
        if found is None:
            return None
        return Owner(found[0].name, found[1], self._sharing)

    def _policy(self, app: str) -> WhatsAppPolicy:
        declared = (spec.channels.whatsapp for spec in self._specs() if spec.name == app)
        return next(declared, None) or WhatsAppPolicy()

    def _reserve(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for spec in self._specs():
            found |= spec.channels.whatsapp.reserve if spec.channels.whatsapp is not None else {}
        return found

    def _prices_of(self, app: str) -> MessagePrices:
        spec = next((s for s in self._specs() if s.name == app), None)
        known = self._prices.get(app)
        if known is None or known[0] is not spec:
            made = MessagePrices(self._text, self._policy(app).prices)
            if spec is None:
                return made
            known = self._prices[app] = (spec, made)
        return known[1]

    def _chat(self, site: str) -> WebchatPolicy | None:
        found = self._at("webchat", site)
        return (found[0].channels.webchat or WebchatPolicy()) if found is not None else None

    def _mail(self, address: str) -> EmailPolicy | None:
        found = self._at("email", address)
        return (found[0].channels.email or EmailPolicy()) if found is not None else None
