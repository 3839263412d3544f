"""How large inline images and recordings are, from their first bytes. Nothing is decoded, and what is not plain is
None: whoever reads a file in another way than we do must not find more in it than we did.
"""

import re
import struct
from binascii import Error, a2b_base64

HEAD = 256 * 1024  # characters of base64 in which an image must have said its size
AUDIO_HEAD = 64 * 1024
MP3_BYTES_PER_S = 1000  # 8 kbit/s: the lowest of every table of MPEG-1, 2 and 2.5 Layer III (ISO 13818-3)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+")
_BASE64_END = re.compile(r"[A-Za-z0-9+/]{0,4}={0,2}")
_FRAME_SIZES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))  # SOFn


def image_size(data: str) -> tuple[int, int] | None:
    """Width and height of a PNG, JPEG or WebP in base64; None: it cannot be known."""
    head = _head(data, HEAD)
    size = _png(head) or _jpeg(head) or _webp(head)
    return size if size is not None and min(size) > 0 else None


def audio_seconds(data: str, form: object) -> float | None:
    """The longest that a recording in base64 can be; `form`: "wav" or "mp3", as the caller says. None: unknown."""
    size = len(data) // 4 * 3
    head = _head(data, AUDIO_HEAD)
    match form:
        case "mp3":
            return size / MP3_BYTES_PER_S if _mp3(head) else None
        case "wav":
            return _wav_seconds(head, size)
        case _:
            return None


def _head(data: str, characters: int) -> bytes:
    """Only of base64 that is read in one way by everybody; empty otherwise."""
    part = data[:characters]
    if not _BASE64.fullmatch(part, 0, max(0, len(part) - 4)) or not _BASE64_END.fullmatch(part[-4:]):
        return b""
    try:
        return a2b_base64(part[: len(part) // 4 * 4])
    except Error:
        return b""


def _png(head: bytes) -> tuple[int, int] | None:
    """https://www.w3.org/TR/png-3/#11IHDR"""
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR" or len(head) < 24:
        return None
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """The first frame header; ITU T.81, B.2.2. A height of 0 comes later in the file: unknown."""
    if head[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        kind = head[at + 1]
        if kind == 0xFF:  # a fill byte
            at += 1
        elif kind in _FRAME_SIZES:
            return int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        elif kind in (0x00, 0x01, 0xD8, 0xD9, 0xDA) or 0xD0 <= kind <= 0xD7:
            return None
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    """https://developers.google.com/speed/webp/docs/riff_container"""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
        case b"VP8L" if head[20] == 0x2F:
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            return None


def _wav_seconds(head: bytes, size: int) -> float | None:
    """As if the whole file were samples. Only PCM and float, whose bytes a second follow from the rate."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at = 12
    while at + 24 <= len(head) and head.count(b"fmt ") == 1:
        length = int.from_bytes(head[at + 4 : at + 8], "little")
        if head[at : at + 4] != b"fmt ":
            at += 8 + length + length % 2
            continue
        form, channels, rate, told, block, bits = struct.unpack_from("<HHIIHH", head, at + 8)
        a_second = min(told, rate * block, rate * channels * (bits // 8))
        return size / a_second if form in (1, 3) and a_second else None
    return None


def _mp3(head: bytes) -> bool:
    """A frame of Layer III, after the tag if there is one; ISO 11172-3, 2.4.2.3, https://id3.org/id3v2.4.0-structure"""
    at = 0
    if head[:3] == b"ID3" and len(head) > 10:
        at = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + (10 if head[5] & 0x10 else 0)
    frame = head[at : at + 3]
    return len(frame) == 3 and frame[0] == 0xFF and frame[1] & 0xE6 == 0xE2 and frame[2] >> 4 not in (0, 15)
