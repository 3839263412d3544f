"""Evaluations: the list, one with its verdict and every case side by side, and one case as a difference."""

import difflib
from typing import Any

from markupsafe import Markup, escape
from msgspec import Struct

from waterline.access.roles import Action
from waterline.console.distribution_drawing import distributions
from waterline.console.frame import Ask, View, url
from waterline.control.experiments import CHANGES
from waterline.core.errors import Refused
from waterline.evals.experiment import Answer
from waterline.store.experiments import ItemFilter
from waterline.trials.ci_report import beside, p_value, points, share

PAGE_ROWS = 50
BADGES = {
    "better": "pass", "non-inferior": "pass", "passed": "pass", "worse": "fail", "failed": "fail",
    "unknown": "inconclusive",
}  # fmt: skip
DIFF_WORDS = 4000  # a longer answer is shown whole, without marks


async def experiments(ask: Ask) -> View:
    app, before = ask.query("app"), ask.query("before")
    page = await ask.plane.experiments.list_of(ask.who, app or None, ask.query("release") or None, before, PAGE_ROWS)
    apps = await ask.plane.apps(ask.who)
    kept = {"app": app, "release": ask.query("release")}
    context = {
        "page": page, "app": app, "apps": apps, "badges": BADGES, "before": before,
        "older": url("/experiments", **kept, before=page.next) if page.next else "",
        "newest": url("/experiments", **kept),
    }  # fmt: skip
    return View("experiments.html", page, context)


async def experiment(ask: Ask) -> View:
    name = ask.path("experiment")
    found = await ask.plane.experiments.view(ask.who, name)
    kept = {"change": ask.query("change"), "passed": ask.query("passed"), "tag": ask.query("tag")}
    after = ask.query("after")
    page = None
    if ask.may(Action.BODIES_READ):
        where = ItemFilter(change=kept["change"], passed=_yes_no(kept["passed"]), tag=kept["tag"])
        page = await ask.plane.experiments.items(ask.who, name, where, _whole(after), PAGE_ROWS)
    here = f"/experiments/{name}"
    context: dict[str, Any] = {
        "e": found, "result": found.result, "plan": found.result.plan, "page": page, "given": kept, "after": after,
        "badges": BADGES, "changes": CHANGES if found.head.against else (), "share": share, "points": points,
        "p_value": p_value, "beside": beside(found.result), "charts": distributions(found.result),
        "next": url(here, **kept, after=str(page.next)) if page is not None and page.next else "",
        "first_page": url(here, **kept), "of_tag": lambda tag: url(here, **{**kept, "tag": tag}),
    }  # fmt: skip
    return View("experiment.html", {"experiment": found, "items": page}, context)


async def case(ask: Ask) -> View:
    name = ask.path("experiment")
    place = ask.path("ordinal")
    ordinal = int(place) if place.isascii() and place.isdigit() and len(place) <= 12 else 0  # there is no case 0
    item = await ask.plane.experiments.item(ask.who, name, ordinal)
    found = await ask.plane.experiments.view(ask.who, name)
    rows = [_pair(item.answers, repeat) for repeat in range(found.result.plan.repeats)]
    context = {
        "e": found, "item": item, "rows": rows, "plan": found.result.plan,
        "before": item.ordinal - 1, "after": item.ordinal + 1 if item.ordinal < found.head.cases else 0,
    }  # fmt: skip
    return View("experiment_case.html", item, context)


class Side(Struct, frozen=True):
    """One answer as it is shown; `text` has what differs from the other marked. None: it never came."""

    answer: Answer | None
    text: Markup


class Repeat(Struct, frozen=True):
    number: int
    first: Side | None
    second: Side


def _pair(answers: tuple[Answer, ...], repeat: int) -> Repeat:
    found = {answer.arm: answer for answer in answers if answer.repeat == repeat}
    first, second = found.get("first"), found.get("second")
    left, right = marked(first.text if first else "", second.text if second else "")
    if first is None:
        return Repeat(repeat + 1, None, Side(second, escape(second.text if second else "")))
    return Repeat(repeat + 1, Side(first, left), Side(second, right))


def marked(before: str, after: str) -> tuple[Markup, Markup]:
    """Both texts, with the words that only one of them has in <del> and <ins>."""
    a, b = _words(before), _words(after)
    if len(a) > DIFF_WORDS or len(b) > DIFF_WORDS:
        return escape(before), escape(after)
    left, right = Markup(""), Markup("")
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        old, new = "".join(a[a0:a1]), "".join(b[b0:b1])
        if kind == "equal":
            left, right = left + escape(old), right + escape(new)
            continue
        left += Markup("<del>{}</del>").format(old) if old else Markup("")
        right += Markup("<ins>{}</ins>").format(new) if new else Markup("")
    return left, right


def _words(text: str) -> list[str]:
    """Words with the white space after them, so that put together they are the text."""
    out: list[str] = []
    for word in text.replace("\n", "\n ").split(" "):
        out.append(word if word.endswith("\n") else f"{word} ")
    if out:
        out[-1] = out[-1].removesuffix(" ")
    return out


def _whole(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Refused(f"A place in the list is a whole number, not {text[:40]!r}.", 400)
    return int(text)


def _yes_no(text: str) -> int | None:
    return {"": None, "1": 1, "0": 0}.get(text)
