"""How many input tokens a request may have, for the worst case that a budget reserves.

Text is bounded by its bytes: a token has one at least. An image or a recording is bounded by its provider's published
formula, from its size, where the model and the size are known; its base64 is not text then. Where either is unknown, by
the dearest formula there is, beside its bytes. A file is bounded by nothing but the model's window. What a part is, is
read from the decoded parts, never from bytes that a JSON escape would hide.
"""

from math import ceil

import msgspec
from msgspec import Raw, Struct

from waterline.core.release import Route
from waterline.core.request import Request
from waterline.gateway.media_formulas import (
    AUDIO_TOKENS,
    AUDIO_TOKENS_PER_S,
    FILE_TOKENS,
    IMAGE_TOKENS,
    LOW_IMAGE_TOKENS,
    Formula,
    formula,
)
from waterline.gateway.media_sizes import audio_seconds, image_size
from waterline.providers.base import data_url

BYTES_PER_TOKEN = 4  # for estimates only; bounds use one byte a token
# A prompt of the provider's own that comes with tools. The longest published has 530 tokens (Anthropic, Claude 3 Opus:
# https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview#pricing).
TOOLS_TOKENS = 600
_IMAGES = frozenset(("image_url", "image", "input_image"))
_BOUNDED_BY_BYTES = frozenset(
    ("text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking", "tool_use",
     "server_tool_use", "web_search_tool_result", "search_result")
)  # fmt: skip


class _Said(Struct):
    content: Raw = Raw()


class _Part(Struct):
    type: str = ""
    content: Raw = Raw()  # of a tool's result
    image_url: Raw = Raw()
    input_audio: Raw = Raw()
    source: Raw = Raw()  # of Anthropic's image
    anthropic: Raw = Raw()  # a block of a Messages request (`core/messages.py`)


class _Image(Struct):
    url: str = ""
    detail: str | None = None


class _Inline(Struct):
    data: str = ""
    format: str = ""
    type: str = ""


_decode_image = msgspec.json.Decoder(_Image | str).decode
_decode_inline = msgspec.json.Decoder(_Inline).decode
_decode_messages = msgspec.json.Decoder(list[_Said]).decode
_decode_parts = msgspec.json.Decoder(list[Raw]).decode
_decode_part = msgspec.json.Decoder(_Part).decode


def media_bound(rendered: bytes, messages: Raw | bytes | None, route: Route) -> int:
    """Tokens that a prompt may have at most, or 0: it is text alone, and its bytes are the bound. `messages`: the list
    as it was rendered from.

    Costs a look for a second bracket where no message has parts: they cannot be escaped, and the list itself has one.
    """
    if messages is None or rendered.find(b"[", rendered.find(b"[") + 1) < 0:
        return 0
    found = _Found(formula(route.provider, route.model, bool(route.base_url)))
    for said in _decode_messages(messages):
        found.content(bytes(said.content))
    if not found.any:
        return 0
    bound = len(rendered) - found.inline_in(rendered) + found.tokens
    window = found.known.window if found.known is not None else FILE_TOKENS
    if found.files:
        bound += min(window, route.context or window)  # once: no prompt has more, however many files
    return bound if found.known is None else min(bound, window)


def prompt_tokens(request: Request, route: Route, tpm: int | None) -> int:
    """What a prompt counts for in a limit of tokens a minute until its usage is known. No bound: text is a quarter of
    its bytes. Media count by their formula, and where there is none as their bytes, up to the dearest there is."""
    body, messages = request.body, request.fields.get("messages")
    if tpm is None or messages is None or body.find(b"[", body.find(b"[") + 1) < 0:
        return len(body) // BYTES_PER_TOKEN
    found = _Found(formula(route.provider, route.model, bool(route.base_url)))
    for said in _decode_messages(messages):
        found.content(bytes(said.content))
    return max(0, len(body) - found.bytes) // BYTES_PER_TOKEN + found.likely


class _Found:
    """What is beside text in a list of messages."""

    def __init__(self, known: Formula | None) -> None:
        self.known = known
        self.any = False
        self.tokens = 0
        self.files = 0
        self.inline: dict[str, int] = {}  # base64 whose tokens are counted otherwise -> how often
        self.likely = 0  # tokens of all of it, no bound
        self.bytes = 0  # that are no text
        self._window = known.window if known is not None else FILE_TOKENS

    def inline_in(self, rendered: bytes) -> int:
        """Bytes of it in a body."""
        return sum(min(n, rendered.count(data.encode())) * len(data) for data, n in self.inline.items())

    def content(self, content: bytes) -> None:
        if content[:1] == b"[":
            for part in _decode_parts(content):
                self._part(bytes(part))

    def _part(self, part: bytes) -> None:
        """A kind that is not known counts as a file: the provider may know it."""
        if part[:1] != b"{":
            return
        try:
            read = _decode_part(part)
        except msgspec.MsgspecError:
            self._file(part)
            return
        if read.type == "anthropic":
            self._part(bytes(read.anthropic))
        elif read.type == "tool_result":
            self.content(bytes(read.content))
        elif read.type in _IMAGES:
            self._image(part, read)
        elif read.type == "input_audio":
            self._audio(bytes(read.input_audio))
        elif read.type not in _BOUNDED_BY_BYTES:
            self._file(part)

    def _file(self, part: bytes) -> None:
        self.any = True
        self.files += 1
        self._counts(len(part), len(part) // BYTES_PER_TOKEN)

    def _counts(self, length: int, likely: int) -> None:
        self.bytes += length
        self.likely += min(likely, self._window)

    def _image(self, part: bytes, read: _Part) -> None:
        self.any = True
        low = _low(part, bytes(read.image_url))
        data = _image_data(read)
        if self.known is None:
            most = LOW_IMAGE_TOKENS if low or not data else IMAGE_TOKENS
            self._counts(len(data), min(most, len(data) // BYTES_PER_TOKEN) if data else most)
            self.tokens += LOW_IMAGE_TOKENS if low else IMAGE_TOKENS
            return
        tokens = self.known.image(image_size(data) if data and _plain(part) else None, low)
        self.tokens += tokens
        self._counts(len(data), tokens)
        self._not_text(data)

    def _audio(self, audio: bytes) -> None:
        self.any = True
        try:
            read = _decode_inline(audio)
        except msgspec.MsgspecError:
            read = _Inline()
        seconds = audio_seconds(read.data, read.format)
        if seconds is None:
            self.files += 1
            self._counts(len(read.data), len(read.data) // BYTES_PER_TOKEN)
            return
        tokens = AUDIO_TOKENS + ceil(seconds * AUDIO_TOKENS_PER_S)
        self.tokens += tokens
        self._counts(len(read.data), tokens)
        if self.known is not None:
            self._not_text(read.data)

    def _not_text(self, data: str) -> None:
        if data:
            self.inline[data] = self.inline.get(data, 0) + 1


def _image_data(read: _Part) -> str:
    """Its base64; empty: it is elsewhere."""
    try:
        if read.source:
            source = _decode_inline(read.source)
            return source.data if source.type == "base64" else ""
        image = _decode_image(read.image_url)
    except msgspec.MsgspecError:
        return ""
    found = data_url(image if isinstance(image, str) else image.url)
    return found[1] if found is not None else ""


def _plain(part: bytes) -> bool:
    """No key twice, of which another reader may take the other; base64 has no quotes."""
    once = part.count(b'"url"') <= 1 and part.count(b'"data"') <= 1 and part.count(b'"source"') <= 1
    return once and part.count(b'"image_url"') <= 2 and b"\\u" not in part


def _low(part: bytes, image: bytes) -> bool:
    """Not where another detail could be read: of a second key, or of one that is written with escapes."""
    if part.count(b"detail") != 1 or b"\\" in part or image[:1] != b"{":
        return False
    try:
        read = _decode_image(image)
    except msgspec.MsgspecError:
        return False
    return isinstance(read, _Image) and read.detail == "low"
