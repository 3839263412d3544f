"""How the command line writes moments and durations."""

import re
import time

from waterline.cli.client import die

_SPAN = re.compile(r"(\d+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def when(at_us: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at_us / 1e6))


def ms(us: int | None) -> str:
    return "" if us is None else f"{us / 1000:,.0f} ms"


def since(span: str) -> int | None:
    """`24h` -> Unix microseconds of that long ago; "" -> None."""
    if not span:
        return None
    match = _SPAN.fullmatch(span)
    if match is None:
        die(f'"{span}" is no span of time. Write a number and s, m, h, d or w, as 24h.', 2)
    return int((time.time() - int(match[1]) * _SECONDS[match[2]]) * 1e6)
