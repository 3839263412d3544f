"""One of the options that were just offered; a language asked for by name."""

import re
from collections.abc import Sequence

from waterline.agents.slots.base import Context, Found, Read, distance_is_one, fold
from waterline.core.conversation import Choice
from waterline.core.language import identify

_ORDINALS = (
    r"(?:the |a |o |la |el )?(?:first|1st|primeir[oa]|primer[oa]?|1[aoª])\b",
    r"(?:the |a |o |la |el )?(?:second|2nd|segund[oa]|2[aoª])\b",
    r"(?:the |a |o |la |el )?(?:third|3rd|terceir[oa]|tercer[oa]?|3[aoª])\b",
    r"(?:the |a |o |la |el )?(?:fourth|4th|cuart[oa])\b",
)
_LAST = re.compile(r"\b(?:the |a |o |la |el )?(?:last|ultim[oa])(?: one)?\b")
_EARLIEST = r"(?:the |o |a |el |la )?(?:earliest|soonest|mais cedo|mas tempran[oa])(?: (?:one|possible|time))?"
_OPTION = re.compile(r"^\W*(?:(?:option|opcao|opcion|number|numero|n[oº°]?\.?|#)\s*)?(\d{1,2})\W*$")


def read_choice(text: str, context: Context, options: Sequence[Choice]) -> Read:
    """The id of an option, named by its title, its number or its place. A date or a time is read elsewhere."""
    folded = fold(text)
    if not options:
        return None
    for option in options:
        title = fold(option.title)
        if title and (
            folded.strip(" .!") == title or (len(title) >= 4 and re.search(rf"(?<!\w){re.escape(title)}(?!\w)", folded))
        ):
            at = folded.index(title)
            return Found(option.id, at, at + len(title))
    numbered = _OPTION.match(folded)
    if numbered and 1 <= int(numbered[1]) <= len(options):
        return Found(options[int(numbered[1]) - 1].id, numbered.start(1), numbered.end(1))
    if len(folded.split()) <= 6:
        for n, ordinal in enumerate(_ORDINALS[: len(options)]):
            found = re.search(rf"\b{ordinal}(?!\s*-?\s*feira)", folded)
            if found:
                return Found(options[n].id, found.start(), found.end())
        if found := re.search(rf"\b{_EARLIEST}\b", folded):
            return Found(options[0].id, found.start(), found.end())
        if found := _LAST.search(folded):
            return Found(options[-1].id, found.start(), found.end())
        words = folded.split()
        near = [
            o
            for o in options
            if len(fold(o.title)) >= 5 and any(distance_is_one(w.strip(".,!"), fold(o.title)) for w in words)
        ]
        if len(near) == 1:
            return Found(near[0].id, 0, len(text))
    return None


_NAMES = {
    "en": r"english|ingles|inglesa", "pt": r"portuguese|portugues|portugueis|portuguesa", "es": r"spanish|espanol|castellano|espanhol",
}  # fmt: skip
_WISH = r"(?:in|em|en|speak|falar?|fala|hablar?|habla|hablas|hablan|write|responda|responde|answer|switch to|mude para|prefer|prefiro|prefiero|speaks|to)\s+(?:(?:me|to me|por favor|please|you|in|em|en)\s+)*"


def read_language(text: str, context: Context, languages: Sequence[str]) -> Read:
    """A language asked for by name; or, as a whole text, the one it is surely written in (an empty span)."""
    folded = fold(text)
    for language in languages:
        name = _NAMES.get(language)
        if name is None:
            continue
        found = re.search(rf"\b{_WISH}(?:{name})\b", folded) or re.fullmatch(
            rf"\W*(?:{name})(?: please| por favor)?\W*", folded
        )
        if found:
            return Found(language, found.start(), found.end())
    seen = identify(text)
    return Found(seen, 0, 0) if seen is not None and seen in languages else None
