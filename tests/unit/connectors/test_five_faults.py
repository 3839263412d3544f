"""Five faults of twelve kinds of system, each on its real server: the conversation goes on with an honest sentence, and
the work is done later, once, or handed over to a person. docs/reference/connectors.md has the table."""

import re
import tomllib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from twelve import FAULTS, SYSTEMS, System, table
from world import LISBON, World, said, text

from realservers.wire import Wire
from waterline.agents.agent import TurnInput
from waterline.connectors.run import Record
from waterline.connectors.systems import Systems
from waterline.core.app_spec import Connection
from waterline.core.conversation import Effect, Outbound, Turn
from waterline.core.conversing import Conversing
from waterline.store import handoffs

ROOT = Path(__file__).parents[3]
TEXTS = tomllib.loads((ROOT / "examples/school/flows/visit.toml").read_text("utf-8"))["texts"]["en"]
SAYS = {"late": TEXTS["late"], "failed": TEXTS["failed"], "done": "It is done.", "refused": "They say no."}
RULES = Conversing(quiet_s=0.05, longest_quiet_s=0.3, late_s=0.3, give_up_s=7 * 86_400, turn_s=60)
PATIENCE_S = 120.0
LATER = ("slow", "down")  # kinds after which it is tried again

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # the first time on a machine, a database is initialised
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),
    pytest.mark.filterwarnings("ignore:t.*Map is deprecated:DeprecationWarning"),
]


class Case:
    def __init__(self, system: System, folder: Path, fault: str) -> None:
        self.system, self.fault = system, fault
        self.kind = system.expected.get(fault, "data" if fault == "dirty" else fault)
        self.records: list[Record] = []
        declared = {"system": Connection(system.kind, system.parameters, system.files)}
        self.systems = Systems(declared, lambda name, wanted: system.settings, self.records.append)
        self.ready = self.systems.ready("system")
        system.prepare(self.ready.connector)
        self.manifest = self.ready.manifest
        self.world = World(folder, self.answer, RULES)
        self.world.branches = [replace(LISBON, scope={"system": system.scope.place}, timezone=system.scope.timezone)]
        self.world.system = self.systems  # type: ignore[assignment]
        self.ready.clock = lambda: self.world.clock_us() / 1e6
        self.patience(0.5 if fault == "slow" else PATIENCE_S)
        self.world.open()

    def patience(self, seconds: float) -> None:
        """How long an operation may take, far beyond any stall of this machine where that is not what is tried."""
        connector: Any = self.ready.connector
        few = {"timeout_s": seconds, "retries": 0}
        operations = tuple(replace(one, **few) for one in self.manifest.operations)
        connector.manifest = replace(self.manifest, operations=operations)

    def answer(self, given: TurnInput) -> Turn:
        effects: list[Effect] = []
        for message in given.messages:
            if message.outcome is not None:
                effects.append(Effect(f"said-{message.outcome.state}", Outbound(SAYS[message.outcome.state])))
            elif message.text == "please":
                operation, arguments = self.system.act(self.fault)
                effects.append(Effect("act", None, "system", operation, arguments, "act"))
            else:
                effects.append(Effect("answer", Outbound(f"About {message.text}: yes")))
        assert said(given)
        return Turn(given.state, tuple(effects))

    @property
    def texts(self) -> list[str]:
        return self.world.phone.texts

    async def heard(self, sentence: str) -> None:
        await self.world.until(lambda: sentence in self.texts, PATIENCE_S)


@pytest.fixture(params=SYSTEMS, ids=lambda made: made.kind)
def system(
    request: pytest.FixtureRequest, wire_to: Callable[[int], Wire], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    made = request.param(request, wire_to, tmp_path_factory.mktemp("twelve"))
    yield made
    made.stop()


@pytest.fixture(params=FAULTS)
async def case(request: pytest.FixtureRequest, system: System, tmp_path: Path) -> AsyncIterator[Case]:
    await system.begin()
    getattr(system, request.param)()
    made = Case(system, tmp_path / "world", request.param)
    yield made
    await made.world.close()
    await made.systems.close()


async def test_the_conversation_goes_on_and_the_work_is_done_later_or_handed_over(case: Case) -> None:
    world, system = case.world, case.system
    await world.desk.inbound([text("please")])
    if case.kind == "done":  # it stops nothing
        await case.heard(SAYS["done"])
    elif case.kind in LATER:
        await case.heard(SAYS["late"])
        await goes_on(case)
        await world.until(lambda: case.records, PATIENCE_S)
        case.patience(PATIENCE_S)
        system.mend(case.fault)
        await done_later(case)
        assert system.held() == 1
    else:
        await case.heard(SAYS["failed"])
        await goes_on(case)
        assert SAYS["done"] not in case.texts
    queue = world.store.read_sync(lambda tx: handoffs.queue(tx, "school", "lisbon"))
    if case.kind in ("done", *LATER):
        assert queue == []
    else:
        [row] = queue
        assert (row.reason, f"system.{case.manifest.operations[0].name}"[:7] in row.summary) == ("failed_effect", True)
        assert not re.search("wrong-password|secret-42|correct-horse", row.summary)
    assert case.records[0].outcome == case.kind, case.world.effects()[-1].reason
    assert case.texts.count(SAYS["late"]) <= 1, "said once"


async def goes_on(case: Case) -> None:
    """While the system is as it is."""
    await case.world.desk.inbound([text("the fees")])
    await case.heard("About the fees: yes")


async def done_later(case: Case) -> None:
    for _ in range(20):
        case.world.skip_us += 400_000_000  # tried again at the latest after five minutes
        calls = len(case.records)
        await case.world.until(lambda calls=calls: len(case.records) > calls or SAYS["done"] in case.texts, PATIENCE_S)
        await case.world.idle()
        if SAYS["done"] in case.texts:
            return
    raise AssertionError(case.records)


def test_the_reference_page_has_what_is_shown_here_of_all_twelve() -> None:
    page = (ROOT / "docs/reference/connectors.md").read_text("utf-8")
    assert len(table().splitlines()) == 2 + 12
    assert table() in page, "copy twelve.table() into docs/reference/connectors.md"
