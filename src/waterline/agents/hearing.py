"""What code understands of a user's message for sure. Pure."""

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from waterline.agents import intents as words
from waterline.agents.handbook import ENOUGH, Handbook, terms
from waterline.agents.slots.base import Context, Found, Read, Refused, fold
from waterline.agents.slots.choices import read_choice, read_language
from waterline.agents.slots.contact import read_email, read_phone
from waterline.agents.slots.people import read_age, read_grade, read_name
from waterline.agents.slots.when import When, read_when
from waterline.agents.slots.yes_no import read_yes_no
from waterline.agents.state import State
from waterline.agents.whereabouts import own_address
from waterline.core.conversation import Choice
from waterline.core.flow import Flow, Slot

Books = Callable[[str], Handbook | None]  # the handbook of a language
OTHER = "other"
_SENTENCE = re.compile(r"[^.!?\n]+(?:\.(?=\d)[^.!?\n]+|\.(?=\w)[^.!?\n]+)*[.!?]*")
_WORD = re.compile(r"[^\W\d_]{2,}")
_CLOCK = re.compile(r"\b(?:at|till|until|as|ate|a las|hasta|hasta las)\s*$")
# First and last name, each with its capital: nobody types "yes, that is right" so.
_BARE_NAME = re.compile(r"\s*[A-ZÀ-Ý][a-zà-ÿ'’-]+(?: (?:d[aeo]s?|del|la|e|y))?(?: [A-ZÀ-Ý][a-zà-ÿ'’-]+){1,3}[.!]?\s*")
_CLAUSE = re.compile(r"(?:(?!,|;|\band\b|\be\b|\by\b).)+[?]*", re.IGNORECASE | re.DOTALL)
_NTH = re.compile(
    r"\W*(?:(?:pode ser|quero|prefiro|fico com|puede ser|quiero|prefiero|i'?ll take|i prefer) )?(?:a|la|o|el|the) "
    r"(?:earliest|soonest|mais cedo|mas tempran[oa]|"
    r"(?:primeir|segund|terceir|primer|tercer|second|first|third)[oa]?)"
    r"(?: (?:opc[ao]+n?|hora|horario|one|option))?(?:,? (?:please|pls|por favor))?\W*"
)
_OF_VISITS = {"visit", "change", "other", "cancel", "person"}
_SOCIAL = ("greeting", "thanks", "bye")


class Heard(Struct):
    """`understood`: there is nothing left that a model should be asked about."""

    text: str
    language: str = ""
    intents: set[str] = set()
    slots: dict[str, str] = {}
    refused: dict[str, Refused] = {}
    when: When | None = None
    bad_when: Refused | None = None
    answer: str = ""  # "yes", "no"
    start: str = ""  # of the offers, the one that was chosen
    other: bool = False  # none of the offers
    questions: list[str] = []
    remarks: list[str] = []
    understood: bool = True


def hear(text: str, choice: str, state: State, flow: Flow, context: Context, book: Books) -> Heard:
    """`book`: of a language; the message may have changed it."""
    heard = Heard(text=text[:2000])
    if choice and pressed(heard, choice, state, flow):
        return heard
    text = heard.text
    heard.intents = words.intents(text)
    said = read_language(text, context, flow.languages)
    if isinstance(said, Found) and (said.end or len(_WORD.findall(text)) >= (3 if state.language else 2)):
        heard.language = said.value
    language = heard.language or context.language
    context = Context(context.now, language, context.region, False)
    kept, masked = _slots(heard, text, state, flow, context)
    if heard.language and _is_of_name(heard, text, said, flow, context):
        heard.language = ""
    masked = _when(heard, masked, state, flow, context)
    if heard.when is not None:
        kept = _blank(kept, heard.when.start, heard.when.end)
    start, end = _replies(heard, text, state, flow, context)
    kept, masked = _blank(kept, start, end), _blank(masked, start, end)
    if isinstance(said, Found) and said.end:
        kept, masked = _blank(kept, said.start, said.end), _blank(masked, said.start, said.end)
    spoken = said.start if isinstance(said, Found) and said.end else -1
    _questions(heard, kept, masked, language, book(language), spoken)
    heard.understood = _is_understood(heard, masked, state, said)
    return heard


def _is_of_name(heard: Heard, text: str, said: Read, flow: Flow, context: Context) -> bool:
    """Whether only a name sounds like that language: "João da Silva" asks for no Portuguese."""
    name = next((heard.slots[s.name] for s in flow.slots if s.kind == "name" and s.name in heard.slots), "")
    if not name or not isinstance(said, Found) or said.end:
        return False
    rest = read_language(text.replace(name, " "), context, flow.languages)
    return not isinstance(rest, Found) or rest.value != said.value


def pressed(heard: Heard, choice: str, state: State, flow: Flow) -> bool:
    """A button or a row of a list: its id says all. One of an earlier question still means what it said."""
    kind, _, value = choice.partition(":")
    match kind:
        case "yes" | "no":
            if value and value != state.pending:
                return False  # of a question that is no longer open: read as text
            heard.answer = kind
        case "at":
            heard.start = value
        case "other":
            heard.other = True
        case "opt":
            slot, _, option = value.partition("=")
            found = flow.slot(slot)
            if found is None or option not in found.options:
                return False
            heard.slots[slot] = option
        case _:
            return False
    return True


def _slots(heard: Heard, text: str, state: State, flow: Flow, context: Context) -> tuple[str, str]:
    """Fills `slots` and `refused`; returns the text without what was taken, once with ages and grades left in."""
    masked = kept = text  # what a child's age and grade are said with may ask a question, too
    order = ("email", "phone", "age", "grade", "name", "choice")
    for slot in sorted((s for s in flow.slots if s.kind in order), key=lambda s: order.index(s.kind)):
        asked = Context(context.now, context.language, context.region, _is_asked(slot, text, heard, state))
        read = _read(slot, masked, asked, flow, heard)
        if isinstance(read, Found):
            heard.slots[slot.name] = read.value
            masked = _blank(masked, read.start, read.end)
            if slot.kind not in ("age", "grade"):
                kept = _blank(kept, read.start, read.end)
        elif isinstance(read, Refused):
            heard.refused[slot.name] = read
            if read.reason == "several":
                masked = _blank(masked, read.start, read.end)
    return kept, masked


def _is_asked(slot: Slot, text: str, heard: Heard, state: State) -> bool:
    """A name that comes where "is that right?" was asked is the right one."""
    if slot.kind == "name" and state.pending == "confirm":
        return not heard.intents and bool(_BARE_NAME.fullmatch(text))
    return state.pending == slot.name


def _read(slot: Slot, text: str, context: Context, flow: Flow, heard: Heard) -> Read:
    match slot.kind:
        case "email":
            return read_email(text, context)
        case "phone":
            return read_phone(text, context)
        case "age":
            if "minor" in heard.intents and "parent" not in heard.intents:
                return None
            read = read_age(text, context)
            at_an_hour = isinstance(read, Found) and _CLOCK.search(fold(text)[: read.start])
            return None if at_an_hour else read
        case "grade":
            return read_grade(text, context, flow.grades)
        case "name":
            busy = heard.intents & {
                "visit",
                "cancel",
                "change",
                "person",
                "anger",
                "abuse",
                "skip",
                "opt_out",
                "not_interested",
            }
            read = read_name(text, context)
            return None if isinstance(read, Refused) and (busy or words.asks(text)) else read
        case "choice":
            options = tuple(Choice(o, flow.texts[flow.languages[0]].get(f"{slot.name}_{o}", o)) for o in slot.options)
            return read_choice(text, context, options) if context.asked else None
        case _:
            return None


def _when(heard: Heard, masked: str, state: State, flow: Flow, context: Context) -> str:
    slot = flow.appointment()
    if slot is None:
        return masked
    if state.offered and state.pending == slot.name and _NTH.fullmatch(fold(masked)):
        return masked  # "a segunda" is the second of those that were offered, and no Monday
    near = state.pending in (slot.name, "confirm") or bool(state.booked_at)
    read = read_when(masked, Context(context.now, context.language, context.region, near))
    if isinstance(read, Refused):
        if near or "visit" in heard.intents:
            heard.bad_when = read
        return masked
    if read is None or not (read.days or read.avoid or near or "visit" in heard.intents):
        return masked
    heard.when = read
    return _blank(masked, read.start, read.end)


def _replies(heard: Heard, text: str, state: State, flow: Flow, context: Context) -> tuple[int, int]:
    """Yes, no, an offer: only as an answer to what was just asked, in a line of its own among others. Where it is."""
    pending = flow.slot(state.pending)
    asked = Context(context.now, context.language, context.region, True)
    yes_no = state.pending in ("confirm", "cancel") or (pending is not None and pending.kind == "yes_no")
    offered = pending is not None and pending.kind == "appointment" and bool(state.offered)
    options = tuple(Choice(offer.start, offer.title) for offer in state.offered)
    optional = pending is not None and not pending.required
    at = 0
    for line in text.splitlines(keepends=True):
        first, at = at, at + len(line)
        if offered and heard.when is None and isinstance(read := read_choice(line.rstrip(), asked, options), Found):
            heard.start = read.value
            return first + read.start, first + read.end
        if (yes_no or (offered and heard.when is None) or optional) and isinstance(
            read := read_yes_no(line, asked), Found
        ):
            if offered and "other" in heard.intents:
                break
            if yes_no or offered:
                heard.answer = read.value
            elif read.value == "no":
                heard.intents.add("skip")
            return (first + read.start, first + read.end) if len(text) > at or first else (0, 0)
    if offered and heard.when is None and "other" in heard.intents:
        heard.other = True
    return 0, 0


def _questions(heard: Heard, text: str, masked: str, language: str, book: Handbook | None, spoken: int) -> None:
    """Sentences that ask for something the handbook may say. A wish for a visit is not one, an answer neither.
    `spoken`: where a language is asked for."""
    for found in _SENTENCE.finditer(text):
        sentence, bare = found.group(), masked[found.start() : found.end()]
        if not terms(bare) and not words.topic_word(bare, language) and "?" not in bare:
            continue
        if not terms(sentence) and not words.topic_word(sentence, language):
            continue
        intents = words.intents(sentence)
        if intents & {"injection", "abuse", "opt_out", "person", "cancel", "who"} or words.asks_what_next(sentence):
            continue
        if own_address(sentence):
            continue
        if found.start() <= spoken < found.end() and not _covered(sentence, book):
            continue  # "can we speak English?"
        if "visit" in intents and not words.about_visits(sentence):
            folded_rest = sentence
            for start, end in sorted(words.spans(sentence, {"visit", *_SOCIAL}), reverse=True):
                folded_rest = _blank(folded_rest, start, end)
            if not words.topic_word(sentence, language) and not _covered(folded_rest, book):
                continue
            sentence = folded_rest
        query = _query(sentence, language, book)
        if not _covered(query, book):  # "the third grade" stands in no handbook
            for start, end in words.spans(bare, {*_SOCIAL, "unsure"}):
                bare = _blank(bare, start, end)
            shorter = bare.strip() + words.topic_word(sentence, language)
            query = shorter if _covered(shorter, book) else query
        if heard.other and not _covered(query, book):
            continue  # "or the week after?" is a wish
        if _holds_when(heard, sentence, text) and not _covered(query, book):
            day = heard.when.start - found.start() if heard.when is not None else -1
            heard.questions += _beside(sentence, bare, day)  # "can we do Thursday instead?" is a wish
            continue
        if words.asks(bare) or (_covered(query, book) and not heard.slots and not heard.answer and not heard.start):
            heard.questions += [query] if _covered(query, book) else _by_clause(bare, language, book) or [query]


def _query(sentence: str, language: str, book: Handbook | None) -> str:
    """What the handbook is asked: of "where is it exactly?" nothing but the word for it is in there."""
    place = words.place_word(sentence, language).strip()
    return place if place and _covered(place, book) else sentence.strip() + words.price_word(sentence, language)


def _by_clause(sentence: str, language: str, book: Handbook | None) -> list[str]:
    """The parts that the handbook speaks of, of a sentence that asks for several things: nobody speaks commas."""
    found = []
    for part in _CLAUSE.finditer(sentence):
        query = _query(part.group(), language, book)
        if words.asks(part.group()) and _covered(query, book):
            found.append(query)
    return found


def _beside(sentence: str, bare: str, day: int) -> list[str]:
    """Of "at 9:30, and may I bring my husband?" the second half, which asks for more than a time. `day`: where that
    stands."""
    found = []
    for part in _CLAUSE.finditer(sentence):
        said = bare[part.start() : part.end()]
        if part.start() <= day < part.end():
            continue
        if "?" in said and words.asks(said) and len(terms(said)) > 1 and not words.intents(said) & _OF_VISITS:
            found.append(part.group().strip())
    return found


def _holds_when(heard: Heard, sentence: str, text: str) -> bool:
    """Whether the day that was said stands in this sentence (where it is blanked out)."""
    at = text.find(sentence)
    return heard.when is not None and at <= heard.when.start < at + len(sentence)


def _covered(text: str, book: Handbook | None) -> bool:
    hits = book.search(text, 1) if book is not None else []
    return bool(hits) and hits[0].covered >= ENOUGH


def _is_understood(heard: Heard, masked: str, state: State, said: Read) -> bool:
    decisive = heard.intents - {"greeting", "other", "bye", "parent", "own_child"}
    if heard.slots or heard.refused or heard.when or heard.bad_when or heard.answer or heard.start or heard.other:
        return True
    if heard.questions or decisive or (isinstance(said, Found) and said.end):
        return True
    left = masked
    for start, end in words.spans(heard.text, {"greeting", "thanks", "bye", "parent"}):
        left = _blank(left, start, end)
    return not re.search(r"[^\W\d_]{2,}", left) and not re.search(r"\d", left)


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + " " * (end - start) + text[end:]


def nothing(heard: Heard) -> bool:
    """Whether neither code nor a model made anything of it."""
    fields: tuple[Any, ...] = (
        heard.slots,
        heard.refused,
        heard.when,
        heard.bad_when,
        heard.answer,
        heard.start,
        heard.other,
        heard.questions,
        heard.remarks,
    )
    return not any(fields) and not heard.intents - {"other", "parent", "own_child"}
