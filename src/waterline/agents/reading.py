"""A flow whose model reads every turn (`reading = "model"`): it says what a message means and which words say so;
code holds those words to be in the message, and makes a date, an age or a telephone of them.

Code hears only what ends or stops a conversation (no more messages, abuse, a child who writes), the language, and
buttons. Where the model is down, it reads the rest, too."""

from typing import Any

import msgspec
from msgspec import structs

from waterline.agents import intents as words
from waterline.agents.agent import AskFailed, Tools
from waterline.agents.hearing import Books, Heard, hear, pressed
from waterline.agents.slots.base import Context, Found, Refused, fold
from waterline.agents.slots.contact import read_email, read_phone
from waterline.agents.slots.people import read_name
from waterline.agents.slots.when import read_when
from waterline.agents.state import State
from waterline.agents.understand import INTENTS, Form, believe_age
from waterline.core.flow import Flow

MAX_TOKENS = 128
MAX_SAID = 500  # of the bubble before, its end
BY_CODE = {"opt_out", "abuse", "minor", "parent", "own_child", "injection", "greeting", "thanks", "bye", "skip", "who"}
_ANSWERED = ("yes_no", "appointment")
_FIELDS: dict[str, Any] = {
    "intent": {"type": "string", "enum": list(INTENTS)},
    "answer": {"type": ["string", "null"], "enum": ["yes", "no", None]},
    "choice": {"type": ["integer", "null"]},
    "when": {"type": ["string", "null"]},
    "child_age": {"type": ["integer", "null"]},
    "name": {"type": ["string", "null"]},
    "phone": {"type": ["string", "null"]},
    "email": {"type": ["string", "null"]},
    "question": {"type": ["string", "null"]},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": _FIELDS,
    "required": list(_FIELDS),
    "additionalProperties": False,
}


class Whole(Form):
    answer: str | None = None  # "yes", "no": to what was asked
    choice: int | None = None  # number of one of the offers
    when: str | None = None  # the words that say a day or a time
    phone: str | None = None
    email: str | None = None
    question: str | None = None


def overhear(text: str, choice: str, state: State, flow: Flow, context: Context, book: Books) -> Heard:
    """What code reads where a model reads the rest. A button says all."""
    heard = Heard(text=text)
    if choice and pressed(heard, choice, state, flow):
        return heard
    heard = hear(text, "", state, flow, context, book)
    return Heard(heard.text, heard.language, heard.intents & BY_CODE, understood=not heard.text.strip())


async def read(
    heard: Heard, state: State, flow: Flow, context: Context, book: Books, tools: Tools
) -> tuple[int, tuple[str, ...]]:
    """Adds to `heard`; returns how many calls it took and their traces."""
    said = next((line[3:] for line in reversed(state.memory.talk) if line.startswith("B: ")), "")
    asked = f"Assistant: {said[-MAX_SAID:] or '-'}\nMessage: {' '.join(heard.text.split())[:600]}"
    traces: tuple[str, ...] = ()
    try:
        got = await tools.ask(
            flow.understand, [{"role": "user", "content": asked}], schema=SCHEMA, max_tokens=MAX_TOKENS
        )
        traces = (got.trace,)
        form = msgspec.json.decode(got.text, type=Whole)
    except (AskFailed, msgspec.DecodeError, UnicodeError):
        by_code = hear(heard.text, "", state, flow, context, book)
        for name in structs.fields(Heard):
            setattr(heard, name.name, getattr(by_code, name.name))
        return len(traces), traces
    _believe(heard, form, state, flow, context)
    return 1, traces


def _believe(heard: Heard, form: Whole, state: State, flow: Flow, context: Context) -> None:
    """Only what the message itself says."""
    if intent := INTENTS.get(form.intent):
        heard.intents.add(intent)
    if form.question and _stands(form.question, heard.text):
        heard.questions.append(form.question + words.topic_word(form.question, context.language))
    elif form.intent == "question":
        heard.questions.append(heard.text + words.topic_word(heard.text, context.language))
    pending = flow.slot(state.pending)
    if form.answer and (state.pending in ("confirm", "cancel") or (pending and pending.kind in _ANSWERED)):
        heard.answer = form.answer
    believe_age(heard, form, flow)
    _time(heard, form, state, flow, context)
    _person(heard, form, flow, context)


def _time(heard: Heard, form: Whole, state: State, flow: Flow, context: Context) -> None:
    """One of the offers, or a day. A misread one is seen before it is booked: the flow asks whether it is right."""
    if flow.appointment() is None:
        return
    if form.when and _stands(form.when, heard.text) and heard.text.strip() != str(form.choice):
        read = read_when(form.when, Context(context.now, context.language, context.region, True))
        if isinstance(read, Refused):
            heard.bad_when = read
        else:
            heard.when = read
    if heard.when is None and form.choice is not None and 1 <= form.choice <= len(state.offered):
        heard.start = state.offered[form.choice - 1].start


def _person(heard: Heard, form: Whole, flow: Flow, context: Context) -> None:
    asked = Context(context.now, context.language, context.region, True)
    for kind, value, reader in (
        ("name", form.name, read_name), ("phone", form.phone, read_phone), ("email", form.email, read_email),
    ):  # fmt: skip
        slot = next((slot for slot in flow.slots if slot.kind == kind), None)
        if slot is None or not value or not _stands(value, heard.text):
            continue
        found = reader(value, asked)
        if isinstance(found, Found):
            heard.slots[slot.name] = found.value
        elif isinstance(found, Refused):
            heard.refused[slot.name] = found


def _stands(said: str, text: str) -> bool:
    """Whether these words stand in the message, apart from accents, capitals and what is between them."""

    def plain(one: str) -> str:
        return f" {' '.join(''.join(c if c.isalnum() else ' ' for c in fold(one)).split())} "

    return bool(plain(said).strip()) and plain(said) in plain(text)
