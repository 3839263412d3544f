"""How long a voice note is: counted from its packets, so that whoever forges a header pays for what is in the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.ogg import opus_seconds
from waterline.providers.simulated_voice import _page, spoken_words, voice_note

NOTE = voice_note("olá, bom dia", 7.3)


@pytest.mark.parametrize("seconds", [0.02, 1.0, 7.3, 61.5])
def test_a_voice_note_is_as_long_as_its_packets(seconds: float) -> None:
    assert opus_seconds(voice_note("x", seconds)) == pytest.approx(seconds, abs=0.02)


def test_a_forged_end_makes_a_recording_no_shorter() -> None:
    """The granule position of the last page says 0 s."""
    at = NOTE.rindex(b"OggS")
    assert opus_seconds(NOTE[: at + 6] + b"\0" * 8 + NOTE[at + 14 :]) == pytest.approx(7.3)


@pytest.mark.parametrize(
    ("packet", "ms"),
    [
        (b"\x00x", 10), (b"\x18x", 60), (b"\x08xx", 20), (b"\x09xx", 40), (b"\x60x", 10), (b"\x78x", 20),
        (b"\x80x", 2.5), (b"\xf8x", 20), (b"\xfa..", 40), (b"\xfb\x06......", 120),
    ],
)  # fmt: skip
def test_each_kind_of_packet_has_its_own_length(packet: bytes, ms: float) -> None:
    """RFC 6716, table 2 and 3.2."""
    head, tags = b"OpusHead" + bytes(11), b"OpusTags" + bytes(8)
    data = _page(2, 0, 0, [head]) + _page(0, 0, 1, [tags]) + _page(4, 0, 2, [packet])
    assert opus_seconds(data) == ms / 1000


@pytest.mark.parametrize(
    "data",
    [
        b"", b"OggS", NOTE[:-1], NOTE + b"x", NOTE[:40], b"RIFF" + NOTE, NOTE.replace(b"OpusHead", b"OpusHeat"),
        NOTE.replace(b"\xf8\xff\xfe", b"\xfb\x3f\xfe"),  # more than 120 ms a packet
        NOTE + NOTE.replace(b"\x11\xe8\xa7\x57", b"\x12\xe8\xa7\x57"),  # a second stream behind the first
    ],
)  # fmt: skip
def test_what_is_not_one_whole_stream_has_no_length(data: bytes) -> None:
    assert opus_seconds(data) is None


@given(st.binary(max_size=300), st.integers(0, len(NOTE)))
def test_no_bytes_raise(noise: bytes, at: int) -> None:
    for data in (noise, NOTE[:at] + noise, NOTE[:at] + noise + NOTE[at:]):
        found = opus_seconds(data)
        assert found is None or found > 0
        spoken_words(data)


def test_the_words_of_a_simulated_note_are_in_it() -> None:
    assert spoken_words(NOTE) == "olá, bom dia"
    assert spoken_words(voice_note("é " * 2000)) == "é " * 2000
