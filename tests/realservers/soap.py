"""An enrolment system that speaks SOAP, made with spyne; it can be made slow, broken, changed or dirty."""

import base64
import importlib.util
import sys
import threading
import time
import warnings
from email.message import EmailMessage
from pathlib import Path
from socketserver import ThreadingMixIn
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

warnings.filterwarnings("ignore", module="spyne")

if sys.version_info >= (3, 12):  # what spyne needs and newer Pythons have no more
    spec = importlib.util.spec_from_file_location(
        "spyne.util.six",
        Path(str(importlib.util.find_spec("spyne").origin)).parent / "util" / "six.py",  # type: ignore
    )
    six = importlib.util.module_from_spec(spec)
    sys.modules["spyne.util.six"] = six
    spec.loader.exec_module(six)
    type(six._importer).find_spec = lambda self, name, path, target=None: (
        importlib.util.spec_from_loader(name, self) if name in self.known_modules else None
    )

    def parse_header(line: str) -> tuple[str, dict[str, str]]:
        message = EmailMessage()
        message["content-type"] = line
        return message.get_content_type(), dict(message["content-type"].params)

    sys.modules["cgi"] = ModuleType("cgi")
    vars(sys.modules["cgi"])["parse_header"] = parse_header

from spyne import (  # noqa: E402
    Application,
    Array,
    ComplexModel,
    Date,
    Decimal,
    Fault,
    Integer,
    ServiceBase,
    Unicode,
    rpc,
)  # fmt: skip
from spyne.protocol.soap import Soap11  # noqa: E402
from spyne.server.wsgi import WsgiApplication  # noqa: E402

USER, PASSWORD = "agent", "soap-secret-42"
SPACE = "urn:enrolment"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True


class _Quiet(WSGIRequestHandler):
    wbufsize = 1 << 16  # an answer is one piece

    def log_message(self, *_: Any) -> None:
        pass


class SoapServer:
    """`how`: slow, error, changed (an element of the result is renamed), dirty (an impossible date), garbage, bomb,
    fault; after: a write happens, and the answer is lost."""

    def __init__(self) -> None:
        self.how = ""
        self.records: list[dict[str, Any]] = []
        self.port = 0
        self.lock = threading.Lock()
        self.plain, self.changed = self.app(""), self.app("changed")
        self.begin()

    def begin(self) -> None:
        self.http = make_server("127.0.0.1", self.port, self.answer, _Server, _Quiet)
        self.port = self.http.server_port
        self.url = f"http://127.0.0.1:{self.port}/enrolment"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def answer(self, environ: Any, start: Any) -> list[bytes]:
        right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if environ.get("HTTP_AUTHORIZATION") != right:
            start("401 Unauthorized", [])
            return [b"no"]
        if self.how == "slow":
            time.sleep(1.5)
        if self.how == "error":
            start("503 Service Unavailable", [])
            return [b"maintenance"]
        app = self.changed if self.how == "changed" else self.plain
        status: list[Any] = []
        body = b"".join(app(environ, lambda *given: status.extend(given[:2])))
        if self.how == "dirty":
            body = body.replace(b"2019-05-04", b"2019-02-31")
        if self.how == "garbage":
            body = b"<html><p>Sign in"
        if self.how == "bomb":
            body = b'<!DOCTYPE a [<!ENTITY b "c">]>' + body.split(b"?>", 1)[-1]
        headers = [(k, v) for k, v in status[1] if k.lower() != "content-length"]
        start(status[0], [*headers, ("content-length", str(len(body)))])
        if self.how == "after" and environ["REQUEST_METHOD"] == "POST" and b"enrolResponse" in body:
            self.how = ""
            return [body[:10]]
        return [body]

    @property
    def wsdl(self) -> str:
        status: list[Any] = []
        environ = {
            "REQUEST_METHOD": "GET", "PATH_INFO": "/enrolment", "QUERY_STRING": "wsdl", "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80", "wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1",
        }  # fmt: skip
        return b"".join(self.plain(environ, lambda *given: status.append(given))).decode()

    def app(self, how: str) -> WsgiApplication:
        outer = self

        class Child(ComplexModel):
            __namespace__ = SPACE
            name = Unicode(min_occurs=1, nillable=False)
            born = Date
            reference = Unicode

        class Record(ComplexModel):
            __namespace__ = SPACE
            number = Integer(min_occurs=1, nillable=False)
            reference = Unicode
            born = Date

        name = "full_name" if how else "name"
        Record.append_field(name, Unicode)

        def shown(one: dict[str, Any]) -> Any:
            return Record(number=one["number"], reference=one["reference"], born=one["born"], **{name: one["name"]})

        class Enrolment(ServiceBase):
            @rpc(Child, Unicode, _returns=Record)
            def enrol(ctx, child, school):  # type: ignore[no-untyped-def]
                """Enrols a child, whatever is there."""
                if child.name == "Nobody":
                    raise Fault("Client.Full", "The class is full")
                with outer.lock:
                    made = {"number": len(outer.records) + 1, "school": school}
                    made |= {"name": child.name, "born": child.born, "reference": child.reference}
                    outer.records.append(made)
                return shown(made)

            @rpc(Unicode, Unicode, _returns=Array(Record))
            def find(ctx, reference, school):  # type: ignore[no-untyped-def]
                """Children by their reference."""
                if outer.how == "fault":
                    raise Fault("Server", "deadlock on table CHILD")
                return [shown(one) for one in outer.records if (one["reference"], one["school"]) == (reference, school)]

            @rpc(Integer(min_occurs=1, nillable=False), _returns=Decimal)
            def fee(ctx, grade):  # type: ignore[no-untyped-def]
                """What a grade costs in a month."""
                return "450.10" if grade < 5 else "510.00"

        return WsgiApplication(
            Application(
                [Enrolment], SPACE, name="Enrolment", in_protocol=Soap11(validator="lxml"), out_protocol=Soap11()
            )
        )
