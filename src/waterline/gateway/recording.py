"""Speech written down by a provider (OpenAI's `/audio/transcriptions`): an attempt like any other, but for its body,
which is a form, and its price, which may be by the minute.

A recording is bounded by its length, which is counted from the file itself (`core/ogg.py`), so a hard budget holds.
"""

import math

import msgspec
from msgspec import Struct

from waterline.core.ids import keyed_digest, sha256_hex
from waterline.core.money import Price, Usage
from waterline.core.request import Recording, Request
from waterline.gateway.billing import priced_as
from waterline.gateway.budget import Reservation
from waterline.gateway.media_formulas import AUDIO_TOKENS, AUDIO_TOKENS_PER_S
from waterline.gateway.route import Target
from waterline.gateway.trail import Trail
from waterline.providers.base import Answer, ProviderFault

TRANSCRIPTIONS = "/v1/audio/transcriptions"
MOST_SAID = 2000  # output tokens (https://platform.openai.com/docs/models/gpt-4o-transcribe)
_FILES = {"audio/ogg": "ogg"}


class _Details(Struct):
    audio_tokens: int = 0


class _Usage(Struct):
    type: str = ""
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    input_token_details: _Details | None = None


class _Transcription(Struct):
    text: str
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Transcription).decode


def transcription_request(
    model: str, data: bytes, mime: str, seconds: float, language: str, digest_key: bytes, received_us: int
) -> Request:
    """Its body, which traces keep, says of the recording what it was and no more."""
    told = {"sha256": sha256_hex(data), "bytes": len(data), "seconds": round(seconds, 3), "type": mime}
    body = msgspec.json.encode({"model": model, "recording": told})
    boundary = "waterline-" + keyed_digest(digest_key, data)
    request = Request("transcription", TRANSCRIPTIONS, body, {}, model, received_us, cache="bypass")
    request.recording = Recording(data, mime, seconds, boundary, language)
    return request


def content_type(recording: Recording) -> bytes:
    return b"content-type: multipart/form-data; boundary=%s\r\n" % recording.boundary.encode()


def form(recording: Recording, model: str) -> bytes:
    fields = {"model": model, "response_format": "json", "language": recording.language}
    edge = b"--" + recording.boundary.encode()
    parts = [
        edge + f'\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
        if value
    ]
    file = f'content-disposition: form-data; name="file"; filename="voice.{_FILES.get(recording.mime, "ogg")}"'
    parts.append(edge + f"\r\n{file}\r\ncontent-type: {recording.mime}\r\n\r\n".encode() + recording.data + b"\r\n")
    return b"".join([*parts, edge, b"--\r\n"])


def reserve_recording(trail: Trail, target: Target, recording: Recording, priced: str) -> tuple[Reservation, bytes]:
    """Its worst case, and the upstream body. Raises BudgetExceeded; ProviderFault where none is offered."""
    if not target.provider.transcriptions_path:
        raise ProviderFault("invalid", "it writes down no recordings; use a route of another provider")
    price = _price(trail, target, priced)
    trail.price_version = price.version if price is not None else ""
    bound, said = _bound(recording, price)
    hold = trail.app.budget.reserve(trail.open_tab(), price, priced, bound, said, 1, said)
    hold.media = bound
    return hold, form(recording, target.route.model)


def written_down(trail: Trail, target: Target, recording: Recording, body: bytes) -> Answer:
    """Raises ProviderFault("garbage")."""
    try:
        if not body.isascii():
            body.decode()
        read = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderFault("garbage", f"the answer is not a transcription: {error}") from error
    price = _price(trail, target, priced_as(trail.request, target.route))
    text = msgspec.json.encode({"text": read.text})
    return Answer(text, _usage(read.usage, recording, price), "stop", read.text)


def _price(trail: Trail, target: Target, priced: str) -> Price | None:
    return trail.app.prices.find(target.route.provider, priced, trail.request.received_us)


def _bound(recording: Recording, price: Price | None) -> tuple[int, int]:
    """Of what goes in (seconds, or tokens), and of the tokens that come out."""
    seconds = math.ceil(recording.seconds)
    if price is not None and price.by_second:
        return seconds, 0
    return AUDIO_TOKENS + math.ceil(seconds * AUDIO_TOKENS_PER_S), MOST_SAID


def _usage(told: _Usage | None, recording: Recording, price: Price | None) -> Usage:
    """By the second, what the recording has, whatever the provider says of tokens; by the token, what it says."""
    bound, said = _bound(recording, price)
    if price is not None and price.by_second:
        seconds = math.ceil(told.seconds) if told is not None and told.type == "duration" else bound
        return Usage(audio_input=min(max(seconds, 0), bound), estimated=told is None or told.type != "duration")
    if (
        told is None
        or told.type != "tokens"
        or not 0 <= told.input_tokens < 10**10
        or not 0 <= told.output_tokens < 10**10
    ):
        return Usage(audio_input=bound, output=said, estimated=True)
    details = told.input_token_details
    audio = min(max(details.audio_tokens if details is not None else told.input_tokens, 0), told.input_tokens)
    return Usage(input=told.input_tokens - audio, audio_input=audio, output=told.output_tokens)
