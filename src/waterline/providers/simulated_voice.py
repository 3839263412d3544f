"""Voice notes that nobody spoke: real Ogg Opus files of silence whose words stand in a comment, so that the simulated
provider can say what it "heard" and a telephone can send what somebody typed."""

import math
import re
import struct

import msgspec

from waterline.core.ogg import opus_seconds, opus_tags

_SILENCE = b"\xf8\xff\xfe"  # 20 ms (RFC 6716: CELT, full band, mono)
_PACKETS = 80  # of a page
_WORDS = b"WORDS="
_BOUNDARY = re.compile(rb'boundary="?([^";,]+)')
_SERIAL = 0x57A7E811
_CRC = [0] * 256
for _n in range(256):
    _r = _n << 24
    for _ in range(8):
        _r = (_r << 1 ^ 0x04C11DB7 if _r & 0x80000000 else _r << 1) & 0xFFFFFFFF
    _CRC[_n] = _r


class Spoken(msgspec.Struct):
    """What a request for a transcription holds. `seconds` None: that is no recording."""

    model: str
    words: str
    seconds: int | None


def voice_note(words: str, seconds: float = 0.0) -> bytes:
    """`seconds`: 0 takes as long as one would speak."""
    seconds = seconds or max(1.0, len(words) / 14)
    comment = _WORDS + words.encode()
    vendor = b"simulated"
    tags = struct.pack("<8sI", b"OpusTags", len(vendor)) + vendor + struct.pack("<II", 1, len(comment)) + comment
    packets = math.ceil(seconds * 50)
    pages = [_page(2, 0, 0, [struct.pack("<8sBBHIHB", b"OpusHead", 1, 1, 0, 48_000, 0, 0)]), _page(0, 0, 1, [tags])]
    for first in range(0, packets, _PACKETS):
        last = min(first + _PACKETS, packets)
        kind = 4 if last == packets else 0
        pages.append(_page(kind, last * 960, len(pages), [_SILENCE] * (last - first)))
    return b"".join(pages)


def _page(kind: int, granule: int, number: int, packets: list[bytes]) -> bytes:
    table = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
    head = struct.pack("<4sBBqIII", b"OggS", 0, kind, granule, _SERIAL, number, 0) + bytes([len(table)]) + table
    page = head + b"".join(packets)
    crc = 0
    for byte in page:
        crc = (crc << 8 ^ _CRC[(crc >> 24 & 0xFF) ^ byte]) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", crc) + page[26:]


def spoken_words(data: bytes) -> str:
    _, found, words = opus_tags(data).partition(_WORDS)
    return words.decode(errors="replace") if found else ""


def read_form(content_type: bytes, body: bytes) -> Spoken:
    """Of `POST /audio/transcriptions`, multipart/form-data."""
    found = _BOUNDARY.search(content_type)
    model, data = "", b""
    for part in body.split(b"--" + found[1])[1:-1] if found is not None else ():
        head, _, payload = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        if b'name="model"' in head:
            model = payload.decode(errors="replace").strip()
        elif b'name="file"' in head:
            data = payload
    seconds = opus_seconds(data)
    return Spoken(model, spoken_words(data), math.ceil(seconds) if seconds is not None else None)
