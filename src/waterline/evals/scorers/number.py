"""`number`: the answer names this number, within a tolerance.

"1.500" is read both ways, as one and a half and as fifteen hundred, because the answer's language says which and is not
known here; so is "1,500". A minus counts where nothing but a blank or a bracket stands before it.
"""

import re
from collections.abc import Iterator

from waterline.core.case import Case
from waterline.evals.scorers.base import Given, Part

_NUMBER = re.compile(r"(?:(?<![\w)\]])[-\u2212])?\d+(?:[.,'\u00a0\u202f]\d+)*")
_MOST = 200  # of one answer


def score(case: Case, given: Given) -> list[Part]:
    if case.expect.number is None:
        return []
    wanted, tolerance = case.expect.number.value, case.expect.number.tolerance
    found = [value for match in list(_NUMBER.finditer(given.text))[:_MOST] for value in readings(match.group())]
    held = any(abs(value - wanted) <= tolerance + 1e-9 for value in found)
    nearest = f", the nearest is {min(found, key=lambda v: abs(v - wanted)):g}" if found else ", there is none"
    return [Part("number", held, "" if held else f"{wanted:g} (within {tolerance:g}) is not named{nearest}")]


def readings(text: str) -> Iterator[float]:
    """Every number that these characters may mean."""
    plain = text.replace("\u2212", "-").replace("'", "").replace("\u00a0", "").replace("\u202f", "")
    for thousands, decimal in ((",", "."), (".", ",")):
        whole, mark, rest = plain.replace(thousands, "").partition(decimal)
        if decimal not in rest:
            yield float(f"{whole}.{rest}" if mark else whole)
