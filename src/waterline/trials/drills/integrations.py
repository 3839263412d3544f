"""Integrations: every connector healthy, slow, down, with wrong credentials, a changed schema, dirty data; and kill -9
of the server while it acts there. The talk goes on honestly, the work is done later or by a person, and the system's
books hold it once.

The connectors speak their own protocols to systems that the drill plays, and to no other: what cannot be played is
taken out, and said. The release's own flow talks over a simulated WhatsApp with people who answer what it asks; each
has a branch of their own, and with it a part of every system, so that what one meets with is nobody else's.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Mapping
from itertools import count

import msgspec

from waterline.core.app_spec import AppSpec, Limits, encode_spec, ungated
from waterline.core.branch import Branch
from waterline.core.channels import Channels
from waterline.core.flow import Flow
from waterline.providers.simulated_script import Answer, Script, Target, Uniform
from waterline.settings.read import connector_variable
from waterline.trials.asking import CouldNotRun
from waterline.trials.busy import Busy
from waterline.trials.drills.integrations_found import DRILL, QUIET_S, Tried, facts, judged, met_with
from waterline.trials.instance import Instance
from waterline.trials.integration_people import Cell
from waterline.trials.load_line import Section
from waterline.trials.played import PLAYED
from waterline.trials.played.base import Played, place_name
from waterline.trials.played.server import POINTS, STATES, Armed, PlayedServer, State
from waterline.trials.sea import Sea
from waterline.trials.telephones import Telephones

WAVES_AT_ONCE = 2
SETTLED_S = 75.0  # after every system is well again
DONE = ("done", "failed", "refused", "dropped")


def not_applicable(spec: AppSpec) -> str:
    if not spec.connectors:
        return "not applicable: the app declares no connector"
    return "" if spec.branches else "not applicable: the app declares no branch, so nobody can write to it"


async def run(sea: Sea, played: Mapping[str, type[Played]] = PLAYED) -> Section:
    """`played`: by kind, what plays it."""
    if why := not_applicable(sea.spec):
        raise CouldNotRun(f"{why[0].upper()}{why[1:]}. Take the drill out of app.toml [trial] drills.")
    flow = next(iter(sea.release.flows.values()), None)
    if flow is None:
        raise CouldNotRun("The release has no flow, so nothing asks its connectors. Add flows/<name>.toml.")
    usable = {name: c for name, c in sea.spec.connectors.items() if c.kind in played}
    systems = {name: played[c.kind](c) for name, c in usable.items()}
    waves = planned(sea, flow, systems)
    tried = Tried(sea.spec, flow, sorted(usable), {name: tuple(s.writes) for name, s in systems.items()})
    sea.teller.doing("people", sum(map(len, waves)))
    talk = Target(first_token_ms=Uniform(20.0, 80.0), per_token_ms=0.0, answer=Answer(text="word " * 30))
    turns = asyncio.Semaphore(WAVES_AT_ONCE)
    began, busy = time.monotonic(), Busy()
    async with sea.simulated(Script(seed=sea.seed, default=talk)) as provider:

        async def one(number: int, cells: list[Cell]) -> None:
            fresh = {name: played[c.kind](c) for name, c in usable.items()}
            async with turns:
                await _wave(sea, tried, number, cells, fresh, provider.address)

        async with asyncio.TaskGroup() as group:
            for number, cells in enumerate(waves):
                group.create_task(one(number, cells))
    tried.seconds, tried.turn.others = time.monotonic() - began, busy.others()
    section = Section(DRILL, calls_simulated=sum(c.said for c in tried.cells))
    section.verdicts, section.facts, section.tables = judged(tried), facts(tried), [met_with(tried)]
    section.excludes = [
        "the real systems: their addresses were replaced by systems that the drill plays",
        "operations that no flow asks for, and those after a booking (moved, cancelled)",
        "e-mail and the web chat (people wrote on WhatsApp)",
    ]
    return section


# --- what is planned -------------------------------------------------------------------------------------------------


def planned(sea: Sea, flow: Flow, systems: Mapping[str, Played]) -> list[list[Cell]]:
    """Waves, each with an instance of its own. Who meets what is wrong for all branches at once is alone: credentials,
    and everything of a system whose requests do not say whose part they are about."""
    pattern, numbers = _pattern(sea.spec, flow), count()
    again = 1 if sea.short else sea.pace.people

    def cell(connector: str, state: State, acting: bool = False, armed: Armed | None = None) -> Cell:
        number = next(numbers)
        place = place_name(number)
        branch = msgspec.structs.replace(
            pattern, id=place, name=f"Branch {place}", addresses={"whatsapp": (f"1{number:014d}",)},
            scope=dict.fromkeys(systems, place), closed=(),
        )  # fmt: skip
        return Cell(connector, state, place, branch, f"3519{number:08d}", acting, armed)

    def put(made: Cell, wave: list[Cell], with_others: bool) -> None:
        if with_others:
            wave.append(made)
        else:
            alone.append([made])

    together: list[Cell] = []
    alone: list[list[Cell]] = []
    kills: list[Cell] = []
    for name, system in systems.items():
        looks = flow.lookup is not None and flow.lookup.connector == name
        acts = [a for a in flow.actions if a.connector == name and a.when in ("known", "confirmed")]
        for state in STATES:
            # What is looked up first would never come to its act: there the trouble begins with the yes.
            needs = [False] * (looks or bool(acts)) + [True] * (looks and bool(acts) and state != "healthy")
            for acting in needs * again:
                put(cell(name, state, acting), together, system.scoped and state != "wrong credentials")
        wires = [w for a in acts for w in system.writes.get(a.operation, ())[-1 if sea.short else 0 :]]
        for wire in dict.fromkeys(wires[: 1 if sea.short else None]):
            for point in POINTS * again:
                put(cell(name, "healthy", armed=Armed(wire, point)), kills, system.scoped)
    return [wave for wave in (together, kills, *alone) if wave]


def _pattern(spec: AppSpec, flow: Flow) -> Branch:
    """The branch that all are made from."""
    found = next((b for b in spec.branches if b.visit_hours), spec.branches[0])
    if flow.lookup is not None and not found.visit_hours:
        raise CouldNotRun("No branch of the app has visit hours, so nobody could be offered a time. Declare them.")
    return found


def _spec(sea: Sea, cells: list[Cell], systems: Mapping[str, Played]) -> bytes:
    spec = msgspec.structs.replace(
        sea.spec, branches=tuple(c.branch for c in cells), channels=Channels(),
        limits=Limits(max_concurrency=sea.spec.limits.max_concurrency, timezone=sea.spec.limits.timezone),
        connectors={name: system.connection() for name, system in systems.items()},
        conversations=msgspec.structs.replace(sea.spec.conversations, quiet_s=QUIET_S), offered=(),
    )  # fmt: skip
    return ungated(encode_spec(spec))


# --- what is done ----------------------------------------------------------------------------------------------------


class Lives:
    """An instance that is killed and started again. `number`: which life it is in."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.number = 0
        self._one = asyncio.Lock()

    async def kill(self, life: int) -> None:
        """Who asks in a life that has ended meanwhile, with the same act under way, has what was wanted."""
        async with self._one:
            if life == self.number:
                await self.instance.kill9()
                self.number += 1
                await self.instance.start()


async def _wave(
    sea: Sea, tried: Tried, number: int, cells: list[Cell], systems: Mapping[str, Played], provider: str
) -> None:
    folder = sea.folder / f"wave{number}"
    phones = Telephones(folder / "whatsapp", {c.branch.addresses["whatsapp"][0]: c.place for c in cells}, sea.seed)
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        await stack.enter_async_context(phones)
        lives: list[Lives] = []

        async def kill(life: int) -> None:
            await lives[0].kill(life)

        servers = {n: PlayedServer(s, kill, lambda: lives[0].number if lives else 0) for n, s in systems.items()}
        for server in servers.values():
            await stack.enter_async_context(server)
            if len(cells) == 1:
                server.only = cells[0].place
        environ = dict(phones.environ)
        for name, server in servers.items():
            for setting, value in server.system.settings(server.url).items():
                environ[connector_variable(name, setting)] = value
        ours = sea.instance(
            f"wave{number}/instance", redirect=f"{provider}/{{route}}", environ=environ, listener=listener
        )
        lives.append(Lives(await stack.enter_async_context(ours)))
        await ours.install(sea.manifest, _spec(sea, cells, systems), sea.env)
        await phones.deliver_to(f"{ours.url}/webhooks/whatsapp")
        await _live(sea, tried, cells, phones, servers)
        await _settled(sea, ours, cells)
        for cell in cells:
            await _look_back(sea, ours, cell, servers)
        tried.cells += cells
        tried.turn.late_s = [*tried.turn.late_s, *phones.late]
        await ours.kill9()


async def _live(
    sea: Sea, tried: Tried, cells: list[Cell], phones: Telephones, servers: Mapping[str, PlayedServer]
) -> None:
    def trouble(cell: Cell) -> None:
        server = servers[cell.connector]
        if cell.armed is not None:
            server.armed[cell.place] = cell.armed
        server.put(cell.place, cell.state)

    def well(cell: Cell) -> None:
        servers[cell.connector].put(cell.place, "healthy")

    async def one(cell: Cell) -> None:
        await cell.live(phones, tried.flow, trouble, well)
        sea.teller.step()

    await asyncio.gather(*(one(cell) for cell in cells))
    for cell in cells:
        cell.look_back(phones, tried.flow)


async def _settled(sea: Sea, ours: Instance, cells: list[Cell]) -> None:
    """Until everything that was to be done is done or given up."""
    end = time.monotonic() + SETTLED_S
    while time.monotonic() < end:
        acts = await ours.ask("GET", "/api/acts", app=sea.spec.name, limit=500)
        if all(act["state"] in DONE for act in acts):
            break
        await asyncio.sleep(0.2)
    await ours.drained()


async def _look_back(sea: Sea, ours: Instance, cell: Cell, servers: Mapping[str, PlayedServer]) -> None:
    cell.acts = await ours.ask("GET", "/api/acts", app=sea.spec.name, branch=cell.place, limit=500)
    cell.handed = bool((await ours.ask("GET", "/api/handoffs", app=sea.spec.name, branch=cell.place))["rows"])
    told = [n for n, s in servers.items() if s.system.scoped or s.only == cell.place]  # others do not say whose it is
    cell.records = {name: servers[name].system.records(cell.place) for name in told}
    server = servers[cell.connector]
    cell.met = server.calls[cell.place] if cell.state == "healthy" else server.met[cell.place]
    cell.kills = server.killed[cell.place]
