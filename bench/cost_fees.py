"""COST.md: what the channel takes for the month's replies, apart from the bill of the models."""
# ruff: noqa: E501

import time
from importlib.resources import files

from cost_month import LEADS, TURNS
from cost_tables import table

from waterline.core.channel_prices import MessagePrices
from waterline.core.money import NANO

# A telephone's country stands for its group of the rate card.
PLACES = {
    "Brazil": "+5511", "Mexico": "+5255", "Spain": "+34611", "United Kingdom": "+447", "Germany": "+491",
    "United States, Canada": "+1212", "Portugal": "+35191", "elsewhere": "+9999",
}  # fmt: skip


def fees_part(own: float | None) -> str:
    prices = MessagePrices(files("waterline.core").joinpath("channel_prices.toml").read_text("utf-8"))
    now, replies = int(time.time() * 1e6), LEADS * TURNS
    since = time.strftime("%Y-%m-%d", time.gmtime(prices.service_from_us / 1e6))
    billed = max(0, replies - prices.free_service)
    rows = []
    for place, number in PLACES.items():
        one, template = prices.of("service", number, now, prices.free_service), prices.of("utility", number, now)
        rows.append((place, _usd(one.nano_usd), _usd(one.nano_usd, billed), _usd(template.nano_usd, LEADS)))
    mine = "" if own is None else f" At your {own:g} USD a reply: {replies * own:,.0f} USD."
    head = ("numbers of", "USD a reply", f"{replies:,} replies, USD", f"a template to each of {LEADS:,} leads, USD")
    return f"""## Channel fees, apart

No lever above touches these, and they may be the larger bill. WhatsApp by the rate card of core/channel_prices.toml (version {prices.version};
C, as of today), one number, {prices.free_service:,} replies of it a month free, the others at about the rate of utility templates since {since}; a reply to each turn. The web chat and e-mail of Waterline take nothing a message.{mine}

{table(head, rows)}
An app's own figures go into `[channels.whatsapp.prices]`; `--channel-usd-per-message` takes another channel's.
"""


def _usd(nano: int | None, times: int = 1) -> str:
    if nano is None:
        return "unknown"
    return f"{nano * times / NANO:,.0f}" if times > 1 else f"{nano / NANO:.4f}"
