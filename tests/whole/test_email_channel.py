"""E-mail against real servers: Dovecot for the mailbox, aiosmtpd for what leaves, both of ours."""

import asyncio
import email
import email.policy
import imaplib
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from phones import until
from test_whatsapp import QUICK
from whole_app import App, Server

from waterline.channels.base import SendFault
from waterline.channels.email import Email, Mailbox
from waterline.core.branch import Branch
from waterline.core.channels import Channels, EmailPolicy
from waterline.core.conversation import Choice, Inbound, Outbound, Status
from waterline.core.errors import WaterlineError
from waterline.core.release import Route
from waterline.store.db import Store

from realservers.dovecot import PASSWORD, PROGRAM, USER, Dovecot, free_port  # isort: skip

NOW = 1_800_000_000_000_000
MAIL = (
    b"From: Ana <ana@home.example>\r\nTo: office@school.example\r\nSubject: A visit\r\nMessage-ID: <%d@home.example>"
    b"\r\n\r\nIs Tuesday good? %d\r\n"
)


class Desk:
    def __init__(self) -> None:
        self.got: list[Inbound] = []
        self.told: list[Status] = []
        self.down = False

    async def inbound(self, messages: Sequence[Inbound]) -> None:
        if self.down:
            raise WaterlineError("the disk is full")
        self.got += messages

    async def statuses(self, statuses: Sequence[Status]) -> None:
        self.told += statuses


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    if not PROGRAM:
        pytest.skip("dovecot is not here: apt-get install --no-install-recommends dovecot-imapd")
    made = Dovecot()
    yield made
    made.remove()


class Smtp:
    """aiosmtpd. `answers`: what it says to the next recipients instead of taking them."""

    def __init__(self) -> None:
        from aiosmtpd.controller import Controller

        self.mails: list[Any] = []
        self.answers: list[str] = []
        self.controller = Controller(
            self, hostname="127.0.0.1", port=free_port(), authenticator=self.known, auth_require_tls=False
        )
        self.controller.start()
        self.url = f"smtp://127.0.0.1:{self.controller.port}"

    def known(self, server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> Any:
        from aiosmtpd.smtp import AuthResult

        return AuthResult(success=(given.login, given.password) == (USER.encode(), PASSWORD.encode()))

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope)
        return "250 OK"


@pytest.fixture
def smtp() -> Iterator[Smtp]:
    pytest.importorskip("aiosmtpd")
    made = Smtp()
    yield made
    made.controller.stop()


def channel(
    tmp_path: Path, desk: Desk, dovecot: Dovecot | None = None, smtp: Smtp | None = None, password: str = PASSWORD
) -> Email:
    imap, out = (dovecot.url if dovecot else ""), (smtp.url if smtp else "smtp://127.0.0.1:1")
    mailbox = Mailbox(USER, imap, out, USER, "" if smtp else password)
    return Email(
        mailbox=mailbox, desk=desk, store=Store.open(tmp_path / "w.db"), policy=lambda a: EmailPolicy(),
        clock_us=lambda: NOW, trust=dovecot.trust if dovecot else None,
    )  # fmt: skip


def test_a_mail_is_taken_once_and_marked_only_when_it_is_stored(dovecot: Dovecot, tmp_path: Path) -> None:
    desk = Desk()
    mailbox = channel(tmp_path, desk, dovecot)
    dovecot.put(MAIL % (1, 1))
    desk.down = True
    with pytest.raises(WaterlineError):
        asyncio.run(mailbox.look())
    assert dovecot.seen() == 0
    desk.down = False
    assert asyncio.run(mailbox.look()) == 1
    assert [m.text for m in desk.got] == ["Is Tuesday good? 1"]
    assert dovecot.seen() == 1
    assert asyncio.run(mailbox.look()) == 0


def test_automatic_mails_are_marked_and_not_handed_on(dovecot: Dovecot, tmp_path: Path) -> None:
    desk = Desk()
    dovecot.put(b"Auto-Submitted: auto-replied\r\n" + MAIL % (2, 2))
    assert asyncio.run(channel(tmp_path, desk, dovecot).look()) == 1
    assert desk.got == []
    assert asyncio.run(channel(tmp_path / "b", desk, dovecot).look()) == 0


def test_a_wrong_password_is_an_error_that_does_not_show_it(dovecot: Dovecot, tmp_path: Path) -> None:
    with pytest.raises(imaplib.IMAP4.error) as caught:
        asyncio.run(channel(tmp_path, Desk(), dovecot, password="wrong one").look())
    assert "wrong one" not in str(caught.value)


def test_a_mailbox_with_another_certificate_is_not_read(dovecot: Dovecot, tmp_path: Path) -> None:
    mailbox = channel(tmp_path, Desk(), dovecot)
    mailbox._trust = None
    with pytest.raises(OSError, match="certificate"):
        asyncio.run(mailbox.look())


def test_an_answer_leaves_with_its_choices_in_words(smtp: Smtp, tmp_path: Path) -> None:
    message = Outbound("Which day?", (Choice("a", "Monday"), Choice("b", "Tuesday")))
    sent = asyncio.run(channel(tmp_path, Desk(), smtp=smtp).send(USER, "ana@home.example", message, "k", True))
    [mail] = smtp.mails
    assert mail.rcpt_tos == ["ana@home.example"]
    text = mail.content.decode()
    assert "Which day?\r\n\r\n1. Monday\r\n2. Tuesday" in text
    assert f"Message-ID: <{sent.message_id}>" in text


@pytest.mark.parametrize(("says", "kind"), [("450 later", "later"), ("550 no such user", "never")])
def test_a_refusal_says_whether_it_may_be_tried_again(smtp: Smtp, tmp_path: Path, says: str, kind: str) -> None:
    smtp.answers = [says]
    with pytest.raises(SendFault) as caught:
        asyncio.run(channel(tmp_path, Desk(), smtp=smtp).send(USER, "a@b.example", Outbound("Hi"), "k", True))
    assert caught.value.kind == kind


def test_a_mail_server_that_is_down_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(SendFault) as caught:
        asyncio.run(channel(tmp_path, Desk()).send(USER, "a@b.example", Outbound("Hi"), "k", True))
    assert caught.value.kind == "later"


class Office:
    """A server with the mailbox, and what leaves of it."""

    def __init__(self, folder: Path, redirect: str, dovecot: Dovecot, smtp: Smtp) -> None:
        self.smtp = smtp
        self.server = Server(
            folder, redirect, WATERLINE_EMAIL_ADDRESS=USER, WATERLINE_EMAIL_IMAP=dovecot.url,
            WATERLINE_EMAIL_SMTP=smtp.url, WATERLINE_EMAIL_PASSWORD=PASSWORD, WATERLINE_EMAIL_EVERY_S="1",
            SSL_CERT_FILE=str(dovecot.certificate),
        )  # fmt: skip
        branch = Branch("lisbon", "Lisbon", addresses={"email": (USER,)})
        routes = {"main": Route(provider="simulated", model="small", total_s=30.0)}
        channels = Channels(email=EmailPolicy())
        App(self.server, "school", routes, branches=(branch,), conversations=QUICK, channels=channels)

    def answers(self) -> list[EmailMessage]:
        return [email.message_from_bytes(m.content, policy=email.policy.default) for m in self.smtp.mails]


@pytest.fixture
def office(sim: Any, dovecot: Dovecot, smtp: Smtp, tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "d", f"{sim.address}/{{route}}", dovecot, smtp)
    yield made
    made.server.stop()


@pytest.fixture(autouse=True)
def default_answers(sim: Any) -> None:
    """Other tests share the simulated provider, and script it."""
    sim.play()


def test_a_mail_is_answered_once_in_its_thread_across_a_kill(office: Office, dovecot: Dovecot) -> None:
    """In the whole app. The same mail found again (it was not marked before the crash) is not answered again."""
    dovecot.put(MAIL % (11, 11))
    assert until(lambda: len(office.answers()) == 1, 90), office.server.log()[-2000:]
    [first] = office.answers()
    assert first["to"] == "ana@home.example"
    assert first["in-reply-to"] == "<11@home.example>"
    assert first["subject"] == "Re: A visit"
    assert first["auto-submitted"] == "auto-replied"
    assert "simulated answer" in str(first.get_content())
    office.server.kill9()
    dovecot.put(MAIL % (11, 11))
    dovecot.put(MAIL % (12, 12))
    office.server.start()
    assert until(lambda: len(office.answers()) == 2, 90), office.server.log()[-2000:]
    assert until(lambda: dovecot.seen() >= 3, 90)
    assert [m["in-reply-to"] for m in office.answers()] == ["<11@home.example>", "<12@home.example>"]
    assert PASSWORD not in office.server.log()


def test_a_mailbox_that_is_down_is_said_in_the_console_and_mails_wait(office: Office, dovecot: Dovecot) -> None:
    dovecot.stop()

    def trouble() -> str:
        return str(office.server.ask("GET", "/api/channels", app="school")["now"]["mailbox"])

    assert until(trouble, 60)
    dovecot.start()
    dovecot.put(MAIL % (21, 21))
    assert until(lambda: len(office.answers()) == 1, 60), office.server.log()[-2000:]
    assert trouble() == ""
