"""What a scorer is given and what it gives: the shapes, and how texts and values compare."""

import unicodedata
from collections.abc import Callable, Mapping

from msgspec import Struct

from waterline.core.case import Case

_TYPOGRAPHY = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'}
    | dict.fromkeys("‐‑‒–—−", "-")
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", None)
)


class Part(Struct, frozen=True):
    """One expectation. `passed` None: could not be told, which counts neither way."""

    name: str
    passed: bool | None
    detail: str = ""


class ToolCalled(Struct, frozen=True):
    name: str
    arguments: str  # JSON, as the model wrote it


class Said(Struct, frozen=True, omit_defaults=True):
    """What a judge said: "yes", "no", or "" where there is no verdict, and why."""

    said: str
    reason: str = ""


Function = Callable[[str, dict[str, object]], object]


class Given(Struct, frozen=True):
    """One whole answer. None: whoever asks did not measure it, and an expectation of it then fails."""

    text: str
    finish_reason: str
    tools: tuple[ToolCalled, ...] | None = None
    ms: float | None = None
    cost_nano_usd: int | None = None
    functions: Mapping[str, Function] | None = None
    judged: Mapping[str, Said] | None = None  # by judge


Scorer = Callable[[Case, Given], list[Part]]


def fold(text: str) -> str:
    """What text is compared by: no case, no accents, plain quotes and dashes, single blanks."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_TYPOGRAPHY))
    bare = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
    return " ".join(bare.translate(_TYPOGRAPHY).split())


def difference(found: object, wanted: object, path: str) -> str | None:
    """Where `found` does not hold `wanted`; None when it does."""
    at = path or "the answer"
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return f"{at} is {shown(found)}, expected an object"
        for key, value in wanted.items():
            inner = f"{path}.{key}" if path else str(key)
            if key not in found:
                return f"{inner} is missing"
            if (found_inside := difference(found[key], value, inner)) is not None:
                return found_inside
        return None
    if isinstance(wanted, (list, tuple)):
        if not isinstance(found, list) or len(found) != len(wanted):
            return f"{at} is {shown(found)}, expected a list of {len(wanted)}"
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            if (found_inside := difference(one, other, f"{path}[{index}]")) is not None:
                return found_inside
        return None
    return None if same(found, wanted) else f"{at} is {shown(found)}, expected {shown(wanted)}"


def same(found: object, wanted: object) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return fold(found) == fold(wanted)
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, (int, float)) and isinstance(wanted, (int, float)):
        return found == wanted
    return found is None and wanted is None


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
