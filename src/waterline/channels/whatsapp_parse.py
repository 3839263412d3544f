"""A web hook of WhatsApp's -> what arrived, what became of what we sent, what happened to our numbers.

One message that we cannot read never costs the others of its batch: it becomes kind "unknown".
"""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct

from waterline.core.conversation import Alias, Inbound, Media, MessageKind, Status

MEDIA_KINDS: dict[str, MessageKind] = {
    "image": "image", "sticker": "image", "audio": "audio", "video": "video", "document": "document",
}  # fmt: skip
STATES = {"sent": "sent", "delivered": "delivered", "read": "read", "played": "read", "failed": "failed"}
MOST_TEXT = 16_384  # characters of one message that are kept


class AccountEvent(Struct, frozen=True):
    """Something happened to a number, a template or the account. `field` is the web hook's."""

    field: str
    account: str  # the WhatsApp Business Account
    at_us: int
    value: dict[str, Any]


class Preference(Struct, frozen=True):
    """The user's own choice in the app: marketing messages stopped, or wanted again."""

    address: str
    contact: str
    wanted: bool
    at_us: int


class Delivery(Struct, frozen=True):
    """Everything of one POST, in the order of their times."""

    inbound: tuple[Inbound, ...] = ()
    statuses: tuple[Status, ...] = ()
    events: tuple[AccountEvent, ...] = ()
    joined: tuple[tuple[Alias, ...], ...] = ()  # names that are of one person (a changed number)
    preferences: tuple[Preference, ...] = ()


class NotAWebhook(ValueError):
    """The body is not what WhatsApp sends."""


def parse(body: bytes, now_us: int) -> Delivery:
    """Raises NotAWebhook."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAWebhook(f"not JSON: {error}") from None
    if not isinstance(told, dict) or not isinstance(told.get("entry"), list):
        raise NotAWebhook('no "entry" list')
    inbound: list[Inbound] = []
    statuses: list[Status] = []
    events: list[AccountEvent] = []
    joined: list[tuple[Alias, ...]] = []
    preferences: list[Preference] = []
    for entry in _tables(told["entry"]):
        for change in _tables(entry.get("changes")):
            value, field = _table(change.get("value")), _text(change.get("field"))
            address = _text(_table(value.get("metadata")).get("phone_number_id"))
            if field == "user_preferences":
                preferences += [_preference(p, address, now_us) for p in _tables(value.get("user_preferences"))]
            elif field != "messages":
                at_us = _micros(entry.get("time"), now_us)
                events.append(AccountEvent(field, _text(entry.get("id")), at_us, dict(value)))
            elif address:
                people = _people(value)
                for message in _tables(value.get("messages")):
                    if message.get("type") == "system":
                        joined += _changed(message)
                    else:
                        inbound.append(_message(message, address, people, now_us))
                statuses += [s for t in _tables(value.get("statuses")) if (s := _status(t, address, now_us))]
    inbound = [m for m in inbound if m.message_id and m.sender]
    inbound.sort(key=lambda m: m.at_us)  # stable: within a second, as they came
    statuses.sort(key=lambda s: (s.at_us, _RANK[s.state]))
    return Delivery(tuple(inbound), tuple(statuses), tuple(events), tuple(joined), tuple(preferences))


_RANK = {"sent": 0, "delivered": 1, "read": 2, "failed": 3}


# --- messages ----------------------------------------------------------------------------------------------------


class _Person(Struct):
    phone: str
    user_id: str
    name: str


def _people(value: Mapping[str, Any]) -> list[_Person]:
    return [
        _Person(_text(c.get("wa_id")), _text(c.get("user_id")), _text(_table(c.get("profile")).get("name")))
        for c in _tables(value.get("contacts"))
    ]


def _message(message: Mapping[str, Any], address: str, people: list[_Person], now_us: int) -> Inbound:
    phone, user_id = _text(message.get("from")), _text(message.get("from_user_id"))
    person = next((p for p in people if (phone and p.phone == phone) or (user_id and p.user_id == user_id)), None)
    if person is None and len(people) == 1:
        person = people[0]
    if person is not None:
        phone, user_id = phone or person.phone, user_id or person.user_id
    kind, text, choice, media = _content(message)
    context = _table(message.get("context"))
    reply_to = _text(context.get("id"))
    if kind == "reaction":
        reply_to = _text(_table(message.get("reaction")).get("message_id"))
    return Inbound(
        channel="whatsapp",
        address=address,
        message_id=_text(message.get("id")),
        sender=user_id or phone,  # a number changes hands and may be hidden; the business-scoped id stays
        at_us=_micros(message.get("timestamp"), now_us),
        kind=kind,
        text=text[:MOST_TEXT],
        choice=choice,
        media=media,
        reply_to=reply_to,
        name=person.name if person is not None else "",
        aliases=_aliases(phone, user_id),
    )


def _content(message: Mapping[str, Any]) -> tuple[MessageKind, str, str, Media | None]:
    """kind, text, choice, media"""
    type_ = _text(message.get("type"))
    body = message.get(type_)
    part = _table(body)
    match type_:
        case "text":
            return "text", _text(part.get("body")), "", None
        case "button":  # the quick reply of a template
            return "choice", _text(part.get("text")), _text(part.get("payload")), None
        case "interactive":
            reply = _table(part.get("button_reply") or part.get("list_reply"))
            if reply:
                return "choice", _text(reply.get("title")), _text(reply.get("id")), None
            form = _table(part.get("nfm_reply"))
            return "unknown", _text(form.get("body")), "", None
        case "image" | "sticker" | "audio" | "video" | "document":
            media = Media(
                id=_text(part.get("id")),
                mime=_text(part.get("mime_type")),
                name=_text(part.get("filename")),
                sha256=_text(part.get("sha256")),
            )
            return MEDIA_KINDS[type_], _text(part.get("caption")), "", media
        case "location":
            where = f"{part.get('latitude', '')},{part.get('longitude', '')}"
            named = ", ".join(t for t in (_text(part.get("name")), _text(part.get("address"))) if t)
            return "location", f"{where} {named}".strip(), "", None
        case "contacts":
            return "contact", "\n".join(_contact(c) for c in _tables(body)), "", None
        case "reaction":
            return "reaction", _text(part.get("emoji")), "", None
        case "order":
            rows = _tables(part.get("product_items"))
            asked = ", ".join(f"{_text(r.get('quantity'))} x {_text(r.get('product_retailer_id'))}" for r in rows)
            return (
                "unknown",
                " ".join(t for t in (_text(part.get("text")), f"[{asked}]" if asked else "") if t),
                "",
                None,
            )
    return (
        "unknown",
        "",
        "",
        None,
    )  # unsupported, unknown, with errors, or of a kind that did not exist when we wrote this


def _contact(contact: Mapping[str, Any]) -> str:
    name = _text(_table(contact.get("name")).get("formatted_name"))
    phones = [_text(p.get("phone")) for p in _tables(contact.get("phones"))]
    return " ".join(t for t in (name, *phones) if t)


def _changed(message: Mapping[str, Any]) -> list[tuple[Alias, ...]]:
    """ "A changed from 15550001 to 15550002": both numbers are one person's."""
    system = _table(message.get("system"))
    old, new = _text(message.get("from")), _text(system.get("wa_id") or system.get("new_wa_id"))
    if not old or not new or old == new:
        return []
    return [(*_aliases(old, _text(message.get("from_user_id"))), *_aliases(new, _text(system.get("user_id"))))]


def _aliases(phone: str, user_id: str) -> tuple[Alias, ...]:
    found = [Alias("phone", phone if phone.startswith("+") else f"+{phone}")] if phone else []
    if user_id:
        found.append(Alias("bsuid", user_id))
    return tuple(found)


# --- statuses ----------------------------------------------------------------------------------------------------


def _status(told: Mapping[str, Any], address: str, now_us: int) -> Status | None:
    state = STATES.get(_text(told.get("status")))
    message_id = _text(told.get("id"))
    if state is None or not message_id:
        return None
    pricing = _table(told.get("pricing"))
    billable = pricing.get("billable")
    errors = _tables(told.get("errors"))
    first: Mapping[str, Any] = errors[0] if errors else {}
    details = _text(_table(first.get("error_data")).get("details")) or _text(first.get("message") or first.get("title"))
    return Status(
        channel="whatsapp",
        address=address,
        message_id=message_id,
        state=cast(Any, state),
        at_us=_micros(told.get("timestamp"), now_us),
        key=_text(told.get("biz_opaque_callback_data")),
        code=_whole(first.get("code")),
        reason=details,
        billable=billable if isinstance(billable, bool) else None,
        category=_text(pricing.get("category")).lower(),
        pricing_model=_text(pricing.get("pricing_model")),
    )


def _preference(told: Mapping[str, Any], address: str, now_us: int) -> Preference:
    wanted = _text(told.get("value")).lower() != "stop"
    contact = _text(told.get("user_id")) or _text(told.get("wa_id"))
    return Preference(address, contact, wanted, _micros(told.get("timestamp"), now_us))


# --- whatever they send ------------------------------------------------------------------------------------------


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip("\0")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _micros(value: Any, now_us: int) -> int:
    """Seconds as text or number. What cannot be a time, or lies in the future, is now."""
    seconds = _whole(value)
    return min(seconds * 1_000_000, now_us) if 0 < seconds < 1 << 40 else now_us
