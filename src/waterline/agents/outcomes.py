"""How what was planned ended, told to the user."""

from waterline.agents import appointments, steps
from waterline.agents.talk import Talk
from waterline.core.conversation import Alias, Outcome


async def hear_outcome(talk: Talk, outcome: Outcome) -> None:
    """An outcome may come twice, late, or after the user went on; the same one is told once."""
    state = talk.state
    action = steps.action_of(talk, outcome.name)
    if action is None or state.acts.get(outcome.name) == outcome.state:
        return
    state.acts[outcome.name] = outcome.state
    if action.when == "known":
        if record := str(outcome.result.get("id") or outcome.result.get("number") or ""):
            talk.aliases.append(Alias("crm", record))
        return
    match outcome.state:
        case "done" if action.when == "cancelled":
            steps.forget_visit(talk)
            state.stopped = True
            talk.say("cancelled")
            talk.template = "cancelled"
        case "done":
            state.booked_at = state.planned_at
            appointment = talk.flow.appointment()
            if appointment is not None:
                state.slots[appointment.name] = state.booked_at
            state.memory.next_step = "the visit"
            talk.reach("booked")
            talk.say("booked")
            talk.template = "booked"
        case "refused" if action.when == "cancelled":
            talk.say("nothing_booked")
        case "refused":
            await _refused(talk)
        case "late":
            talk.say("late")
        case "failed":  # the platform has asked for a person
            state.handed, state.pending = "failed_effect", ""
            talk.say("failed")
            talk.template = "failed"


async def _refused(talk: Talk) -> None:
    """Somebody was quicker: other times, near the one that is gone."""
    state = talk.state
    gone = state.planned_at
    steps.change_time(talk)
    if not state.booked_at:
        state.booking = ""
    state.planned_at = ""
    state.wish.days = [gone[:10]] if gone else []
    talk.say("slot_gone")
    if not await appointments.offer(talk):
        talk.say("slots_down")
        talk.hand_over("failed_effect")
