"""E-mail to people, over SMTP (RFC 5321).

SMTP has no idempotency key, so here is what is promised, and no more. The Message-ID is made from the key: a repeat is
the same message, which most mailboxes and every thread view show once. Within a process a message that was accepted is
not sent again. Who sends once across crashes is the table of effects: between the server's "250" and the row that says
`done` there is one window, and only a crash (or a lost "250") within it sends a message a second time, with the same
Message-ID. `in_doubt = "stop"` hands a lost "250" to a person instead of repeating it; a crash is repeated anyway.
"""

import smtplib
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from email.errors import HeaderParseError, MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, localtime
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from waterline.connectors.base import Breaking, Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.mail_clients import Smtp, SmtpTls
from waterline.connectors.once import safe_key
from waterline.connectors.threads import Threads

_REMEMBERED = 10_000
_ADDRESS = {"type": "string", "format": "email", "maxLength": 254}


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    sender: str  # of the envelope and of From:
    sender_name: str = ""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    domains: tuple[str, ...] = ()  # recipients are within these; none: anybody
    in_doubt: Literal["repeat", "stop"] = "repeat"
    timeout_s: float = 20.0


MANIFEST = Manifest(
    kind="mail",
    breaker=Breaking(pauses_s=(15.0, 60.0, 300.0)),  # mail servers shut out who comes back too soon
    title="E-mail out",
    settings=("host", "port", "user", "password"),
    secrets=("password",),
    operations=(
        Operation(
            "send",
            "irreversible",
            "Sends one e-mail.",
            {
                "type": "object",
                "properties": {
                    "to": {"type": "array", "items": _ADDRESS, "minItems": 1, "maxItems": 20},
                    "subject": {"type": "string", "minLength": 1, "maxLength": 200},
                    "text": {"type": "string", "minLength": 1, "maxLength": 20_000},
                    "reply_to": _ADDRESS,
                },
                "required": ["to", "subject", "text"],
                "additionalProperties": False,
            },
            once="uid",
            personal=("to", "subject", "text", "reply_to"),
            timeout_s=25.0,
            retries=0,
        ),
    ),
)


class Mail:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "sender": _ADDRESS,
            "sender_name": {"type": "string", "maxLength": 100},
            "tls": {"type": "string", "enum": ["starttls", "tls", "none"]},
            "domains": {"type": "array", "items": {"type": "string", "minLength": 1}},
            "in_doubt": {"type": "string", "enum": ["repeat", "stop"]},
            "timeout_s": {"type": "number", "minimum": 0.1, "maximum": 24},
        },
        "required": ["sender"],
    }

    def __init__(self, config: Config) -> None:
        self.options = msgspec.convert(dict(config.parameters), Options)
        self.manifest = MANIFEST
        self.settings = config.settings
        self.context: ssl.SSLContext | None = None  # None: the system's authorities
        self._threads = Threads(config.name, 4)
        self._accepted: OrderedDict[str, dict[str, Any]] = OrderedDict()

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        return MANIFEST

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        self.manifest.operation(operation)
        if key in self._accepted:
            return self._accepted[key]
        message = self._message(arguments, key)
        refused = await self._threads.run(self._send, message, list(arguments["to"]))
        result = {"message_id": str(message["message-id"]), "refused": refused}
        self._accepted[key] = result
        while len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)
        return result

    async def close(self) -> None:
        self._threads.close()

    def _message(self, given: Mapping[str, Any], key: str) -> EmailMessage:
        o = self.options
        recipients = [*given["to"], *([given["reply_to"]] if "reply_to" in given else [])]
        for address in given["to"]:
            domain = address.rpartition("@")[2].lower()
            if o.domains and domain not in o.domains:
                raise ConnectorFault("invalid", f"Mail goes to {', '.join(o.domains)} only, not to {domain}.")
        message = EmailMessage(SMTP if all(a.isascii() for a in recipients) else SMTPUTF8)
        try:
            message["from"] = Address(o.sender_name, addr_spec=o.sender)
            message["to"] = [Address(addr_spec=address) for address in given["to"]]
            message["subject"] = given["subject"]
            if "reply_to" in given:
                message["reply-to"] = Address(addr_spec=given["reply_to"])
            message["date"] = format_datetime(localtime())
            message["message-id"] = f"<{safe_key(key)}@{o.sender.rpartition('@')[2]}>"
            message["auto-submitted"] = "auto-generated"  # RFC 3834: no robot answers it
            message.set_content(given["text"])
        except (ValueError, HeaderParseError, MessageError, IndexError):
            raise ConnectorFault("invalid", "An address or the subject is not one line of plain text.") from None
        return message

    def _send(self, message: EmailMessage, recipients: list[str]) -> list[str]:
        """Which recipients were refused while others were not. Raises ConnectorFault."""
        host, port = self.settings.get("host", ""), int(self.settings.get("port") or 587)
        where = f"The mail server {host}:{port}"
        smtp = self._made(host)
        try:
            self._sign_in(smtp, host, port)
            refused = smtp.send_message(message, self.options.sender, recipients)
            return sorted(refused)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise self._fault(error, where, smtp.handed_over) from None
        finally:
            smtp.leave()

    def _made(self, host: str) -> "_Smtp":
        o, ours = self.options, self.options.sender.rpartition("@")[2]
        if o.tls == "tls":
            context = self.context or ssl.create_default_context()
            smtp: _Smtp = _Tls(local_hostname=ours, timeout=o.timeout_s, context=context)
        else:
            smtp = _Smtp(local_hostname=ours, timeout=o.timeout_s)
        smtp._host = host  # type: ignore[attr-defined]  # for the certificate; smtplib sets it when it connects at once
        return smtp

    def _sign_in(self, smtp: "_Smtp", host: str, port: int) -> None:
        code, said = smtp.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if self.options.tls == "starttls":
            smtp.starttls(context=self.context or ssl.create_default_context())
        if self.settings.get("user"):
            smtp.login(self.settings["user"], self.settings.get("password", ""))

    def _fault(self, error: Exception, where: str, handed: bool) -> ConnectorFault:
        code = getattr(error, "smtp_code", 0)
        match error:
            case smtplib.SMTPRecipientsRefused():
                codes = {code for code, _ in error.recipients.values()}
                if -1 in codes:
                    return ConnectorFault("data", f"{where} answered what is not SMTP.")
                if all(400 <= c < 500 for c in codes):
                    return ConnectorFault("down", f"{where} puts off the recipients ({codes}).", retry_after_s=300)
                return ConnectorFault("refused", f"{where} refuses every recipient ({', '.join(map(str, codes))}).")
            case smtplib.SMTPAuthenticationError() if code >= 500:
                return ConnectorFault("credentials", f"{where} refuses our user or password ({code}). Set new ones.")
            case smtplib.SMTPNotSupportedError():
                return ConnectorFault("schema", f"{where} no longer offers what is needed: {error}")
            case ssl.SSLCertVerificationError():
                text = f"The certificate of {where} cannot be trusted: {error.verify_message}. Renew or install it."
                return ConnectorFault("credentials", text)
            case smtplib.SMTPServerDisconnected() | OSError() if handed:
                if self.options.in_doubt == "stop":
                    text = f"{where} broke off after the message was handed over: it may have been sent. Look there."
                    return ConnectorFault("refused", text)
                return ConnectorFault(
                    "slow", f"{where} broke off after the message was handed over; it may have been sent."
                )
            case TimeoutError() | smtplib.SMTPServerDisconnected(__context__=TimeoutError()):
                return ConnectorFault("slow", f"{where} gave no answer within {self.options.timeout_s:g} s.")
            case smtplib.SMTPResponseException() if code == -1 or not 200 <= code < 600:
                return ConnectorFault("data", f"{where} answered what is not SMTP.")
            case smtplib.SMTPResponseException() if 400 <= code < 500:
                return ConnectorFault("down", f"{where} is not ready ({code}).", retry_after_s=60)
            case smtplib.SMTPResponseException() if code in (530, 535, 550) and isinstance(
                error, smtplib.SMTPSenderRefused
            ):
                return ConnectorFault("credentials", f"{where} does not let us send as {self.options.sender} ({code}).")
            case smtplib.SMTPResponseException():
                return ConnectorFault("refused", f"{where} refuses the message ({code}).")
            case ValueError():
                return ConnectorFault("data", f"{where} answered what is not SMTP.")
            case _:
                return ConnectorFault("down", f"{where} cannot be reached or broke off ({type(error).__name__}).")


class _Smtp(Smtp):
    """Knows whether a message was handed over and its answer is not in: losing the connection then leaves a doubt."""

    handed_over = False
    _with_data = False

    def data(self, msg: Any) -> tuple[int, bytes]:
        self._with_data = True
        answer = super().data(msg)
        self._with_data = self.handed_over = False
        return answer

    def send(self, s: Any) -> None:
        if self._with_data and not isinstance(s, str):  # commands are str, the message is bytes
            self.handed_over = True
        super().send(s)

    def leave(self) -> None:
        """Politely where there is still somebody; the message is accepted already."""
        try:
            if self.sock is not None:
                self.quit()
        except (smtplib.SMTPException, OSError):
            pass
        finally:
            self.close()


class _Tls(_Smtp, SmtpTls):
    pass
