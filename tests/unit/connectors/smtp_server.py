"""A real SMTP server (aiosmtpd) with sign-in and TLS, that can be made slow, full or rude."""

import asyncio
import socket
import ssl
import subprocess
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


class Mailbox:
    """`how`: slow, after (accepted, and the connection ends before the 250), greylist, full, garbage, no_tls."""

    def __init__(self, folder: Path) -> None:
        self.how = ""
        self.messages: list[Message] = []
        self.envelopes: list[Envelope] = []
        self.certificate = folder / "smtp.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", str(self.certificate),
             "-out", str(folder / "c.pem")],
            check=True, capture_output=True,
        )  # fmt: skip
        self.certificate.write_text(self.certificate.read_text() + (folder / "c.pem").read_text())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.begin()

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def begin(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        tls = {} if self.how == "no_tls" else {"tls_context": context, "require_starttls": True}
        self.controller = Controller(
            self, "localhost", self.port, authenticator=self.authenticate, auth_require_tls=False,
            auth_required=True, ready_timeout=20, **tls,
        )  # fmt: skip
        self.controller.start()

    def stop(self) -> None:
        self.controller.stop()

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        right = data.login == b"agent" and data.password == b"secret-42"
        return AuthResult(success=right, handled=False)

    async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: Any) -> Any:
        session.host_name = hostname
        if self.how == "slow":
            await asyncio.sleep(2)
        return lines

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.how == "greylist":
            return "451 come back"
        if self.how == "garbage":
            return "HTTP/1.1 400 Bad Request"
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.how == "full":
            return "552 too much"
        assert isinstance(envelope.content, bytes)
        self.messages.append(message_from_bytes(envelope.content))
        self.envelopes.append(envelope)
        if self.how == "after":
            self.how = ""
            assert server.transport is not None
            server.transport.abort()
        return "250 OK"
