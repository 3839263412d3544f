"""What a browser holds to say what became of one answer: a signed note of the trace, the key that asked for it, and
when it ends. It opens nothing else, and stops working when the key is revoked. See docs/adr/0008."""

import base64
import hashlib
import hmac
from collections.abc import Callable

import msgspec
from msgspec import Struct

from waterline.core.errors import InvalidApiKey

LONGEST_HOURS = 24 * 30
MOST_CHARACTERS = 1000
_SIGNATURE = 32  # characters of base64: 192 bits


class Note(Struct, frozen=True, array_like=True):
    trace: str
    key_id: str
    expires_s: int
    origin: str = ""  # the only page that may use it; "": any


class FeedbackTokens:
    def __init__(self, secret: bytes, clock_us: Callable[[], int]) -> None:
        self._secret = hmac.new(secret, b"feedback tokens", hashlib.sha256).digest()
        self._clock_us = clock_us

    def make(self, trace: str, key_id: str, hours: float, origin: str = "") -> str:
        note = Note(trace, key_id, self._clock_us() // 1_000_000 + int(hours * 3600), origin)
        text = base64.urlsafe_b64encode(msgspec.json.encode(note)).rstrip(b"=")
        return f"{text.decode()}.{self._signature(text)}"

    def read(self, token: str, origin: str = "") -> Note:
        """Raises InvalidApiKey, saying why. `origin`: of the page that sent it."""
        text, _, signature = token[:MOST_CHARACTERS].partition(".")
        if not hmac.compare_digest(self._signature(text.encode()).encode(), signature.encode()):
            raise InvalidApiKey("This feedback token is not one of this server's.")
        note = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Note)
        if self._clock_us() >= note.expires_s * 1_000_000:
            raise InvalidApiKey("This feedback token has expired. Ask for another: POST /v1/feedback/tokens.")
        if note.origin and note.origin != origin:
            raise InvalidApiKey(f"This feedback token is for pages of {note.origin} only.")
        return note

    def _signature(self, text: bytes) -> str:
        made = hmac.new(self._secret, text, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(made).decode()[:_SIGNATURE]
