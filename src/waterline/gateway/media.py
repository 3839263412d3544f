"""What a request's images and files may add to its input tokens, for the worst case that a budget reserves.

Text and inline audio are bounded by their bytes: a token has one at least. An image is not (a short URL may name a
large one), nor is a file that is known by an id, or a PDF whose pages are read as images too. What a part is, is read
from the decoded parts, never from bytes that a JSON escape would hide.
"""

import msgspec
from msgspec import Raw, Struct

# The dearest published: gpt-4o-mini bills 2,833 tokens, and 5,667 for each of up to eight tiles
# (https://platform.openai.com/docs/guides/images-vision). Others bill a tenth of that.
IMAGE_TOKENS = 2_833 + 8 * 5_667
# With "detail": "low" only OpenAI's base is billed (2,833); who does not know the word bills as ever, a tenth of the
# above at most (Anthropic: 4,784 for its largest, https://platform.claude.com/docs/en/build-with-claude/vision).
LOW_IMAGE_TOKENS = IMAGE_TOKENS // 10
FILE_TOKENS = 460_000  # 100 pages, at 3,000 tokens of text and 1,600 of image a page, as Anthropic's guide to PDFs says
# A prompt of the provider's own that comes with tools. The longest published has 530 tokens (Anthropic, Claude 3 Opus:
# https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview#pricing).
TOOLS_TOKENS = 600
_IMAGES = frozenset(("image_url", "image", "input_image"))
_BOUNDED_BY_BYTES = frozenset(
    ("text", "input_text", "output_text", "refusal", "input_audio", "thinking", "redacted_thinking", "tool_use",
     "server_tool_use", "web_search_tool_result", "search_result")
)  # fmt: skip


class _Said(Struct):
    content: Raw = Raw()


class _Part(Struct):
    type: str = ""
    content: Raw = Raw()  # of a tool's result
    image_url: Raw = Raw()
    anthropic: Raw = Raw()  # a block of a Messages request (`core/messages.py`)


class _Image(Struct):
    detail: str | None = None


_decode_image = msgspec.json.Decoder(_Image).decode
_decode_messages = msgspec.json.Decoder(list[_Said]).decode
_decode_parts = msgspec.json.Decoder(list[Raw]).decode
_decode_part = msgspec.json.Decoder(_Part).decode


def media_tokens(rendered: bytes, messages: Raw | None) -> int:
    """Tokens that the bytes of `rendered` do not bound; `messages` is the caller's list as it was written.

    Costs one count of a byte where no message has parts: brackets cannot be escaped, and the list itself has one."""
    if messages is None or rendered.count(b"[") < 2:
        return 0
    return sum(_of_content(bytes(said.content)) for said in _decode_messages(messages))


def _of_content(content: bytes) -> int:
    if content[:1] != b"[":
        return 0
    return sum(_of_part(bytes(part)) for part in _decode_parts(content))


def _of_part(part: bytes) -> int:
    """A kind that is not known counts as a file: the provider may know it."""
    if part[:1] != b"{":
        return 0
    try:
        read = _decode_part(part)
    except msgspec.MsgspecError:
        return FILE_TOKENS
    if read.type == "anthropic":
        return _of_part(bytes(read.anthropic))
    if read.type == "tool_result":
        return _of_content(bytes(read.content))
    if read.type in _BOUNDED_BY_BYTES:
        return 0
    if read.type not in _IMAGES:
        return FILE_TOKENS
    return LOW_IMAGE_TOKENS if _low(part, bytes(read.image_url)) else IMAGE_TOKENS


def _low(part: bytes, image: bytes) -> bool:
    """Not where another detail could be read: of a second key, or of one that is written with escapes."""
    if part.count(b"detail") != 1 or b"\\" in part or image[:1] != b"{":
        return False
    try:
        return _decode_image(image).detail == "low"
    except msgspec.MsgspecError:
        return False
