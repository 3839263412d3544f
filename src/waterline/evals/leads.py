"""A lead from the first message to its end, played by a persona and judged by what is in the systems afterwards."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from msgspec import Struct

from waterline.agents.agent import Agent, Asked
from waterline.agents.state import read_state
from waterline.core.branch import Branch
from waterline.core.conversation import Alias
from waterline.core.flow import Flow
from waterline.evals.driven import Phrase, reworded
from waterline.evals.personas import Persona, Player
from waterline.evals.talks import Systems, Talking

MOST_TURNS = 24  # of a user
Ended = Literal["booked", "qualified", "handed_over", "lost"]


class Found(Struct, frozen=True):
    """What the systems hold of a person."""

    visits: tuple[str, ...]  # starts
    lead: bool
    lead_text: str = ""  # all that the CRM holds of it


class Books(Protocol):
    """Looks into the systems themselves, past our connectors."""

    def of(self, phone: str) -> Found: ...


class Lead(Struct, frozen=True):
    seed: int
    language: str
    goal: str
    ended: Ended
    wanted: bool  # the systems hold what this person wanted, and nothing else
    why: str  # where not
    turns: int  # that the user's messages caused
    model_turns: int  # of them, those that asked a model
    calls: int
    usd_nano: int
    seconds: float
    facts: int = 0  # questions that were put
    facts_right: int = 0  # and answered with the fact, or honestly not where nobody knows it
    talk: tuple[str, ...] = ()
    words: str = "script"  # whose the user's words are: "script", "model"
    reworded: int = 0  # messages that the model worded
    routes: dict[str, tuple[int, int, int, int]] = {}  # calls, tokens read, of them from a cache, tokens written
    visits: tuple[str, ...] = ()  # in the calendar, when it ended
    in_crm: bool = False
    handoffs: tuple[str, ...] = ()
    take: int = 0


class Counted(Asked, frozen=True):
    """An answer with what the provider counted."""

    read: int = 0
    cached: int = 0
    written: int = 0


async def play(
    who: Persona,
    agent: Agent,
    flow: Flow,
    branch: Branch,
    ask: Any,
    systems: Systems,
    books: Books,
    now_us: int,
    clock: Any,
    phrase: Phrase | None = None,
) -> Lead:
    """`phrase`: a model that words what the user says."""
    began = clock()
    spent = _Spent(ask)
    talk = Talking(
        agent,
        branch,
        spent,
        systems,
        now_us,
        f"lead-{who.seed}-{who.take}",
        "whatsapp" if who.knows_phone else "webchat",
    )
    if who.knows_phone:
        talk.aliases = (Alias("phone", who.phone),)
    player = Player(who, flow)
    lines: list[str] = []
    replies: tuple[Any, ...] = ()
    turns = model_turns = changed = 0
    for _ in range(MOST_TURNS):
        texts = player.next(replies)
        if texts is None:
            break
        if phrase is not None:
            meant, texts = texts, tuple([await reworded(who, text, phrase) for text in texts])
            changed += sum(a != b for a, b in zip(meant, texts, strict=True))
        before = spent.calls
        said = await talk.send(*texts)
        replies = said.replies
        turns += 1
        model_turns += spent.calls > before
        lines += [f"U: {' / '.join(texts)}", f"B: {said.text}"]
        if talk.handoffs:
            break
    found = books.of(who.phone)
    ended: Ended = (
        "booked" if found.visits else "handed_over" if talk.handoffs else "qualified" if found.lead else "lost"
    )
    wrong = judge(who, found, [h.reason for h in talk.handoffs], read_state(talk.state).slots)
    asked, right = _facts(who, flow, lines)
    return Lead(
        who.seed, who.language, who.goal, ended, not wrong, wrong, turns, model_turns, spent.calls, spent.usd_nano,
        round(clock() - began, 2), asked, right, tuple(lines), "script" if phrase is None else "model", changed,
        spent.routes, found.visits, found.lead, tuple(h.reason for h in talk.handoffs),
        who.take,
    )  # fmt: skip


def judge(who: Persona, found: Found, handoffs: Sequence[str], slots: dict[str, str]) -> str:
    """What is not as this person wanted; "" where all is. Words do not count, only what the systems hold."""
    if len(found.visits) > 1:
        return "booked twice"
    if who.goal == "book":
        if not found.visits:
            return f"not booked ({', '.join(handoffs) or 'no handoff'})"
        if who.weekdays and datetime.fromisoformat(found.visits[0]).weekday() not in who.weekdays:
            return "booked on another day"
        if not found.lead:
            return "no lead in the CRM"
        return "" if str(who.age) in found.lead_text else "the CRM has another age"
    if found.visits:
        return "booked what nobody wanted"
    if who.goal == "person":
        return "" if "asked" in handoffs else "not handed over"
    if who.goal == "angry":
        return "" if {"anger", "asked"} & set(handoffs) else "not handed over"
    if who.goal == "minor":
        kept = {k: v for k, v in slots.items() if v not in (who.phone, who.language)}
        return "data of a child was kept" if found.lead or kept else ""
    if who.goal == "outside":
        return "a lead outside the school's ages" if found.lead else ""
    return ""  # ask, leave: nothing may be booked


def _facts(who: Persona, flow: Flow, lines: list[str]) -> tuple[int, int]:
    """Of the questions that were put, those whose fact was in what was said after them."""
    said = "\n".join(line for line in lines if line.startswith("B:"))
    put = sum(line.startswith("U:") for line in lines) > 1
    if not put or who.goal not in ("book", "ask"):
        return 0, 0
    unknown = flow.texts[who.language]["unknown_answer"].split(",")[0]
    right = sum((fact in said) if fact else (unknown in said) for fact in who.facts)
    return len(who.facts), right


class _Spent:
    """The model, with what it cost."""

    def __init__(self, ask: Any) -> None:
        self._ask = ask
        self.calls = 0
        self.usd_nano = 0
        self.routes: dict[str, tuple[int, int, int, int]] = {}

    async def __call__(self, route: str, messages: Any, schema: Any, max_tokens: int) -> Any:
        self.calls += 1
        asked = await self._ask(route, messages, schema, max_tokens)
        self.usd_nano += getattr(asked, "usd_nano", 0) or 0
        if isinstance(asked, Counted):
            now = (1, asked.read, asked.cached, asked.written)
            so_far = self.routes.get(route, (0, 0, 0, 0))
            self.routes[route] = tuple(a + b for a, b in zip(so_far, now, strict=True))  # type: ignore[assignment]
        return asked
