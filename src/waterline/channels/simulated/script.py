"""What the simulated Cloud API is told to be: a TOML or JSON file. Every key has a default."""

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.errors import WaterlineError

Quality = Literal["GREEN", "YELLOW", "RED", "NA"]
NumberStatus = Literal["CONNECTED", "BANNED", "RESTRICTED", "FLAGGED"]
TemplateStatus = Literal["APPROVED", "PENDING", "REJECTED", "PAUSED", "DISABLED"]
Category = Literal["UTILITY", "MARKETING", "AUTHENTICATION"]


class ScriptError(WaterlineError):
    """The script is not one: where and why."""


class Number(Struct, forbid_unknown_fields=True):
    """One of the business's numbers."""

    id: str = "100000000000001"
    display: str = "+351 210 000 001"
    name: str = "Riverside School"
    quality: Quality = "GREEN"
    status: NumberStatus = "CONNECTED"
    per_second: int = 80


class TemplateScript(Struct, forbid_unknown_fields=True):
    name: str
    body: str
    language: str = "en"
    category: Category = "UTILITY"
    status: TemplateStatus = "APPROVED"
    id: str = ""


class Phone(Struct, forbid_unknown_fields=True):
    """A person's telephone. `user_id`: the business-scoped id; `hidden`: only that is told to businesses."""

    wa_id: str
    name: str = "Somebody"
    user_id: str = ""
    hidden: bool = False
    off: bool = False  # messages are sent but not delivered until it is on
    gone: bool = False  # has no WhatsApp
    reads: bool = True  # opens what comes in at once


class Deliveries(Struct, forbid_unknown_fields=True):
    """How web hooks come. Shares are of 1; times in simulated seconds. What is not answered with 200 comes again, in
    growing steps, for `days`."""

    duplicate: float = 0.0
    disorder: float = 0.0  # this share comes up to `late_s` later
    late_s: float = 30.0
    delay_s: float = 0.02
    batch: int = 1  # at most so many changes in a POST
    days: float = 7.0
    repeat_s: float = 2.0  # before the first repetition; doubled each time
    silence: bool = False  # nothing is delivered now (an outage of theirs); it comes later


class Fault(Struct, forbid_unknown_fields=True):
    """Answer sends with an error. `when`: in the answer, or as a failed status after a 200."""

    code: int
    share: float = 1.0
    number: str = ""  # "": any
    to: str = ""
    times: int = 0  # 0: for ever
    when: Literal["answer", "status"] = "answer"
    http: int = 0  # 0: as the code usually has
    lose: Literal["", "answer", "request"] = ""  # the connection breaks after, or before, the message was taken


class Script(Struct, forbid_unknown_fields=True):
    webhook: str = ""  # where deliveries go; "": nowhere
    app_secret: str = "simulated-secret"
    token: str = "simulated-token"
    account: str = "200000000000001"
    limit: int = 250  # users a day that the portfolio may begin a conversation with; 0: unlimited
    pair_burst: int = 45  # messages to one user at once; then one every `pair_s`
    pair_s: float = 6.0
    free_service: int = 1000  # free-form replies a number a month
    speed: float = 1.0  # simulated seconds in a real one
    start: str = ""  # an ISO time; "": now
    seed: int = 1
    numbers: list[Number] = msgspec.field(default_factory=lambda: [Number()])
    phones: list[Phone] = msgspec.field(default_factory=list)
    templates: list[TemplateScript] = msgspec.field(default_factory=list)
    deliveries: Deliveries = msgspec.field(default_factory=Deliveries)
    faults: list[Fault] = msgspec.field(default_factory=list)


def default_script() -> Script:
    phones = [Phone("351911000001", "Ana Silva"), Phone("5511911000002", "Carlos Souza", "BR.7001"),
              Phone("34611000003", "Lucía Pérez"), Phone("447911000004", "Emma Brown")]  # fmt: skip
    templates = [
        TemplateScript("visit_reminder", "Hello {{1}}, your visit is on {{2}}. Is that still good?", "en"),
        TemplateScript("visit_reminder", "Olá {{1}}, a sua visita é em {{2}}. Continua a dar-lhe jeito?", "pt_PT"),
        TemplateScript("visit_reminder", "Hola {{1}}, su visita es el {{2}}. ¿Le sigue viniendo bien?", "es"),
        TemplateScript("we_have_news", "Hello! We have news for you. Write to us, and we tell you.", "en"),
        TemplateScript("we_have_news", "Olá! Temos novidades para si. Escreva-nos, e contamos.", "pt_PT"),
        TemplateScript("we_have_news", "¡Hola! Tenemos novedades. Escríbanos y se las contamos.", "es"),
        TemplateScript("follow_up", "Hello {{1}}, do you still have questions for us?", "en"),
        TemplateScript("open_day", "Open day on {{1}}! Bring your children.", "en", "MARKETING"),
    ]
    return Script(phones=phones, templates=templates)


def parse_script(text: bytes) -> Script:
    """TOML or JSON. Raises ScriptError."""
    try:
        told: Any = msgspec.json.decode(text) if text.lstrip()[:1] == b"{" else tomllib.loads(text.decode())
        given = msgspec.convert(told, Script)
    except (msgspec.MsgspecError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScriptError(f"the script is not understood: {error}") from None
    if "phones" not in told:
        given.phones = default_script().phones
    if "templates" not in told:
        given.templates = default_script().templates
    return given


def read_script(path: Path | None) -> Script:
    """Raises ScriptError."""
    if path is None:
        return default_script()
    try:
        return parse_script(path.read_bytes())
    except OSError as error:
        raise ScriptError(f"{path}: {error.strerror}") from None
