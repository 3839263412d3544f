"""One message as a telephone shows it, made of what a business says, and held to what Meta allows in it."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from waterline.channels.simulated.script import TemplateScript

HTTP_OF = {190: 401, 10: 403, 131005: 403, 368: 403, 131031: 403, 4: 429, 80007: 429, 130429: 429, 131056: 400,
           131000: 500, 131016: 500, 2: 503, 1: 500}  # fmt: skip
TITLES = {
    100: "Invalid parameter", 190: "Access token has expired", 368: "Temporarily blocked for policies violations",
    130429: "Rate limit hit", 131000: "Something went wrong", 131008: "Required parameter is missing",
    131009: "Parameter value is not valid", 131026: "Message undeliverable", 131031: "Business account locked",
    131047: "Re-engagement message", 131048: "Spam rate limit hit", 131049: "Message not delivered",
    131050: "User has stopped marketing messages", 131056: "Pair rate limit hit", 131064: "Messaging limit reached",
    132000: "Number of parameters does not match", 132001: "Template does not exist",
    132015: "Template is paused", 132016: "Template is disabled", 133010: "Phone number not registered",
}  # fmt: skip


class GraphError(Exception):
    def __init__(self, code: int, details: str, http: int = 0) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.http = http or HTTP_OF.get(code, 400)

    def body(self) -> dict[str, Any]:
        title = TITLES.get(self.code, "Error")
        return {
            "error": {
                "message": f"(#{self.code}) {title}",
                "type": "OAuthException",
                "code": self.code,
                "error_data": {"messaging_product": "whatsapp", "details": self.details},
                "fbtrace_id": "simulated",
            }
        }


class Bubble(Struct):
    """One message as a telephone shows it. `ours`: from the business."""

    id: str
    ours: bool
    at_s: float
    kind: str
    text: str = ""
    choices: list[tuple[str, str, str]] = field(default_factory=list)  # id, title, description
    chosen: str = ""
    media: str = ""
    mime: str = ""
    reply_to: str = ""
    reaction: str = ""
    template: str = ""
    key: str = ""
    status: Literal["", "sent", "delivered", "read", "failed"] = ""
    code: int = 0
    category: str = ""
    billable: bool = False


def fill(
    bubble: Bubble, part: dict[str, Any], files: Mapping[str, tuple[bytes, str]],
    templates: Mapping[tuple[str, str], TemplateScript],
) -> None:  # fmt: skip
    """`part`: what is told under the name of the message's type. Raises GraphError."""
    match bubble.kind:
        case "text":
            bubble.text = str(part.get("body", ""))
            if not 0 < len(bubble.text) <= 4096:
                raise GraphError(131009, "text.body must have 1 to 4096 characters")
        case "interactive":
            _interactive(bubble, part)
        case "template":
            _template(bubble, part, templates)
        case "image" | "document" | "audio" | "video" | "sticker":
            bubble.media = str(part.get("id") or "")
            bubble.text = str(part.get("caption") or part.get("filename") or "")
            if bubble.media not in files and not part.get("link"):
                raise GraphError(131053, "there is no such media")
            bubble.mime = files.get(bubble.media, (b"", ""))[1]
        case "reaction":
            bubble.text = str(part.get("emoji", ""))
        case "location" | "contacts":
            bubble.text = str(part)
        case _:
            raise GraphError(131051, f"{bubble.kind} is not supported")


def _template(bubble: Bubble, part: dict[str, Any], templates: Mapping[tuple[str, str], TemplateScript]) -> None:
    name, code = str(part.get("name", "")), str((part.get("language") or {}).get("code", ""))
    found = templates.get((name, code))
    if found is None or found.status in ("PENDING", "REJECTED"):
        raise GraphError(132001, f"template {name} does not exist in {code}", 404)
    if found.status == "PAUSED":
        raise GraphError(132015, f"template {name} is paused")
    if found.status == "DISABLED":
        raise GraphError(132016, f"template {name} is disabled")
    given: list[str] = []
    for component in part.get("components") or []:
        if component.get("type") == "body":
            given = [str(p.get("text", "")) for p in component.get("parameters") or []]
    wanted = len(set(re.findall(r"\{\{(\d+)\}\}", found.body)))
    if len(given) != wanted:
        raise GraphError(132000, f"body: {len(given)} parameters, {wanted} expected")
    for index, text in enumerate(given, 1):
        if not text or re.search(r"[\n\t]| {5}", text):
            raise GraphError(132012, f"parameter {index} holds a line break, or nothing")
    bubble.template = name
    bubble.category = found.category.lower()
    bubble.text = re.sub(r"\{\{(\d+)\}\}", lambda m: given[int(m[1]) - 1], found.body)


def _interactive(bubble: Bubble, part: dict[str, Any]) -> None:
    action = part.get("action") or {}
    bubble.text = str((part.get("body") or {}).get("text", ""))
    if part.get("type") == "button":
        buttons = [b.get("reply", {}) for b in action.get("buttons", [])]
        if not 1 <= len(buttons) <= 3 or any(not 0 < len(b.get("title", "")) <= 20 for b in buttons):
            raise GraphError(131009, "1 to 3 buttons with titles of 1 to 20 characters")
        if len(bubble.text) > 1024:
            raise GraphError(131009, "interactive.body.text is longer than 1024 characters")
        bubble.choices = [(b.get("id", ""), b["title"], "") for b in buttons]
    elif part.get("type") == "list":
        rows = [r for s in action.get("sections", []) for r in s.get("rows", [])]
        if not 1 <= len(rows) <= 10 or any(not 0 < len(r.get("title", "")) <= 24 for r in rows):
            raise GraphError(131009, "1 to 10 rows with titles of 1 to 24 characters")
        if not 0 < len(str(action.get("button", ""))) <= 20:
            raise GraphError(131009, "action.button has 1 to 20 characters")
        bubble.choices = [(r.get("id", ""), r["title"], r.get("description", "")) for r in rows]
    else:
        raise GraphError(131051, f"interactive {part.get('type')} is not supported here")
    if len({c[0] for c in bubble.choices}) != len(bubble.choices):
        raise GraphError(131009, "ids are not unique")


def shown(message: dict[str, Any]) -> str:
    """The words of what a person sends."""
    part = message.get(str(message.get("type", "text")))
    if not isinstance(part, dict):
        return ""
    reply = part.get("button_reply") or part.get("list_reply") or {}
    for text in (part.get("body"), reply.get("title"), part.get("text"), part.get("caption"), part.get("filename")):
        if text:
            return str(text)
    return ""
