"""Seeded perturbations of users' inputs: what real messages look like, applied to tidy ones.

An operator that is `label_preserving` changes how a thing is said, not what is asked: the case's expectation stands,
and digits, e-mail addresses, links and phone numbers come out as they went in. The others may change what is asked
(half a message, a second question, numbers as words); compare them apart.

The same (text, names, seed, language, strength) gives the same text in every process and on every Python version: the
only source of chance is `random.Random(str).random()`, the one stream that CPython promises to keep
(docs.python.org/3/library/random.html, "Notes on Reproducibility").
Kinds after Ribeiro et al. (2020), CheckList, arXiv 2005.04118, and Zhu et al. (2023), PromptRobust, arXiv 2306.04528.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from msgspec import Struct

from waterline.evals import perturbation_words as words

T = TypeVar("T")

DEFAULT_STRENGTH = 0.3
MAX_FACTOR, MAX_EXTRA = 3, 400  # one operator's result is at most this many times as long, and so many characters more

_ADDRESS = re.compile(r"@|://|^www\.|\{\{|\}\}", re.IGNORECASE)
_TRAILING = ".,;:!?…"
_CURRENCY = "$€£"
# An apostrophe inside a word belongs to the word ("don't").
_PUNCTUATION = re.compile(r"[.,;:!?…¿¡\"“”‘()]|(?<!\w)['’]|['’](?!\w)")


class Piece(Struct, frozen=True):
    """A stretch of the text; `kept` ones (numbers, phone numbers, addresses) are handed through untouched."""

    text: str
    kept: bool


class Operator(Struct, frozen=True):
    """`languages` empty: any. `change` is given a usable text and a strength in 0..1; `apply` guards it."""

    name: str
    label_preserving: bool
    change: Callable[[str, Random, float, str], str | None]
    languages: frozenset[str] = frozenset()
    about: str = ""

    def apply(self, text: str, rng: Random, strength: float, language: str) -> str | None:
        """The changed text, always different from `text`; None where there is nothing to change in this language."""
        if not text.strip() or (self.languages and language not in self.languages):
            return None
        changed = self.change(text, rng, min(1.0, max(0.0, strength)), language)
        if changed is None or changed == text or not changed.strip():
            return None
        return changed


class Perturbed(Struct, frozen=True):
    text: str
    applied: tuple[str, ...]  # the operators that had something to change, in order
    label_preserving: bool  # all of the applied ones are


def perturb(
    text: str,
    names: Sequence[str],
    seed: int | str,
    language: str,
    strength: float = DEFAULT_STRENGTH,
    keep: Sequence[str] = (),
) -> Perturbed | None:
    """Apply the named operators one after the other. None when nothing changed (or they undid each other).

    `keep`: spans that come out as they went in, as digits and addresses always do: names (`names_in`), a word that the
    case's expectation turns on. At most 20.

    Each draws from a stream of its own, keyed by seed, position and name, so adding one at the end leaves the others
    be. Raises KeyError for an unknown name.
    """
    operators = [OPERATORS[name] for name in names]
    covered, spans = _covered(text, keep)
    now, applied = covered, []
    for position, operator in enumerate(operators):
        rng = Random(f"{seed}:{position}:{operator.name}:{text}".encode("utf-8", "surrogatepass"))
        changed = operator.apply(now, rng, strength, language)
        if changed is not None:
            now = changed
            applied.append(operator)
    if now == covered:
        return None
    for place, span in enumerate(spans):
        now = now.replace(_cover(place), span)
    return Perturbed(
        text=now,
        applied=tuple(operator.name for operator in applied),
        label_preserving=all(operator.label_preserving for operator in applied),
    )


def names_in(text: str) -> tuple[str, ...]:
    """What is written like a name: words with a capital that do not begin a sentence, those that follow each other as
    one. Nothing in a text that is all capitals. A guess for texts of people; a case that knows better says so."""
    if text.upper() == text:
        return ()
    found = (match.group() for match in _NAME.finditer(text))
    return tuple(dict.fromkeys(name for name in found if name not in _NO_NAMES))[:_COVERS]


_NAME = re.compile(r"(?<=[^\s.!?¿¡…:\"“(>-] )[A-ZÀ-Ý][^\W\d_]+(?: (?:d[aeo]s? )?[A-ZÀ-Ý][^\W\d_]+)*")
_NO_NAMES = frozenset(("I", "OK", "Please", "Thanks", "Hello", "Hi"))
_COVERS = 20


def _cover(place: int) -> str:
    """Stands in for a kept span. A circled number is numeric, so that every operator hands the word through."""
    return f"\ue000{chr(0x2460 + place)}\ue001"


def _covered(text: str, keep: Sequence[str]) -> tuple[str, list[str]]:
    spans = sorted({span for span in keep if span.strip() and span in text}, key=lambda s: (-len(s), s))[:_COVERS]
    kept: list[str] = []
    for span in spans:
        whole = re.sub(rf"(?<!\w){re.escape(span)}(?!\w)", _cover(len(kept)), text)
        if whole != text:
            text = whole
            kept.append(span)
    return text, kept


# ----------------------------------------------------------------------------------------------- pieces and picks


def pieces(text: str) -> list[Piece]:
    """Cut into stretches that may change and stretches that may not.

    Kept: every word with a digit, a currency sign, an @, a link or a {{placeholder}} in it, without its closing
    punctuation; and words with digits that follow each other on one line, as one stretch, blanks included (a phone
    number).
    """
    kept: list[tuple[int, int]] = []
    digits_before = False
    for match in re.finditer(r"\S+", text):
        word = match.group()
        has_digit = any(c.isnumeric() for c in word) or word[-1] in _CURRENCY
        if not has_digit and not _ADDRESS.search(word):
            digits_before = False
            continue
        end = match.start() + len(word.rstrip(_TRAILING))
        joined = has_digit and digits_before and text[kept[-1][1] : match.start()].strip(" \t\u00a0") == ""
        if joined:
            kept[-1] = (kept[-1][0], end)
        else:
            kept.append((match.start(), end))
        digits_before = has_digit
    cut: list[Piece] = []
    at = 0
    for start, end in kept:
        if start > at:
            cut.append(Piece(text[at:start], kept=False))
        cut.append(Piece(text[start:end], kept=True))
        at = end
    if at < len(text):
        cut.append(Piece(text[at:], kept=False))
    return cut


def _free(text: str, change: Callable[[str], str]) -> str:
    """Change only what is not kept."""
    return "".join(piece.text if piece.kept else change(piece.text) for piece in pieces(text))


def _pick(rng: Random, options: Sequence[T]) -> T:
    return options[int(rng.random() * len(options))]


def _some(rng: Random, count: int, strength: float) -> set[int]:
    """At least one of `count` places, about the given share of them."""
    wanted = max(1, round(strength * count)) if count else 0
    ranked = sorted((rng.random(), place) for place in range(count))
    return {place for _, place in ranked[:wanted]}


def _at_matches(
    text: str, rng: Random, strength: float, pattern: re.Pattern[str], edit: Callable[[str], str | None]
) -> str | None:
    """Edit some of the matches in the free pieces. `edit` says None where a match is not fit."""
    cut = pieces(text)
    found = [
        (index, match.start(), match.end(), edited)
        for index, piece in enumerate(cut)
        if not piece.kept
        for match in pattern.finditer(piece.text)
        if (edited := edit(match.group())) is not None and edited != match.group()
    ]
    if not found:
        return None
    chosen = _some(rng, len(found), strength)
    texts = [piece.text for piece in cut]
    for place in sorted(chosen, reverse=True):
        index, start, end, edited = found[place]
        texts[index] = texts[index][:start] + edited + texts[index][end:]
    return "".join(texts)


_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def _edits_words(edit: Callable[[str, Random], str | None]) -> Callable[[str, Random, float, str], str | None]:
    """One edit in each of some words of at least four letters that are not negations."""

    def change(text: str, rng: Random, strength: float, language: str) -> str | None:
        def one(word: str) -> str | None:
            return None if len(word) < 4 or word.lower() in words.NEGATIONS else edit(word, rng)

        return _at_matches(text, rng, strength, _WORD, one)

    return change


# ------------------------------------------------------------------------------------------------------ operators


def _neighbour(word: str, rng: Random) -> str | None:
    places = [i for i, c in enumerate(word) if c.lower() in words.NEIGHBOURS]
    if not places:
        return None
    at = _pick(rng, places)
    typed = _pick(rng, words.NEIGHBOURS[word[at].lower()])
    return word[:at] + (typed.upper() if word[at].isupper() else typed) + word[at + 1 :]


def _transposed(word: str, rng: Random) -> str | None:
    # The first letter stays, as in real slips; equal neighbours would change nothing.
    places = [i for i in range(1, len(word) - 1) if word[i] != word[i + 1] and word[i : i + 2].isalpha()]
    if not places:
        return None
    at = _pick(rng, places)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _omitted(word: str, rng: Random) -> str | None:
    at = 1 + int(rng.random() * (len(word) - 1))
    return word[:at] + word[at + 1 :]


def _doubled_letter(word: str, rng: Random) -> str | None:
    at = 1 + int(rng.random() * (len(word) - 1))
    return word[: at + 1] + word[at:] if word[at].isalpha() else None


def _truncated(text: str, rng: Random, strength: float, language: str) -> str | None:
    """Keep the first 40 to 70 %, cut at a word: the message sent too early."""
    spans = [match.end() for match in re.finditer(r"\S+", text)]
    if len(spans) < 4:
        return None
    share = 0.7 - 0.3 * strength * rng.random()
    return text[: spans[max(1, min(len(spans) - 1, round(share * len(spans)))) - 1]].rstrip(_TRAILING)


def _lower(text: str, rng: Random, strength: float, language: str) -> str | None:
    return _free(text, str.lower)


def _upper(text: str, rng: Random, strength: float, language: str) -> str | None:
    return _free(text, str.upper)


def _random_case(text: str, rng: Random, strength: float, language: str) -> str | None:
    return _at_matches(text, rng, strength, re.compile(r"[^\W\d_]"), str.swapcase)


def _no_accents(text: str, rng: Random, strength: float, language: str) -> str | None:
    def plain(part: str) -> str:
        bare = "".join(c for c in unicodedata.normalize("NFD", part) if not "\u0300" <= c <= "\u036f")
        return unicodedata.normalize("NFC", bare)

    return _free(text, plain)


def _no_punctuation(text: str, rng: Random, strength: float, language: str) -> str | None:
    return _free(text, lambda part: _PUNCTUATION.sub("", part))


def _more_punctuation(text: str, rng: Random, strength: float, language: str) -> str | None:
    changed = _at_matches(text, rng, strength, re.compile(r"[.,!?…]"), lambda mark: mark * 2)
    return changed if changed is not None else text.rstrip() + _pick(rng, ("!!", "??", "...", ".."))


def _spaces(text: str, rng: Random, strength: float, language: str) -> str | None:
    blank = _pick(rng, ("  ", "   ", " \t", "\n", "\u00a0 "))
    changed = _at_matches(text, rng, strength, re.compile(r" "), lambda _: blank)
    return changed if changed is not None else f" {text}  "


def _homoglyphs(text: str, rng: Random, strength: float, language: str) -> str | None:
    return _at_matches(text, rng, strength / 3.0, re.compile(r"[A-Za-z]"), words.HOMOGLYPHS.get)


def _emoji(text: str, rng: Random, strength: float, language: str) -> str | None:
    count = 1 + int(3 * strength * rng.random())
    changed = f"{text.rstrip()} {''.join(_pick(rng, words.EMOJI) for _ in range(count))}"
    return f"{_pick(rng, words.EMOJI)} {changed}" if rng.random() < strength else changed


def _slang(text: str, rng: Random, strength: float, language: str) -> str | None:
    table = words.SLANG[language]
    phrases = "|".join(re.escape(phrase) for phrase in sorted(table, key=lambda phrase: (-len(phrase), phrase)))
    pattern = re.compile(rf"(?<![\w'’])(?:{phrases})(?![\w'’])", re.IGNORECASE)
    return _at_matches(text, rng, max(strength, 0.5), pattern, lambda phrase: table.get(phrase.lower()))


def _mixed_language(text: str, rng: Random, strength: float, language: str) -> str | None:
    others = [other for other in words.LANGUAGES if other != language]
    first, last = _pick(rng, words.FILLERS[_pick(rng, others)]), _pick(rng, words.FILLERS[_pick(rng, others)])
    place = rng.random()
    if place < 0.4:
        return f"{first}, {text}"
    if place < 0.8:
        return f"{text.rstrip()} {last}"
    return f"{first}, {text.rstrip()} {last}"


def _several_questions(text: str, rng: Random, strength: float, language: str) -> str | None:
    second = _pick(rng, words.QUESTIONS[language])
    return f"{text.rstrip()} {second}" if rng.random() < 0.5 else f"{second} {text.lstrip()}"


def _context_before(text: str, rng: Random, strength: float, language: str) -> str | None:
    return f"{_chatter(rng, strength, language)} {text.lstrip()}"


def _context_after(text: str, rng: Random, strength: float, language: str) -> str | None:
    return f"{text.rstrip()} {_chatter(rng, strength, language)}"


def _chatter(rng: Random, strength: float, language: str) -> str:
    said = words.CHATTER[language]
    chosen = _some(rng, len(said), strength)
    return " ".join(sentence for place, sentence in enumerate(said) if place in chosen)


def _forwarded(text: str, rng: Random, strength: float, language: str) -> str | None:
    head = _pick(rng, words.FORWARDED[language])
    quoted = "\n".join(f"> {line}" for line in text.split("\n"))
    return f"{head}\n{quoted}" if rng.random() < 0.7 else f"{head}\n{text}"


def _speech(text: str, rng: Random, strength: float, language: str) -> str | None:
    """What dictation makes of it: no capitals, no punctuation, a hesitation here and there. Digits stay digits."""
    bare = _no_punctuation(_free(text, str.lower), rng, strength, language) or text
    return (
        _at_matches(
            bare, rng, strength / 3.0, re.compile(r" "), lambda _: f" {_pick(rng, words.HESITATIONS[language])} "
        )
        or bare
    )


def _misheard(text: str, rng: Random, strength: float, language: str) -> str | None:
    """Words that sound like others, as a recogniser writes them; no capitals or punctuation either."""
    bare = _no_punctuation(_free(text, str.lower), rng, strength, language) or text
    table = words.HOMOPHONES[language]
    pattern = re.compile(rf"(?<![\w'’])(?:{'|'.join(re.escape(w) for w in sorted(table))})(?![\w'’])")
    return _at_matches(bare, rng, max(strength, 0.5), pattern, table.get)


def _replying(text: str, rng: Random, strength: float, language: str) -> str | None:
    """Under a quoted message of somebody else that asks for nothing, as mail programs and messengers put it."""
    return f"> {_pick(rng, words.CHATTER[language])}\n\n{text.lstrip()}"


def _spoken_numbers(text: str, rng: Random, strength: float, language: str) -> str | None:
    def said(piece: Piece) -> str:
        if not piece.kept or _ADDRESS.search(piece.text):
            return piece.text
        times = re.sub(r"(?<=[0-9]):(?=[0-9])", " ", re.sub(r"(?<=[0-9]):00(?![0-9:])", "", piece.text))
        return _WHOLE_NUMBER.sub(lambda run: words.spoken(run.group(), language), times)

    return "".join(said(piece) for piece in pieces(text))


# Neither a date, an amount, a decimal nor part of a code: those are said in too many ways.
_WHOLE_NUMBER = re.compile(r"(?<![\w.,/+$€£()-])[0-9]+(?![\w/+()-]|[.,][0-9])")

_OURS = frozenset(words.LANGUAGES)

OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator("typos", True, _edits_words(_neighbour), about="a neighbouring key"),
        Operator("transposition", True, _edits_words(_transposed), about="two letters swapped"),
        Operator("omission", True, _edits_words(_omitted), about="a letter left out"),
        Operator("repetition", True, _edits_words(_doubled_letter), about="a letter typed twice"),
        Operator("truncation", False, _truncated, about="sent half-written"),
        Operator("lowercase", True, _lower, about="all small letters"),
        Operator("uppercase", True, _upper, about="all capitals"),
        Operator("random_case", True, _random_case, about="capitals at random"),
        Operator("no_accents", True, _no_accents, about="accents left out"),
        Operator("no_punctuation", True, _no_punctuation, about="punctuation left out"),
        Operator("more_punctuation", True, _more_punctuation, about="punctuation doubled"),
        Operator("whitespace", True, _spaces, about="stray blanks and line breaks"),
        Operator("homoglyphs", True, _homoglyphs, about="look-alike letters of other scripts"),
        Operator("emoji", True, _emoji, about="emoji around it"),
        Operator("slang", True, _slang, _OURS, about="chat abbreviations"),
        Operator("mixed_language", True, _mixed_language, _OURS, about="a greeting or filler of another language"),
        Operator("several_questions", False, _several_questions, _OURS, about="a second question in one message"),
        Operator("context_before", True, _context_before, _OURS, about="irrelevant talk first"),
        Operator("context_after", True, _context_after, _OURS, about="irrelevant talk at the end"),
        Operator("forwarded", True, _forwarded, _OURS, about="quoted, as a forwarded message"),
        Operator("speech", True, _speech, _OURS, about="as dictated: no capitals or punctuation, hesitations"),
        Operator("misheard", True, _misheard, _OURS, about="as dictated, with words that sound alike"),
        Operator("replying", True, _replying, _OURS, about="under a quoted message of somebody else"),
        Operator("spoken_numbers", False, _spoken_numbers, _OURS, about="numbers as words"),
    )
}
LABEL_PRESERVING: tuple[str, ...] = tuple(name for name, operator in OPERATORS.items() if operator.label_preserving)
