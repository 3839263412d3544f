"""The twelfth of the five faults' systems: WhatsApp, against its simulator. A reply is the act here: it leaves later,
once and in order, or a person is told that it never will."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from phones import ANA, WhatsAppSim
from twelve import FAULTS, WHATSAPP
from world import LISBON, World, said, text

from realservers.wire import Wire
from waterline.agents.agent import TurnInput
from waterline.agents.effects import NotSent, Sends
from waterline.channels import graph
from waterline.channels.base import Channel
from waterline.channels.opened import Channels
from waterline.conversations import Sender
from waterline.core.app_spec import AppSpec
from waterline.core.conversation import Effect, Outbound, Turn
from waterline.core.conversing import Conversing
from waterline.settings import load
from waterline.store import handoffs

NUMBER = LISBON.addresses["whatsapp"][0]
RULES = Conversing(quiet_s=0.05, longest_quiet_s=0.3, give_up_s=7 * 86_400, turn_s=60)
CODES = {"schema": 100, "dirty": 131026}  # the API no longer takes what we send; there is no such person on WhatsApp

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Line(Sends):
    """The real channel; `kinds` is what became of each sending."""

    sends_once = False
    echo_s = 0.5

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.kinds: list[str] = []
        self.channel: Channel | None = None

    async def send(self, address: str, to: str, message: Outbound, key: str, window_open: bool) -> str:
        assert self.channel is not None
        try:
            sent = await Sender(self.channel).send(address, to, message, key, window_open)
        except NotSent as fault:
            self.kinds.append(fault.kind)
            raise
        except Exception:
            self.kinds.append("unsure")
            raise
        self.sent.append(key)
        self.kinds.append("sent")
        return sent


def answer(given: TurnInput) -> Turn:
    return Turn(b"", (Effect("reply", Outbound(f"About {', '.join(said(given))}: yes")),))


class Chat:
    """A person's conversation with the school, over a wire that can be spoilt."""

    def __init__(self, folder: Path, wire_to: Callable[[int], Wire]) -> None:
        self.folder = folder
        self.phone = WhatsAppSim(folder / "sim", numbers=[{"id": NUMBER}], phones=[{"wa_id": ANA}])
        self.wire = wire_to(int(self.phone.address.rpartition(":")[2]))
        self.line = Line()
        self.world = World(folder / "world", answer, RULES)
        self.world.phone = self.line  # type: ignore[assignment]
        self.world.open(look=False)
        self.connect()
        self.world.drain.start()

    def connect(self, token: str = "simulated-token") -> None:
        """As a restart with these settings does."""
        told = {"HOME": str(self.folder), "WATERLINE_WHATSAPP_URL": f"http://127.0.0.1:{self.wire.port}"}
        world = self.world
        spec = AppSpec(name="school", environments=("production",), branches=(LISBON,))
        made = Channels(
            load({**told, "WATERLINE_WHATSAPP_TOKEN": token}, self.folder), store=world.store, desk=world.desk,
            specs=lambda: [spec], clock_us=world.clock_us, count=lambda name: None, digest_key=b"k" * 32,
        )  # fmt: skip
        self.line.channel = made.whatsapp

    async def says(self, said: str) -> None:
        self.phone.say(said, ANA, NUMBER)
        await self.world.desk.inbound([text(said, sender=ANA, address=NUMBER)])

    @property
    def replies(self) -> list[str]:
        return self.phone.replies(ANA, NUMBER)

    async def mended(self, fault: str) -> None:
        match fault:
            case "slow":
                self.wire.restore()
            case "down":
                self.wire.reopen()
            case _:
                self.connect()
        for _ in range(20):
            if len(self.replies) == 2:
                return
            self.world.skip_us += 400_000_000
            sent = len(self.line.kinds)
            await self.world.until(lambda sent=sent: len(self.line.kinds) > sent, 60)
            await self.world.idle()


@pytest.fixture
async def chat(tmp_path: Path, wire_to: Callable[[int], Wire]) -> AsyncIterator[Chat]:
    made = Chat(tmp_path, wire_to)
    yield made
    await made.world.close()
    made.phone.stop()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_reply_leaves_later_once_and_in_order_or_a_person_is_told(
    chat: Chat, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    match fault:
        case "slow":
            monkeypatch.setattr(graph, "FIRST_BYTE_S", 0.5)
            chat.wire.silent = True
        case "down":
            chat.wire.close()
        case "credentials":
            chat.connect("wrong-password")
        case _:
            chat.phone.do("settings", faults=[{"code": CODES[fault], "times": 1}])
    await chat.says("hello")
    await chat.world.until(lambda: chat.line.kinds, 60)
    assert chat.line.kinds[0] == WHATSAPP[fault]
    await chat.says("the fees")
    queue: Any = lambda: chat.world.store.read_sync(lambda tx: handoffs.queue(tx, "school", "lisbon"))  # noqa: E731
    if WHATSAPP[fault] == "never":
        await chat.world.until(lambda: chat.replies, 60)
        assert chat.replies == ["About the fees: yes"]
        [row] = queue()
        assert row.reason == "failed_effect"
        return
    monkeypatch.setattr(graph, "FIRST_BYTE_S", 60.0)
    await chat.mended(fault)
    assert chat.replies == ["About hello: yes", "About the fees: yes"]
    assert queue() == []
