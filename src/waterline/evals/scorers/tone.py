"""`tone`: what can be told of a text's manner from its marks alone, in English, Portuguese and Spanish.

`formal` and `informal` are how the reader is addressed (usted or tú, o senhor or tu; in English, which has one "you",
contractions and slang). The others are what they say. Irony, coldness
and condescension have no marks: for these write a judge. A short text without any mark of address counts neither way.
"""

import re
from collections.abc import Callable

from waterline.core.case import Case, Tone
from waterline.core.language import identify
from waterline.evals.scorers.base import Given, Part, fold

Words = frozenset[str]
FORMAL: dict[str, Words] = {
    "es": frozenset(("usted", "ustedes", "le", "les", "su", "sus")),
    "pt": frozenset(("senhor", "senhora", "senhores", "voce", "voces", "lhe", "lhes")),
    "en": frozenset(("sir", "madam", "sincerely", "regards")),
}
INFORMAL: dict[str, Words] = {
    "es": frozenset(("tu", "tus", "te", "ti", "contigo", "vos", "tienes", "puedes", "quieres")),
    "pt": frozenset(("tu", "te", "ti", "teu", "tua", "teus", "tuas", "contigo", "podes", "queres", "tens")),
    "en": frozenset(("gonna", "wanna", "gotta", "yeah", "yep", "nope", "hey", "guys", "dude", "lol", "ok", "cool")),
}
INSULTS = frozenset(
    [
        "stupid",
        "idiot",
        "idiots",
        "idiotic",
        "moron",
        "dumb",
        "shut",
        "pathetic",
        "imbecil",
        "imbeciles",
        "estupido",
        "estupida",
        "idiota",
        "idiotas",
        "burro",
        "burra",
        "parvo",
        "parva",
        "tonto",
        "tonta",
        "callate",
        "ridiculo",
        "ridicula",
    ]
)
THANKS = frozenset(
    ["thank", "thanks", "obrigado", "obrigada", "obrigados", "gracias", "agradeco", "agradecemos", "agradezco"]
)
GREETS = frozenset(
    [
        "hello",
        "hi",
        "dear",
        "welcome",
        "good",
        "ola",
        "bom",
        "boa",
        "caro",
        "cara",
        "hola",
        "buenos",
        "buenas",
        "estimado",
        "estimada",
    ]
)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_SHOUTED = re.compile(r"\b[A-ZÀ-Ý]{4,}\b")
_CONTRACTED = re.compile(r"\b\w+'(?:ll|re|ve|d|m|s|t)\b", re.IGNORECASE)
GREETING_WORDS = 6  # a greeting is at the beginning
MOST_SHOUTED = 1  # an acronym is no shout


def score(case: Case, given: Given) -> list[Part]:
    return [_part(name, given.text) for name in case.expect.tone]


def _part(name: Tone, text: str) -> Part:
    held, detail = CHECKS[name](text)
    return Part(f"tone.{name}", held, "" if held else detail)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", fold(text))


def _marks(text: str, of: dict[str, Words]) -> list[str]:
    language = identify(text)
    known = of.get(language) if language else None
    found = _words(text) if known else []
    return sorted({word for word in found if known and word in known})


def _informal_marks(text: str) -> list[str]:
    contracted = _CONTRACTED.findall(text) if identify(text) == "en" else []
    return [*_marks(text, INFORMAL), *sorted({one.lower() for one in contracted})]


def _formal(text: str) -> tuple[bool | None, str]:
    if wrong := _informal_marks(text):
        return False, f"informal: {', '.join(wrong[:5])}"
    return (True, "") if _marks(text, FORMAL) else (None, "no mark of address")


def _informal(text: str) -> tuple[bool | None, str]:
    if wrong := _marks(text, FORMAL):
        return False, f"formal: {', '.join(wrong[:5])}"
    return (True, "") if _informal_marks(text) else (None, "no mark of address")


def _no_insult(text: str) -> tuple[bool | None, str]:
    wrong = sorted(INSULTS & set(_words(text)))
    return not wrong, f"an insult: {', '.join(wrong)}"


def _no_shouting(text: str) -> tuple[bool | None, str]:
    shouted = _SHOUTED.findall(text)
    if "!!" in text or "!?" in text:
        return False, "marks of exclamation in a row"
    return len(shouted) <= MOST_SHOUTED, f"shouted: {', '.join(shouted[:5])}"


def _no_emoji(text: str) -> tuple[bool | None, str]:
    found = _EMOJI.search(text)
    return found is None, "an emoji"


def _thanks(text: str) -> tuple[bool | None, str]:
    return bool(THANKS & set(_words(text))), "no word of thanks"


def _greets(text: str) -> tuple[bool | None, str]:
    return bool(GREETS & set(_words(text)[:GREETING_WORDS])), "no greeting at the beginning"


CHECKS: dict[Tone, Callable[[str], tuple[bool | None, str]]] = {
    "formal": _formal, "informal": _informal, "no_insult": _no_insult, "no_shouting": _no_shouting,
    "no_emoji": _no_emoji, "thanks": _thanks, "greets": _greets,
}  # fmt: skip
