"""What every slot's reader is given and returns."""

import unicodedata
from datetime import datetime
from functools import lru_cache

from msgspec import Struct

MAX_CHARS = 2000  # of a message; the rest is not read


class Context(Struct, frozen=True):
    """`now` is aware, in the branch's time zone. `asked`: the slot was just asked for, so a bare answer counts."""

    now: datetime
    language: str = "en"
    region: str = "US"  # ISO 3166, of telephone numbers; in "US" 3/4 is the fourth of March
    asked: bool = False


class Found(Struct, frozen=True):
    """`value` is in the slot's one spelling; `start`, `end`: where it stands in the text."""

    value: str
    start: int
    end: int


class Refused(Struct, frozen=True):
    """It was meant for this slot, and is nonsense or impossible. `reason` names a polite question of the flow."""

    reason: str
    start: int
    end: int
    suggestion: str = ""


Read = Found | Refused | None


@lru_cache(4096)
def _base(char: str) -> str:
    plain = unicodedata.normalize("NFKD", char)[:1].lower()
    return plain if len(plain) == 1 else char


def fold(text: str) -> str:
    """Lower case, no accents, and exactly as long as `text`, so that places in one are places in the other."""
    return "".join(_base(char) for char in text[:MAX_CHARS]).replace("’", "'").replace("`", "'")


def distance_is_one(a: str, b: str) -> bool:
    """Whether one slip (a letter more, less, other, or two swapped) leads from `a` to `b`."""
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    at = 0
    while at < min(len(a), len(b)) and a[at] == b[at]:
        at += 1
    if len(a) == len(b):
        swapped = a[at : at + 2] == b[at : at + 2][::-1] and a[at + 2 :] == b[at + 2 :]
        return a[at + 1 :] == b[at + 1 :] or swapped
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return longer[at + 1 :] == shorter[at:]


NUMBERS: dict[str, int] = {
    word: value
    for value, group in {
        1: "one um uma un una uno", 2: "two dois duas dos", 3: "three tres", 4: "four quatro cuatro", 5: "five cinco",
        6: "six seis", 7: "seven sete siete", 8: "eight oito ocho", 9: "nine nove nueve", 10: "ten dez diez",
        11: "eleven onze once", 12: "twelve doze doce", 13: "thirteen treze trece",
        14: "fourteen quatorze catorze catorce", 15: "fifteen quinze quince", 16: "sixteen dezesseis dieciseis",
        17: "seventeen dezessete diecisiete", 18: "eighteen dezoito dieciocho", 20: "twenty vinte veinte",
        30: "thirty trinta treinta",
    }.items()
    for word in group.split()
}  # fmt: skip
NUMBER = r"(?:\d{1,2}|" + "|".join(sorted(NUMBERS, key=len, reverse=True)) + ")"


def number(word: str) -> int:
    return int(word) if word.isdecimal() else NUMBERS[word]
