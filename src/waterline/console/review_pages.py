"""The queue of what may become a case, and one candidate: what was asked, what was answered, what is to be expected.

Everything is a form, so it works without script; static/review.js adds keys.
"""

import asyncio
from typing import Any

import msgspec

from waterline.access.roles import Action
from waterline.console.case_pages import FOUND_NAMES, SPLIT_NAMES
from waterline.console.conversation import answer_of
from waterline.console.frame import Ask, Moved, View, url
from waterline.control.review import CLAIM_US, DecisionBody, person
from waterline.core.case import SPLITS, Case, Expect, Message, Similar
from waterline.core.errors import Refused
from waterline.evals.harvest import LIKE_EDIT, maybe_names
from waterline.store.candidates import STATES, Candidate, Where

PAGE_ROWS = 50
AUTO = "auto"  # the side of the cases that ask the same
MOST_TURNS = 12  # of a conversation that can be edited here
LISTS = ("contains", "contains_any", "not_contains", "equals")  # of an expectation: a line each


async def queue(ask: Ask) -> View:
    app, name, found = ask.query("app"), ask.query("set"), ask.query("found")
    state: Any = ask.query("state") or "waiting"
    after = ask.query("after")
    at = int(after) if after.isascii() and after.isdigit() and len(after) < 16 else 0
    page = await ask.plane.review.queue(ask.who, Where(app, name, found), state, at, PAGE_ROWS)
    kept = {"app": app, "set": name, "found": found}
    context: dict[str, Any] = {
        "page": page, "given": kept, "state": state, "states": STATES, "after": after,
        "of_state": lambda one: url("/review", **kept, state=one),
        "next": url("/review", **kept, state=state, after=page.next) if page.next else "",
        "first_page": url("/review", **kept, state=state), "filtered": any(kept.values()),
        "apps": [one.name for one in await ask.plane.apps(ask.who)], "found_names": FOUND_NAMES,
        "now_us": ask.now_us, "claim_us": CLAIM_US, "me": person(ask.who), "done": ask.query("done"),
    }  # fmt: skip
    return View("review.html", page, context)


async def take_next(ask: Ask) -> Moved:
    where = Where(ask.form.get("app", ""), ask.form.get("set", ""))
    n = await ask.plane.review.next_one(ask.who, where)
    return await _to(ask, n, where)


async def candidate(ask: Ask) -> View:
    one = await ask.plane.review.one(ask.who, _number(ask))
    answer = None
    if one.state == "waiting" and ask.may(Action.BODIES_READ):
        try:
            text = (await ask.plane.traces.one(ask.who, one.trace)).answer
            answer = await asyncio.to_thread(answer_of, text) if text is not None else None
        except Refused:  # its time is over
            answer = None
    taken = one.claimed_by not in ("", person(ask.who)) and one.claimed_us >= ask.now_us - CLAIM_US
    turns = one.case.turns() if one.case is not None else ()
    context: dict[str, Any] = {
        "c": one, "case": one.case, "answer": answer, "taken": taken and one.state == "waiting", "turns": turns,
        "may_review": ask.may(Action.CASE_REVIEW),
        "names": dict.fromkeys(name for turn in turns for name in maybe_names(turn.content)),
        "fields": _fields(one.case), "splits": SPLITS, "split_names": SPLIT_NAMES, "found_names": FOUND_NAMES,
        "editable": len(turns) <= MOST_TURNS, "least": LIKE_EDIT,
        "queue": url("/review", app=one.app, set=one.set_name),
    }  # fmt: skip
    return View("candidate.html", one, context)


async def decide(ask: Ask) -> Moved:
    n, form = _number(ask), ask.form
    was = await ask.plane.review.one(ask.who, n)
    decision: Any = form.get("decision", "")
    if decision not in ("accept", "reject", "skip", "save"):
        raise Refused("Accept it, reject it, save it, or leave it for later.", 400)
    revision = form.get("revision", "")
    case = _edited(was, form) if decision in ("accept", "save") and was.case is not None else None
    said = DecisionBody(
        decision=decision, revision=int(revision) if revision.isascii() and revision.isdigit() else 0, case=case,
        reason=form.get("reason", ""), set=form.get("set", ""), auto_side=form.get("split") == AUTO,
    )  # fmt: skip
    done = await ask.plane.review.decide(ask.who, n, said)
    return await _to(ask, done.next, Where(was.app, was.set_name))


async def _to(ask: Ask, n: int, where: Where) -> Moved:
    """The next one, which is this person's from now on; the queue where there is none."""
    if not n:
        return Moved(url("/review", app=where.app, set=where.set_name, done="1"), {"next": 0})
    await ask.plane.review.claim(ask.who, n)
    return Moved(f"/review/{n}", {"next": n})


def _number(ask: Ask) -> int:
    text = ask.path("candidate")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0  # there is no candidate 0


def _fields(case: Case | None) -> dict[str, str]:
    """An expectation as the form shows it: what is often written in fields, the rest as JSON."""
    if case is None:
        return {}
    expect = case.expect
    rest = msgspec.to_builtins(expect)
    out = {name: "\n".join(rest.pop(name, ())) for name in LISTS}
    similar = rest.pop("similar", None)
    out["similar"] = "\n".join(similar["to"]) if similar else ""
    out["least"] = f"{similar['least']:g}" if similar else ""
    out["rest"] = msgspec.json.format(msgspec.json.encode(rest), indent=2).decode() if rest else ""
    return out


def _edited(was: Candidate, form: dict[str, str]) -> Case:
    """The case as the form has it. Raises Refused."""
    case = was.case
    assert case is not None
    turns = [
        Message(role=turn.role, content=_lines(form[f"turn{i}"]) if f"turn{i}" in form else turn.content)
        for i, turn in enumerate(case.turns())
    ]
    turns = [turn for turn in turns if turn.content]
    alone = len(turns) == 1 and turns[0].role == "user"
    split: Any = form.get("split", case.split)
    split = case.split if split == AUTO else split
    tags = tuple(dict.fromkeys(tag for part in form.get("tags", "").split(",") if (tag := part.strip())))
    if split not in SPLITS:
        raise Refused(f"A side is tuning, held_out or none, not {str(split)[:40]!r}.", 400)
    return msgspec.structs.replace(
        case, id=form.get("id") or case.id, input=turns[0].content if alone else None,
        messages=None if alone else tuple(turns), expect=_expected(form), tags=tags, split=split,
    )  # fmt: skip


def _expected(form: dict[str, str]) -> Expect:
    rest = form.get("rest", "")
    try:
        found = msgspec.json.decode(rest.encode(), type=dict[str, Any]) if rest else {}
        expect = msgspec.convert(found, Expect)
    except msgspec.MsgspecError as error:
        raise Refused(f"The rest of the expectation is no JSON that fits: {error}.", 400) from None
    lists = {name: values for name in LISTS if (values := _each_line(form.get(name, "")))}
    like = _each_line(form.get("similar", ""))
    if like:
        try:
            lists["similar"] = Similar(to=like, least=float(form.get("least") or LIKE_EDIT))  # type: ignore[assignment]
        except ValueError:
            raise Refused("How similar is a number from 0 to 1.", 400) from None
    return msgspec.structs.replace(expect, **lists)


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _each_line(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in _lines(text).split("\n") if line.strip())
