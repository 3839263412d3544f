"""A message that code cannot read for sure, read by a model into a small form. Nothing that it fills in is believed
unless the message itself says it, and nothing that it fills in is an act."""

from typing import Any

import msgspec
from msgspec import Struct

from waterline.agents.agent import AskFailed, Tools
from waterline.agents.hearing import Heard
from waterline.agents.slots.base import NUMBERS, Context, Found, fold
from waterline.agents.slots.people import read_name
from waterline.core.flow import Flow

MAX_TOKENS = 48
# What the form calls them, and what the flow does; a small model takes "person" for a name.
INTENTS = {
    "visit": "visit", "question": "", "staff": "person", "cancel": "cancel", "change": "change", "complaint": "anger",
    "not_interested": "not_interested", "other": "",
}  # fmt: skip
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": list(INTENTS)},
        "child_age": {"type": ["integer", "null"]},
        "name": {"type": ["string", "null"]},
    },
    "required": ["intent", "child_age", "name"],
    "additionalProperties": False,
}


class Form(Struct):
    intent: str
    child_age: int | None = None
    name: str | None = None


async def understand(
    heard: Heard, pending: str, flow: Flow, context: Context, tools: Tools
) -> tuple[int, tuple[str, ...]]:
    """Adds to `heard`; returns how many calls it took and their traces. A model that is down or talks nonsense adds
    nothing."""
    if not flow.understand:
        return 0, ()
    asked = f"Asked before: {pending or 'nothing'}\nMessage: {' '.join(heard.text.split())[:600]}"
    try:
        got = await tools.ask(
            flow.understand, [{"role": "user", "content": asked}], schema=SCHEMA, max_tokens=MAX_TOKENS
        )
    except AskFailed:
        return 0, ()
    try:
        form = msgspec.json.decode(got.text, type=Form)
    except (msgspec.DecodeError, UnicodeError):
        return 1, (got.trace,)
    _believe(heard, form, pending, flow, context)
    return 1, (got.trace,)


def _believe(heard: Heard, form: Form, pending: str, flow: Flow, context: Context) -> None:
    folded = fold(heard.text)
    if form.intent == "question":
        heard.questions = heard.questions or [heard.text]
    elif intent := INTENTS.get(form.intent):
        heard.intents.add(intent)
    believe_age(heard, form, flow)
    name = next((slot for slot in flow.slots if slot.kind == "name"), None)
    if form.name and name is not None and pending == name.name and fold(form.name) in folded:
        read = read_name(form.name, Context(context.now, context.language, context.region, True))
        if isinstance(read, Found):  # else a child's name would be taken for the parent's
            heard.slots.setdefault(name.name, read.value)


def believe_age(heard: Heard, form: Form, flow: Flow) -> None:
    """A number that stands in the message, as figures or as a word."""
    if form.child_age is None or not 0 <= form.child_age <= 25:
        return
    written = {str(form.child_age), *(word for word, value in NUMBERS.items() if value == form.child_age)}
    age = next((slot for slot in flow.slots if slot.kind == "age"), None)
    said = set("".join(c if c.isalnum() else " " for c in fold(heard.text)).split())
    if age is not None and written & (said - {"a", "o", "um", "uma", "un", "una", "one", "once"}):
        heard.slots.setdefault(age.name, str(form.child_age))
