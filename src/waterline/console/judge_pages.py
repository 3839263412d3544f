"""Judges: which there are, one beside people's labels, and answers to label one at a time."""

from waterline.console.frame import Ask, Moved, View, url
from waterline.control.judges import JudgeView, LabelBody, LookView, SampleBody, ToLabel
from waterline.core.errors import Refused
from waterline.core.verdict import Estimate
from waterline.evals.calibration import CLASS_MIN, KAPPA_MIN

ENOUGH = 60  # labels that settle a good judge
BADGES = {"pass": "pass", "fail": "fail", "inconclusive": "inconclusive"}


async def judges(ask: Ask) -> View:
    apps = await ask.plane.apps(ask.who)
    chosen = ask.query("app")
    found = [(app.name, await ask.plane.judges.all_of(ask.who, app.name)) for app in apps if chosen in ("", app.name)]
    rows = [row for _, listed in found for row in listed]
    return View("judges.html", rows, {"rows": rows, "apps": apps, "app": chosen, "labels": _labels})


async def judge(ask: Ask) -> View:
    view = await ask.plane.judges.one(ask.who, ask.path("app"), ask.path("judge"))
    last = _last(view)
    said = ask.query("done")
    context = {
        "j": view, "look": last, "c": last.calibration if last else None, "estimate": estimate, "share": rate,
        "labels": _labels(view), "enough": ENOUGH,
        "kappa_min": KAPPA_MIN, "class_min": CLASS_MIN, "badges": BADGES, "said": said,
        "changed_since": bool(view.looks) and last is None,
    }  # fmt: skip
    return View("judge.html", view, context)


async def label_page(ask: Ask) -> View:
    """What is shown is what is labelled: no opinion of the judge, no label of others."""
    app, name = ask.path("app"), ask.path("judge")
    after = ask.query("after")
    if after and not (after.isascii() and after.isdigit() and len(after) <= 12):
        raise Refused(f"A place in the list is a whole number, not {after[:40]!r}.", 400)
    found = await ask.plane.judges.next(ask.who, app, name, int(after or 0))
    if found.item is None and after:
        found = await ask.plane.judges.next(ask.who, app, name)
    view = await ask.plane.judges.one(ask.who, app, name)
    return View("judge_label.html", found, _label_context(view, found))


def _label_context(view: JudgeView, found: ToLabel) -> dict[str, object]:
    return {
        "j": view, "found": found, "item": found.item, "here": f"/judges/{view.app}/{view.name}",
    }  # fmt: skip


async def label(ask: Ask) -> Moved:
    app, name = ask.path("app"), ask.path("judge")
    said = LabelBody(ask.form.get("item", ""), ask.form.get("label", ""), ask.form.get("note", ""))
    following = await ask.plane.judges.label(ask.who, app, name, said)
    after = str(following.item.ordinal - 1) if following.item is not None else ""
    return Moved(url(f"/judges/{app}/{name}/label", after=after), following, 201)


async def sample(ask: Ask) -> Moved:
    app, name = ask.path("app"), ask.path("judge")
    count = ask.form.get("count", "50")
    if not (count.isascii() and count.isdigit() and len(count) <= 6):
        raise Refused(f"How many is a whole number, not {count[:40]!r}.", 400)
    said = SampleBody(int(count), ask.form.get("experiment", ""))
    made = await ask.plane.judges.sample(ask.who, app, name, said)
    told = f"{made['new']} new answers to label, of {made['given']} found."
    return Moved(url(f"/judges/{app}/{name}", done=told), made, 201)


async def run(ask: Ask) -> Moved:
    """A few at a time, so that the page comes back soon."""
    app, name = ask.path("app"), ask.path("judge")
    made = await ask.plane.judges.run(ask.who, app, name, 20)
    told = f"{made.asked} asked, {made.no_verdict} without a verdict, {made.left} left."
    if made.stopped:
        told += f" The judge cannot be asked about those now: {made.stopped}"
    return Moved(url(f"/judges/{app}/{name}", done=told), made, 201)


async def calibrate(ask: Ask) -> Moved:
    app, name = ask.path("app"), ask.path("judge")
    view = await ask.plane.judges.calibrate(ask.who, app, name)
    told = "Looked at and recorded: it may gate." if view.standing.may_gate else "Looked at and recorded."
    return Moved(url(f"/judges/{app}/{name}", done=told), view, 201)


def estimate(found: Estimate | None) -> str:
    return "not known" if found is None else f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def rate(found: Estimate | None) -> str:
    if found is None:
        return "not known"
    return f"{100 * found.value:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"


def _labels(view: JudgeView) -> int:
    return sum(view.labelled_by.values())


def _last(view: JudgeView) -> LookView | None:
    mine = [look for look in view.looks if look.this_judge]
    return mine[-1] if mine else None
