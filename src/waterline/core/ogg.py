"""How long a recording is: Ogg with one Opus stream, which is what voice notes are (RFC 3533, RFC 7845, RFC 6716 3.1).

Counted packet by packet, never taken from what a header promises: whoever decodes the file finds no more in it. What is
not plainly that is None.
"""

from collections.abc import Iterator

_HEADER = 27  # bytes before a page's segment table
_MOST_MS = 120.0  # of one packet
_SILK, _HYBRID, _CELT = (10.0, 20.0, 40.0, 60.0), (10.0, 20.0), (2.5, 5.0, 10.0, 20.0)  # ms of a frame


def opus_seconds(data: bytes) -> float | None:
    """The length of a whole recording; None: it is none, it is broken off, or it holds more than one stream."""
    ms = 0.0
    try:
        for number, packet in enumerate(_packets(data)):
            if number < 2:
                if not packet.startswith((b"OpusHead", b"OpusTags")[number]):
                    return None
            else:
                ms += _packet_ms(packet)
    except (ValueError, IndexError):
        return None
    return ms / 1000 if ms else None


def opus_tags(data: bytes) -> bytes:
    """The comment header; empty where there is none."""
    try:
        packets = _packets(data)
        next(packets)
        tags = next(packets)
    except (ValueError, IndexError, StopIteration):
        return b""
    return tags if tags.startswith(b"OpusTags") else b""


def _packets(data: bytes) -> Iterator[bytes]:
    """Raises ValueError for bytes that are no page, a second stream, or a packet without its end."""
    at, serial, open_packet = 0, data[14:18], b""
    while at < len(data):
        if data[at : at + 5] != b"OggS\0" or data[at + 14 : at + 18] != serial:
            raise ValueError
        table = data[at + _HEADER : at + _HEADER + data[at + 26]]
        at += _HEADER + len(table)
        if at + sum(table) > len(data):
            raise ValueError
        for size in table:
            open_packet += data[at : at + size]
            at += size
            if size < 255:
                yield open_packet
                open_packet = b""
    if open_packet:
        raise ValueError


def _packet_ms(packet: bytes) -> float:
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = _SILK[config % 4]
    elif config < 16:
        frame = _HYBRID[config % 2]
    else:
        frame = _CELT[config % 4]
    frames = packet[1] & 0x3F if code == 3 else (1, 2, 2)[code]
    ms = frame * frames
    if not 0 < ms <= _MOST_MS:
        raise ValueError
    return ms
