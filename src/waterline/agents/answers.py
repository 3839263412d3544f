"""A question answered from the handbook, or not at all.

Where one section clearly is the answer, it is said as it is written: no model is asked. So are the few that may be it
where one of them has a figure in it: a small model takes the fee of one class for that of another, which no check of
words sees. Else a model phrases an answer from the best sections, and what it wrote is checked word by word before it
leaves: a number, a time, a price or a name that is not in those sections, or a yes where they say no, is not sent.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from waterline.agents.agent import AskFailed, Tools
from waterline.agents.handbook import ENOUGH, Handbook, Hit, stem, terms
from waterline.agents.slots.base import NUMBERS, fold
from waterline.agents.slots.when_words import DAY_OF, MONTHS
from waterline.core.language import stop_word_languages

QUOTE_CHARS = 320
WHOLLY = 0.99  # of the question's weight
MOST_QUOTED = 2  # sections
CLEAR = 1.5  # times the score of the next best section
ANSWER_TOKENS = 70
LANGUAGE_NAMES = {"en": "English", "pt": "Portuguese", "es": "Spanish"}
_NUMBER = re.compile(r"\d+(?:[.,:h]\d+)*")
_NEGATIVE = re.compile(
    r"\b(?:no|not|never|none|without|nao|nunca|nem|sem|ningun|ninguna|sin|tampoco|neither|nor|cannot|doesn't|don't|isn't|aren't)\b"
)
_YES = re.compile(r"\W*(?:yes|sim|si|claro|of course|certainly|com certeza|por supuesto)\b")
_CAPITAL = re.compile(r"(?<![.!?:¿¡\n] )(?<!^)(?<![¿¡\"“(])\b[A-ZÀ-Ý][\w'’-]{2,}")


class Answered(Struct, frozen=True):
    text: str  # "" where the handbook does not say
    how: str  # "quoted", "phrased", "unknown", "ungrounded", "model_down"
    calls: int = 0
    traces: tuple[str, ...] = ()


async def answer(question: str, book: Handbook | None, language: str, route: str, tools: Tools) -> Answered:
    hits = book.search(question) if book is not None else []
    if not hits or hits[0].covered < ENOUGH:
        return Answered("", "unknown")
    best = hits[0]
    # The best section holds all that is asked about, or is far ahead: a model could only choose another one.
    clear = len(hits) == 1 or best.covered >= WHOLLY or best.score >= CLEAR * hits[1].score
    if not route or (clear and len(best.section.text) <= QUOTE_CHARS):
        return Answered(quote(best, question), "quoted")
    likely = [hit for hit in hits if hit.score * CLEAR > best.score][:MOST_QUOTED]
    if any(_NUMBER.search(hit.section.text) for hit in likely):
        return Answered("\n".join(quote(hit, question) for hit in likely), "quoted")
    passages = "\n".join(f"{hit.section.title}: {hit.section.text}" for hit in hits)
    spoken = LANGUAGE_NAMES.get(language, "English")
    asked = f"PASSAGES\n{passages}\n\nQUESTION\n{' '.join(question.split())[:400]}\n\nAnswer in {spoken}."
    try:
        got = await tools.ask(route, [{"role": "user", "content": asked}], max_tokens=ANSWER_TOKENS)
    except AskFailed:
        return Answered(quote(best, question), "model_down")
    text = _tidy(got.text)
    traces = (got.trace,)
    if text and not ungrounded(text, passages, question):
        return Answered(text, "phrased", 1, traces)
    return Answered(quote(best, question), "ungrounded", 1, traces)


def quote(hit: Hit, question: str) -> str:
    """The section, or of a long one the lines that speak of the question."""
    text = hit.section.text
    if len(text) <= QUOTE_CHARS:
        return " ".join(text.split())
    asked = set(terms(question))
    lines = re.split(r"\n|(?<=[.!?])\s+(?=[A-ZÀ-Ý¿¡])", text)
    ranked = sorted(range(len(lines)), key=lambda n: (-len(asked & set(terms(lines[n]))), n))
    kept, size = set[int](), 0
    for n in ranked:
        if size + len(lines[n]) > QUOTE_CHARS and kept:
            break
        kept.add(n)
        size += len(lines[n])
    return " ".join(" ".join(lines[n].split()) for n in sorted(kept))


def _tidy(text: str) -> str:
    """One bubble: no markup, and not cut off in the middle of a sentence."""
    text = " ".join(re.sub(r"[*_#`]+", "", text).split())
    text = re.sub(r"^(?:answer|resposta|respuesta)\s*:\s*", "", text, flags=re.IGNORECASE)
    if text and text[-1] not in ".!?":
        ends = max(text.rfind(mark) for mark in ".!?")
        text = text[: ends + 1] if ends > 20 and not text[ends - 1 : ends + 2].isdigit() else text
    return text


def ungrounded(text: str, passages: str, question: str) -> str:
    """What in the answer is not in the passages; "" where all of it is. Words alone decide: no model judges itself."""
    allowed = _numbers(passages)
    for found in _numbers(text):
        if found not in allowed:
            return str(found)
    source, spoken = fold(passages), fold(text)
    known = {stem(word) for word in re.findall(r"[a-zñ]+", f"{source} {fold(question)}")}
    for words, values in ((DAY_OF, _values(source, DAY_OF)), (MONTHS, _values(source, MONTHS))):
        for word in re.findall(r"[a-z]{4,}", spoken):
            if word in words and words[word] not in values and not _ambiguous(word):
                return str(word)
    for found in _CAPITAL.findall(text):
        folded = fold(found)
        if (
            stem(folded) not in known
            and folded not in DAY_OF
            and folded not in MONTHS
            and not stop_word_languages(found.lower())
        ):
            return str(found)
    if _YES.match(spoken) and _denies(passages, question):
        return "yes"
    content = [w for w in terms(text) if not w.isdecimal() and len(w) > 3]
    unknown = [w for w in content if w not in known and not any(k.startswith(w[:5]) for k in known if len(w) >= 5)]
    return unknown[0] if len(unknown) > max(3, len(content) * 0.6) else ""


def _ambiguous(word: str) -> bool:
    return word in ("segunda", "quarta", "quinta", "sexta", "terca", "marco")


def _values(source: str, words: dict[str, int]) -> set[int]:
    return {words[word] for word in re.findall(r"[a-z]+", source) if word in words}


def _numbers(text: str) -> set[str]:
    """Figures in one spelling: 9h30, 9.30 and 09:30 are the same, and words for numbers above three."""
    found = set()
    folded = fold(text)
    for figure in _NUMBER.findall(folded):
        parts = [part.lstrip("0") or "0" for part in re.split(r"[.,:h]", figure)]
        if len(parts) == 2 and re.fullmatch(r"\d{1,3}[.,]\d{3}", figure):
            parts = ["".join(re.split(r"[.,]", figure)).lstrip("0")]
        elif len(parts) == 2 and parts[1] == "0":
            parts = parts[:1]  # 8:00 is 8
        found.add(":".join(parts))
    found |= {
        str(NUMBERS[word]) for word in re.findall(r"[a-z]+", folded) if NUMBERS.get(word, 0) > 3 and word != "once"
    }
    return found


def _denies(passages: str, question: str) -> bool:
    """Whether the line that speaks most of the question has a no in it."""
    asked = set(terms(question))
    lines: Sequence[str] = [line for line in re.split(r"\n|(?<=[.!?])\s", passages) if line.strip()]
    best = max(lines, key=lambda line: len(asked & set(terms(line))), default="")
    return bool(asked & set(terms(best))) and bool(_NEGATIVE.search(fold(best)))
