"""The simulated Cloud API without its sockets: what a business may send, what telephones show, what web hooks say.

Everything is decided under a clock and a seed that are passed in. `send` answers as the real API does: errors that Meta
gives at once are raised, those that it finds out later (a closed window, a user without WhatsApp) come as statuses.
"""

import os
import random
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field

from waterline.channels.simulated.bubbles import TITLES, Bubble, GraphError, fill, shown
from waterline.channels.simulated.script import Fault, Number, Phone, Script, TemplateScript

DAY_S = 86_400.0
WINDOW_S = 24 * 3600.0
BILLED_FROM = datetime(2026, 10, 1, tzinfo=UTC).timestamp()  # free-form replies, since then


class Chat(Struct):
    """Between one number and one telephone."""

    number: str
    wa_id: str
    bubbles: list[Bubble] = field(default_factory=list)
    last_in_s: float = 0.0
    typing_until_s: float = 0.0
    pair: deque[float] = field(default_factory=deque)


class Hook(Struct):
    """A change to be delivered."""

    due_s: float
    change: dict[str, Any]
    account: str
    made_s: float
    tries: int = 0


class Cloud:
    def __init__(self, script: Script, clock_s: Callable[[], float]) -> None:
        self.clock_s = clock_s
        self.hooks: list[Hook] = []
        self.files: dict[str, tuple[bytes, str]] = {}
        self.counts: dict[str, int] = {}
        self._serial = 0
        self._life = os.urandom(4).hex()  # as with WhatsApp, no id is ever given twice, whoever starts again
        self.play(script)
        self.chats: dict[tuple[str, str], Chat] = {}
        self.arrived: list[tuple[Chat, Bubble]] = []  # all that the business sent, in order
        self.begun: dict[str, float] = {}  # telephone -> when a conversation with it was last begun by the business
        self.service_sent: dict[tuple[str, str], int] = {}  # number, month
        self._second: dict[str, deque[float]] = {}

    def play(self, script: Script) -> None:
        """A new script; chats and what was sent stay."""
        self.script = script
        self.chance = random.Random(script.seed)
        self.numbers: dict[str, Number] = {n.id: n for n in script.numbers}
        self.phones: dict[str, Phone] = {p.wa_id: p for p in script.phones}
        self.blocked: set[tuple[str, str]] = set()  # number, telephone
        self.no_marketing: set[str] = set()
        self.templates: dict[tuple[str, str], TemplateScript] = {}
        for number, template in enumerate(script.templates, 1):
            template.id = template.id or f"30000000000{number:04d}"
            self.templates[template.name, template.language] = template
        self.fired: dict[int, int] = {}

    # --- the business's side -------------------------------------------------------------------------------------

    def send(self, number_id: str, told: dict[str, Any]) -> dict[str, Any]:
        """POST /<number>/messages. Raises GraphError."""
        number = self._number(number_id)
        if told.get("messaging_product") != "whatsapp":
            raise GraphError(100, "messaging_product must be whatsapp")
        if told.get("status") == "read":
            return self._read_receipt(number, told)
        phone = self._recipient(told)
        chat = self.chat(number.id, phone.wa_id)
        now = self.clock_s()
        fault = self._fault(number.id, phone.wa_id)
        if fault is not None and fault.when == "answer":
            raise GraphError(fault.code, "as the script says", fault.http)
        if number.status == "BANNED":
            raise GraphError(131031, "the number is banned")
        self._pace(number, chat, now)
        bubble = self._bubble(told, now)
        open_ = now - chat.last_in_s < WINDOW_S and chat.last_in_s > 0
        code = fault.code if fault is not None else self._late_error(number, phone, bubble, open_)
        if bubble.template and not open_ and not code:
            self._count_begun(phone.wa_id, now)
        self._price(number, bubble, now)
        bubble.key = str(told.get("biz_opaque_callback_data", ""))[:512]
        bubble.reply_to = str((told.get("context") or {}).get("message_id", ""))
        bubble.status = "sent" if not code else "failed"
        bubble.code = code
        self._count(f"sent_{bubble.category}" if not code else f"failed_{code}")
        if code:
            self._status(number, phone, bubble, "failed", now)
        else:
            chat.bubbles.append(bubble)
            self.arrived.append((chat, bubble))
            chat.typing_until_s = 0.0
            self._status(number, phone, bubble, "sent", now)
            if not phone.off and (number.id, phone.wa_id) not in self.blocked:
                self._arrive(number, phone, bubble, now)
        return {
            "messaging_product": "whatsapp",
            "contacts": [{"input": str(told.get("to") or told.get("recipient")), "wa_id": phone.wa_id}],
            "messages": [{"id": bubble.id}],
        }

    def _arrive(self, number: Number, phone: Phone, bubble: Bubble, now: float) -> None:
        bubble.status = "delivered"
        self._status(number, phone, bubble, "delivered", now + 0.2)
        if phone.reads:
            bubble.status = "read"
            self._status(number, phone, bubble, "read", now + 0.6)

    def _late_error(self, number: Number, phone: Phone, bubble: Bubble, open_: bool) -> int:
        """What Meta finds out after its 200."""
        if phone.gone:
            return 131026
        if not bubble.template and not open_:
            return 131047
        if bubble.category == "marketing":
            if phone.wa_id in self.no_marketing:
                return 131050
            if number.quality == "RED":
                return 131049
        return 0

    def _pace(self, number: Number, chat: Chat, now: float) -> None:
        second = self._second.setdefault(number.id, deque())
        while second and second[0] <= now - 1.0:
            second.popleft()
        if len(second) >= number.per_second:
            self._count("refused_130429")
            raise GraphError(130429, f"more than {number.per_second} messages in a second")
        while chat.pair and chat.pair[0] <= now - self.script.pair_burst * self.script.pair_s:
            chat.pair.popleft()
        if len(chat.pair) >= self.script.pair_burst:
            self._count("refused_131056")
            raise GraphError(131056, "too many messages to this user")
        second.append(now)
        chat.pair.append(now)

    def _count_begun(self, wa_id: str, now: float) -> None:
        """The portfolio's messaging limit: users in 24 hours, over all its numbers."""
        self.begun = {who: at for who, at in self.begun.items() if now - at < DAY_S}
        if self.script.limit and wa_id not in self.begun and len(self.begun) >= self.script.limit:
            self._count("refused_131064")
            raise GraphError(131064, f"{self.script.limit} users in 24 hours")
        self.begun.setdefault(wa_id, now)

    def _bubble(self, told: dict[str, Any], now: float) -> Bubble:
        kind = str(told.get("type", "text"))
        part = told.get(kind)
        if not isinstance(part, dict):
            raise GraphError(131008, f"no {kind}")
        bubble = Bubble(self._id("out"), True, now, kind, category="service")
        fill(bubble, part, self.files, self.templates)
        return bubble

    def _price(self, number: Number, bubble: Bubble, now: float) -> None:
        if bubble.category != "service":
            bubble.billable = True
            return
        month = datetime.fromtimestamp(now, UTC).strftime("%Y-%m")
        sent = self.service_sent[number.id, month] = self.service_sent.get((number.id, month), 0) + 1
        bubble.billable = now >= BILLED_FROM and sent > self.script.free_service

    def _read_receipt(self, number: Number, told: dict[str, Any]) -> dict[str, Any]:
        for (owner, _), chat in self.chats.items():
            for bubble in chat.bubbles:
                if owner == number.id and bubble.id == told.get("message_id"):
                    bubble.status = "read"
                    if told.get("typing_indicator"):
                        chat.typing_until_s = self.clock_s() + 25
                    return {"success": True}
        raise GraphError(131009, "there is no such message")

    # --- the people's side ---------------------------------------------------------------------------------------

    def say(self, wa_id: str, number_id: str, message: dict[str, Any]) -> Bubble:
        """A person writes. `message`: {"type": "text", "text": {"body": ...}}, or any other of the API's types."""
        number, phone = self._number(number_id), self.phone(wa_id)
        now = self.clock_s()
        kind = str(message.get("type", "text"))
        bubble = Bubble(self._id("in"), False, now, kind, shown(message), status="sent")
        chat = self.chat(number_id, wa_id)
        told: dict[str, Any] = {"id": bubble.id, "timestamp": str(int(now)), "type": kind, **message}
        if not phone.hidden:
            told["from"] = wa_id
        if phone.user_id:
            told["from_user_id"] = phone.user_id
        if kind in ("interactive", "button"):
            reply = message.get("context", {}).get("id", "")
            told.setdefault("context", {"from": _digits(number.display), "id": reply})
            for other in chat.bubbles:
                if other.id == reply:
                    other.chosen = bubble.text
        if kind == "reaction":
            for other in chat.bubbles:
                if other.id == message["reaction"].get("message_id"):
                    other.reaction = str(message["reaction"].get("emoji", ""))
        else:
            chat.bubbles.append(bubble)
        chat.last_in_s = now
        part = message.get(kind)
        if isinstance(part, dict) and part.get("id") in self.files:
            bubble.media, bubble.mime = str(part["id"]), self.files[str(part["id"])][1]
        contact: dict[str, Any] = {"profile": {"name": phone.name}}
        if not phone.hidden:
            contact["wa_id"] = wa_id
        if phone.user_id:
            contact["user_id"] = phone.user_id
        self._count("received")
        self._deliver({"contacts": [contact], "messages": [told]}, number, now)
        return bubble

    def change_number(self, wa_id: str, new: str) -> None:
        """The person keeps the chats and gets another telephone number."""
        phone = self.phones.pop(wa_id)
        phone.wa_id = new
        self.phones[new] = phone
        for (number_id, who), chat in list(self.chats.items()):
            if who == wa_id:
                del self.chats[number_id, who]
                chat.wa_id = new
                self.chats[number_id, new] = chat
                system = {"body": f"{phone.name} changed from {wa_id} to {new}", "wa_id": new,
                          "type": "user_changed_number"}  # fmt: skip
                now = self.clock_s()
                told = {"from": wa_id, "id": self._id("in"), "timestamp": str(int(now)), "type": "system",
                        "system": system}  # fmt: skip
                self._deliver({"messages": [told]}, self._number(number_id), now)

    def switch(self, wa_id: str, *, off: bool) -> None:
        """A telephone goes off, or on again: then everything that waited arrives."""
        phone = self.phone(wa_id)
        phone.off = off
        if not off:
            for chat in self.chats.values():
                for bubble in chat.bubbles:
                    if chat.wa_id == wa_id and bubble.ours and bubble.status == "sent":
                        self._arrive(self._number(chat.number), phone, bubble, self.clock_s())

    def stop_marketing(self, wa_id: str, stop: bool = True) -> None:
        (self.no_marketing.add if stop else self.no_marketing.discard)(wa_id)
        now = self.clock_s()
        told = {"wa_id": wa_id, "category": "marketing_messages", "value": "stop" if stop else "resume",
                "timestamp": int(now)}  # fmt: skip
        for number in self.numbers.values():
            self._deliver({"user_preferences": [told]}, number, now, field_="user_preferences")
            break

    # --- what Meta does ------------------------------------------------------------------------------------------

    def set_number(self, number_id: str, *, quality: str = "", status: str = "", event: str = "") -> None:
        """A rating or a ban, and the web hook that tells of it."""
        number = self._number(number_id)
        if quality:
            number.quality = quality  # type: ignore[assignment]
            event = event or ("FLAGGED" if quality == "RED" else "UNFLAGGED" if quality == "GREEN" else "DOWNGRADE")
            limit = f"TIER_{self.script.limit}" if self.script.limit else "TIER_UNLIMITED"
            self.tell("phone_number_quality_update", {
                "display_phone_number": _digits(number.display), "event": event, "current_limit": limit})  # fmt: skip
        if status:
            number.status = status  # type: ignore[assignment]
            ban = {"BANNED": "DISABLE", "CONNECTED": "REINSTATE", "FLAGGED": "SCHEDULE_FOR_DISABLE"}.get(status, "")
            self.tell("account_update", {
                "phone_number": _digits(number.display), "event": "DISABLED_UPDATE",
                "ban_info": {"waba_ban_state": ban, "waba_ban_date": ""}})  # fmt: skip

    def set_template(self, name: str, language: str, status: str, reason: str = "") -> None:
        found = self.templates[name, language]
        found.status = status  # type: ignore[assignment]
        self.tell("message_template_status_update", {
            "event": status, "message_template_id": found.id, "message_template_name": name,
            "message_template_language": language, "reason": reason or "NONE"})  # fmt: skip

    def tell(self, field_: str, value: dict[str, Any]) -> None:
        now = self.clock_s()
        self.hooks.append(Hook(now + self.script.deliveries.delay_s, {"field": field_, "value": value},
                               self.script.account, now))  # fmt: skip

    # --- web hooks -----------------------------------------------------------------------------------------------

    def _status(self, number: Number, phone: Phone, bubble: Bubble, state: str, at_s: float) -> None:
        told: dict[str, Any] = {"id": bubble.id, "status": state, "timestamp": str(int(at_s)),
                                "recipient_id": phone.wa_id}  # fmt: skip
        if bubble.key:
            told["biz_opaque_callback_data"] = bubble.key
        if phone.user_id:
            told["recipient_user_id"] = phone.user_id
        if state in ("sent", "delivered"):
            told["pricing"] = {"billable": bubble.billable, "pricing_model": "PMP", "category": bubble.category,
                               "type": "regular" if bubble.billable else "free_customer_service"}  # fmt: skip
            told["conversation"] = {"id": f"conv-{number.id}-{phone.wa_id}", "origin": {"type": bubble.category}}
        if state == "failed":
            title = TITLES.get(bubble.code, "Error")
            told["errors"] = [{"code": bubble.code, "title": title, "message": title,
                               "error_data": {"details": "simulated"}}]  # fmt: skip
        self._deliver({"statuses": [told]}, number, at_s)

    def _deliver(self, value: dict[str, Any], number: Number, at_s: float, field_: str = "messages") -> None:
        about = {"display_phone_number": _digits(number.display), "phone_number_id": number.id}
        change = {"field": field_, "value": {"messaging_product": "whatsapp", "metadata": about, **value}}
        how = self.script.deliveries
        times = 2 if self.chance.random() < how.duplicate else 1
        for time in range(times):
            late = self.chance.random() * how.late_s if self.chance.random() < how.disorder or time else 0.0
            self.hooks.append(Hook(at_s + how.delay_s + late, change, self.script.account, at_s))

    def due(self) -> list[Hook]:
        """What is to be delivered now: taken out, to be put back with `again` if it was not answered with 200."""
        now = self.clock_s()
        if not self.script.webhook:
            self.hooks.clear()  # nobody listens
        if self.script.deliveries.silence:
            return []
        ready = [h for h in self.hooks if h.due_s <= now]
        self.hooks = [h for h in self.hooks if h.due_s > now]
        ready.sort(key=lambda h: h.due_s)
        return ready

    def again(self, hook: Hook) -> None:
        how, now = self.script.deliveries, self.clock_s()
        hook.tries += 1
        if now - hook.made_s > how.days * DAY_S:
            self._count("given_up")
            return
        hook.due_s = now + min(how.repeat_s * 2 ** min(hook.tries - 1, 20), 6 * 3600)
        self.hooks.append(hook)

    # --- small things --------------------------------------------------------------------------------------------

    def chat(self, number_id: str, wa_id: str) -> Chat:
        return self.chats.setdefault((number_id, wa_id), Chat(number_id, wa_id))

    def phone(self, wa_id: str) -> Phone:
        """Who writes without being in the script is somebody."""
        return self.phones.setdefault(wa_id, Phone(wa_id))

    def keep(self, data: bytes, mime: str) -> str:
        self._serial += 1
        media = f"4{self.script.seed:05d}{self._serial:09d}"
        self.files[media] = (data, mime)
        return media

    def _recipient(self, told: dict[str, Any]) -> Phone:
        to, user_id = _digits(str(told.get("to", ""))), str(told.get("recipient", ""))
        if user_id:
            for phone in self.phones.values():
                if phone.user_id == user_id:
                    return phone
            raise GraphError(131026, "there is no such user")
        if not 5 <= len(to) <= 20:
            raise GraphError(131009, "to is no telephone number")
        return self.phone(to)

    def _number(self, number_id: str) -> Number:
        found = self.numbers.get(number_id)
        if found is None:
            raise GraphError(100, f"Object with ID '{number_id}' does not exist")
        return found

    def _fault(self, number: str, wa_id: str) -> Fault | None:
        for index, fault in enumerate(self.script.faults):
            fits = fault.number in ("", number) and fault.to in ("", wa_id) and not fault.lose
            left = not fault.times or self.fired.get(index, 0) < fault.times
            if fits and left and self.chance.random() < fault.share:
                self.fired[index] = self.fired.get(index, 0) + 1
                self._count(f"fault_{fault.code}")
                return fault
        return None

    def lost(self, number: str) -> str:
        """Whether the connection is to break, and when: a fault with `lose`."""
        for index, fault in enumerate(self.script.faults):
            left = not fault.times or self.fired.get(index, 0) < fault.times
            if fault.lose and fault.number in ("", number) and left and self.chance.random() < fault.share:
                self.fired[index] = self.fired.get(index, 0) + 1
                return fault.lose
        return ""

    def _id(self, way: str) -> str:
        self._serial += 1
        return f"wamid.{way}.{self._life}.{self._serial}"

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)
