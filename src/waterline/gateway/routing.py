"""Which route answers: by declared rules, else by the learned difficulty; and when its answer is not good enough.

The decision is an event of the trace, and each attempt names its route, so replay follows what was decided then.
"""

from typing import Any

from msgspec import Struct

from waterline.core.difficulty import VERSION, features, score
from waterline.core.json_shape import misfit
from waterline.core.language import identify
from waterline.core.request import Request
from waterline.core.savings import Routing, Rule

_LANGUAGE_CHARS = 400
_NO_TOOLS = (b"", b"null", b"[]")


class Choice(Struct, frozen=True):
    to: str
    rule: int | None = None  # 1-based
    score: float | None = None


def choose(routing: Routing, request: Request) -> Choice:
    """Where a request for `routing.route` goes."""
    offered = bytes(request.fields.get("tools", b"")) not in _NO_TOOLS
    for number, rule in enumerate(routing.rules, 1):
        if fits(rule, request.last_text, request.tags, offered):
            return Choice(rule.to, rule=number)
    if routing.learned is None or routing.learned.version != VERSION:  # an old release's score means nothing now
        return Choice(routing.route)
    found = score(routing.learned, request_features(request))
    return Choice(routing.small if found < routing.learned.threshold else routing.route, score=round(found, 6))


def request_features(request: Request) -> tuple[float, ...]:
    """What training and serving both look at."""
    # A quote inside a JSON string is escaped, so this counts the messages (and at worst a tool's own field).
    written = bytes(request.fields.get("messages", b""))
    turns = max(0, written.count(b'"role"') - 1)
    earlier = max(0, len(written) - len(request.last_text)) if turns else 0
    offered = bytes(request.fields.get("tools", b"")) not in _NO_TOOLS
    return features(request.last_text, turns=turns, earlier=earlier, tools=offered)


def fits(rule: Rule, text: str, tags: str, tools: bool) -> bool:
    """`tags`: comma-separated, as the request carries them."""
    if rule.min_chars is not None and len(text) < rule.min_chars:
        return False
    if rule.max_chars is not None and len(text) > rule.max_chars:
        return False
    if rule.tools is not None and rule.tools is not tools:
        return False
    if rule.tags and not {t.strip() for t in tags.split(",")} & set(rule.tags):
        return False
    if rule.keywords:
        lower = text.lower()
        if not any(keyword.lower() in lower for keyword in rule.keywords):
            return False
    return not rule.languages or identify(text[:_LANGUAGE_CHARS]) in rule.languages


def doubt(routing: Routing, form: Any, text: str, finish_reason: str) -> str:
    """Why an answer in words should not be given, or "". `form`: the response format that was asked for."""
    on = routing.escalate_on
    if "length" in on and finish_reason in ("length", "max_tokens"):
        return "length: it ran into its token limit"
    if "empty" in on and not text.strip():
        return "empty: it says nothing"
    if "refusal" in on and routing.refusals:
        lower = text.lower()
        for phrase in routing.refusals:
            if phrase.lower() in lower:
                return f'refusal: it says "{phrase}"'
    schema = _schema(form)
    if "schema" in on and schema is not None and (wrong := misfit(text, schema)):
        return f"schema: {wrong}"
    return ""


def _schema(form: Any) -> dict[str, Any] | None:
    declared = form.get("json_schema") if isinstance(form, dict) else None
    schema = declared.get("schema") if isinstance(declared, dict) else None
    return schema if isinstance(schema, dict) else None
