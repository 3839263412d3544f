"""Everything that conversations need, wired: made when the first branch with an address is declared, and not before."""

from collections.abc import Callable

from msgspec import Struct

from waterline.access.roles import Principal
from waterline.agents.agent import Agent, AskFailed, MakeAgent, Tools
from waterline.agents.drain import Drain
from waterline.agents.effects import Entry, NotSent, Performer, Sends
from waterline.agents.flow import flow_agent
from waterline.agents.inbox import Desk
from waterline.agents.places import KnownPlaces, Place
from waterline.agents.plain import PlainAgent
from waterline.agents.tools import Fetch, Systems, TurnTools
from waterline.channels.base import Channel, KeepsBook, KeepsFiles, SendFault, Withheld
from waterline.core.app_spec import AppSpec
from waterline.core.conversation import Inbound, Outbound
from waterline.core.ids import keyed_digest
from waterline.core.release import Release
from waterline.gateway.deps import Deps
from waterline.gateway.route import Served
from waterline.store.conversations import Conversation
from waterline.store.db import Store
from waterline.store.effects import REPLY

KEY_ID = "conversations"  # what traces name as their key
Find = Callable[[Principal, str, str], Served]


class Thought(Struct):
    agent: Agent
    tools: Tools
    release: str
    subject: str
    traces: list[str]


class Conversations:
    """`desk` is what channels hand messages to."""

    def __init__(
        self,
        *,
        store: Store,
        deps: Deps,
        find: Find,
        systems: Callable[[str], Systems | None],
        url: Callable[[str], str],
        make_agent: MakeAgent | None = None,
        late: Callable[[], bool] = lambda: False,
    ) -> None:
        """`late`: whether this process is, so that one branch's flood must not have it to itself."""
        self._deps = deps
        self._find = find
        self._systems = systems
        self._make_agent = make_agent or agent_of
        self._agents: dict[str, Agent] = {}  # by release
        self._channels: dict[str, Sends] = {}
        self._files: dict[str, Fetch] = {}
        self._specs: tuple[AppSpec, ...] = ()
        self._places = KnownPlaces()
        self.performer = Performer(
            store=store,
            channels=self._channels,
            systems=systems,
            places=self.places,
            clock_us=deps.clock_us,
            wake=lambda conversation: self.drain.wake(conversation),
            count=deps.metrics.count,
            late=late,
        )
        self.drain = Drain(
            store=store,
            places=self.places,
            think=self.think,
            performer=self.performer,
            clock_us=deps.clock_us,
            count=deps.metrics.count,
            url=url,
            late=late,
        )
        self.desk = Desk(store, self.places, deps.clock_us, deps.next_id, self.drain.wake)

    def add(self, channel: Channel) -> None:
        """From now on replies leave through it."""
        if isinstance(channel, KeepsFiles):
            self._files[channel.kind] = fetcher(channel)
        self._channels[channel.kind] = BookedSender(channel) if isinstance(channel, KeepsBook) else Sender(channel)

    def start(self) -> None:
        self.drain.start()

    def woken(self, conversation: str) -> None:
        """A person did something in it."""
        self.performer.kick(conversation, REPLY)
        self.drain.wake(conversation)

    async def stop(self) -> None:
        await self.drain.stop()

    def places(self) -> KnownPlaces:
        """As the environment records in force have it."""
        specs = tuple(app.spec for app in self._deps.apps.values())
        if len(specs) != len(self._specs) or any(a is not b for a, b in zip(specs, self._specs, strict=True)):
            self._specs = specs
            self._places = KnownPlaces(
                Place(spec.name, spec.environments[0], branch, spec.conversations)
                for spec in specs
                for branch in spec.branches
            )
        return self._places

    def think(self, at: Conversation, place: Place) -> Thought:
        """The agent of the release that this conversation is on, and its tools. Raises UnknownModel."""
        principal = Principal(KEY_ID, "app", KEY_ID, at.app, at.env, branch=at.branch)
        served = self._find(principal, at.id, at.id)
        agent = self._agents.get(served.id)
        if agent is None:
            if len(self._agents) > 32:
                self._agents.clear()
            agent = self._agents[served.id] = self._make_agent(served.release)
        subject = keyed_digest(self._deps.digest_key, f"person:{at.identity}".encode())
        tools = TurnTools(
            deps=self._deps,
            served=served,
            principal=principal,
            conversation=at.id,
            subject=subject,
            branch=place.branch,
            systems=self._systems(at.app),
            deadline_ms=int(place.rules.turn_s * 1000),
            fetch=self._files.get(at.channel),
        )
        return Thought(agent, tools, served.id, subject, tools.traces)


class Sender(Sends):
    """A channel, as the performer knows one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.sends_once = channel.sends_once
        self.echo_s = channel.echo_s

    async def send(self, address: str, to: str, message: Outbound, key: str, window_open: bool) -> str:
        try:
            return (await self._channel.send(address, to, message, key, window_open)).message_id
        except SendFault as fault:
            raise NotSent(fault.kind, fault.message, fault.retry_after_s, fault.code) from fault


class BookedSender(Sender):
    """A channel that keeps a book: what the performer writes down is in its transactions."""

    _channel: KeepsBook  # type: ignore[assignment]

    async def deliver(self, entry: Entry, store: Store) -> None:
        try:
            await self._channel.send_booked(entry.address, entry.to, entry.message, entry.key, entry.window_open, entry)
        except Withheld:
            pass
        except SendFault as fault:
            raise NotSent(fault.kind, fault.message, fault.retry_after_s, fault.code) from fault


def fetcher(channel: KeepsFiles) -> Fetch:
    async def fetch(message: Inbound, most: int) -> bytes:
        assert message.media is not None
        try:
            return await channel.fetch(message.media, most)
        except SendFault as fault:
            raise AskFailed(fault.message, code="no_recording", again=fault.kind == "later") from fault

    return fetch


def agent_of(release: Release) -> Agent:
    """The flow that the release declares; without one, its main route answers."""
    return flow_agent(release) or PlainAgent("main" if "main" in release.routes else next(iter(release.routes)))
