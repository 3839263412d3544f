"""E-mail as a channel: a mailbox is looked at (IMAP), answers leave (SMTP). Both speak in threads, by the standard
library.

A mail is marked as seen only after the store has it; what was stored and not marked comes again and is known. Answers
leave at least once: a repeat has the same Message-ID."""

import asyncio
import imaplib
import logging
import smtplib
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from waterline.channels.base import SendFault, Sent
from waterline.channels.email_parse import Mail, answer, message_id, parse
from waterline.connectors.base import ConnectorFault
from waterline.connectors.mail_clients import Imap, ImapTls, Smtp, SmtpTls
from waterline.core.channels import EmailPolicy
from waterline.core.conversation import ChannelKind, Inbound, Outbound, Status
from waterline.core.errors import WaterlineError
from waterline.store import channels as rows
from waterline.store.db import Store

log = logging.getLogger("waterline.email")
TIMEOUT_S = 30.0
BATCH = 50
MOST_BYTES = 20 << 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Mailbox(Struct, frozen=True):
    """Where and as whom. `password` never shows."""

    address: str
    imap: str  # imaps://host[:port]; imap:// on this machine
    smtp: str  # smtps://host[:port], or smtp://host[:port] with STARTTLS; without on this machine
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Mailbox({self.address!r}, password hidden)"


class Desk(Protocol):
    async def inbound(self, messages: Sequence[Inbound]) -> None: ...
    async def statuses(self, statuses: Sequence[Status]) -> None: ...


class Email:
    """`policy`: None if no branch has this mailbox. `trust`: for tests with an authority of their own."""

    kind: ChannelKind = "email"
    sends_once = True
    echo_s = 0.0

    def __init__(
        self,
        *,
        mailbox: Mailbox,
        desk: Desk,
        store: Store,
        policy: Callable[[str], EmailPolicy | None],
        clock_us: Callable[[], int],
        every_s: float = 20.0,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._mailbox = mailbox
        self._desk = desk
        self._store = store
        self._policy = policy
        self._clock_us = clock_us
        self._every_s = every_s
        self._trust = trust
        self._task: asyncio.Task[None] | None = None
        self.trouble = ""  # why the mailbox cannot be read now

    def start(self) -> None:
        """Inside the event loop."""
        if self._mailbox.imap:
            self._task = asyncio.create_task(self._look_for_ever())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- in ------------------------------------------------------------------------------------------------------

    async def _look_for_ever(self) -> None:
        while True:
            try:
                more = await self.look()
                if self.trouble:
                    log.info("the mailbox %s can be read again", self._mailbox.address)
                self.trouble = ""
            except (OSError, imaplib.IMAP4.error, WaterlineError, ConnectorFault) as error:
                more = 0
                if not self.trouble:
                    log.error("the mailbox %s cannot be read: %s", self._mailbox.address, error)
                self.trouble = str(error) or type(error).__name__
            except Exception:
                more = 0
                log.exception("the mailbox %s: a mistake of ours", self._mailbox.address)
            if more < BATCH:
                await asyncio.sleep(self._every_s)

    async def look(self) -> int:
        """Takes what is new; how many mails there were. Raises OSError, IMAP4.error, StoreUnavailable."""
        policy = self._policy(self._mailbox.address)
        if policy is None:
            return 0
        found = await asyncio.to_thread(self._fetch)
        now = self._clock_us()
        mails = [parse(raw, self._mailbox.address, policy, now) for _, raw in found]
        await self._hand_in(mails)
        if found:
            await asyncio.to_thread(self._seen, [uid for uid, _ in found])
        return len(found)

    async def _hand_in(self, mails: list[Mail]) -> None:
        for mail in mails:
            if mail.ignored:
                log.info("a mail is not answered: %s", mail.ignored)
        messages = [mail.message for mail in mails if mail.message is not None]
        statuses = [mail.status for mail in mails if mail.status is not None]
        if messages:
            await self._desk.inbound(sorted(messages, key=lambda m: m.at_us))
        if statuses:
            await self._desk.statuses(statuses)

    def _fetch(self) -> list[tuple[bytes, bytes]]:
        """(uid, mail), the oldest first; at most BATCH."""
        with self._imap() as box:
            _, found = box.uid("SEARCH", "UNSEEN")
            uids = (found[0] or b"").split()[:BATCH]
            mails = []
            for uid in uids:
                _, parts = box.uid("FETCH", uid.decode(), f"(BODY.PEEK[]<0.{MOST_BYTES}>)")
                raw = next((part[1] for part in parts if isinstance(part, tuple)), None)
                if raw is not None:
                    mails.append((uid, raw))
            return mails

    def _seen(self, uids: list[bytes]) -> None:
        with self._imap() as box:
            for uid in uids:
                box.uid("STORE", uid.decode(), "+FLAGS", "(\\Seen)")

    def _imap(self) -> imaplib.IMAP4:
        at = urlsplit(self._mailbox.imap)
        host = at.hostname or ""
        box: imaplib.IMAP4
        if at.scheme == "imaps":
            box = ImapTls(host, at.port or 993, ssl_context=self._tls(), timeout=TIMEOUT_S)
        else:
            box = Imap(host, at.port or 143, timeout=TIMEOUT_S)
        try:
            box.login(self._mailbox.user, self._mailbox.password)
            box.select("INBOX")
        except BaseException:
            box.shutdown()
            raise
        return box

    # --- out -----------------------------------------------------------------------------------------------------

    async def send(self, address: str, to: str, message: Outbound, key: str, window_open: bool) -> Sent:
        if address != self._mailbox.address:
            raise SendFault("number_stopped", f"{address} is not our mailbox. See WATERLINE_EMAIL_ADDRESS.")
        text = message.text.strip()
        if not text:
            raise SendFault("never", "An e-mail needs a text.")
        if message.choices:
            text += "\n\n" + "\n".join(f"{n}. {choice.title}" for n, choice in enumerate(message.choices, 1))
        before = await self._store.read(lambda tx: rows.last_mail(tx, address, to))
        try:
            mail = answer(
                address=address, to=to, text=text, subject=message.subject, key=key, before=before,
                policy=self._policy(address) or EmailPolicy(),
            )  # fmt: skip
            await asyncio.to_thread(self._leave, mail.as_bytes(), to)
        except ValueError as error:
            raise SendFault("never", f"The mail cannot be written: {error}") from error
        except smtplib.SMTPRecipientsRefused as error:
            raise _refused(*next(iter(error.recipients.values()), (550, b""))) from error
        except ConnectorFault as error:
            raise SendFault("number_stopped", f"{error.message} See WATERLINE_EMAIL_SMTP.") from error
        except smtplib.SMTPAuthenticationError as error:
            raise SendFault(
                "number_stopped", "The mail server refuses our password: WATERLINE_EMAIL_PASSWORD."
            ) from error
        except smtplib.SMTPResponseException as error:
            said = error.smtp_error if isinstance(error.smtp_error, bytes) else str(error.smtp_error).encode()
            raise _refused(error.smtp_code, said) from error
        except (smtplib.SMTPException, OSError) as error:
            raise SendFault("later", f"The mail server cannot be reached: {error}", retry_after_s=30) from error
        return Sent(message_id(address, key), self._clock_us())

    def _leave(self, mail: bytes, to: str) -> None:
        at = urlsplit(self._mailbox.smtp)
        host = at.hostname or ""
        server: smtplib.SMTP
        if at.scheme == "smtps":
            server = SmtpTls(host, at.port or 465, timeout=TIMEOUT_S, context=self._tls())
        else:
            server = Smtp(host, at.port or 587, timeout=TIMEOUT_S)
        with server:
            if at.scheme == "smtp" and host not in LOOPBACK:
                server.starttls(context=self._tls())  # raises where the server has none: nothing leaves in the clear
            if self._mailbox.password:
                server.login(self._mailbox.user, self._mailbox.password)
            server.sendmail(self._mailbox.address, [to], mail)

    def _tls(self) -> ssl.SSLContext:
        return self._trust or ssl.create_default_context()


def _refused(code: int, said: bytes) -> SendFault:
    text = said.decode("utf-8", "replace")[:200]
    if 400 <= code < 500:
        return SendFault("later", f"The mail server says {code}: {text}", retry_after_s=300, code=code)
    return SendFault("never", f"The mail server says {code}: {text}", code=code)
