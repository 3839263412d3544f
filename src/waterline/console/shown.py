"""How figures are written for people: money, time, shares. Nothing that is unknown is written as 0."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from waterline.core.money import NANO, usd
from waterline.core.rollout import FULL_BP

NONE = "–"  # there is no such figure
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


def money(nano: int | None) -> str:
    """USD without the unit, with as many places as the size of the amount asks for."""
    if nano is None or nano == 0:
        return usd(nano)
    size = abs(nano)
    if size >= NANO:
        return usd(nano)
    if size >= NANO // 100:
        return usd(nano, 4)
    return usd(nano, 6) if size >= 1000 else usd(nano, 9)


def duration(us: float | None) -> str:
    if us is None:
        return NONE
    if us == 0:
        return "0"
    if us < 1000:
        return f"{us:.0f} µs"
    if us < 9_950:
        return f"{us / 1000:.1f} ms"
    if us < 999_500:
        return f"{us / 1000:.0f} ms"
    if us < 59_995_000:
        return f"{us / 1e6:.2f} s"
    minutes, seconds = divmod(round(us / 1e6), 60)
    return f"{minutes} min {seconds:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def span(us: float) -> str:
    """A rough length of time: "3 days", "5 hours"."""
    seconds = us / 1e6
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            n = round(seconds / size)
            return f"{n} {name}{'' if n == 1 else 's'}"
    return "under a minute"


def moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)


def clock(us: int) -> str:
    return moment(us).strftime("%Y-%m-%d %H:%M:%S")


def when(us: int | None) -> Markup:
    """UTC, as every time in the console."""
    if us is None:
        return Markup(NONE)
    at = moment(us)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%A %Y-%m-%d %H:%M:%S.%f")[:-3], clock(us)
    )


def whole(n: int | None) -> str:
    return NONE if n is None else f"{n:,}"


def share(part: float, of: float, places: int = 1) -> str:
    """Never "100 %" for less than all, never "0 %" for more than nothing."""
    if not of:
        return NONE
    percent = 100 * part / of
    text = f"{percent:.{places}f}"
    if part < of and float(text) >= 100:
        text = f"{100 - 10**-places:.{places}f}"
    elif part > 0 and float(text) <= 0:
        return f"under {10**-places} %"
    return f"{text} %"


def weight(bp: int) -> str:
    return f"{bp * 100 / FULL_BP:g} %"


def short(text: str) -> str:
    """The first 12 digits of an id."""
    return text[:12]


def brief(text: str) -> str:
    """Digests in a text by their first 12 digits."""
    return _DIGEST.sub(lambda found: found[0][:12], text)


def size(n: int) -> str:
    if n < 1024:
        return f"{n} bytes"
    return f"{n / 1024:,.1f} KiB" if n < 1 << 20 else f"{n / (1 << 20):,.1f} MiB"


def words(name: str) -> str:
    """A field's or code's name for people: "first_byte_us" is "first byte"."""
    for ending in ("_nano_usd", "_us", "_s"):
        name = name.removesuffix(ending)
    return name.replace("_", " ")


def field(name: str, value: Any) -> str:
    """A field of an event, by the unit in its name."""
    if value is None:
        return "unpriced" if name == "cost_nano_usd" else NONE
    if name.endswith("_nano_usd"):
        return f"{money(value)} USD"
    if name.endswith("_us"):
        return duration(value)
    if name.endswith("_s"):
        return f"{value:g} s"
    if name.endswith("_bytes"):
        return size(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or NONE
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    return str(value) or NONE


FILTERS: dict[str, Callable[..., Any]] = {
    "money": money,
    "duration": duration,
    "when": when,
    "clock": clock,
    "whole": whole,
    "share": share,
    "weight": weight,
    "short": short,
    "brief": brief,
    "size": size,
    "words": words,
    "span": span,
}
