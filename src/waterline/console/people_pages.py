"""The people of the branches: who the sheet names, who has a key, and the owner's word that makes one the other."""

from waterline.access.roles import Action
from waterline.console.frame import Ask, View
from waterline.control.people import PeopleView

MOST_BRANCHES = 4  # of a person, named in the table


async def people(ask: Ask) -> View:
    apps = [a.name for a in await ask.plane.apps(ask.who)]
    app = ask.query("app") or (apps[0] if apps else "")
    return _page(ask, apps, await ask.plane.people.people(ask.who, app) if app else None, applied=False)


async def apply(ask: Ask) -> View:
    apps = [a.name for a in await ask.plane.apps(ask.who)]
    done = await ask.plane.people.apply(ask.who, ask.form.get("app", ""), ask.form.get("plan", ""))
    return _page(ask, apps, done, applied=True)


def _page(ask: Ask, apps: list[str], found: PeopleView | None, applied: bool) -> View:
    context = {
        "found": found,
        "apps": apps,
        "applied": applied,
        "made": [line for line in found.people if line.key] if found else [],
        "most": MOST_BRANCHES,
        "applies": ask.may(Action.KEY_CREATE_PERSON),
    }
    return View("people.html", found, context, 201 if applied else 200)
