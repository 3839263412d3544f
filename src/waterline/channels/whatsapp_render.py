"""One `Outbound` -> the JSON that the Cloud API takes. The limits are WhatsApp's; what cannot fit is refused here."""

import re
from typing import Any

from waterline.channels.base import SendFault
from waterline.core.conversation import Choice, Outbound, Template

MOST_TEXT = 4096
MOST_BODY = 1024  # text above buttons and lists
BUTTONS, ROWS = 3, 10
BUTTON_TITLE, ROW_TITLE, ROW_DESCRIPTION = 20, 24, 72
CHOICE_ID = 200
CALLBACK = 512
_BSUID = re.compile(r"[A-Z]{2}\.[0-9A-Za-z]+")
_PHONE = re.compile(r"\+?[0-9]{5,20}")


def payloads(to: str, message: Outbound, key: str, list_button: str = "...") -> list[dict[str, Any]]:
    """The messages to send, in order; nearly always one. Raises SendFault."""
    if message.template is not None:
        return [_base(to, message, key) | {"type": "template", "template": template(message.template)}]
    if not message.text.strip():
        raise SendFault("never", "The message has no text. Give the reply a text or a template.")
    text = message.text.strip()
    last = pieces(text, MOST_BODY if message.choices else MOST_TEXT)[-1]
    before = pieces(text.removesuffix(last), MOST_TEXT)
    found = [_text(to, message, f"{key}~{number}", part) for number, part in enumerate(before, 1) if part]
    if message.choices:
        interactive = _interactive(last, message.choices, list_button)
        found.append(_base(to, message, key) | {"type": "interactive", "interactive": interactive})
    else:
        found.append(_text(to, message, key, last))
    return found


def _text(to: str, message: Outbound, key: str, text: str) -> dict[str, Any]:
    return _base(to, message, key) | {"type": "text", "text": {"body": text, "preview_url": False}}


def _base(to: str, message: Outbound, key: str) -> dict[str, Any]:
    found: dict[str, Any] = {"messaging_product": "whatsapp", "recipient_type": "individual"}
    if _BSUID.fullmatch(to):
        found["recipient"] = to
    elif _PHONE.fullmatch(to):
        found["to"] = to
    else:
        raise SendFault("never", "The recipient is no telephone number and no user id of WhatsApp's.")
    if message.reply_to:
        found["context"] = {"message_id": message.reply_to}
    if key:
        found["biz_opaque_callback_data"] = key[:CALLBACK]
    return found


def template(wanted: Template) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": wanted.name,
        "language": {"code": wanted.language, "policy": "deterministic"},
    }
    if wanted.parameters:
        # A parameter may hold no line breaks, tabs, or more than four spaces in a row.
        texts = [{"type": "text", "text": re.sub(r"\s+", " ", text).strip() or "-"} for text in wanted.parameters]
        found["components"] = [{"type": "body", "parameters": texts}]
    return found


def _interactive(text: str, choices: tuple[Choice, ...], list_button: str) -> dict[str, Any]:
    if len(choices) > ROWS:
        raise SendFault("never", f"{len(choices)} choices do not fit: a list has at most {ROWS} rows. Offer fewer.")
    ids = [c.id for c in choices]
    if len(set(ids)) != len(ids) or any(not i or len(i) > CHOICE_ID for i in ids):
        raise SendFault("never", f"Each choice needs an id of its own, of 1 to {CHOICE_ID} characters.")
    short = all(len(c.title) <= BUTTON_TITLE and not c.description for c in choices)
    if len(choices) <= BUTTONS and short:
        buttons = [{"type": "reply", "reply": {"id": c.id, "title": c.title}} for c in choices]
        return {"type": "button", "body": {"text": text}, "action": {"buttons": buttons}}
    rows = [_row(c) for c in choices]
    action = {"button": _cut(list_button, BUTTON_TITLE), "sections": [{"rows": rows}]}
    return {"type": "list", "body": {"text": text}, "action": action}


def _row(choice: Choice) -> dict[str, str]:
    row = {"id": choice.id, "title": _cut(choice.title, ROW_TITLE)}
    description = choice.description or (choice.title if len(choice.title) > ROW_TITLE else "")
    if description:
        row["description"] = _cut(description, ROW_DESCRIPTION)
    return row


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def pieces(text: str, most: int) -> list[str]:
    """A text that is too long for one message, cut at the ends of sentences, then of words, then anywhere. No word is
    lost: joined by a space or a line break they are the text."""
    text = text.strip()
    found = []
    while len(text) > most:
        head = text[:most]
        ends = [m.end() for m in re.finditer(r"[.!?…。！？][\"'”’)\]]*(?=\s)|\n", head)]
        end = ends[-1] if ends and ends[-1] > most // 4 else head.rfind(" ")
        if end <= 0:
            end = most
        found.append(text[:end].strip())
        text = text[end:].strip()
    return [*found, text]
