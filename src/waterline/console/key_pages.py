"""Keys: who and what may come in. A new key is shown once, on the page that answers its creation."""

from waterline.access.roles import PERSON_ROLES, Action
from waterline.console.frame import Ask, Moved, View, url
from waterline.control.views import KeyView
from waterline.core.errors import Refused


async def keys(ask: Ask) -> View:
    return await _page(ask, None)


async def create_app_key(ask: Ask) -> View:
    asserts = ask.form.get("assert_identity", "") == "yes"
    made = await ask.plane.access.create_key(
        ask.who, "app", ask.form.get("name", ""), ask.form.get("app", ""), ask.form.get("env", ""), "",
        _hours(ask.form.get("hours", "")), asserts, priority=ask.form.get("priority", ""),
    )  # fmt: skip
    return await _page(ask, made)


async def create_personal_key(ask: Ask) -> View:
    made = await ask.plane.access.create_key(
        ask.who, "person", ask.form.get("name", ""), "", "", ask.form.get("role", ""),
        _hours(ask.form.get("hours", "")), False, ask.form.get("branch", "").strip(),
        person=ask.form.get("person", "").strip(),
    )  # fmt: skip
    return await _page(ask, made)


async def revoke(ask: Ask) -> Moved:
    gone = await ask.plane.access.revoke_key(ask.who, ask.path("key"), ask.form.get("reason", ""))
    return Moved(url("/keys", revoked=gone.id), gone)


async def _page(ask: Ask, made: KeyView | None) -> View:
    listed = await ask.plane.access.keys(ask.who)
    apps = await ask.plane.apps(ask.who)
    revoked = next((k for k in listed if k.id == ask.query("revoked") and k.revoked_us is not None), None)
    context = {
        "keys": sorted(listed, key=lambda k: (k.revoked_us is not None, -k.created_us)),
        "apps": apps,
        "environments": sorted({e.env for a in apps for e in a.environments}),
        "roles": PERSON_ROLES,
        "made": made,
        "revoked": revoked,
        "now_us": ask.now_us,
        "revocable": {
            "app": ask.may(Action.KEY_REVOKE),
            "person": ask.may(Action.KEY_REVOKE) and ask.may(Action.KEY_REVOKE_PERSON),
        },
    }
    return View("keys.html", made if made is not None else listed, context, 201 if made is not None else 200)


def _hours(text: str) -> int:
    """0: for ever."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 6:
        raise Refused(f"Hours are a whole number, not {text[:20]!r}; leave it empty for a key without an end.", 400)
    return int(text)
