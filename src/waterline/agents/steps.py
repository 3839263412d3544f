"""What comes next: slots are taken and checked, the next one is asked for, what is complete is confirmed and done."""

from datetime import datetime

from waterline.agents import appointments
from waterline.agents.hearing import Heard
from waterline.agents.slots.people import grade_of_age
from waterline.agents.state import Wish
from waterline.agents.talk import Talk
from waterline.core.conversation import Alias, Choice
from waterline.core.flow import Action, Slot
from waterline.core.ids import sha256_hex


def take(talk: Talk, heard: Heard) -> bool:
    """Puts what was said into the slots. True if anything is new."""
    state, flow = talk.state, talk.flow
    news = False
    for name, value in heard.slots.items():
        if state.slots.get(name) != value:
            state.slots[name] = value
            news = True
        if name in state.skipped:
            state.skipped.remove(name)
        if state.pending == name:
            state.tries, state.pending = 0, ""
    for slot in flow.slots:
        if slot.kind == "age" and slot.name in heard.slots:
            _age(talk, slot)
        if slot.kind == "phone" and slot.name in heard.slots:
            talk.aliases.append(Alias("phone", heard.slots[slot.name]))
        if slot.kind == "email" and slot.name in heard.slots:
            talk.aliases.append(Alias("email", heard.slots[slot.name]))
        if slot.kind == "yes_no":
            _yes_no(talk, slot, heard)
    for name, refused in heard.refused.items():
        if name not in heard.slots and not (heard.questions and state.pending != name):
            talk.say(f"bad_{refused.reason}", suggestion=refused.suggestion)
    return news


def _age(talk: Talk, slot: Slot) -> None:
    age = int(talk.state.slots[slot.name])
    outside = (slot.low is not None and age < slot.low) or (slot.high is not None and age > slot.high)
    talk.state.outside = outside
    for grade in talk.flow.slots:
        if grade.follows == slot.name and not outside:
            talk.state.slots[grade.name] = grade_of_age(age, talk.flow.grades)
    if outside:
        talk.say(f"outside_{slot.name}", value=str(age))


def _yes_no(talk: Talk, slot: Slot, heard: Heard) -> None:
    state = talk.state
    answer = heard.answer if state.pending == slot.name else ""
    if slot.stops and ("visit" in heard.intents or heard.when is not None or heard.start):
        answer = "yes"  # who asks for a visit wants one
    if slot.stops and "not_interested" in heard.intents and "visit" not in heard.intents:
        answer = "no"
    if not answer:
        return
    state.slots[slot.name] = answer
    if state.pending == slot.name:
        state.pending, state.tries = "", 0
    if slot.stops:
        if answer == "no" and not state.stopped:
            talk.say("stopped")
        state.stopped = answer == "no"


async def next_step(talk: Talk, repeat: bool = False) -> None:
    """Asks for what is missing; confirms when nothing is. `repeat`: the question is asked a second time."""
    state, flow = talk.state, talk.flow
    if state.handed or state.out or state.stopped or state.outside or state.minor or talk.handoff:
        state.pending = ""
        return
    if talk.asked:
        return
    if _is_booking(talk) or (state.booked_at and _chosen(talk) == state.booked_at):
        state.pending = "" if state.pending != "cancel" else state.pending
        return
    appointment: Slot | None = None
    for slot in flow.slots:
        if slot.name in state.slots or slot.name in state.skipped or not slot.asked or slot.follows:
            continue
        if slot.kind == "appointment":
            appointment = slot
            if not await appointments.offer(talk):
                continue  # the calendar is down: the rest is asked for meanwhile
            if slot.name in state.slots or talk.handoff:
                await next_step(talk)
            else:
                _pending(talk, slot.name)
            return
        ask(talk, slot, repeat)
        return
    if appointment is not None:  # everything else is known
        talk.say("slots_down")
        talk.hand_over("failed_effect")
        return
    if any(action.when == "confirmed" for action in flow.actions):
        _confirm(talk)


def ask(talk: Talk, slot: Slot, repeat: bool = False) -> None:
    if talk.lookup_down and talk.flow.appointment() is not None:
        talk.say("slots_down")
    _pending(talk, slot.name)
    talk.say(f"ask_{slot.name}")
    if slot.kind == "yes_no":
        yes_no_buttons(talk, slot.name)
    elif slot.kind == "choice":
        talk.choices = [Choice(f"opt:{slot.name}={o}", talk.text(f"{slot.name}_{o}")[:24]) for o in slot.options]


def _confirm(talk: Talk) -> None:
    _pending(talk, "confirm")
    talk.say("confirm")
    yes_no_buttons(talk, "confirm")


def yes_no_buttons(talk: Talk, question: str) -> None:
    talk.choices = [Choice(f"yes:{question}", talk.text("yes")[:20]), Choice(f"no:{question}", talk.text("no")[:20])]


def _pending(talk: Talk, name: str) -> None:
    state = talk.state
    if state.pending != name:
        state.tries = 0
    state.pending = name
    state.memory.next_step = f"ask {name}"


def _chosen(talk: Talk) -> str:
    appointment = talk.flow.appointment()
    return talk.state.slots.get(appointment.name, "") if appointment else ""


def is_past(talk: Talk) -> bool:
    """Whether the chosen time has gone by."""
    start = _chosen(talk)
    return bool(start) and datetime.fromisoformat(start) <= talk.now


def _is_booking(talk: Talk) -> bool:
    return any(
        talk.state.acts.get(a.name) in ("planned", "late")
        for a in talk.flow.actions
        if a.when in ("confirmed", "moved")
    )


def missed(talk: Talk) -> None:
    """The question that was asked got no answer: asked again, at the end by a person."""
    talk.state.tries += 1
    if talk.state.tries >= talk.flow.tries:
        slot = talk.flow.slot(talk.state.pending)
        if slot is not None and not slot.required:
            talk.state.skipped.append(slot.name)
            talk.state.pending = ""
            return
        talk.say("handover")
        talk.hand_over("uncertain")


def do_confirmed(talk: Talk) -> None:
    """The user said yes."""
    state = talk.state
    start = _chosen(talk)
    moment = "moved" if state.booking and state.booked_at else "confirmed"
    state.pending, state.memory.next_step = "", "hear from the calendar"
    state.bookings += 1
    for action in talk.flow.actions:
        if action.when == moment:
            suffix = f"/{state.bookings}"
            state.acts[action.name] = "planned"
            state.planned_at = start
            talk.plan(action, suffix=suffix)
            if moment == "confirmed":
                state.booking = talk.effects[-1].key


def do_cancel(talk: Talk) -> None:
    talk.state.pending = ""
    for action in talk.flow.actions:
        if action.when == "cancelled":
            talk.state.acts[action.name] = "planned"
            talk.plan(action, suffix=f"/{talk.state.bookings}")


def do_known(talk: Talk) -> None:
    """Actions whose slots are known: done once for each content."""
    state = talk.state
    if state.minor or state.out:
        return
    for action in talk.flow.actions:
        if action.when != "known" or not all(state.slots.get(need) for need in action.needs):
            continue
        if not state.outside:
            talk.reach("qualified")
        before = len(talk.effects)
        talk.plan(action)
        digest = sha256_hex(repr(sorted(talk.effects[before].arguments.items())).encode())[:12]
        if state.sent.get(action.name) == digest:
            del talk.effects[before:]
            continue
        state.sent[action.name] = digest
        del talk.effects[before:]
        talk.plan(action, suffix=f"/{digest}")
        state.acts[action.name] = "planned"


def change_time(talk: Talk) -> None:
    """The chosen time is open again; what is booked stays booked until the move is done."""
    appointment = talk.flow.appointment()
    if appointment is not None:
        talk.state.slots.pop(appointment.name, None)
        talk.state.offered = []


def forget_visit(talk: Talk) -> None:
    change_time(talk)
    talk.state.wish = Wish()
    talk.state.booked_at = talk.state.booking = talk.state.planned_at = ""


def action_of(talk: Talk, name: str) -> Action | None:
    return next((action for action in talk.flow.actions if action.name == name), None)
