"""The agent that follows a flow: what the user meant is read by code or, where code cannot, by a model; what happens
is decided here, by the flow's own rules. A turn reads like the table of contents of a conversation."""

from msgspec import structs

from waterline.agents import steps
from waterline.agents.agent import Agent, Tools, TurnInput
from waterline.agents.answers import answer
from waterline.agents.appointments import choose, meant, none_of_these, wish_for
from waterline.agents.hearing import Heard, hear, nothing
from waterline.agents.memory import heard_and_said, keep_open
from waterline.agents.outcomes import hear_outcome
from waterline.agents.reading import overhear, read
from waterline.agents.remarks import keep, remarks, says_something
from waterline.agents.state import read_state, write_state
from waterline.agents.talk import Talk
from waterline.agents.understand import understand
from waterline.agents.voice import listened, show
from waterline.core.conversation import Effect, Inbound, Outbound, Template, Turn
from waterline.core.flow import NOTED, Flow
from waterline.core.release import Release

AWAY_US = 12 * 3600 * 1_000_000  # who comes back later than this is welcomed
MAX_QUESTIONS = 3  # of one message
MAX_TEXT = 3500  # of a bubble; WhatsApp takes 4096
_MEDIA = ("image", "video", "document", "contact", "unknown")


def flow_agent(release: Release) -> Agent | None:
    """The agent of an app that declares a flow; None where it declares none."""
    flow = next(iter(release.flows.values()), None)
    return FlowAgent(flow, release.handbooks) if flow is not None else None


class FlowAgent:
    def __init__(self, flow: Flow, handbooks: dict[str, str]) -> None:
        self._flow = flow
        self._handbooks = handbooks

    async def turn(self, given: TurnInput, tools: Tools) -> Turn:
        talk = Talk(self._flow, self._handbooks, given, read_state(given.state), tools)
        users = [m for m in given.messages if m.kind not in ("outcome", "tick", "takeover", "reaction")]
        for message in given.messages:
            if message.kind == "takeover":
                _takeover(talk, message)
            elif message.outcome is not None:
                await hear_outcome(talk, message.outcome)
        said = ""
        if users:
            said = await _respond(talk, users)
        elif any(m.kind == "tick" for m in given.messages):
            await _remind(talk)
        return _turn(talk, users, said)


def _takeover(talk: Talk, message: Inbound) -> None:
    """Given back by a person: what was open before is not asked again by itself (no loop)."""
    if message.text == "bot":
        state = talk.state
        state.handed, state.pending, state.tries, state.warnings = "", "", 0, 0
        for line in message.said:
            heard, said = (line.text, "") if line.by_user else ("", line.text)
            heard_and_said(state, heard, said, talk.flow.memory_chars)


async def _remind(talk: Talk) -> None:
    """Once, while the window is open and something is open; then silence is an answer."""
    state = talk.state
    if talk.given.with_person or not talk.given.window_open or not state.pending or state.reminded or state.out:
        return
    state.reminded = True
    talk.say("reminder")
    await steps.next_step(talk, repeat=True)


async def _respond(talk: Talk, messages: list[Inbound]) -> str:
    """All that the user sent since the turn before, as one message. Returns its text."""
    state = talk.state
    _who(talk, messages)
    if not talk.given.with_person:
        messages = await listened(talk, messages)
    text = "\n".join(m.text for m in messages if m.text.strip())
    choice = next((m.choice for m in reversed(messages) if m.choice), "")
    back = bool(state.last_us) and talk.given.now_us - state.last_us > AWAY_US
    state.last_us, state.reminded, state.out = talk.given.now_us, False, False
    talk.reach("first_message")
    if talk.given.with_person:
        return text
    listen = overhear if talk.flow.reading == "model" else hear
    heard = listen(text, choice, state, talk.flow, talk.context(), talk.book)
    if heard.language and heard.language in talk.flow.languages:
        state.language = heard.language
    if _ends(talk, heard):
        return text
    first = not state.greeted
    _greet(talk, heard, back)
    show(talk)
    if _media(talk, messages) and not text and not choice:
        await steps.next_step(talk, repeat=True)
        return text
    beside = remarks(text) if talk.flow.keeps_remarks else []
    unread = not heard.understood and not (beside and talk.flow.reading == "code")
    if unread or (talk.flow.reading == "both" and text and not choice):
        await _ask_what_it_means(talk, heard)
        if _ends(talk, heard):
            return text
    heard.remarks = beside
    await _act_on(talk, heard, first)
    return text


async def _ask_what_it_means(talk: Talk, heard: Heard) -> None:
    state, flow = talk.state, talk.flow
    if flow.reading == "model":
        calls, traces = await read(heard, state, flow, talk.context(), talk.book, talk.tools)
    else:
        calls, traces = await understand(heard, state.pending, flow, talk.context(), talk.tools)
    talk.calls += calls
    talk.traces += traces


def _who(talk: Talk, messages: list[Inbound]) -> None:
    """What the channel knows of the person fills the slots that take it; what they said in a conversation before this
    one, those that are facts of a person."""
    names = {alias.kind: alias.value for message in messages for alias in message.aliases}
    slots = talk.state.slots
    for slot in talk.flow.slots:
        if slot.name in slots:
            continue
        if slot.take and slot.take in names:
            slots[slot.name] = names[slot.take]
        elif slot.of_person and talk.given.known.get(slot.name):
            slots[slot.name] = talk.given.known[slot.name]


def _ends(talk: Talk, heard: Heard) -> bool:
    """What stops everything else: no more messages, abuse, a child who writes, a person wanted, anger."""
    state, intents = talk.state, heard.intents
    if "opt_out" in intents:
        talk.parts.clear()
        talk.say("opt_out")
        state.out, state.pending, state.offered = True, "", []
        return True
    if "abuse" in intents:
        state.warnings += 1
        if state.warnings > talk.flow.warnings:
            talk.say("abuse_end")
            talk.hand_over("abuse")
        else:
            talk.say("abuse_warning")
        return True
    if "parent" in intents or (state.minor and "own_child" in intents and "minor" not in intents):
        state.minor = False
    elif "minor" in intents or state.minor:
        if not state.minor:
            state.memory.remarks = []
            taken = [slot.name for slot in talk.flow.slots]
            state.slots = {k: v for k, v in state.slots.items() if k not in taken}
        state.minor, state.pending = True, ""
        talk.say("minor")
        return True
    if "person" in intents:
        _answer_person(talk, heard, "handover", "asked")
        return True
    if "anger" in intents:
        _answer_person(talk, heard, "anger", "anger")
        return True
    return False


def _answer_person(talk: Talk, heard: Heard, text: str, reason: str) -> None:
    steps.take(talk, heard)  # what was said with it is kept for the person
    talk.parts.clear()
    talk.say(text)
    talk.hand_over(reason, urgent=reason == "anger")
    steps.do_known(talk)


def _greet(talk: Talk, heard: Heard, back: bool) -> None:
    if not talk.state.greeted:
        talk.state.greeted = True
        talk.say("hello")
    elif back:
        talk.say("welcome_back")
        if talk.state.offered:
            talk.state.offered = []  # times that were free then


def _media(talk: Talk, messages: list[Inbound]) -> bool:
    kinds = {message.kind for message in messages}
    if "audio" in kinds:
        talk.say("voice")
    elif kinds & set(_MEDIA):
        talk.say("media")
    return bool(kinds & {"audio", "location", *_MEDIA})


async def _act_on(talk: Talk, heard: Heard, first: bool) -> None:
    state = talk.state
    pending = state.pending
    had = len(talk.parts)
    if heard.bad_when is not None:
        talk.say(f"bad_{heard.bad_when.reason}")
    news = steps.take(talk, heard)
    if "injection" in heard.intents:
        talk.say("off_topic")
    if "who" in heard.intents:  # honestly, however often it is asked
        talk.say("handover" if state.handed else "hello")
    await _questions(talk, heard)
    _remarks(talk, heard)
    settled = await _settle(talk, heard, pending, news)
    if not settled and talk.handoff is None:
        _social(talk, heard, first)
        missing = (
            pending and state.pending == pending and not (heard.questions or heard.refused or heard.bad_when or news)
        )
        if nothing(heard) and not first:
            if len(talk.parts) == had:
                talk.say("not_understood")
            if pending:
                steps.missed(talk)
        elif (
            missing
            and "skip" not in heard.intents
            and not first
            and not heard.intents & {"greeting", "thanks", "injection", "who"}
        ) or ((heard.refused or heard.bad_when) and state.pending == pending and pending):
            steps.missed(talk)
    steps.do_known(talk)
    await steps.next_step(talk, repeat=state.pending == pending)


async def _questions(talk: Talk, heard: Heard) -> None:
    for question in heard.questions[:MAX_QUESTIONS]:
        found = await answer(question, talk.book(), talk.language, talk.flow.answer, talk.tools)
        talk.calls += found.calls
        talk.traces += found.traces
        if found.text:
            said = "\n".join(talk.parts)
            fresh = "\n".join(line for line in found.text.splitlines() if line.strip() not in said)
            if found.how == "phrased":
                talk.parts.append(found.text)
            elif fresh:
                talk.say("quoted", answer=fresh)
            talk.reach("answered")
        elif " ".join(question.split()) not in {" ".join(said.split()) for said in heard.remarks}:
            keep_open(talk.state.memory, question)
            talk.say("unknown_answer", question=question)


def _remarks(talk: Talk, heard: Heard) -> None:
    """Once there is a visit and nothing is open, whatever is said and not understood is for whoever receives them."""
    state = talk.state
    if talk.flow.keeps_remarks and state.booked_at and not state.pending and nothing(heard):
        heard.remarks = says_something(heard.text)
    if heard.remarks:
        keep(state, heard.remarks)
        talk.say(NOTED)


async def _settle(talk: Talk, heard: Heard, pending: str, news: bool) -> bool:
    """Answers to what was asked, and changes of mind. True if the message was about that."""
    state, flow = talk.state, talk.flow
    appointment = flow.appointment()
    if (
        "skip" in heard.intents
        and (slot := flow.slot(pending)) is not None
        and not slot.required
        and pending not in heard.slots
    ):
        state.skipped.append(pending)
        state.pending = ""
        talk.say("skipped")
        return True
    if pending == "cancel" and heard.answer:
        state.pending = ""
        if heard.answer == "yes":
            steps.do_cancel(talk)
        else:
            talk.say("kept")
        return True
    if "cancel" in heard.intents and heard.when is None:
        _ask_to_cancel(talk)
        return True
    if "not_interested" in heard.intents and state.stopped:
        return True
    if appointment is None:
        return await _confirmed(talk, heard, pending, news)
    if heard.start:
        offered = {offer.start for offer in state.offered}
        if heard.start in offered:
            choose(talk, heard.start)
        else:  # a button of an earlier message: the time may be gone, so it is looked for like any wish
            _wish_at(talk, heard.start)
        return True
    if heard.other:
        none_of_these(talk)
        steps.missed(talk)
        return True
    if heard.when is not None or ("change" in heard.intents and (state.booked_at or appointment.name in state.slots)):
        if heard.when is not None:
            if not state.wish.said and state.slots.get(appointment.name) and not heard.when.days:
                state.wish.days = [state.slots[appointment.name][:10]]  # "at 11 instead": the same day
            wish_for(talk, meant(talk, heard.when))
        steps.change_time(talk)
        return True
    if pending == appointment.name and heard.answer:
        if heard.answer == "yes" and len(state.offered) == 1:
            choose(talk, state.offered[0].start)
        elif heard.answer == "no" and "thanks" in heard.intents and not state.booked_at:
            _ask_to_cancel(talk)  # "no, thanks": to all of it
        elif heard.answer == "no":
            none_of_these(talk)
            steps.missed(talk)
        else:
            return False  # yes, but to which?
        return True
    return await _confirmed(talk, heard, pending, news)


async def _confirmed(talk: Talk, heard: Heard, pending: str, news: bool) -> bool:
    state = talk.state
    if pending != "confirm":
        slot = talk.flow.slot(pending)
        return slot is not None and slot.kind == "yes_no" and bool(heard.answer)
    if news:
        return True  # corrected: confirmed anew
    if heard.answer == "yes":
        if steps.is_past(talk):  # said yes days later
            talk.say("bad_past")
            steps.change_time(talk)
        else:
            steps.do_confirmed(talk)
        return True
    if heard.answer == "no":
        talk.say("confirm_no")
        state.tries += 1
        state.pending, talk.asked = "change", True
        return True
    return False


def _wish_at(talk: Talk, start: str) -> None:
    state = talk.state
    steps.change_time(talk)
    if len(start) >= 16 and start[11:13].isdecimal() and start[14:16].isdecimal():
        state.wish.days, state.wish.avoid = [start[:10]], []
        state.wish.minute = int(start[11:13]) * 60 + int(start[14:16])


def _ask_to_cancel(talk: Talk) -> None:
    state = talk.state
    if state.booked_at:
        state.pending = "cancel"
        talk.say("cancel_confirm", when=talk.when(state.booked_at))
        steps.yes_no_buttons(talk, "cancel")
        return
    steps.forget_visit(talk)
    state.stopped, state.pending = True, ""
    talk.say("nothing_booked")


def _social(talk: Talk, heard: Heard, first: bool) -> None:
    if "thanks" in heard.intents:
        talk.say("thanks")
    elif "bye" in heard.intents:
        talk.say("bye")


def _turn(talk: Talk, users: list[Inbound], said: str) -> Turn:
    """One bubble, then what is done."""
    state, given = talk.state, talk.given
    parts = [part for part in talk.parts if part]
    if all(part in talk.shown for part in parts):
        parts.clear()  # what was heard, and nothing to say to it: no bubble for that
    text = "\n\n".join(parts)[:MAX_TEXT]
    effects = list(talk.effects)
    if text and not given.with_person:
        message = Outbound(text, choices=tuple(talk.choices), template=_template(talk))
        effects.insert(0, Effect("reply", message=message))
    heard_and_said(state, said, text, talk.flow.memory_chars)
    handoff = talk.handoff
    if handoff is not None:
        handoff = structs.replace(handoff, summary=talk.summary())
    waits = bool(state.pending) and not state.reminded and not given.with_person and talk.flow.reminder.after_min > 0
    return Turn(
        state=write_state(state),
        effects=tuple(effects),
        handoff=handoff,
        stage=state.stage,
        wake_us=given.now_us + talk.flow.reminder.after_min * 60_000_000 if waits else 0,
        slots=_for_people(talk),
        language=talk.language,
        aliases=tuple(dict.fromkeys(talk.aliases)),
        model_calls=talk.calls,
        traces=tuple(talk.traces),
        heard={} if state.minor else talk.heard,
    )


def _for_people(talk: Talk) -> dict[str, str]:
    """What is known, and, empty, what is still to be asked."""
    asked = {slot.name: "" for slot in talk.flow.slots if slot.asked and not slot.follows}
    said = {"remarks": "; ".join(talk.state.memory.remarks)} if talk.state.memory.remarks else {}
    return {**asked, **dict.fromkeys(talk.state.skipped, "(not said)"), **said, **talk.state.slots}


def _template(talk: Talk) -> Template | None:
    name = talk.flow.templates.get(talk.template, "")
    when = talk.when(talk.state.booked_at or talk.state.planned_at)
    return Template(name, talk.language, (talk.given.branch.name, when)) if name else None
