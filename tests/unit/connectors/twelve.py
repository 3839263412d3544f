"""The twelve kinds of system, each on its real server: asked for one act, broken in five ways, mended."""

import ctypes
import fcntl
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ldap_server import BASE, Slapd
from ldap_server import PASSWORD as LDAP_PASSWORD
from mcp_server import TOKEN, Tools
from rest_server import SPEC, Rest
from smtp_server import Mailbox
from test_caldav import AT, VISITS, Office, event
from test_databases import InMaria, InPostgres
from test_soap import CHILD, DECLARED
from test_tryton import Crm
from test_webhook import EVENT, SECRET, Receiver

from realservers.process import missing
from realservers.soap import SoapServer
from realservers.wire import Wire
from waterline.connectors.base import Scope
from waterline.connectors.mcp import encode_tools, tools_of

FAULTS = ("slow", "down", "credentials", "schema", "dirty")
SETRESUID, NOBODY = 117, 65534  # the kernel's call changes this thread only; x86-64


class System:
    """`settings`, `parameters`, `files` declare it. `expected`: what a fault is called where it is not by its name;
    "done" where it stops nothing."""

    kind = ""
    expected: Mapping[str, str] = {}

    def __init__(self, request: pytest.FixtureRequest, wire_to: Callable[[int], Wire], folder: Path) -> None:
        self.request, self.folder = request, folder
        self.settings: dict[str, str] = {}
        self.parameters: dict[str, Any] = {}
        self.files: dict[str, str] = {}
        self.scope = Scope("lisbon")
        self.wire: Wire | None = None
        port = self.start()
        if port:
            self.wire = wire_to(port)
            self.go_through(self.wire.port)

    def start(self) -> int:
        """Starts it; its port, or 0."""
        raise NotImplementedError

    async def begin(self) -> None:
        """What must be asked of it before it is declared."""

    def go_through(self, port: int) -> None:
        self.settings["port"] = str(port)

    def prepare(self, connector: Any) -> None:
        """Once it is made."""

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError

    def held(self) -> int:
        """How often the act was done."""
        raise NotImplementedError

    def slow(self) -> None:
        """It acts, and its answers do not come."""
        assert self.wire is not None
        self.wire.pass_answers = 0

    def down(self) -> None:
        assert self.wire is not None
        self.wire.close()

    def credentials(self) -> None:
        self.settings["password"] = "wrong-password"

    def schema(self) -> None:
        raise NotImplementedError

    def dirty(self) -> None:
        raise NotImplementedError

    def mend(self, fault: str) -> None:
        if self.wire is not None and fault == "slow":
            self.wire.restore()
        elif self.wire is not None:
            self.wire.reopen()

    def stop(self) -> None:
        pass


class Caldav(System):
    kind = "caldav"
    expected = {"dirty": "done"}  # noqa: RUF012  an entry that nobody can read stops nobody else

    def start(self) -> int:
        self.office = Office(self.request.getfixturevalue("radicale"))
        self.settings, self.scope = dict(self.office.settings), self.office.scope
        return int(self.office.server.port)

    def go_through(self, port: int) -> None:
        self.settings["url"] = f"http://127.0.0.1:{port}"

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        return "book", {"visits": VISITS, "start": AT, "name": "Ana Sousa"}

    def held(self) -> int:
        return len([text for text in self.office.events if "Never" not in text])

    def schema(self) -> None:
        self.office.server.request("DELETE", f"{self.office.calendar}/")

    def dirty(self) -> None:
        text = event("DTSTART:20310231T090000Z", "SUMMARY:Never")
        (self.office.server.on_disk(self.office.calendar) / "dirty.ics").write_text(text)


class TrytonCrm(System):
    kind = "tryton"
    expected = {"dirty": "done"}  # noqa: RUF012  what is no number and no address is kept as text

    def start(self) -> int:
        self.crm = Crm(self.request.getfixturevalue("tryton"))
        self.settings = dict(self.crm.settings)
        return int(self.crm.server.port)

    def go_through(self, port: int) -> None:
        self.settings["url"] = f"http://127.0.0.1:{port}"

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        phone = f"ask my wife {uuid4().hex[:6]}" if fault == "dirty" else self.crm.phone
        return "upsert_lead", {
            "name": "Ana Sousa",
            "phone": phone,
            **({"email": "ana(at)x"} if fault == "dirty" else {}),
        }

    def held(self) -> int:
        return len(self.crm.leads("act"))

    def schema(self) -> None:
        self.crm.server.sql("ALTER TABLE sale_opportunity RENAME COLUMN reference TO old_reference")

    def dirty(self) -> None:
        pass

    def stop(self) -> None:
        columns = [row[1] for row in self.crm.server.sql("PRAGMA table_info(sale_opportunity)")]
        if "old_reference" in columns:
            self.crm.server.sql("ALTER TABLE sale_opportunity RENAME COLUMN old_reference TO reference")
        self.crm.server.sql("UPDATE sale_opportunity SET reference = NULL")


class SoapErp(System):
    kind = "soap"

    def start(self) -> int:
        from realservers.soap import PASSWORD, USER

        self.server = SoapServer()
        self.settings = {"user": USER, "password": PASSWORD}
        self.parameters, self.files = dict(DECLARED), {"wsdl": self.server.wsdl}
        self.scope = Scope("lisbon", "L1")
        return self.server.port

    def go_through(self, port: int) -> None:
        self.settings["url"] = f"http://127.0.0.1:{port}/enrolment"

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        return "enrol", CHILD

    def held(self) -> int:
        return len(self.server.records)

    def schema(self) -> None:
        self.server.how = "changed"

    def dirty(self) -> None:
        self.server.how = "dirty"

    def stop(self) -> None:
        self.server.stop()


class Maria(System):
    kind = "mariadb"
    expected = {"dirty": "done"}  # noqa: RUF012  an impossible date is null, and told to be unreadable

    def start(self) -> int:
        self.table = InMaria(self.request.getfixturevalue("mariadb"))
        self.settings, self.parameters = dict(self.table.settings), self.table.parameters
        return int(self.table.server.port)

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        return ("every", {}) if fault == "dirty" else ("enrol", {"name": "Ana Sousa", "born": "2019-05-04"})

    def held(self) -> int:
        return self.table.count()

    def schema(self) -> None:
        self.table.rename_column()

    def dirty(self) -> None:
        self.table.server.sql(f"INSERT INTO {self.table.table} (name, born) VALUES ('Rui', '0000-00-00')")


class Postgres(Maria):
    kind = "postgresql"
    expected: Mapping[str, str] = {}

    def start(self) -> int:
        self.table: Any = InPostgres(self.request.getfixturevalue("postgres"))
        self.settings, self.parameters = dict(self.table.settings), self.table.parameters
        return int(self.table.server.port)

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        return "enrol", {"name": "Ana Sousa", "born": "2019-05-04"}

    def dirty(self) -> None:
        self.table.server.sql(f"ALTER TABLE {self.table.table} ALTER COLUMN name TYPE varchar(5)")


class SheetFile(System):
    kind = "sheet"

    def start(self) -> int:
        self.place = self.folder / "sheets"
        self.place.mkdir()
        self.path = self.place / "leads.csv"
        self.path.write_text("name,phone,from,ref\nRui,1,2027-01-01,a\n")
        self.settings = {"folder": str(self.place)}
        self.parameters = {
            "file": "leads.csv", "key": ["ref"], "columns": ["phone"], "date_columns": ["from"], "key_column": "ref",
            "writes": ["name"],
        }  # fmt: skip
        return 0

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        return ("look_up", {"ref": "a"}) if fault in ("schema", "dirty") else ("append", {"name": "Ana Sousa"})

    def held(self) -> int:
        return self.path.read_text().count("Ana Sousa")

    def slow(self) -> None:
        self.lock = (self.place / f".{self.path.name}.waterline-lock").open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def down(self) -> None:
        self.path.rename(self.place / "away")

    def credentials(self) -> None:
        self.path.chmod(0)
        self.place.chmod(0)

    def prepare(self, connector: Any) -> None:
        if self.place.stat().st_mode & 0o700 or os.geteuid() != 0:
            return
        both = threading.Barrier(2)  # root may open everything; the connector's two threads are nobody from now on

        def be_nobody() -> None:
            both.wait(30)
            assert ctypes.CDLL(None).syscall(SETRESUID, NOBODY, NOBODY, NOBODY) == 0

        from concurrent.futures import ThreadPoolExecutor

        threads = connector._threads
        threads._pool = ThreadPoolExecutor(2)
        for done in [threads._pool.submit(be_nobody) for _ in range(2)]:
            done.result(30)

    def schema(self) -> None:
        self.path.write_text(self.path.read_text().replace("phone", "telefone"))

    def dirty(self) -> None:
        self.path.write_text(self.path.read_text().replace("2027-01-01", "31.02.2027"))

    def mend(self, fault: str) -> None:
        if fault == "slow":
            self.lock.close()
        else:
            (self.place / "away").rename(self.path)

    def stop(self) -> None:
        self.place.chmod(0o700)


class RestSystem(System):
    kind = "openapi"

    def start(self) -> int:
        self.server = Rest()
        self.settings = {"token": "right-token"}
        writes = {"createLead": {"once": "native", "timeout_s": 30.0}}
        self.parameters = {"spec": "crm.json", "operations": ["findLeads"], "writes": writes}
        self.files = {"spec": json.dumps(SPEC)}
        return int(self.server.port)

    def go_through(self, port: int) -> None:
        self.settings["url"] = f"http://127.0.0.1:{port}/v1"

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        return "createLead", {"body": {"name": "Ana Sousa"}}

    def held(self) -> int:
        return len(self.server.leads)

    def credentials(self) -> None:
        self.settings["token"] = "wrong-password"

    def schema(self) -> None:
        self.server.how = "renamed"

    def dirty(self) -> None:
        self.server.how = "dirty"

    def stop(self) -> None:
        self.server.stop()


class McpTools(System):
    kind = "mcp"

    def start(self) -> int:
        self.server = Tools()
        self.settings = {"token": TOKEN}
        return int(self.server.port)

    async def begin(self) -> None:
        self.files = {"tools": encode_tools(await tools_of(self.server.url, TOKEN))}
        writes = {"book": {"once": "uid", "into": "uid", "timeout_s": 60.0}}
        self.parameters = {"tools": "calendar.json", "reads": ["free"], "writes": writes, "timeout_s": 60.0}

    def go_through(self, port: int) -> None:
        self.settings["url"] = f"http://127.0.0.1:{port}/mcp"

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        given = {"day": "2027-01-04"}
        return ("free", given) if fault in ("schema", "dirty") else ("book", given)

    def held(self) -> int:
        return len(self.server.bookings)

    def credentials(self) -> None:
        self.settings["token"] = "wrong-password"

    def schema(self) -> None:
        self.server.how = "changed"

    def dirty(self) -> None:
        self.server.how = "dirty"

    def stop(self) -> None:
        self.server.how = ""
        self.server.stop()


class MailOut(System):
    kind = "mail"

    def start(self) -> int:
        self.box = Mailbox(self.folder)
        self.settings = {"host": "localhost", "user": "agent", "password": "secret-42"}
        self.parameters = {"sender": "agent@school.example", "timeout_s": 20.0}
        return int(self.box.port)

    def prepare(self, connector: Any) -> None:
        connector.context = self.box.trusting()

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        return "send", {"to": ["ana@home.example"], "subject": "Visit", "text": "Ana Sousa, tomorrow"}

    def held(self) -> int:
        return len({str(message["message-id"]) for message in self.box.messages})

    def schema(self) -> None:
        self.box.how = "no_tls"
        self.box.stop()
        self.box.begin()

    def dirty(self) -> None:
        self.box.how = "garbage"

    def stop(self) -> None:
        self.box.stop()


class Ldap(System):
    kind = "ldap"

    def start(self) -> int:
        if Slapd.program("slapd") is None:
            missing("slapd is not installed: apt-get install slapd ldap-utils")
        self.slapd = Slapd(self.folder)
        self.settings = {"user": f"cn=agent,{BASE}", "password": LDAP_PASSWORD}
        self.parameters = {"base": BASE, "ca_file": str(self.slapd.certificate), "timeout_s": 30}
        return int(self.slapd.port)

    def go_through(self, port: int) -> None:
        self.settings["url"] = f"ldap://localhost:{port}"

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        return "person", {"code": "7"} if fault == "schema" else {"id": "ana"}

    def held(self) -> int:
        return 1  # nothing is written there

    def schema(self) -> None:
        self.parameters |= {"attributes": {"id": "uid", "name": "cn", "code": "employeeCode"}, "by": ["code"]}

    def dirty(self) -> None:
        self.slapd.change(f"dn: uid=ana,ou=porto,{BASE}\nchangetype: modify\nreplace: jpegPhoto\njpegPhoto:: //4=\n")
        self.parameters |= {"attributes": {"id": "uid", "name": "cn", "photo": "jpegPhoto"}, "by": ["id"]}

    def stop(self) -> None:
        self.slapd.stop()


class Hook(System):
    kind = "webhook"
    expected = {"dirty": "down"}  # noqa: RUF012  what it answers is not read beyond the status, and this is none

    def start(self) -> int:
        self.server = Receiver()
        self.settings = {"secret": SECRET}
        self.parameters = {"allow_private": True, "timeout_s": 30.0}
        return int(self.server.port)

    def go_through(self, port: int) -> None:
        self.settings["url"] = f"http://127.0.0.1:{port}/in"

    def act(self, fault: str) -> tuple[str, dict[str, Any]]:
        return "send", EVENT

    def held(self) -> int:
        return len({headers["webhook-id"] for headers, _ in self.server.seen})

    def credentials(self) -> None:
        self.server.how = [401] * 10

    def schema(self) -> None:
        self.server.how = [404] * 10

    def dirty(self) -> None:
        self.server.how = ["garbage"] * 10

    def mend(self, fault: str) -> None:
        if fault == "dirty":
            self.server.how = []
        else:
            super().mend(fault)

    def stop(self) -> None:
        self.server.stop()


SYSTEMS = (Caldav, TrytonCrm, SoapErp, Maria, Postgres, SheetFile, RestSystem, McpTools, MailOut, Ldap, Hook)

# What became of a reply on WhatsApp (tests/unit/connectors/test_five_faults_whatsapp.py).
WHATSAPP = {"slow": "unsure", "down": "later", "credentials": "number_stopped", "schema": "never", "dirty": "never"}
_ENDS = {
    **dict.fromkeys(("slow", "down", "unsure", "later", "number_stopped"), "later, once"),
    **dict.fromkeys(("credentials", "schema", "data", "never"), "a person"),
}


def table() -> str:
    """What the tests show, for docs/reference/connectors.md."""
    lines = ["| system | slow | down | wrong credentials | changed schema | dirty data |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    kinds = {made.kind: {f: made.expected.get(f, "data" if f == "dirty" else f) for f in FAULTS} for made in SYSTEMS}
    for name, found in {**kinds, "WhatsApp": WHATSAPP}.items():
        cells = [kind if kind == "done" else f"`{kind}`: {_ENDS[kind]}" for kind in found.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
