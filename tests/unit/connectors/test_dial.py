"""Systems whose clients open connections themselves: a name is looked up by us, once a connection; what is connected to
is what was looked at, and the certificate is the name's."""

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from waterline.channels.base import SendFault
from waterline.channels.email import Email, Mailbox
from waterline.connectors.base import Config, ConnectorFault, Scope
from waterline.connectors.dial import addresses_of, dial
from waterline.connectors.directory import Directory
from waterline.connectors.mail import Mail
from waterline.connectors.mariadb import MariaDb
from waterline.connectors.mcp import tools_of
from waterline.connectors.postgresql import PostgreSql
from waterline.core.conversation import Outbound

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # ldap3's
NAME, OTHER = "system.example", "other.example"
BAD = ("169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254")
SQL = {"queries": {"find": {"sql": "SELECT 1"}}}
SIGN_IN = {"database": "d", "user": "u", "password": "p"}


class Names:
    """A DNS: what it says of a name, one answer after the other, the last for ever."""

    def __init__(self) -> None:
        self.says: dict[str, list[tuple[str, ...]]] = {}
        self.asked: list[str] = []

    def getaddrinfo(self, host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host not in self.says:
            return REAL(host, port, *more, **named)
        self.asked.append(host)
        answers = self.says[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [info for address in found for info in REAL(address, port, type=socket.SOCK_STREAM)]


REAL = socket.getaddrinfo


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    return made


class Listener:
    """`begin`: what is exchanged in the clear. With TLS: for which names somebody came, and who spoke then."""

    def __init__(self, begin: Callable[[socket.socket], None] = lambda _: None, tls: ssl.SSLContext | None = None):
        self.begin, self.tls, self.greeting = begin, tls, b""
        self.came = 0
        self.named: list[str | None] = []
        self.trusted: list[str | None] = []
        self.done = threading.Semaphore(0)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        if tls is not None:
            tls.sni_callback = lambda _, name, __: self.named.append(name)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                connection.settimeout(20)
                self.came += 1
                with contextlib.suppress(OSError), connection:
                    self.begin(connection)
                    if self.tls is not None:
                        with self.tls.wrap_socket(connection, server_side=True) as inner:
                            inner.sendall(self.greeting)
                            if inner.recv(1):
                                self.trusted.append(self.named[-1])
                self.done.release()


@pytest.fixture
def listener() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(*args: Any) -> Listener:
        made.append(Listener(*args))
        return made[-1]

    yield make
    for one in made:
        one.socket.close()


def letter(host: str, port: int, tls: str) -> Awaitable[Any]:
    parameters = {"sender": "a@school.example", "tls": tls, "timeout_s": 20.0}
    mail = Mail(Config("mail", {"host": host, "port": str(port)}, parameters))
    return mail.call("send", {"to": ["b@home.example"], "subject": "s", "text": "t"}, "k", Scope(""))


def mailbox(host: str, port: int, tls: bool) -> Email:
    at = Mailbox("a@school.example", f"imap{'s' * tls}://{host}:{port}", f"smtp{'s' * tls}://{host}:{port}", "u", "p")
    return Email(
        mailbox=at, desk=None, store=None, policy=lambda _: None, clock_us=lambda: 0,  # type: ignore[arg-type]
    )  # fmt: skip


def person(host: str, port: int, scheme: str, ca_file: str = "") -> Awaitable[Any]:
    parameters = {"base": "dc=x", "tls": "none", "timeout_s": 20, "ca_file": ca_file}
    made = Directory(Config("staff", {"url": f"{scheme}://{host}:{port}"}, parameters))
    return made.call("person", {"id": "ana"}, "", Scope(""))


def found(kind: Any, host: str, port: int, **more: Any) -> Awaitable[Any]:
    settings = {"host": host, "port": str(port), **SIGN_IN}
    made = kind(Config("db", settings, {**SQL, **more}))
    return made.call("find", {}, "", Scope(""))  # type: ignore[no-any-return]


ASKS: dict[str, Callable[[str, int], Awaitable[Any]]] = {
    "mcp": lambda host, port: tools_of(f"http://{host}:{port}/mcp", "", 20.0),
    "mariadb": lambda host, port: found(MariaDb, host, port),
    "postgresql": lambda host, port: found(PostgreSql, host, port),
    "ldap": lambda host, port: person(host, port, "ldap"),
    "mail": lambda host, port: letter(host, port, "none"),
    "mail over TLS": lambda host, port: letter(host, port, "tls"),
    "mailbox": lambda host, port: asyncio.to_thread(mailbox(host, port, False)._fetch),
    "mailbox over TLS": lambda host, port: asyncio.to_thread(mailbox(host, port, True)._fetch),
    "letters": lambda host, port: asyncio.to_thread(mailbox(host, port, False)._leave, b"", "b@home.example"),
    "letters over TLS": lambda host, port: asyncio.to_thread(mailbox(host, port, True)._leave, b"", "b@home.example"),
}


@pytest.mark.parametrize("kind", ASKS)
@pytest.mark.parametrize("bad", BAD)
async def test_a_name_that_leads_to_credentials_is_refused_by_name(names: Names, kind: str, bad: str) -> None:
    names.says[NAME] = [(bad,)]
    with pytest.raises(ConnectorFault, match="hands out credentials") as caught:
        await ASKS[kind](NAME, 9)
    assert caught.value.kind == "invalid"
    assert NAME in caught.value.message
    assert bad in caught.value.message


@pytest.mark.parametrize("kind", ASKS)
async def test_what_is_connected_to_is_what_was_looked_at_though_the_name_changes(
    names: Names, listener: Callable[..., Listener], kind: str
) -> None:
    """Rebinding: good when it is looked at, the metadata server when it is asked again."""
    names.says[NAME] = [("169.254.169.254", "127.0.0.1"), ("169.254.169.254",)]
    there = listener()
    with pytest.raises(Exception) as caught:  # it hangs up: what that becomes is another test's
        await ASKS[kind](NAME, there.port)
    assert "credentials" not in str(caught.value)
    assert there.came == 1
    assert names.asked == [NAME]


async def test_a_name_that_is_not_known_is_a_system_that_is_down(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for kind in ("mcp", "mariadb", "postgresql", "ldap", "mail"):
        with pytest.raises(ConnectorFault) as caught:
            await ASKS[kind](NAME, 9)
        assert (kind, caught.value.kind) == (kind, "down")


async def test_mail_to_where_credentials_are_is_a_matter_for_people(names: Names, tmp_path: Path) -> None:
    from waterline.store.db import Store

    names.says[NAME] = [("169.254.169.254",)]
    email = mailbox(NAME, 25, False)
    email._store = Store.open(tmp_path / "w.db")
    with pytest.raises(SendFault, match=r"hands out credentials.*WATERLINE_EMAIL_SMTP") as caught:
        await email.send("a@school.example", "b@home.example", Outbound(text="hello"), "k", True)
    assert caught.value.kind == "number_stopped"
    email._store.close()


def test_the_next_address_is_tried_where_nobody_answers_at_the_first(
    names: Names, listener: Callable[..., Listener]
) -> None:
    there = listener()
    names.says[NAME] = [("127.0.0.2", "169.254.169.254", "127.0.0.1", "127.0.0.1")]
    with dial(NAME, there.port, 20) as made:
        assert made.getpeername()[0] == "127.0.0.1"
    assert addresses_of(NAME) == ["127.0.0.2", "127.0.0.1"]
    assert addresses_of("2130706433") == ["127.0.0.1"]
    with pytest.raises(ConnectorFault):
        addresses_of("0xa9fea9fe")


async def test_mcp_too_goes_to_the_next_address(names: Names, listener: Callable[..., Listener]) -> None:
    names.says[NAME] = [("127.0.0.2", "127.0.0.1")]
    there = listener()
    with pytest.raises(ConnectorFault):
        await ASKS["mcp"](NAME, there.port)
    assert there.came == 1


# --- TLS: the certificate is the name's ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "certificate.pem", folder / "key.pem"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={NAME}"
    named = ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *named], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


def postgres_says_yes(connection: socket.socket) -> None:
    assert connection.recv(8)[4:] == struct.pack("!I", 80877103)  # SSLRequest
    connection.sendall(b"S")


def mariadb_greets(connection: socket.socket) -> None:
    """Protocol 10, with TLS among what it can do; the client asks for it and begins."""
    can = 0x00000800 | 0x00000200 | 0x00008000 | 0x00080000  # SSL, protocol 4.1, secure connection, plugin
    hello = (
        b"\x0a5.5.5-10.11\0"
        + struct.pack("<I", 1)
        + b"12345678\0"
        + struct.pack("<HBHH", can & 0xFFFF, 45, 2, can >> 16)
    )
    hello += b"\x15" + b"\0" * 10 + b"123456789012\0" + b"mysql_native_password\0"
    connection.sendall(struct.pack("<I", len(hello)) + hello)
    connection.recv(36)


OVER_TLS: dict[str, tuple[Callable[[str, int, Path], Awaitable[Any]], Any, bytes]] = {
    "mcp": (lambda host, port, ca: tools_of(f"https://{host}:{port}/mcp", "", 20.0), None, b""),
    "mariadb": (lambda host, port, ca: found(MariaDb, host, port, tls=True), mariadb_greets, b""),
    "postgresql": (lambda host, port, ca: found(PostgreSql, host, port, tls="verify-full"), postgres_says_yes, b""),
    "ldap": (lambda host, port, ca: person(host, port, "ldaps", str(ca)), None, b""),
    "mail": (lambda host, port, ca: letter(host, port, "tls"), None, b"220 hello\r\n"),
    "mailbox": (lambda host, port, ca: asyncio.to_thread(mailbox(host, port, True)._fetch), None, b"* OK hello\r\n"),
    "letters": (
        lambda host, port, ca: asyncio.to_thread(mailbox(host, port, True)._leave, b"", "b@home.example"), None,
        b"220 hello\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OVER_TLS)
async def test_the_certificate_is_looked_at_for_the_name(
    names: Names, listener: Callable[..., Listener], certificate: tuple[Path, ssl.SSLContext], kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ca, context = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.setenv("PGSSLROOTCERT", str(ca))
    monkeypatch.setattr("httpcore2.default_ssl_context", lambda **_: ssl.create_default_context())
    ask, begin, greeting = OVER_TLS[kind]
    names.says[NAME] = names.says[OTHER] = [("127.0.0.1",)]
    there = listener(begin or (lambda _: None), context)
    there.greeting = greeting
    for name in (NAME, OTHER):
        with pytest.raises(Exception):  # noqa: B017  # it hangs up, or has the wrong certificate
            await ask(name, there.port, ca)
        assert await asyncio.to_thread(there.done.acquire, timeout=20)
    assert there.trusted == [there.named[0]]
    assert there.named in ([NAME, OTHER], [None, None])  # ldap3 says no name
