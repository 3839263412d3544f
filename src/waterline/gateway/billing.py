"""What a provider bills for an attempt, also where it did not say.

A provider reports what it bills at the end of an answer. Of an answer that was aborted, or never came, only we can say
something; what earlier answers of the same route have taught (`AnswerLengths`) makes that estimate a high one, because
money that is booked too low is found again on the invoice. It is never more than was reserved.
"""

import re

import msgspec
from msgspec import Raw, structs

from waterline.core.money import Usage
from waterline.core.prices import CACHED_1H, tiered
from waterline.core.release import Route
from waterline.core.request import Request
from waterline.gateway.budget import Reservation
from waterline.gateway.lengths import AnswerLengths
from waterline.providers.base import StreamReader

CHARACTERS_PER_TOKEN = 4  # of an answer
_HOUR_LONG = re.compile(rb'"ttl"\s*:\s*"1h"')  # a quote inside a JSON string is escaped, so this is a key
IN_FLIGHT_S = 0.2  # a provider makes tokens for about so long that we do not get: on the wire, and until it hears


def priced_as(request: Request, route: Route) -> str:
    """The name of the model in the price table: its service tier is part of it where the caller or the route ask for
    one. Anything that is no name of a tier is none that has a price. Searching is billed by the call, not by the token:
    with it a model has none as well. A prompt that is to be cached for an hour is dearer than one for minutes."""
    fields, params = request.fields, route.params
    name = route.model
    if "service_tier" in fields:
        name = tiered(name, _text(fields["service_tier"]))
    elif "service_tier" in params:
        name = tiered(name, params["service_tier"])
    if "web_search_options" in fields or "web_search_options" in params:
        name += "+web_search"
    if route.provider == "anthropic" and _cached_for_an_hour(request.body):
        name += CACHED_1H
    return name


UNHEARD = Usage()  # stands for what `unheard` will say, should nothing be read to the end


def unheard(request: Request, body: bytes, hold: Reservation, choices: int, lengths: AnswerLengths) -> Usage:
    """Of an attempt that was sent, and of which nothing has been read: a plain answer may have been made in full, a
    stream as far as thinking goes."""
    made = 0
    if request.recording is not None:
        return Usage(audio_input=hold.media, output=hold.max_tokens or 0, estimated=True)
    if request.kind == "chat":
        most = (hold.max_tokens or lengths.p99) * choices
        whole = not request.stream or hold.whole_if_aborted
        made = most if whole else min(lengths.thought, most)
    return Usage(input=hold.media or lengths.prompt(body), output=made, estimated=True)


def streamed(
    reader: StreamReader,
    body: bytes,
    hold: Reservation,
    choices: int,
    lengths: AnswerLengths,
    streaming_s: float,
) -> Usage:
    """What the provider said (0 is 0), else an estimate of what it made until our leaving reached it."""
    known = reader.usage
    if known is not None and (reader.finished or known.total_output):
        return known
    most = hold.max_tokens * choices if hold.max_tokens is not None else None
    seen = max(reader.chunks, sum(map(len, reader.text)) // CHARACTERS_PER_TOKEN)
    made = int(seen * lengths.per_chunk + 0.999)
    if not reader.finished:
        made += lengths.thought + int(made / max(streaming_s, IN_FLIGHT_S) * IN_FLIGHT_S + 0.999)
    if most is not None:
        whole = hold.whole_if_aborted and not reader.finished
        made = max(seen, most if whole else min(made, most))
    if known is not None:  # the prompt is known, the answer is not
        return structs.replace(known, output=made, reasoning=0, audio_output=0, estimated=True)
    return Usage(input=hold.media or lengths.prompt(body), output=made, estimated=True)


def _cached_for_an_hour(body: bytes) -> bool:
    if b"\\u00" in body:  # letters may be written as escapes
        body = msgspec.json.encode(msgspec.json.decode(body))
    return _HOUR_LONG.search(body) is not None


def _text(raw: Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str | None)
    except msgspec.DecodeError:
        return "?"
