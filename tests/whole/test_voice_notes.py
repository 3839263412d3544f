"""A voice note on WhatsApp, from a telephone to a flow: fetched, written down by the declared provider, paid, traced,
read like what is typed; and politely declined wherever that is not possible."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from phones import NUMBER, WhatsAppSim, until
from whole_app import App, Server

from waterline.core.app_spec import Limits, PriceOverride
from waterline.core.branch import Branch
from waterline.core.channels import Channels, WhatsAppPolicy
from waterline.core.conversing import Conversing
from waterline.core.flow import Flow, Slot, Voice
from waterline.core.release import Route
from waterline.providers.simulated_script import Fault, Target
from waterline.rollout.check import check
from waterline.trials import DRILLS

SCHOOL = Path(__file__).parents[2] / "examples" / "school"
RULES = Conversing(quiet_s=0.05, longest_quiet_s=0.2, late_s=60, turn_s=30)
POOR = "100000000000002"  # the number of an app that may spend a second's price a day
SECOND = 100_000  # nano-USD, of 0.006 USD a minute
PRICE = PriceOverride(model="ears", provider="simulated", input=0, output=0, audio_minute=6_000_000)


class Line:
    """Telephones, a server, and two apps that hear: one with money, one with nearly none."""

    def __init__(self, folder: Path, sim: Any) -> None:
        self.sim = sim
        sim.play()
        self.phones = WhatsAppSim(folder / "sim", numbers=[{"id": NUMBER}, {"id": POOR}])
        self.server = Server(
            folder / "data", f"{sim.address}/{{route}}",
            WATERLINE_WHATSAPP_URL=self.phones.address, WATERLINE_WHATSAPP_TOKEN="simulated-token",
            WATERLINE_WHATSAPP_APP_SECRET="simulated-secret", WATERLINE_WHATSAPP_VERIFY_TOKEN="verify me",
        )  # fmt: skip
        self.phones.do("settings", webhook=f"{self.server.url}/webhooks/whatsapp")
        self._app("school", NUMBER, Limits())
        self._app("poor", POOR, Limits(nano_usd_per_day=SECOND))

    def _app(self, name: str, number: str, limits: Limits) -> None:
        texts = check(SCHOOL, model_digests={"qwen2.5-coder-1.5b": "0" * 64}, known_drills=DRILLS).release.flows
        flow = Flow(
            "visit",
            ("en", "pt"),
            {language: texts["visit"].texts[language] for language in ("en", "pt")},
            (Slot("child_age", "age"), Slot("parent_name", "name")),
            voice=Voice("hear", longest_s=20),
        )
        app = App(
            self.server, name, {"hear": Route(provider="simulated", model="ears", retries=0)}, limits=limits,
            branches=(Branch("one", "One", languages=("en", "pt"), addresses={"whatsapp": (number,)}),),
            conversations=RULES, prices=(PRICE,), channels=Channels(whatsapp=WhatsAppPolicy()),
        )  # fmt: skip
        app.install(structs.replace(app.release, flows={"visit": flow}))

    def speaks(self, who: str, words: str, seconds: float = 0, number: str = NUMBER) -> str:
        """What the telephone shows in answer."""
        return self._answer(who, number, {"do": "voice", "text": words, "seconds": seconds, "number": number})

    def says(self, who: str, text: str, number: str = NUMBER) -> str:
        return self._answer(who, number, {"do": "say", "text": text, "number": number})

    def _answer(self, who: str, number: str, told: dict[str, Any]) -> str:
        before = len(self.phones.replies(who, number))
        self.phones.do(f"phones/{who}", **told)
        assert until(lambda: len(self.phones.replies(who, number)) > before, 60), self.server.log()[-3000:]
        return self.phones.replies(who, number)[-1]

    def conversation(self, who: str) -> dict[str, Any]:
        rows = self.server.ask("GET", "/api/conversations", limit=500)["rows"]
        at = next(row["id"] for row in rows if row["sender"] == who)
        found: dict[str, Any] = self.server.ask("GET", f"/api/conversations/{at}")
        return found

    def heard(self, app: str = "school") -> list[dict[str, Any]]:
        return [row for row in self.server.traces(app=app) if row["route"] == "hear"]

    def stop(self) -> None:
        self.server.stop()
        self.phones.stop()


@pytest.fixture(scope="module")
def line(sim: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    made = Line(tmp_path_factory.mktemp("voice"), sim)
    yield made
    made.stop()


def test_a_voice_note_is_written_down_shown_and_read_like_what_is_typed(line: Line) -> None:
    who = "351933000001"
    line.sim.play()
    said = line.speaks(who, "Olá, a minha filha tem cinco anos", 3.2)
    assert "🎤 “Olá, a minha filha tem cinco anos”" in said
    assert "Como se chama" in said  # in the language that was spoken, and the age is not asked for again
    found = line.conversation(who)
    assert found["slots"]["child_age"] == "5"
    [note] = [one for one in found["said"] if one["kind"] == "audio"]
    assert (note["who"], note["text"]) == ("user", "Olá, a minha filha tem cinco anos")
    line.phones.do(f"phones/{who}", do="voice", text="Rosa Lima", number=NUMBER)
    assert until(lambda: line.conversation(who)["slots"]["parent_name"] == "Rosa Lima", 30)


def test_what_it_costs_is_booked_by_the_second_and_traced_without_the_recording(line: Line) -> None:
    line.sim.play()
    before = len(line.heard())
    line.speaks("351933000002", "my son is seven", 4.5)
    rows = line.heard()
    assert len(rows) == before + 1
    trace = line.server.trace(rows[0]["id"])
    assert rows[0]["cost_nano_usd"] == 5 * SECOND
    assert rows[0]["outcome"] == "answered"
    told = str(trace)
    assert "sha256" in told
    assert "4.5" in told
    assert "my son is seven" in told
    assert "OggS" not in told
    again = line.server.ask("POST", f"/api/traces/{rows[0]['id']}/replay", {})
    assert "the recording of trace" in str(again)


@pytest.mark.parametrize(
    ("who", "words", "seconds", "fault"),
    [
        ("351933000003", "a long story", 20.5, None),
        ("351933000004", "nobody hears me", 2.0, Fault(kind="http", status=500)),
        ("351933000005", "nobody hears me", 2.0, Fault(kind="garbage")),
        ("351933000006", "", 2.0, None),
    ],
    ids=["too long", "provider down", "nonsense for an answer", "nothing is said"],
)
def test_what_cannot_be_heard_is_politely_declined_and_the_question_stays(
    line: Line, who: str, words: str, seconds: float, fault: Fault | None
) -> None:
    line.sim.play(hear=Target(faults=(fault,) if fault is not None else ()))
    line.says(who, "hello")
    asked = line.sim.asked("hear")
    said = line.speaks(who, words, seconds)
    assert "I cannot listen to voice notes" in said
    assert "How old is your child?" in said
    assert line.sim.asked("hear") - asked == (0 if seconds > 20 else 1)
    assert line.conversation(who)["slots"]["child_age"] == ""


def test_a_hard_budget_is_never_passed_by_listening(line: Line) -> None:
    line.sim.play()
    who, asked = "351933000007", line.sim.asked("hear")
    said = line.speaks(who, "my son is seven", 1.5, POOR)  # two seconds are billed
    assert "I cannot listen to voice notes" in said
    assert line.sim.asked("hear") == asked
    assert "🎤 “my son is seven”" in line.speaks(who, "my son is seven", 1.0, POOR)
    assert "I cannot listen to voice notes" in line.speaks(who, "and he likes music", 1.0, POOR)
    spent = sum(row["cost_nano_usd"] or 0 for row in line.heard("poor"))
    assert spent == math.ceil(1.0) * SECOND


def test_a_file_that_is_not_there_is_politely_declined(line: Line) -> None:
    line.sim.play()
    who = "351933000008"
    asked = line.sim.asked("hear")
    message = {"type": "audio", "audio": {"id": "no such file", "mime_type": "audio/ogg", "voice": True}}
    said = line._answer(who, NUMBER, {"do": "say", "message": message, "number": NUMBER})
    assert "I cannot listen to voice notes" in said
    assert line.sim.asked("hear") == asked
