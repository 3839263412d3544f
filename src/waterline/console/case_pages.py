"""Case sets: which there are, one version with its filter, what two versions do not share, one case."""

from typing import Any

import msgspec

from waterline.access.roles import Action
from waterline.console.frame import Ask, View, url
from waterline.core.case import SPLITS
from waterline.store.cases import MADE, Filter

PAGE_ROWS = 50
SPLIT_NAMES = {"": "none", "tuning": "tuning", "held_out": "held out"}
FOUND_NAMES = {
    MADE: "a file", "feedback": "feedback", "score": "a low score", "failure": "a failure",
    "far": "far from every case", "random": "by chance", "filter": "a filter",
}  # fmt: skip


async def sets(ask: Ask) -> View:
    app = ask.query("app")
    rows = await ask.plane.cases.sets(ask.who, app or None)
    apps = [one.name for one in await ask.plane.apps(ask.who)]
    return View("cases.html", rows, {"rows": rows, "apps": apps, "app": app})


async def one_set(ask: Ask) -> View:
    app, name, wanted = ask.path("app"), ask.path("set"), ask.query("version")
    view = await ask.plane.cases.one_set(ask.who, app, name, wanted)
    given = {key: ask.query(key) for key in ("q", "tag", "split", "found")}
    after = ask.query("after")
    page = None
    if ask.may(Action.CASE_READ):
        where = Filter(given["q"], given["tag"], given["split"], given["found"])
        page = await ask.plane.cases.page(ask.who, app, name, str(view.version.version), where, after, PAGE_ROWS)
    here = f"/cases/{app}/{name}"
    kept = {**given, "version": wanted}
    context: dict[str, Any] = {
        "v": view.version, "s": view, "page": page, "given": given, "filtered": any(given.values()), "after": after,
        "wanted": wanted, "here": here, "next": url(here, **kept, after=page.next) if page and page.next else "",
        "first_page": url(here, **kept), "plain": url(here, version=wanted), "splits": SPLITS[1:],
        "split_names": SPLIT_NAMES, "found_names": FOUND_NAMES,
        "of_tag": lambda tag: url(here, version=wanted, tag=tag),
    }  # fmt: skip
    return View("case_set.html", {"set": view, "page": page}, context)


async def diff(ask: Ask) -> View:
    app, name = ask.path("app"), ask.path("set")
    page = await ask.plane.cases.diff(ask.who, app, name, ask.path("a"), ask.path("b"))
    return View("case_diff.html", page, {"d": page, "here": f"/cases/{app}/{name}", "app": app, "name": name})


async def case(ask: Ask) -> View:
    app, name = ask.path("app"), ask.path("set")
    view = await ask.plane.cases.case(ask.who, app, name, ask.path("case"))
    stored = view.stored
    expect = ""
    if stored.case is not None:
        expect = msgspec.json.format(msgspec.json.encode(stored.case.expect), indent=2).decode()
    context = {
        "c": view, "s": stored, "case": stored.case, "expect": expect, "here": f"/cases/{app}/{name}",
        "split_names": SPLIT_NAMES, "found_names": FOUND_NAMES,
    }  # fmt: skip
    return View("case.html", view, context)
