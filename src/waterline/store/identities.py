"""Who somebody is, under all their names: a phone number, a business-scoped user id, an address, a record's id."""

from collections.abc import Callable, Iterable
from typing import Any

from waterline.core.conversation import Alias
from waterline.store.db import Tx


def find(tx: Tx, app: str, alias: Alias) -> str | None:
    """Who is proven to have this name."""
    row = tx.one("identities.find", app=app, kind=alias.kind, value=alias.value)
    return row["identity"] if row is not None else None


def anybody(tx: Tx, app: str, alias: Alias) -> list[str]:
    """All who have this name or said so."""
    return [row["identity"] for row in tx.all("identities.claimed", app=app, kind=alias.kind, value=alias.value)]


def resolve(tx: Tx, app: str, aliases: Iterable[Alias], now_us: int, new_id: Callable[[], str]) -> str:
    """The one who has these names by a channel's word. Two that turn out to be one become the older of them."""
    given = list(aliases)
    of = [find(tx, app, alias) for alias in given]
    found = list(dict.fromkeys(i for i in of if i))
    if len(found) == 1 and None not in of:
        return found[0]
    if not found:
        winner = new_id()
        tx.run("identities.add", id=winner, app=app, created_us=now_us)
    else:
        winner = min(found, key=lambda i: _age(tx, i))
    for loser in found:
        if loser != winner:
            _merge(tx, winner, loser)
    for alias in given:
        _name(tx, app, winner, alias, now_us, proven=1)
    return winner


def claim(tx: Tx, app: str, identity: str, alias: Alias, now_us: int) -> None:
    """Somebody says that this is theirs. It is noted, and joins nobody: anybody can say anything."""
    if find(tx, app, alias) != identity:
        _name(tx, app, identity, alias, now_us, proven=0)


def names(tx: Tx, identity: str) -> list[dict[str, Any]]:
    """kind, value, proven, at_us."""
    return tx.all("identities.of", identity=identity)


def with_merged(tx: Tx, identity: str) -> list[str]:
    """This one and all that were joined with it."""
    row = tx.one("identities.get", id=identity)
    head = (row["merged_into"] or identity) if row is not None else identity
    return [head, *(r["id"] for r in tx.all("identities.merged", identity=head))]


def erase(tx: Tx, identity: str) -> None:
    tx.run("identities.erase_names", identity=identity)
    tx.run("identities.erase", identity=identity)


def _name(tx: Tx, app: str, identity: str, alias: Alias, now_us: int, proven: int) -> None:
    tx.run(
        "identities.name", app=app, kind=alias.kind, value=alias.value, identity=identity, proven=proven, at_us=now_us
    )


def _age(tx: Tx, identity: str) -> tuple[int, str]:
    row = tx.one("identities.get", id=identity)
    return (row["created_us"] if row is not None else 1 << 62), identity


def _merge(tx: Tx, winner: str, loser: str) -> None:
    for step in ("same_names", "move_names", "move_conversations", "mark_merged"):
        params = {"winner": winner, "loser": loser}
        tx.run(f"identities.{step}", **params)
