"""A conversation that needs a person: who is told, when the office is there, taking it and giving it back."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from waterline.agents import sentences
from waterline.agents.places import Place
from waterline.core.branch import Branch
from waterline.core.conversation import Effect, Handoff, Inbound, Outbound, Said, Template
from waterline.store import conversations, effects, handoffs
from waterline.store.conversations import Conversation
from waterline.store.db import Tx
from waterline.store.effects import EffectRow
from waterline.store.handoffs import HandoffRow

STAGE = "handed_over"
LONGEST_CLOSED_DAYS = 30
MOST_SAID = 100  # lines that the agent hears of when it gets a conversation back
TEAM = "team"  # a turn's place in the keys of what reminds people


def office(branch: Branch, now_us: int) -> tuple[bool, datetime | None]:
    """Whether somebody is there, and when somebody will be next (None: not in the coming month, or nobody said)."""
    if not branch.office_hours:
        return True, None  # no hours declared: nobody promised to be away
    now = datetime.fromtimestamp(now_us / 1e6, UTC).astimezone(ZoneInfo(branch.timezone))
    for ahead in range(LONGEST_CLOSED_DAYS):
        day = now.date() + timedelta(days=ahead)
        if day.isoformat() in branch.closed:
            continue
        for hours in sorted(branch.office_hours, key=lambda h: h.start_min):
            if hours.weekday != day.weekday():
                continue
            start, end = (_at(day, minutes, now) for minutes in (hours.start_min, hours.end_min))
            if start <= now < end:
                return True, None
            if now < start:
                return False, start
    return False, None


def _at(day: date, minutes: int, now: datetime) -> datetime:
    midnight = datetime(day.year, day.month, day.day, tzinfo=now.tzinfo)
    return midnight + timedelta(minutes=minutes)


def asked(tx: Tx, at: Conversation, place: Place, handoff: Handoff, now_us: int) -> bool:
    """Into the queue. True if it was not there; then, out of hours, the user hears once when somebody will answer."""
    if at.mode == "person":
        return False  # somebody is on it
    if not handoffs.ask(tx, at.app, at.env, at.branch, at.id, handoff, now_us):
        return False
    conversations.add_stage(tx, at, STAGE, now_us)
    here, opens = office(place.branch, now_us)
    if not here and handoff.reason != "trouble":
        said = sentences.closed(language(at, place.branch), opens)
        say(tx, at, f"hours-{now_us}", said, now_us)
    return True


def say(tx: Tx, at: Conversation, name: str, text: str, now_us: int, author: str = "") -> None:
    """A reply that is no agent's."""
    key = f"{at.id}/{(author and 'person') or 'platform'}/{name}"
    effects.plan(tx, at.app, at.env, at.id, at.turn, Effect(name, Outbound(text), key=key), now_us, author)


def reopened(tx: Tx, at: Conversation, place: Place, row: EffectRow, why: str, now_us: int) -> bool:
    """A text may not be sent, because its user has been silent for too long: it waits until they write, and a template
    asks them to, once for each silence. False: no template is declared, or the message was one."""
    message = row.effect.message
    if not place.rules.reopen or message is None or message.template is not None:
        return False
    if not effects.until_heard(tx, row, why):
        return False
    ask = Effect(
        "reopen", Outbound(template=Template(place.rules.reopen, language(at, place.branch))),
        key=f"{at.id}/platform/reopen-{at.window_until_us}",
    )  # fmt: skip
    effects.plan(tx, at.app, at.env, at.id, at.turn, ask, now_us, row.author)
    return True


def language(at: Conversation, branch: Branch) -> str:
    return at.language or (branch.languages[0] if branch.languages else "en")


def take(tx: Tx, at: Conversation, who: str, now_us: int) -> bool:
    """This person has it from now on: what the agent has not said yet is not said. False: somebody has it."""
    if not conversations.take(tx, at.id, who, now_us):
        return False
    effects.drop_replies(tx, at.id, now_us, f"{who} took over before it left")
    handoffs.take(tx, at.app, at.env, at.branch, at.id, who, now_us)
    return True


def reply(tx: Tx, at: Conversation, who: str, text: str, key: str, now_us: int) -> None:
    """What a person writes, through the channel. `key`: the same one again sends nothing twice."""
    say(tx, at, key, text, now_us, who)
    conversations.answered_by_person(tx, at.id)
    handoffs.replied(tx, at.id, now_us)


def give_back(tx: Tx, at: Conversation, now_us: int) -> bool:
    """To the agent, which hears of it before it says anything. False: no person had it."""
    if not conversations.give_back(tx, at.id, now_us):
        return False
    open_one = handoffs.open_of(tx, at.id)
    said = _meanwhile(tx, at, open_one.taken_us) if open_one is not None else ()
    handoffs.close(tx, at.id, now_us)
    message = Inbound("clock", at.id, f"takeover/bot/{now_us}", "", now_us, "takeover", "bot", said=said)
    conversations.put(tx, at.id, message, now_us)
    return True


def _meanwhile(tx: Tx, at: Conversation, since_us: int) -> tuple[Said, ...]:
    """What the user and the person said to each other, in its order; without it the agent would ask again."""
    lines = [
        (kept.received_us, Said(True, kept.message.text or f"({kept.message.kind})"))
        for kept in conversations.messages(tx, at.id, max(at.sequence - MOST_SAID, 0))
        if kept.turn == conversations.BY_PERSON and kept.message.channel not in ("outcome", "clock")
    ]
    for row in effects.of(tx, at.id, MOST_SAID):
        if row.author and row.state != "dropped" and row.planned_us >= since_us and row.effect.message is not None:
            lines.append((row.planned_us, Said(False, row.effect.message.text)))
    return tuple(said for at_us, said in sorted(lines, key=lambda line: line[0]) if at_us >= since_us)


def remind(tx: Tx, row: HandoffRow, place: Place, url: Callable[[str], str], now_us: int) -> tuple[bool, str]:
    """Tells the team once that somebody waits. Returns whether it is news, and the lane in which it is told ("": none
    is declared; the queue shows it all the same)."""
    if not handoffs.reminded(tx, row.n, now_us):
        return False, ""
    connector, _, operation = place.rules.notify.partition(".")
    if not connector or not operation:
        return True, ""
    minutes = (now_us - row.asked_us) // 60_000_000
    arguments = {
        "to": list(place.branch.team),
        "subject": f"{place.branch.name}: somebody has waited {minutes} minutes for a person",
        "text": f"{row.summary}\n\nReason: {row.reason}\n{url(row.conversation)}",
    }
    effect = Effect(
        "reminder", connector=connector, operation=operation, arguments=arguments, key=f"{TEAM}/{row.n}", quiet=True
    )
    effects.plan(tx, row.app, row.env, row.conversation, 0, effect, now_us)
    return True, connector


def summary(effect: Effect, why: str) -> str:
    """What the person should know of something that failed."""
    what = f"{effect.connector}.{effect.operation}" if effect.connector else "a message"
    given = msgspec.json.encode(effect.arguments).decode() if effect.arguments else ""
    return f"{what} could not be done: {why}" + (f" It was to be: {given[:600]}" if given else "")
