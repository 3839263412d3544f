"""What goes into the text index: without e-mail addresses and without long digit runs (phones, cards, documents).

A coarse net, on purpose: a search index needs no personal data at all. The guard's policy is another matter.
"""

import re

from msgspec import Struct

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_DIGITS = re.compile(r"\+?\d(?:[ .()/-]{0,3}\d){6,}")
_NOT_DIGITS = bytes(i for i in range(256) if not 48 <= i <= 57)


def redact(text: str) -> str:
    """`"ana@x.pt 912 345 678"` becomes `"[email] [number]"`. Linear in the length of the text."""
    if "@" in text:
        text = _EMAIL.sub("[email]", text)
    if not text.isascii() or len(text.encode().translate(None, _NOT_DIGITS)) >= 7:
        text = _DIGITS.sub("[number]", text)
    return text


class Redaction(Struct):
    """What was taken out of some texts."""

    emails: int = 0
    numbers: int = 0

    def take(self, text: str) -> str:
        """`redact`, and counted. Names of people stay: nothing here knows a name from another word."""
        text, emails = _EMAIL.subn("[email]", text)
        text, numbers = _DIGITS.subn("[number]", text)
        self.emails += emails
        self.numbers += numbers
        return text

    @property
    def told(self) -> str:
        """`"2 e-mail addresses, 1 number"`; "" if there was nothing."""
        found = ((self.emails, "e-mail address", "es"), (self.numbers, "number", "s"))
        return ", ".join(f"{n} {name}{end if n > 1 else ''}" for n, name, end in found if n)
