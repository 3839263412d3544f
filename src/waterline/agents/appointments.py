"""Free times: looked up, narrowed by what the user wishes, offered, chosen."""

from datetime import date, datetime, timedelta

from waterline.agents.phrases import short_date
from waterline.agents.slots.when import When
from waterline.agents.state import Offer, Wish
from waterline.agents.talk import Talk
from waterline.connectors.base import ConnectorFault
from waterline.connectors.visits import rules
from waterline.core.conversation import Choice

MOST = 200


def wish_for(talk: Talk, when: When) -> None:
    """What was said now goes over what was said before: "no, Tuesday" keeps the hour."""
    wish = talk.state.wish
    if when.days:
        wish.days = list(when.days)
        wish.avoid = []
    if when.avoid:  # a day of the week that does not suit does not suit next week either
        weeks = {date.fromisoformat(day) + timedelta(days=7 * n) for day in when.avoid for n in range(5)}
        wish.avoid = sorted({*wish.avoid, *(day.isoformat() for day in weeks)})
        wish.days = [day for day in wish.days if day not in wish.avoid]
    if when.timed:
        wish.minute, wish.from_min, wish.to_min = when.minute, when.from_min, when.to_min


def meant(talk: Talk, when: When) -> When:
    """ "não quinta" to a visit on a Tuesday refuses nothing: it asks for Thursday."""
    if when.days or not when.avoid:
        return when
    slot = talk.flow.appointment()
    chosen = talk.state.slots.get(slot.name, "") if slot else ""
    proposed = [chosen] if chosen else [offer.start for offer in talk.state.offered]
    weekdays = {datetime.fromisoformat(start).astimezone(talk.now.tzinfo).weekday() for start in proposed}
    refused = {date.fromisoformat(day).weekday() for day in when.avoid}
    if not proposed or weekdays & refused:
        return when
    return When(when.avoid, when.minute, when.from_min, when.to_min, (), when.start, when.end)


async def look_up(talk: Talk) -> list[datetime] | None:
    """Free starts, soonest first; None when the calendar cannot be asked now."""
    lookup = talk.flow.lookup
    if lookup is None:
        return []
    values = talk.values()
    arguments = {
        **{
            k: rules(talk.given.branch) if v == "{visit_rules}" else v.format_map(values)
            for k, v in lookup.arguments.items()
        },
        "from": talk.now.date().isoformat(),
        "days": lookup.ahead_days,
        "not_before": talk.now.isoformat(timespec="seconds"),
        "limit": MOST,
    }
    try:
        found = await talk.tools.look(lookup.connector, lookup.operation, arguments)
        starts = [datetime.fromisoformat(slot["start"]) for slot in found["slots"]]
    except ConnectorFault:
        return None
    except (KeyError, TypeError, ValueError):  # not what the manifest says: as good as down
        return None
    return sorted(start.astimezone(talk.now.tzinfo) for start in starts if start.tzinfo and start > talk.now)


async def offer(talk: Talk, intro: str = "offer") -> bool:
    """Chooses where the wish leaves one time, else offers some. False: the calendar cannot be asked."""
    state, lookup, slot = talk.state, talk.flow.lookup, talk.flow.appointment()
    if lookup is None or slot is None:
        return True
    free = await look_up(talk)
    if free is None:
        talk.lookup_down = True
        return False
    same = [at for at in free if at.isoformat() in {o.start for o in state.offered}]
    wish = state.wish
    fit = [at for at in free if _fits(at, wish)]
    if fit and wish.days and (len(fit) == 1 or (wish.minute is not None and len({a.date() for a in fit}) == 1)):
        choose(talk, fit[0].isoformat())
        return True
    if not free:
        talk.say("no_slots")
        talk.hand_over("rule")
        return True
    if same:  # nothing new was wished for since
        shown = same
    elif wish.said and not fit:
        intro = "offer_near"
        near = _nearest(free, wish)
        on_day = [at for at in near if at.date().isoformat() in wish.days]
        shown = sorted(on_day[: lookup.offer]) if on_day else _spread(near, lookup.offer)
        wish.minute, wish.from_min, wish.to_min = None, 0, 1440
    else:
        shown = _spread(fit or free, lookup.offer)
    state.offered = [Offer(at.isoformat(), short_date(at, talk.language)) for at in shown]
    state.pending = slot.name
    lines = "  ".join(f"{n}) {talk.when(o.start)}" for n, o in enumerate(state.offered, 1))
    talk.parts.append(f"{talk.text(intro)} {lines}")
    talk.choices = [Choice(f"at:{o.start}", o.title) for o in state.offered]
    talk.choices.append(Choice("other", talk.text("other_day")[:20]))
    talk.reach("offered")
    return True


def choose(talk: Talk, start: str) -> None:
    slot = talk.flow.appointment()
    if slot is not None:
        talk.state.slots[slot.name] = start
        talk.state.offered, talk.state.wish, talk.state.tries = [], Wish(), 0
        talk.reach("offered")


def none_of_these(talk: Talk) -> None:
    """The days that were offered do not suit."""
    days = {datetime.fromisoformat(o.start).astimezone(talk.now.tzinfo).date().isoformat() for o in talk.state.offered}
    wish = talk.state.wish
    wish.avoid, wish.days = sorted({*wish.avoid, *days}), []
    talk.state.offered = []


def _fits(at: datetime, wish: Wish) -> bool:
    day, minute = at.date().isoformat(), at.hour * 60 + at.minute
    if (wish.days and day not in wish.days) or day in wish.avoid:
        return False
    return minute == wish.minute if wish.minute is not None else wish.from_min <= minute < wish.to_min


def _nearest(free: list[datetime], wish: Wish) -> list[datetime]:
    """Those closest to the day and hour that were wished for; who said Thursday hears of the next Thursdays first."""
    kept = [at for at in free if at.date().isoformat() not in wish.avoid] or free
    if not wish.days:
        return kept
    target = datetime.fromisoformat(wish.days[0]).replace(tzinfo=free[0].tzinfo)
    target += timedelta(minutes=wish.minute if wish.minute is not None else wish.from_min or 720)
    weekdays = {date.fromisoformat(day).weekday() for day in wish.days}
    return sorted(kept, key=lambda at: (at.weekday() not in weekdays, abs(at - target)))


def _spread(starts: list[datetime], count: int) -> list[datetime]:
    """One of each day before a second of any, in order of time."""
    seen: dict[object, int] = {}
    ranked = []
    for number, at in enumerate(starts):
        seen[at.date()] = seen.get(at.date(), -1) + 1
        ranked.append((seen[at.date()], number, at))
    return sorted(at for _, _, at in sorted(ranked)[:count])
