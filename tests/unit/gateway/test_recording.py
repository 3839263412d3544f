"""Recordings: what is sent, what is reserved, what is booked."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from waterline.core.money import NANO, cost_nano_usd, worst_case_nano_usd
from waterline.core.prices import PriceTable, by_minute
from waterline.core.request import Recording
from waterline.gateway import recording
from waterline.gateway.recording import form, transcription_request, written_down
from waterline.providers.base import ProviderFault
from waterline.providers.simulated_voice import read_form, voice_note
from waterline.rollout.check import built_in_prices

SPOKEN = voice_note("hello", 61.2)
BY_SECOND = by_minute(int(Decimal("0.006") * NANO), "t")
BY_TOKEN = built_in_prices().find("openai", "gpt-4o-transcribe", 1 << 60)


def heard(body: bytes, price: Any, seconds: float = 61.2) -> Any:
    prices = SimpleNamespace(find=lambda *_: price)
    request = transcription_request("hear", SPOKEN, "audio/ogg", seconds, "", b"k", 1)
    trail: Any = SimpleNamespace(app=SimpleNamespace(prices=prices), request=request)
    target: Any = SimpleNamespace(route=SimpleNamespace(provider="openai", model="whisper-1", params={}))
    assert request.recording is not None
    return written_down(trail, target, request.recording, body)


def test_the_form_is_one_that_a_provider_reads_and_no_speaker_can_add_a_field() -> None:
    evil = SPOKEN + b'\r\n--waterline\r\ncontent-disposition: form-data; name="model"\r\n\r\nother\r\n'
    request = transcription_request("hear", evil, "audio/ogg", 61.2, "pt", b"secret", 1)
    assert request.recording is not None
    sent = form(request.recording, "whisper-1")
    kind = recording.content_type(request.recording).removeprefix(b"content-type: ").strip()
    assert read_form(kind, sent).model == "whisper-1"
    assert sent.count(request.recording.boundary.encode()) == 5  # model, response_format, language, file, the end
    other = transcription_request("hear", evil, "audio/ogg", 61.2, "pt", b"another secret", 1)
    assert other.recording is not None
    assert other.recording.boundary != request.recording.boundary
    clean = form(Recording(SPOKEN, "audio/ogg", 61.2, "edge"), "whisper-1")
    assert read_form(b"multipart/form-data; boundary=edge", clean).seconds == 62
    assert b"language" not in clean


def test_what_a_trace_keeps_of_a_recording_is_its_digest() -> None:
    body = transcription_request("hear", SPOKEN, "audio/ogg", 61.2, "", b"k", 1).body
    assert b"sha256" in body
    assert b"OggS" not in body
    assert len(body) < 300


@pytest.mark.parametrize(
    ("body", "seconds", "estimated"),
    [
        (b'{"text": "hi", "usage": {"type": "duration", "seconds": 61}}', 61, False),
        (b'{"text": "hi"}', 62, True),
        (b'{"text": "hi", "usage": {"type": "tokens", "input_tokens": 9000, "output_tokens": 9}}', 62, True),
        (b'{"text": "hi", "usage": {"type": "duration", "seconds": 9999}}', 62, False),
    ],
)
def test_by_the_minute_its_seconds_are_booked_and_never_more_than_it_has(
    body: bytes, seconds: int, estimated: bool
) -> None:
    usage = heard(body, BY_SECOND).usage
    assert (usage.audio_input, usage.output, usage.estimated) == (seconds, 0, estimated)
    assert cost_nano_usd(usage, BY_SECOND) == seconds * 100_000


def test_by_the_token_what_the_provider_says_is_booked_each_token_once() -> None:
    said = (
        b'{"text": "hi", "usage": {"type": "tokens", "input_tokens": 640, "output_tokens": 20, '
        b'"input_token_details": {"audio_tokens": 612, "text_tokens": 28}}}'
    )
    usage = heard(said, BY_TOKEN).usage
    assert (usage.input, usage.audio_input, usage.output) == (28, 612, 20)
    assert BY_TOKEN is not None
    silent = heard(b'{"text": "hi"}', BY_TOKEN).usage
    assert silent.estimated
    bound, said_at_most = recording._bound(Recording(SPOKEN, "audio/ogg", 61.2, "e"), BY_TOKEN)
    assert cost_nano_usd(silent, BY_TOKEN) <= worst_case_nano_usd(BY_TOKEN, bound, said_at_most)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"text": 5}', b'{"text": "\xff"}', b"[" * 5000])
def test_what_is_no_transcription_is_garbage(body: bytes) -> None:
    with pytest.raises(ProviderFault, match="not a transcription"):
        heard(body, BY_SECOND)


def test_whisper_costs_a_published_price_by_the_second_and_a_minute_in_a_table_is_exact() -> None:
    found = built_in_prices().find("openai", "whisper-1", 1 << 60)
    assert found is not None
    assert found.by_second
    assert worst_case_nano_usd(found, 60, 0) == 6_000_000
    row = 'provider = "openai"\nmodel = "m"\nvalid_from = "2026-01-01"\naudio_minute = 0.0043\nsource = "s"'
    table = PriceTable.parse(f'version = "t"\n[[price]]\n{row}')
    odd = table.find("openai", "m", 1 << 60)
    assert odd is not None
    assert 4_300_000 <= worst_case_nano_usd(odd, 60, 0) <= 4_300_001
