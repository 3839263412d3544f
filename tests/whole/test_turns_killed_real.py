"""kill -9 at every step, against the real systems: Radicale has one visit, Tryton one lead, the telephone one reply."""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from phones import NUMBER, WhatsAppSim
from test_turns_killed import POINTS, QUICK, World
from whole_app import App, Sim, eventually

from realservers import radicale as calendars
from realservers import tryton as crms
from waterline.core.app_spec import Connection
from waterline.core.branch import Branch, Hours
from waterline.core.channels import Channels, WhatsAppPolicy
from waterline.core.release import Route

LEADS = """SELECT COUNT(DISTINCT o.id) FROM sale_opportunity o JOIN party_party p ON p.id = o.party WHERE p.name = ?"""
PARTIES = "SELECT COUNT(*) FROM party_party WHERE name = ?"
ALL_DAY = tuple(Hours(day, 0, 24 * 60) for day in range(7))


class Office:
    """A server with its calendar, its CRM and its customers' telephones."""

    def __init__(self, folder: Any, sim: Sim, radicale: Any, tryton: Any) -> None:
        self.radicale, self.tryton = radicale, tryton
        self.calendar = radicale.calendar("killed")
        self.phones = WhatsAppSim(folder / "whatsapp", deliveries={"repeat_s": 0.5, "duplicate": 0.3})
        self.server = World(
            folder,
            f"{sim.address}/{{route}}",
            TURNS_REAL="1",
            WATERLINE_CONNECTOR_CALENDAR_URL=radicale.url,
            WATERLINE_CONNECTOR_CALENDAR_USER=calendars.USER,
            WATERLINE_CONNECTOR_CALENDAR_PASSWORD=calendars.PASSWORD,
            WATERLINE_CONNECTOR_CRM_URL=tryton.url,
            WATERLINE_CONNECTOR_CRM_DATABASE=crms.DATABASE,
            WATERLINE_CONNECTOR_CRM_USER=crms.USER,
            WATERLINE_CONNECTOR_CRM_PASSWORD=crms.PASSWORD,
            WATERLINE_WHATSAPP_URL=self.phones.address,
            WATERLINE_WHATSAPP_TOKEN="simulated-token",
            WATERLINE_WHATSAPP_APP_SECRET="simulated-secret",
            WATERLINE_WHATSAPP_VERIFY_TOKEN="simulated-verify",
            WATERLINE_WHATSAPP_ACCOUNTS="200000000000001",
        )
        branch = Branch(
            "lisbon", "Lisbon", addresses={"whatsapp": (NUMBER,)}, scope={"calendar": self.calendar},
            visit_hours=ALL_DAY, visit_minutes=60,
        )  # fmt: skip
        self.app = App(
            self.server, "school", {"main": Route(provider="simulated", model="small", total_s=30.0)},
            branches=(branch,), conversations=QUICK, channels=Channels(whatsapp=WhatsAppPolicy()),
            connectors={"calendar": Connection("caldav"), "crm": Connection("tryton")},
        )  # fmt: skip
        self.listens()

    def listens(self) -> None:
        """Where the web hooks go: the server has another port after each start."""
        self.phones.do("settings", webhook=f"{self.server.url}/webhooks/whatsapp")

    def of(self, who: str) -> tuple[int, int, int, list[str]]:
        """Visits, leads, people and replies of one person, wherever they are kept."""
        name = f"Ana {who}"
        visits = sum(name in event for event in self.radicale.events(self.calendar))
        [(leads,)], [(people,)] = self.tryton.sql(LEADS, name), self.tryton.sql(PARTIES, name)
        return visits, int(leads), int(people), self.phones.replies(who)

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self.server.kill9()
        self.phones.stop()


@pytest.fixture(scope="module")
def office(sim: Sim, radicale: Any, tryton: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    made = Office(tmp_path_factory.mktemp("office"), sim, radicale, tryton)
    yield made
    made.stop()


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_step_the_calendar_the_crm_and_the_telephone_have_it_once(office: Office, point: str) -> None:
    number = POINTS.index(point)
    who = f"35191{number:07}"
    assert office.app.post(json.dumps(point).encode(), "/v1/test/kill").status == 200
    start = (datetime.now(UTC) + timedelta(days=3)).replace(hour=0, minute=0, second=0, microsecond=0)
    office.phones.say((start + timedelta(hours=number)).isoformat(), who)
    assert eventually(lambda: office.server.child.poll() is not None), f"the server never came to {point}"
    assert office.server.child.returncode == -9
    office.server.start()
    office.listens()
    once = (1, 1, 1, ["book done"])
    assert eventually(lambda: office.of(who) == once), (point, office.of(who), office.server.log()[-3000:])
    assert eventually(lambda: office.phones.stats()["waiting"] == 0)
    page = office.server.ask("GET", "/api/conversations", app="school")["rows"]
    [line] = [row for row in page if row["sender"] == who]
    assert eventually(lambda: not [a for a in acts(office, line["id"]) if a["state"] in ("planned", "sending")])
    assert office.of(who) == once, "and nothing comes twice, when all has settled"


def acts(office: Office, conversation: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = office.server.ask("GET", f"/api/conversations/{conversation}")["acts"]
    return found
