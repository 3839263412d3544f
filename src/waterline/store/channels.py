"""How WhatsApp's numbers and templates are, what people want to receive, and what messages cost."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from waterline.core.channel_prices import month_of
from waterline.core.conversation import Inbound
from waterline.store import conversation_days
from waterline.store.conversation_days import DAY_US
from waterline.store.db import Tx


class NumberRow(Struct, frozen=True):
    number: str
    account: str = ""
    display: str = ""
    name: str = ""
    quality: str = ""
    status: str = ""
    tier: str = ""
    stopped: str = ""
    paused_until_us: int = 0
    updated_us: int = 0


class TemplateRow(Struct, frozen=True):
    account: str
    name: str
    language: str
    id: str = ""
    category: str = ""
    status: str = ""
    body: str = ""
    parameters: int = 0
    reason: str = ""
    updated_us: int = 0


class EventRow(Struct, frozen=True):
    at_us: int
    channel: str
    address: str
    level: str
    event: str
    text: str


class FeeRow(Struct, frozen=True):
    """A message that is about to be sent."""

    channel: str
    key: str
    app: str
    branch: str
    address: str
    contact: str
    country: str
    category: str
    begun: int
    nano_usd: int | None
    price_version: str
    month: str
    at_us: int


class FeeReport(Struct, frozen=True):
    """Of one branch and category. `different`: statuses that say another category or price than we had reserved."""

    branch: str
    category: str
    messages: int
    unpriced: int
    expected_nano_usd: int
    spent_nano_usd: int  # billed where a status has said so, else expected
    unconfirmed: int
    billed_messages: int
    billed_nano_usd: int
    different: int


def put_numbers(tx: Tx, rows: list[NumberRow]) -> None:
    tx.many("channels.put_number", [asdict(row) for row in rows])


def numbers(tx: Tx) -> list[NumberRow]:
    return [NumberRow(**row) for row in tx.all("channels.numbers")]


def put_templates(tx: Tx, rows: list[TemplateRow]) -> None:
    tx.many("channels.put_template", [asdict(row) for row in rows])


def templates(tx: Tx) -> list[TemplateRow]:
    return [TemplateRow(**row) for row in tx.all("channels.templates")]


def add_events(tx: Tx, rows: list[EventRow]) -> None:
    """A repeated delivery of the same event is the same row."""
    tx.many("channels.add_event", [asdict(row) for row in rows])


def events(tx: Tx, limit: int = 100) -> list[EventRow]:
    """The newest first."""
    return [EventRow(**row) for row in tx.all("channels.events", limit=limit)]


def put_consent(tx: Tx, channel: str, contact: str, scope: str, wanted: bool, source: str, at_us: int) -> None:
    """A later wish wins, whichever arrives first."""
    tx.run(
        "channels.put_consent", channel=channel, contact=contact, scope=scope, wanted=int(wanted), source=source,
        at_us=at_us,
    )  # fmt: skip


def consents(tx: Tx, channel: str, contact: str) -> dict[str, bool]:
    """scope -> wanted."""
    rows = tx.all("channels.consents", channel=channel, contact=contact)
    return {row["scope"]: bool(row["wanted"]) for row in rows}


def reserve_fee(tx: Tx, row: FeeRow) -> dict[str, Any] | None:
    """Returns what was there under this key: a message that is tried again."""
    values = asdict(row)
    if tx.run("channels.reserve_new_fee", **values):
        _sum(tx, None, values | {"state": "reserved", "billed": None, "billed_category": "", "billed_nano_usd": None})
        return None
    before = fee(tx, row.channel, row.key)
    tx.run("channels.reserve_fee", **values)
    _sum(tx, before, fee(tx, row.channel, row.key))
    return before


def _sum(tx: Tx, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """What changed of a fee, into the sums of its day and of its month: most changes leave them as they are."""
    days: dict[tuple[Any, ...], list[int]] = {}
    months: dict[tuple[Any, ...], list[int]] = {}
    replies: dict[tuple[Any, ...], int] = {}
    for sign, row in ((-1, before), (1, after)):
        if row is not None and row["state"] != "failed":
            nano = row["nano_usd"] if row["billed_nano_usd"] is None else row["billed_nano_usd"]
            day = (row["app"], row["branch"], row["at_us"])
            _add(days.setdefault(day, [0] * 3), sign, (1, nano or 0, nano is None))
            month = (row["app"], row["month"], row["branch"], row["category"])
            _add(months.setdefault(month, [0] * len(_COUNTED)), sign, _counted(row))
            if row["category"] == "service":
                number = (row["month"], row["address"])
                replies[number] = replies.get(number, 0) + sign
    for (app, branch, at_us), (n, amount, unpriced) in days.items():
        if n or amount or unpriced:
            conversation_days.add(tx, app, "", branch, at_us, "fees", n=n, amount=amount, unpriced=unpriced)
    for (app, month_, branch, category), change in months.items():
        if any(change):
            named = dict(zip(_COUNTED, change, strict=True))
            tx.run("channels.add_to_month", app=app, month=month_, branch=branch, category=category, **named)
    for (month_, address), n in replies.items():
        if n:
            tx.run("channels.add_replies", month=month_, address=address, messages=n)


def _add(to: list[int], sign: int, change: Sequence[int]) -> None:
    for at, one in enumerate(change):
        to[at] += sign * one


_COUNTED = (
    "messages", "unpriced", "expected_nano_usd", "spent_nano_usd", "unconfirmed", "billed_messages", "billed_nano_usd",
    "different",
)  # fmt: skip


def _counted(row: dict[str, Any]) -> tuple[int, ...]:
    """One fee as it counts in its month: all of `_COUNTED`."""
    nano, billed = row["nano_usd"], row["billed_nano_usd"]
    told = row["billed"] is not None
    different = told and (row["billed_category"] != row["category"] or billed != nano)
    return (
        1, nano is None, nano or 0, (nano or 0) if billed is None else billed, not told, row["billed"] == 1,
        billed or 0, different,
    )  # fmt: skip


def fee(tx: Tx, channel: str, key: str) -> dict[str, Any] | None:
    return tx.one("channels.fee", channel=channel, key=key)


def settle_fee(tx: Tx, channel: str, key: str, state: str, message_id: str) -> None:
    if state == "sent" and tx.run("channels.left_fee", channel=channel, key=key, message_id=message_id):
        return  # it counts as it did when it was reserved
    before = fee(tx, channel, key)
    tx.run("channels.settle_fee", channel=channel, key=key, state=state, message_id=message_id)
    _sum(tx, before, fee(tx, channel, key))


def fee_of_message(tx: Tx, channel: str, message_id: str) -> str:
    """The key of a message that we sent, or ""."""
    row = tx.one("channels.fee_of_message", channel=channel, message_id=message_id)
    return row["key"] if row else ""


def bill_fee(
    tx: Tx,
    channel: str,
    key: str,
    *,
    state: str,
    billed: bool | None,
    category: str,
    nano_usd: int | None,
    before: dict[str, Any] | None = None,
) -> None:
    """`before`: what `fee` says, if it was asked just now."""
    before = before or fee(tx, channel, key)
    said = {
        "state": state, "billed": None if billed is None else int(billed), "billed_category": category,
        "billed_nano_usd": nano_usd,
    }  # fmt: skip
    tx.run("channels.bill_fee", channel=channel, key=key, **said)
    _sum(tx, before, before and before | said)


def spent_in_month(tx: Tx, month: str) -> dict[tuple[str, str], int]:
    """(app, branch) -> nano-USD: billed where a status has said so, else expected."""
    return {(row["app"], row["branch"]): row["nano_usd"] for row in tx.all("channels.spent_in_month", month=month)}


def replies_of_month(tx: Tx, month: str) -> dict[str, int]:
    """number -> free-form replies."""
    return {row["address"]: row["messages"] for row in tx.all("channels.replies_of_month", month=month)}


def begun_since(tx: Tx, since_us: int) -> list[dict[str, Any]]:
    return tx.all("channels.begun_since", since_us=since_us)


def report(tx: Tx, app: str, month: str) -> list[FeeReport]:
    return [FeeReport(**row) for row in tx.all("channels.report", app=app, month=month)]


def people(tx: Tx, app: str, month: str) -> dict[str, int]:
    """branch -> people that were written to."""
    rows = tx.all("channels.people_kept", app=app, month=month)
    rows = rows or tx.all("channels.conversations_of_month", app=app, month=month)
    return {row["branch"]: row["people"] for row in rows}


def sweep_fees(tx: Tx, app: str, before_us: int, limit: int) -> int:
    """A batch of the fees of the oldest month that ended before this moment (months are UTC). Its sums stay, and how
    many people were written to. Returns how many rows went."""
    row = tx.one("channels.oldest_month", app=app, month=month_of(before_us))
    if row is None:
        return 0
    month = row["month"]
    for branch, count in people(tx, app, month).items():
        tx.run("channels.keep_people", app=app, month=month, branch=branch, people=count)
    return tx.many("channels.delete_fee", tx.all("channels.old_fees", app=app, month=month, limit=limit))


def fees_by_day(tx: Tx, app: str, since_us: int) -> list[tuple[int, int, int]]:
    """day (since the epoch), messages, nano-USD."""
    rows = tx.all("channels.fees_by_day", app=app, since_us=since_us - since_us % DAY_US)
    return [(row["day"] // DAY_US, row["messages"], row["nano_usd"]) for row in rows]


def last_mail(tx: Tx, address: str, sender: str) -> Inbound | None:
    """The newest mail of a sender: what an answer refers to."""
    row = tx.one("channels.last_mail", address=address, sender=sender)
    return msgspec.json.decode(row["body"], type=Inbound) if row else None
