"""The school as `make demo` serves it, without its model: telephones (simulated), a calendar (Radicale), Tryton as CRM.
What is in the calendar and in the CRM afterwards counts, not what was said."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from phones import ANA, WhatsAppSim, until
from whole_app import Server, request

from realservers import radicale as calendars
from realservers import tryton as crms
from waterline.cli.building import DRILLS
from waterline.core.app_spec import encode_spec
from waterline.core.release import encode_release
from waterline.rollout.check import check

SCHOOL = Path(__file__).parents[2] / "examples" / "school"
LEADS = """select p.name, o.description from sale_opportunity o join party_party p on p.id = o.party
  join party_contact_mechanism m on m.party = p.id where replace(m.value, ' ', '') = ?"""


class School:
    def __init__(self, folder: Path, sim: Any, radicale: Any, tryton: Any, name: str) -> None:
        self.radicale, self.tryton = radicale, tryton
        self.calendar = radicale.calendar(name)
        self.whatsapp = WhatsAppSim(folder / "whatsapp")
        self.server = Server(folder / "data", f"{sim.address}/{{route}}", **self.settings())
        self.whatsapp.do("settings", webhook=f"{self.server.url}/webhooks/whatsapp")
        self.install(self._copy(folder / "school"))

    def settings(self) -> dict[str, str]:
        return {
            "WATERLINE_CONNECTOR_CALENDAR_URL": self.radicale.url,
            "WATERLINE_CONNECTOR_CALENDAR_USER": calendars.USER,
            "WATERLINE_CONNECTOR_CALENDAR_PASSWORD": calendars.PASSWORD,
            "WATERLINE_CONNECTOR_CRM_URL": self.tryton.url,
            "WATERLINE_CONNECTOR_CRM_DATABASE": crms.DATABASE,
            "WATERLINE_CONNECTOR_CRM_USER": crms.USER,
            "WATERLINE_CONNECTOR_CRM_PASSWORD": crms.PASSWORD,
            "WATERLINE_WHATSAPP_URL": self.whatsapp.address,
            "WATERLINE_WHATSAPP_TOKEN": "simulated-token",
            "WATERLINE_WHATSAPP_APP_SECRET": "simulated-secret",
            "WATERLINE_WHATSAPP_VERIFY_TOKEN": "simulated-verify",
            "WATERLINE_WHATSAPP_ACCOUNTS": "200000000000001",
        }

    def _copy(self, folder: Path) -> Path:
        """The example, with this test's calendar and less patience."""
        folder.mkdir(parents=True)
        for file in SCHOOL.rglob("*"):
            if file.is_file():
                to = folder / file.relative_to(SCHOOL)
                to.parent.mkdir(exist_ok=True)
                to.write_bytes(file.read_bytes())
        branches = folder / "branches.toml"
        branches.write_text(branches.read_text().replace("office/visits", self.calendar))
        app = folder / "app.toml"
        app.write_text(f"{app.read_text()}\n[conversations]\nquiet_s = 0.1\nlongest_quiet_s = 0.5\n")
        return folder

    def install(self, folder: Path) -> None:
        found = check(folder, model_digests={"qwen2.5-coder-1.5b": "0" * 64}, known_drills=DRILLS)
        body = {"manifest": encode_release(found.release).decode(), "spec": encode_spec(found.spec).decode()}
        made = self.server.ask("POST", "/api/releases", body)["id"]
        self.server.ask("POST", "/api/apps/school/moves", {"kind": "promote", "release": made})

    def says(self, text: str, who: str = ANA) -> str:
        """What the telephone shows in answer."""
        before = len(self.whatsapp.replies(who))
        self.whatsapp.say(text, who)
        assert until(lambda: len(self.whatsapp.replies(who)) > before, 40), self.server.log()[-3000:]
        return self.whatsapp.replies(who)[-1]

    def visits(self) -> list[str]:
        return self.radicale.events(self.calendar)  # type: ignore[no-any-return]

    def leads(self, phone: str) -> list[tuple[object, ...]]:
        return self.tryton.sql(LEADS, phone)  # type: ignore[no-any-return]

    def stop(self) -> None:
        self.server.stop()
        self.whatsapp.stop()


@pytest.fixture
def school(tmp_path: Path, sim: Any, radicale: Any, tryton: Any, request: pytest.FixtureRequest) -> Iterator[School]:
    made = School(tmp_path, sim, radicale, tryton, re.sub(r"\W", "-", request.node.name)[:60])
    yield made
    made.stop()


def a_visiting_day() -> str:
    """A Tuesday that is neither today nor tomorrow."""
    day = datetime.now(UTC) + timedelta(days=2)
    while day.weekday() != 1:
        day += timedelta(days=1)
    return f"{day:%d/%m/%Y}"


def test_a_parent_books_a_visit_and_the_calendar_and_the_crm_have_it_once(school: School) -> None:
    who = "351911222333"
    assert "790 EUR" in school.says("olá! quanto é a mensalidade do 2º ano? a minha filha tem 7 anos", who)
    school.says(f"sim, queremos visitar no dia {a_visiting_day()} às 11", who)
    assert "Está certo?" in school.says("Marta Pinto", who)
    assert school.visits() == []  # nothing happens before she says yes
    assert "marcada" in school.says("sim", who)
    [visit] = school.visits()
    assert "Marta Pinto" in visit
    assert "T110000" in visit
    assert until(lambda: len(school.leads(f"+{who}")) == 1, 20)
    assert school.leads(f"+{who}") == [("Marta Pinto", "Child of 7, 2.º ano")]


def test_a_visit_is_moved_and_cancelled_in_the_calendar(school: School) -> None:
    who = "34611222333"
    school.says(f"hola, quiero visitar el colegio el {a_visiting_day()} a las 10:15, mi hijo tiene 4 años", who)
    school.says("me llamo Diego Torres", who)
    school.says("sí", who)
    [before] = school.visits()
    assert "T101500" in before
    school.says("mejor a las 11:00", who)
    school.says("sí", who)
    assert until(lambda: "T110000" in "".join(school.visits()), 20), school.whatsapp.replies(who)
    assert len(school.visits()) == 1
    school.says("quiero cancelar la visita", who)
    school.says("sí", who)
    assert until(lambda: not school.visits(), 20), school.whatsapp.replies(who)


def test_without_its_calendar_the_parent_hears_an_honest_sentence_and_a_person_is_asked(school: School) -> None:
    school.server.stop()
    school.server.environ["WATERLINE_CONNECTOR_CALENDAR_URL"] = "http://127.0.0.1:9"
    school.server.start()
    school.whatsapp.do("settings", webhook=f"{school.server.url}/webhooks/whatsapp")
    who = "447911222333"
    said = school.says("hi, can we visit on tuesday? she is 5", who)
    assert "cannot see the calendar" in said
    school.says("Emma Brown", who)  # what the colleague needs is asked for first
    [waiting] = school.server.ask("GET", "/api/handoffs", app="school")["rows"]
    assert '"porto-azul"' in json.dumps(waiting)


def test_the_web_chat_is_the_same_conversation_without_a_telephone(school: School) -> None:
    status, page = request(school.server.url, "GET", "/chat/porto-azul")
    assert status == 200
    assert b"Porto Azul International School" in page
