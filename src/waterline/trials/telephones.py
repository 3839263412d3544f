"""Simulated WhatsApp as a process of its own, and people with telephones: they answer what a flow asks them for."""

import asyncio
import contextlib
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from waterline.core.branch import Branch
from waterline.core.errors import WaterlineError
from waterline.core.flow import Flow, Slot
from waterline.evals.personas import said_in
from waterline.providers.upstream import Origin, Pool

START_S = 30.0
LOOK_EVERY_S = 0.1
ANSWER_S = 60.0  # without an answer for so long: none comes
MORE_S = 20.0  # after a yes, until it is said to be done
MOST_MESSAGES = 14
TOKEN, SECRET = "trial-token", "trial-secret"
GREETINGS = {"en": "hello", "pt": "olá", "es": "hola"}
WITHOUT_FLOW = ("When can we come and visit?", "Thank you")
# What ends a talk, whether it went well or not.
ENDS = ("booked", "already_booked", "failed", "handover", "no_slots", "slots_down", "stopped")


class TelephonesFailed(WaterlineError):
    """The simulated WhatsApp did not start, or does not answer."""


class Heard(Struct, frozen=True):
    """A message on a telephone. `at_s`: Unix time."""

    number: str
    to: str
    text: str
    at_s: float


class Telephones:
    def __init__(self, folder: Path, numbers: dict[str, str], seed: int) -> None:
        """`numbers`: our numbers' ids, with their names."""
        self.address = ""
        self.heard: dict[str, list[Heard]] = defaultdict(list)  # by telephone
        self.sent: dict[str, int] = defaultdict(int)  # by our number
        self.late: list[float] = []  # by how much each look of ours was late; seconds
        self._folder = folder
        self._script = {
            "token": TOKEN, "app_secret": SECRET, "limit": 0, "seed": seed, "phones": [], "templates": [],
            "deliveries": {"duplicate": 0.02, "batch": 10},
            "numbers": [{"id": number, "display": name} for number, name in numbers.items()],
        }  # fmt: skip
        self._news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._process: asyncio.subprocess.Process | None = None
        self._pool: Pool | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What a server needs to use them."""
        return {
            "WATERLINE_WHATSAPP_URL": self.address, "WATERLINE_WHATSAPP_TOKEN": TOKEN,
            "WATERLINE_WHATSAPP_APP_SECRET": SECRET,
        }  # fmt: skip

    async def __aenter__(self) -> "Telephones":
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "whatsapp.json"
        file.write_text(json.dumps(self._script))
        with (self._folder / "whatsapp.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "waterline.channels.simulated", "--script", str(file), "--until-stdin-closes",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_S):
                line = await self._process.stdout.readline()
            self.address = json.loads(line)["address"]
        except (TimeoutError, ValueError):
            await self.__aexit__()
            raise TelephonesFailed("The simulated WhatsApp of the drill did not start. Try again.") from None
        self._pool = Pool(Origin.from_url(self.address), max_conns=32)
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError, WaterlineError):
                await self._looking
        if self._pool is not None:
            self._pool.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def deliver_to(self, webhook: str) -> None:
        await self._ask("POST", "/sim/settings", {"webhook": webhook})

    async def say(self, who: str, number: str, text: str) -> None:
        await self._ask("POST", f"/sim/phones/{who}", {"do": "say", "number": number, "text": text})

    async def delivered(self) -> int:
        """Web hooks that were taken."""
        return int((await self._ask("GET", "/sim/stats"))["delivered"])

    async def hears(self, who: str, messages: int, within_s: float) -> bool:
        """Whether so many have come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while len(self.heard[who]) < messages:
                    self._news[who].clear()
                    await self._news[who].wait()
        return len(self.heard[who]) >= messages

    async def _look(self) -> None:
        seen = 0
        while True:
            for one in await self._ask("GET", f"/sim/sent?after={seen}"):
                seen += 1
                heard = Heard(one["number"], one["to"], one["text"], one["at_s"])
                self.heard[heard.to].append(heard)
                self.sent[heard.number] += 1
                self._news[heard.to].set()
            asleep = time.monotonic()
            await asyncio.sleep(LOOK_EVERY_S)
            self.late.append(time.monotonic() - asleep - LOOK_EVERY_S)

    async def _ask(self, method: str, path: str, told: dict[str, Any] | None = None) -> Any:
        assert self._pool is not None
        body = json.dumps(told).encode() if told is not None else b""
        head = self._pool.head(method, path, [(b"content-type", b"application/json")])
        response = await self._pool.send(head, body, first_byte=30, idle=30, total=60, idempotent=method == "GET")
        answer = await response.read(64 << 20)
        if response.status != 200:
            raise TelephonesFailed(f"The simulated WhatsApp of the drill refused {path}: {answer[:200]!r}")
        return json.loads(answer)


class Person(Struct):
    """Somebody who writes to a branch, and what they met with. `took_s`: from each message to its first answer."""

    branch: Branch
    who: str
    took_s: list[float] = field(default_factory=list)
    said: int = 0
    unanswered: str = ""  # the message that nobody answered
    confirmed: bool = False  # said yes to what was to be done

    async def live(self, phones: Telephones, flow: Flow | None) -> None:
        number, language = self.branch.addresses["whatsapp"][0], self.branch.languages[0]
        texts = iter(WITHOUT_FLOW)
        text: str | None = GREETINGS.get(language, "hello")
        while text is not None and self.said < MOST_MESSAGES:
            before, began = len(phones.heard[self.who]), time.time()
            await phones.say(self.who, number, text)
            self.said += 1
            if not await phones.hears(self.who, before + 1, ANSWER_S):
                self.unanswered = text
                return
            self.took_s.append(max(0.0, phones.heard[self.who][before].at_s - began))
            text = next(texts, None) if flow is None else await self._reply(phones, flow, before)

    async def _reply(self, phones: Telephones, flow: Flow, before: int) -> str | None:
        """To what was heard since the last message; None: the talk is over."""
        while True:
            heard = "\n".join(h.text for h in phones.heard[self.who][before:])
            if any(said_in(heard, texts[end]) for texts in flow.texts.values() for end in ENDS):
                return None
            found = answer(flow, heard)
            if found is not None:
                self.confirmed = self.confirmed or found.confirms
                return found.text
            if not await phones.hears(self.who, len(phones.heard[self.who]) + 1, MORE_S):
                return None


class Reply(Struct, frozen=True):
    text: str
    confirms: bool = False


def answer(flow: Flow, heard: str) -> Reply | None:
    """What this person says to a flow's question; None: nothing was asked."""
    for language, texts in flow.texts.items():
        if said_in(heard, texts["confirm"]):
            return Reply(texts["yes"], confirms=True)
        if said_in(heard, texts["offer"]) or said_in(heard, texts["offer_near"]):
            return Reply("1")
        for slot in reversed(flow.slots):
            if said_in(heard, texts.get(f"ask_{slot.name}", "")):
                return Reply(_value(flow, slot, language))
    return None


def _value(flow: Flow, slot: Slot, language: str) -> str:
    texts = flow.texts[language]
    match slot.kind:
        case "name":
            return "Ana Sousa"
        case "age":
            low, high = slot.low or 0, slot.high or 99
            return str(min(max(6, low), high))
        case "grade":
            return flow.grades[0].labels.get(language, flow.grades[0].id) if flow.grades else "1"
        case "phone":
            return "+351 912 345 678"
        case "email":
            return "ana@example.org"
        case "yes_no":
            return texts["yes"]
        case "choice":
            return texts.get(f"{slot.name}_{slot.options[0]}", slot.options[0])
        case "appointment":
            return "1"
