"""[channels.*] of app.toml: how an app speaks with people. Addresses and secrets are settings of the server."""

import re
from decimal import Decimal
from typing import Any

from waterline.core.channel_prices import CATEGORIES
from waterline.core.channels import Channels, EmailPolicy, WebchatPolicy, WhatsAppPolicy
from waterline.core.money import nano_from_usd
from waterline.rollout.environment import AppToml
from waterline.rollout.reading import did_you_mean

KINDS = ("whatsapp", "webchat", "email")
LIST_BUTTON = 20
_PRICE_KEY = re.compile(r"[0-9]{1,4}/[a-z]+")
_ORIGIN = re.compile(r"https?://[0-9A-Za-z.-]+(:[0-9]{1,5})?")


def read_channels(app: AppToml) -> Channels:
    table = app.table.get("channels", {})
    if not isinstance(table, dict):
        app.place("channels").wrong("", '"channels" is not a table', "Write a table for each: [channels.whatsapp]")
        return Channels()
    for name in table:
        if name not in KINDS:
            app.place("channels").wrong(name, f'there is no channel "{name}"', did_you_mean(name, KINDS))
    return Channels(
        whatsapp=_whatsapp(app) if "whatsapp" in table else None,
        webchat=_webchat(app) if "webchat" in table else None,
        email=EmailPolicy(**app.read("channels", "email")) if "email" in table else None,
    )


def _whatsapp(app: AppToml) -> WhatsAppPolicy:
    values = app.read("channels", "whatsapp")
    place = app.place("channels", "whatsapp")
    values = {f"nano_{key}" if key.startswith("usd_") else key: value for key, value in values.items()}
    button = values.get("list_button", "•••")
    if not 0 < len(button.strip()) <= LIST_BUTTON:
        place.wrong("list_button", f"list_button has {len(button)} characters", f"Write 1 to {LIST_BUTTON}")
    reserve: dict[str, Any] = values.get("reserve", {})
    for number, other in reserve.items():
        if not isinstance(other, str) or number == other:
            place.wrong(
                "reserve", f'"{number}" is not replaced by another number', 'Write reserve = {"id" = "other id"}'
            )
    values["reserve"] = {n: o for n, o in reserve.items() if isinstance(o, str)}
    values["prices"] = _prices(app, values.get("prices", {}))
    return WhatsAppPolicy(**values)


def _prices(app: AppToml, table: dict[str, Any]) -> dict[str, int]:
    place, found = app.place("channels", "whatsapp"), {}
    for key, value in table.items():
        category = key.partition("/")[2]
        if not _PRICE_KEY.fullmatch(key) or category not in CATEGORIES:
            near = f'Write "351/utility" = 0.02, with one of {", ".join(CATEGORIES)}'
            place.wrong("prices", f'"{key}" is not a calling code and a category', near)
        elif isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value < 1000:
            place.wrong("prices", f'the price of "{key}" is not an amount of USD', f'Write "{key}" = 0.02')
        else:
            try:
                found[key] = nano_from_usd(value)
            except ValueError:
                place.wrong("prices", f'the price of "{key}" is finer than a nano-USD', "Write at most nine decimals")
    return found


def _webchat(app: AppToml) -> WebchatPolicy:
    values = app.read("channels", "webchat")
    for origin in values.get("origins", ()):
        if not _ORIGIN.fullmatch(origin):
            place = app.place("channels", "webchat")
            place.wrong("origins", f'"{origin}" is not an origin', 'Write "https://school.example", without a path')
    return WebchatPolicy(**values)
