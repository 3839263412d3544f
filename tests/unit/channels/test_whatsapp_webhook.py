"""The web hook of WhatsApp: nothing unsigned is stored, nothing is acknowledged before it is stored."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

import pytest

from waterline.channels.whatsapp_parse import AccountEvent, Delivery, NotAWebhook, Preference, parse
from waterline.channels.whatsapp_webhook import AT_ONCE, MOST_WAITING, Webhook
from waterline.core.conversation import Alias, Inbound, Status
from waterline.core.errors import WaterlineError
from waterline.core.web import Page, Visit

NOW_US = 1_800_000_000_000_000
SECRET = "an app's secret"


class Taken:
    """A store that remembers, or one that is down."""

    def __init__(self, down: bool = False) -> None:
        self.down = down
        self.got: list[Any] = []

    async def _take(self, what: Sequence[Any]) -> None:
        if self.down:
            raise WaterlineError("the disk is full")
        self.got += what

    async def inbound(self, messages: Sequence[Inbound]) -> None:
        await self._take(messages)

    async def statuses(self, statuses: Sequence[Status]) -> None:
        await self._take(statuses)

    async def joined(self, people: Sequence[tuple[Alias, ...]]) -> None:
        await self._take(people)

    async def events(self, events: Sequence[AccountEvent]) -> None:
        await self._take(events)

    async def preferences(self, preferences: Sequence[Preference]) -> None:
        await self._take(preferences)


def change(value: dict[str, Any], number: str = "n1", field: str = "messages") -> dict[str, Any]:
    about = {"messaging_product": "whatsapp", "metadata": {"display_phone_number": "351", "phone_number_id": number}}
    return {"field": field, "value": about | value}


def hook(*changes: dict[str, Any]) -> bytes:
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "waba", "changes": changes}]}).encode()


def message(type_: str, part: Any, at: int = 1_799_999_000, id_: str = "wamid.1", **more: Any) -> dict[str, Any]:
    return {"from": "351911", "id": id_, "timestamp": str(at), "type": type_, type_: part} | more


def parsed(*messages: dict[str, Any], contacts: Any = None) -> Delivery:
    people = contacts or [{"wa_id": "351911", "profile": {"name": "Ana"}}]
    return parse(hook(change({"contacts": people, "messages": list(messages)})), NOW_US)


def visit(method: str, body: bytes = b"", query: bytes = b"", **headers: str) -> Visit:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Visit(method, "/webhooks/whatsapp", query, named, body, "127.0.0.1")


def sign(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(taken: Taken, body: bytes, signature: str | None, secrets: Sequence[str] = (SECRET,)) -> Page:
    door = Webhook("verify me", secrets, taken, lambda: NOW_US)
    headers = {} if signature is None else {"x_hub_signature_256": signature}
    return asyncio.run(door(visit("POST", body, **headers)))


TEXT = hook(change({"messages": [message("text", {"body": "hello"})]}))


def test_the_challenge_is_echoed_only_to_who_knows_the_verify_token() -> None:
    door = Webhook("verify me", [SECRET], Taken(), lambda: NOW_US)
    good = b"hub.mode=subscribe&hub.verify_token=verify%20me&hub.challenge=42"
    assert asyncio.run(door(visit("GET", query=good))) == Page(200, b"42")
    for bad in (b"", b"hub.mode=subscribe&hub.verify_token=x&hub.challenge=42", good.replace(b"subscribe", b"other")):
        assert asyncio.run(door(visit("GET", query=bad))).status == 403


def test_without_a_verify_token_nobody_is_verified() -> None:
    door = Webhook("", [SECRET], Taken(), lambda: NOW_US)
    assert asyncio.run(door(visit("GET", query=b"hub.mode=subscribe&hub.verify_token=&hub.challenge=1"))).status == 403


@pytest.mark.parametrize(
    "signature",
    [None, "", "sha256=", "sha256=00", sign(TEXT, "another"), sign(TEXT).removeprefix("sha256="), sign(TEXT + b" ")],
)
def test_a_missing_or_wrong_signature_stores_nothing(signature: str | None) -> None:
    taken = Taken()
    assert post(taken, TEXT, signature).status == 401
    assert taken.got == []


def test_without_a_secret_nothing_is_believed() -> None:
    taken = Taken()
    assert post(taken, TEXT, sign(TEXT, ""), secrets=[""]).status == 401
    assert taken.got == []


def test_the_signature_is_over_the_raw_bytes() -> None:
    spaced = json.dumps(json.loads(TEXT), indent=3).encode()
    assert post(Taken(), spaced, sign(TEXT)).status == 401
    assert post(Taken(), spaced, sign(spaced)).status == 200


def test_both_secrets_are_good_while_one_replaces_the_other() -> None:
    assert post(Taken(), TEXT, sign(TEXT, "old"), ["new", "old"]).status == 200
    assert post(Taken(), TEXT, sign(TEXT, "new"), ["new", "old"]).status == 200


def test_what_cannot_be_stored_is_not_acknowledged() -> None:
    assert post(Taken(down=True), TEXT, sign(TEXT)).status == 503  # so that it is delivered again
    taken = Taken()
    assert post(taken, TEXT, sign(TEXT)).status == 200
    assert [m.text for m in taken.got] == ["hello"]


def test_a_moved_number_keeps_its_address() -> None:
    taken = Taken()
    door = Webhook("v", [SECRET], taken, lambda: NOW_US, address_of={"n1": "old"}.get)  # type: ignore[arg-type]
    asyncio.run(door(visit("POST", TEXT, x_hub_signature_256=sign(TEXT))))
    assert taken.got[0].address == "old"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"entry": 3}', b"\xff", b"[" * 100_000])
def test_what_is_no_web_hook_says_so(body: bytes) -> None:
    with pytest.raises(NotAWebhook):
        parse(body, NOW_US)
    assert post(Taken(), body, sign(body)).status == 400


MEDIA = {"id": "m1", "mime_type": "image/jpeg", "sha256": "ab", "caption": "my son"}


@pytest.mark.parametrize(
    ("sent", "kind", "text", "choice"),
    [
        (message("text", {"body": "hi"}), "text", "hi", ""),
        (message("button", {"payload": "yes", "text": "Yes!"}), "choice", "Yes!", "yes"),
        (message("interactive", {"type": "button_reply", "button_reply": {"id": "b1", "title": "One"}}),
         "choice", "One", "b1"),
        (message("interactive", {"type": "list_reply", "list_reply": {"id": "r1", "title": "Row", "description": ""}}),
         "choice", "Row", "r1"),
        (message("interactive", {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": "{}"}}),
         "unknown", "Sent", ""),
        (message("image", MEDIA), "image", "my son", ""),
        (message("sticker", {"id": "s1", "mime_type": "image/webp"}), "image", "", ""),
        (message("audio", {"id": "a1", "mime_type": "audio/ogg", "voice": True}), "audio", "", ""),
        (message("video", {"id": "v1", "mime_type": "video/mp4"}), "video", "", ""),
        (message("document", {"id": "d1", "mime_type": "application/pdf", "filename": "a.pdf"}), "document", "", ""),
        (message("location", {"latitude": 38.7, "longitude": -9.1, "name": "Home", "address": "Rua 1"}),
         "location", "38.7,-9.1 Home, Rua 1", ""),
        (message("contacts", [{"name": {"formatted_name": "Rui"}, "phones": [{"phone": "+351 912"}]}]),
         "contact", "Rui +351 912", ""),
        (message("reaction", {"message_id": "wamid.0", "emoji": "👍"}), "reaction", "👍", ""),
        (message("order", {"catalog_id": "c", "text": "please", "product_items":
            [{"product_retailer_id": "sku", "quantity": 2, "item_price": 1.0, "currency": "EUR"}]}),
         "unknown", "please [2 x sku]", ""),
        (message("unsupported", None, errors=[{"code": 131051, "title": "Unsupported"}]), "unknown", "", ""),
        (message("unknown", None, errors=[{"code": 131051}]), "unknown", "", ""),
        (message("of next year", {"a": [1]}), "unknown", "", ""),
        (message("text", "not a table"), "text", "", ""),
    ],
)  # fmt: skip
def test_every_kind_of_message_arrives(sent: dict[str, Any], kind: str, text: str, choice: str) -> None:
    [got] = parsed(sent).inbound
    assert (got.kind, got.text, got.choice) == (kind, text, choice)
    assert (got.channel, got.address, got.message_id, got.sender, got.name) == (
        "whatsapp", "n1", "wamid.1", "351911", "Ana",
    )  # fmt: skip
    assert got.aliases == (Alias("phone", "+351911"),)
    assert got.at_us == 1_799_999_000_000_000


def test_a_file_is_known_by_its_id_and_a_reply_by_what_it_answers() -> None:
    [got] = parsed(message("image", MEDIA, context={"from": "351", "id": "wamid.9"})).inbound
    assert got.media is not None
    assert (got.media.id, got.media.mime, got.media.sha256) == ("m1", "image/jpeg", "ab")
    assert got.reply_to == "wamid.9"
    assert parsed(message("reaction", {"message_id": "wamid.7", "emoji": "👍"})).inbound[0].reply_to == "wamid.7"


def test_a_batch_is_told_apart_by_number_and_ordered_by_time() -> None:
    late, early = message("text", {"body": "2"}, at=20, id_="b"), message("text", {"body": "1"}, at=10, id_="a")
    other = message("text", {"body": "3"}, at=15, id_="c")
    body = {"object": "x", "entry": [
        {"id": "w1", "changes": [change({"messages": [late]}), change({"messages": [other]}, number="n2")]},
        {"id": "w2", "changes": [change({"messages": [early]})]},
    ]}  # fmt: skip
    got = parse(json.dumps(body).encode(), NOW_US).inbound
    assert [(m.address, m.text) for m in got] == [("n1", "1"), ("n2", "3"), ("n1", "2")]


def test_one_unreadable_message_does_not_cost_its_neighbours() -> None:
    broken: dict[str, Any] = {"id": 5, "type": ["odd"], "from": {"a": 1}, "timestamp": {}}
    got = parsed(broken, message("text", {"body": "fine"})).inbound
    assert [(m.kind, m.text) for m in got] == [("text", "fine"), ("unknown", "")]


def test_a_business_scoped_user_id_names_the_person_where_it_is_given() -> None:
    people = [{"wa_id": "351911", "user_id": "PT.123", "profile": {"name": "Ana", "username": "@ana"}}]
    [got] = parsed(message("text", {"body": "hi"}), contacts=people).inbound
    assert got.sender == "PT.123"
    assert set(got.aliases) == {Alias("phone", "+351911"), Alias("bsuid", "PT.123")}
    hidden = {"from_user_id": "PT.123", "id": "wamid.2", "timestamp": "1", "type": "text", "text": {"body": "x"}}
    [got] = parsed(hidden, contacts=[{"user_id": "PT.123", "profile": {"name": "Ana"}}]).inbound
    assert (got.sender, got.aliases) == ("PT.123", (Alias("bsuid", "PT.123"),))


def test_a_changed_number_joins_the_old_name_and_the_new_one() -> None:
    changed = message("system", {"body": "Ana changed", "wa_id": "351922", "type": "user_changed_number"})
    got = parsed(changed)
    assert got.inbound == ()
    assert got.joined == ((Alias("phone", "+351911"), Alias("phone", "+351922")),)


def test_a_status_carries_its_price_its_error_and_our_key() -> None:
    told = {
        "id": "wamid.5", "status": "failed", "timestamp": "1799999000", "recipient_id": "351911",
        "biz_opaque_callback_data": "c/1/reply",
        "pricing": {"billable": True, "pricing_model": "PMP", "category": "utility", "type": "regular"},
        "errors": [{"code": 131047, "title": "Re-engagement message", "error_data": {"details": "24 hours"}}],
    }  # fmt: skip
    [got] = parse(hook(change({"statuses": [told]})), NOW_US).statuses
    assert got == Status(
        channel="whatsapp", address="n1", message_id="wamid.5", state="failed", at_us=1_799_999_000_000_000,
        key="c/1/reply", code=131047, reason="24 hours", billable=True, category="utility", pricing_model="PMP",
    )  # fmt: skip


def test_a_status_without_pricing_does_not_say_that_it_was_free() -> None:
    [got] = parse(hook(change({"statuses": [{"id": "w", "status": "sent", "timestamp": "1"}]})), NOW_US).statuses
    assert got.billable is None


def test_account_events_and_the_users_choice_are_told_apart() -> None:
    body = hook(
        {"field": "account_update", "value": {"event": "DISABLED_UPDATE"}},
        change({"user_preferences": [{"wa_id": "351911", "value": "stop", "timestamp": 5}]}, field="user_preferences"),
    )
    got = parse(body, NOW_US)
    assert [(e.field, e.account, e.value["event"]) for e in got.events] == [
        ("account_update", "waba", "DISABLED_UPDATE")
    ]
    assert got.preferences == (Preference("n1", "351911", False, 5_000_000),)


def test_a_time_in_the_future_is_now() -> None:
    [got] = parsed(message("text", {"body": "x"}, at=9_999_999_999)).inbound
    assert got.at_us == NOW_US


# --- a branch that is flooded ------------------------------------------------------------------------------------


class Slow:
    """Stores when it is let."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = asyncio.Semaphore(0)

    async def inbound(self, messages: Sequence[Inbound]) -> None:
        self.begun.append(messages[0].address)
        await self.go.acquire()

    async def statuses(self, statuses: Sequence[Any]) -> None:
        self.begun.append(statuses[0].address)
        await self.go.acquire()

    async def joined(self, people: Any) -> None: ...
    async def events(self, events: Any) -> None: ...
    async def preferences(self, preferences: Any) -> None: ...


def _to(number: str, n: int, *, status: bool = False) -> Visit:
    told = {"id": f"m{n}", "timestamp": "1", "status": "delivered"}
    value = {"statuses": [told]} if status else {"messages": [message("text", {"body": "hi"}, id_=f"m{n}")]}
    body = hook(change(value, number))
    return visit("POST", body, x_hub_signature_256=sign(body))


async def test_a_flood_at_one_number_delays_no_message_and_no_status_of_another() -> None:
    slow = Slow()
    door = Webhook("verify me", [SECRET], slow, lambda: NOW_US)
    flood = [asyncio.create_task(door(_to("hostile", n))) for n in range(MOST_WAITING)]
    await asyncio.sleep(0)
    others = [asyncio.create_task(door(_to("lisbon", n, status=n % 2 == 1))) for n in range(10)]
    await asyncio.sleep(0)
    assert slow.begun.count("hostile") < AT_ONCE
    assert slow.begun.count("lisbon") == 10  # at once, behind a thousand that wait
    refused = await door(_to("hostile", MOST_WAITING))
    assert (refused.status, dict(refused.headers)["retry-after"]) == (503, "5")
    for _ in range(MOST_WAITING + len(others)):
        slow.go.release()
    assert {page.status for page in await asyncio.gather(*flood, *others)} == {200}
    assert slow.begun.count("hostile") == MOST_WAITING
    slow.go.release()
    assert (await door(_to("hostile", 0))).status == 200  # nothing is left of the flood
