"""One mail -> what somebody wrote, without what they quoted; or why nobody needs to answer it."""

import email
import email.errors
import email.header
import email.policy
import email.utils
import hashlib
import re
from email.message import EmailMessage, Message
from html.parser import HTMLParser

from msgspec import Struct

from waterline.core.channels import EmailPolicy
from waterline.core.conversation import Alias, Inbound, Media, Status

MOST_TEXT = 16_384
MACHINES = re.compile(r"(mailer-daemon|postmaster|no-?reply|do-?not-?reply|bounces?)([+.-].*)?@", re.IGNORECASE)
# Where a quotation begins: the line and everything below it. English, Portuguese, Spanish; Outlook; a signature.
QUOTED = re.compile(
    r"^(?:On .{4,200} wrote:|Em .{4,200} escreveu:|A .{4,200} escreveu:|No dia .{4,200} escreveu:|El .{4,200} escribió:"
    r"|-{2,} ?(?:Original Message|Mensagem original|Mensaje original|Forwarded message).*|_{10,}|-- "
    r"|(?:From|De|Von): .{1,200}(?:\n(?:Sent|Date|Enviad[ao]|Data|Fecha): .*))",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


class Mail(Struct, frozen=True):
    """`ignored`: why it is not a message of a person; then there is neither message nor status, or only a status."""

    message: Inbound | None = None
    status: Status | None = None
    ignored: str = ""


def parse(raw: bytes, address: str, policy: EmailPolicy, now_us: int) -> Mail:
    """Whatever the bytes are: it never raises."""
    mail = email.message_from_bytes(raw, policy=email.policy.compat32)
    failed = _failed(mail, address, now_us)
    if failed is not None:
        return Mail(status=failed, ignored="a delivery report")
    sender = _address(_header(mail, "From"))
    why = _ignored(mail, sender, address, policy)
    if why:
        return Mail(ignored=why)
    text, media = _content(mail)
    text = without_quotes(text)
    subject = _header(mail, "Subject")[:300]
    message_id = _header(mail, "Message-ID").strip("<> ") or "sha256." + hashlib.sha256(raw).hexdigest()
    return Mail(
        Inbound(
            channel="email",
            address=address,
            message_id=message_id[:400],
            sender=sender,
            at_us=min(_date_us(mail, now_us), now_us),
            kind="text" if text or media is None else "document",
            text=(text or subject)[:MOST_TEXT],
            media=media,
            reply_to=_header(mail, "In-Reply-To").strip("<> ")[:400],
            name=email.utils.parseaddr(_header(mail, "From"))[0][:200],
            aliases=(Alias("email", sender),),
            subject=subject,
        )
    )


def _ignored(mail: Message, sender: str, address: str, policy: EmailPolicy) -> str:
    """RFC 3834: an automatic message is never answered automatically."""
    if not sender or "@" not in sender:
        return "it names no sender"
    if sender == address.lower() or address.lower() in _header(mail, "X-Loop").lower():
        return "it is our own"
    if _header(mail, "Auto-Submitted").lower().partition(";")[0].strip() not in ("", "no"):
        return "it was sent automatically"
    if _header(mail, "Precedence").lower() in ("bulk", "junk", "list", "auto_reply"):
        return "it is a bulk mail"
    if any(mail.get(name) is not None for name in ("List-Id", "List-Unsubscribe", "X-Autoreply", "X-Autorespond")):
        return "it is of a list, or an automatic answer"
    if _header(mail, "Return-Path").strip() == "<>" or MACHINES.match(sender):
        return "it was written by a machine"
    if any(sender == one.lower() or (one.startswith("@") and sender.endswith(one.lower())) for one in policy.ignore):
        return "its sender is ignored"
    return ""


def _failed(mail: Message, address: str, now_us: int) -> Status | None:
    """A delivery report (RFC 3464) that one of our mails did not arrive."""
    if mail.get_content_type() != "multipart/report" or not mail.is_multipart():
        return None
    action = why = ours = ""
    for part in mail.walk():
        kind = part.get_content_type()
        if kind == "message/delivery-status":
            for fields in part.get_payload() if part.is_multipart() else []:
                action = _header(fields, "Action") or action  # type: ignore[arg-type]
                why = _header(fields, "Diagnostic-Code") or why  # type: ignore[arg-type]
        elif kind in ("message/rfc822", "text/rfc822-headers", "message/rfc822-headers"):
            inner = part.get_payload()
            text = str(inner[0]) if isinstance(inner, list) else str(inner)
            ours = _header(email.message_from_string(text), "Message-ID").strip("<> ") or ours
    if action.lower() != "failed" or not ours:
        return None
    return Status("email", address, ours, "failed", now_us, reason=why[:300])


def without_quotes(text: str) -> str:
    """What is new in an answer. Where everything is quotation, everything stays."""
    text = text.replace("\r\n", "\n").replace("\xa0", " ")
    found = QUOTED.search(text)
    new = text[: found.start()] if found else text
    lines = [line for line in new.split("\n") if not line.startswith(">")]
    return "\n".join(lines).strip() or text.strip()


def _content(mail: Message) -> tuple[str, Media | None]:
    plain, marked, media = "", "", None
    for part in mail.walk():
        if part.is_multipart():
            continue
        name, kind = part.get_filename() or "", part.get_content_type()
        data = part.get_payload(decode=True)
        data = data if isinstance(data, bytes) else b""
        if name or part.get_content_disposition() == "attachment" or not kind.startswith("text/"):
            media = media or Media("", kind, len(data), _decoded(name)[:200])
        elif kind == "text/html":
            marked = marked or _text_of(_string(data, part.get_content_charset()))
        else:
            plain = plain or _string(data, part.get_content_charset())
    return (plain if plain.strip() else marked), media


def _string(data: bytes, charset: str | None) -> str:
    """The declared charset is wrong as often as not there: then UTF-8, then Windows-1252, which takes all bytes."""
    for name in (charset or "utf-8", "utf-8", "cp1252"):
        try:
            return data.decode(name)
        except (LookupError, UnicodeDecodeError):
            continue
    return data.decode("latin-1")


class _Words(HTMLParser):
    """The text of a page, without its scripts, styles and quotations."""

    HIDDEN = ("script", "style", "head", "blockquote")

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.HIDDEN:
            self._hidden.append(tag)
        elif tag in ("br", "p", "div", "tr", "li"):
            self.words.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and self._hidden[-1] == tag:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


def _text_of(html: str) -> str:
    words = _Words()
    words.feed(html)
    text = "".join(words.words)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip() for line in text.split("\n"))).strip()


def _header(mail: Message, name: str) -> str:
    return _decoded(str(mail.get(name, "") or ""))


def _decoded(text: str) -> str:
    """RFC 2047, on one line."""
    try:
        parts = email.header.decode_header(text)
        text = "".join(p if isinstance(p, str) else _string(p, charset) for p, charset in parts)
    except (email.errors.HeaderParseError, ValueError):
        pass
    return " ".join(text.split())


def _address(text: str) -> str:
    return email.utils.parseaddr(text)[1].lower()


def _date_us(mail: Message, now_us: int) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(str(mail.get("Date"))).timestamp() * 1e6)
    except (TypeError, ValueError, OverflowError):
        return now_us


def answer(
    *, address: str, to: str, text: str, subject: str, key: str, before: Inbound | None, policy: EmailPolicy
) -> EmailMessage:
    """Our mail. The same key gives the same Message-ID, so that a repeat is one mail for who keeps them by it."""
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["From"], mail["To"] = address, to
    theirs = before.subject if before is not None else ""
    named = subject or (theirs if theirs.lower().startswith("re:") else f"Re: {theirs}" if theirs else policy.subject)
    mail["Subject"] = " ".join(named.split())
    mail["Message-ID"] = f"<{message_id(address, key)}>"
    mail["Date"] = email.utils.localtime()
    if before is not None and not before.message_id.startswith("sha256."):
        mail["In-Reply-To"] = f"<{before.message_id}>"
        older = f"<{before.reply_to}> " if before.reply_to else ""
        mail["References"] = f"{older}<{before.message_id}>"
    mail["Auto-Submitted"] = "auto-replied"  # RFC 3834: so that no other machine answers
    mail["X-Loop"] = address
    mail.set_content(text)
    return mail


def message_id(address: str, key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()[:40]}@{address.partition('@')[2] or 'localhost'}"
