"""Case sets: versions that only grow in number, each named by the content of its cases. SQL: sql/cases.sql."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct

from waterline.core.case import Case, case_digest, set_id_of
from waterline.core.nearness import normal
from waterline.store.db import Row, Tx

OPEN = 1 << 60  # until a version that is not there yet
AT_ONCE = 1000
MADE = "file"  # how a case was found that comes from no trace

_decode = msgspec.json.Decoder(Case).decode
_encode = msgspec.json.Encoder().encode


class Version(Struct, frozen=True):
    """`digest`: core/case.case_set_id of its cases. `parent`: the digest before; "" of the first."""

    app: str
    name: str
    version: int
    parent: str
    digest: str
    cases: int
    added: int
    removed: int
    who: str
    why: str
    at_us: int


class Stored(Struct, frozen=True):
    """A case of a set. `case` None: it was erased, and only its digest is left. `since`: the first version with it."""

    digest: str
    name: str
    split: str
    found: str
    trace: str
    case: Case | None
    erased_us: int
    since: int = 0


class Filter(Struct, frozen=True):
    """`text`: words as they are typed. Empty: everything."""

    text: str = ""
    tag: str = ""
    split: str = ""
    found: str = ""


class Change(Struct, frozen=True):
    """A case that two versions do not share, or not in the same words. "" where one of them has none."""

    name: str
    first: str
    second: str


# --- versions ----------------------------------------------------------------------------------------------------


def heads(tx: Tx, app: str | None = None) -> list[Version]:
    """The newest version of every set."""
    return [Version(**row) for row in tx.all("cases.heads", app=app)]


def versions(tx: Tx, app: str, name: str, limit: int = 50, before: int | None = None) -> list[Version]:
    """Newest first."""
    return [Version(**r) for r in tx.all("cases.versions", app=app, set_name=name, limit=limit, before=before)]


def head(tx: Tx, app: str, name: str) -> Version | None:
    return next(iter(versions(tx, app, name, 1)), None)


def digests(tx: Tx, app: str, name: str, number: int, split: str = "") -> list[str]:
    """Of every case of a version, or of one side of it."""
    rows = tx.all("cases.digests", app=app, set_name=name, version=number, split=split or None)
    return [row["digest"] for row in rows]


def version(tx: Tx, app: str, name: str, number: int) -> Version | None:
    rows = tx.all("cases.versions", app=app, set_name=name, version=number, limit=1)
    return Version(**rows[0]) if rows else None


def of_digest(tx: Tx, app: str, name: str, prefix: str) -> int | None:
    """The version whose digest begins like this; of several with the same content the newest. None: there is none, or
    two begin like this."""
    rows = tx.all("cases.version_of_digest", app=app, set_name=name, digest=prefix, past=prefix + "g")
    return int(rows[0]["version"]) if len(rows) == 1 else None


def add_version(
    tx: Tx, app: str, name: str, changed: Iterable[Case], removed: Iterable[str], who: str, why: str, at_us: int
) -> Version | None:
    """The set with these cases put in or replaced (by id) and those ids taken out. None: that changes nothing."""
    last = head(tx, app, name)
    number = last.version + 1 if last else 1
    place = {"app": app, "set_name": name, "open": OPEN}
    added = gone = 0
    for case in changed:
        digest = case_digest(case)
        now = tx.one("cases.member_now", **place, name=case.id)
        if now is not None and now["digest"] == digest:
            continue
        n = _put(tx, case, digest)
        if n is None:
            continue  # these very words were erased, and do not come back
        if now is not None:
            tx.run("cases.close_member", **place, name=case.id, version=number)
            gone += 1
        tx.run("cases.add_member", **place, name=case.id, version=number, case_n=n)
        added += 1
    for one in removed:
        gone += tx.run("cases.close_member", **place, name=one, version=number)
    if not added and not gone:
        return None
    digests = [row["digest"] for row in tx.all("cases.digests", app=app, set_name=name, version=number)]
    made = Version(
        app=app, name=name, version=number, parent=last.digest if last else "", digest=set_id_of(digests),
        cases=len(digests), added=added, removed=gone, who=who, why=why, at_us=at_us,
    )  # fmt: skip
    tx.run("cases.add_version", **msgspec.structs.asdict(made))
    return made


def _put(tx: Tx, case: Case, digest: str) -> int | None:
    """Its number; None: it was erased."""
    trace = case.origin.trace if case.origin else ""
    tx.run(
        "cases.add_case",
        digest=digest,
        name=case.id,
        text=f"{normal(case.id)} {normal(case.asked)}",
        tags=f"|{'|'.join(case.tags)}|",
        split=case.split,
        found=(case.origin.found if case.origin else "") or MADE,
        trace=trace,
        subject=subject_of(tx, trace),
        body=_encode(case),
    )
    row = tx.one("cases.number", digest=digest)
    assert row is not None  # it was just put there
    return int(row["n"]) if not row["erased_us"] else None


def subject_of(tx: Tx, trace: str) -> str:
    """The keyed hash of the person whose words a trace has, "" if that is not known."""
    row = tx.one("cases.subject_of_trace", trace=trace) if trace else None
    return row["subject"] if row is not None else ""


# --- cases -------------------------------------------------------------------------------------------------------


def page(
    tx: Tx, app: str, name: str, version: int, where: Filter, after: str, limit: int, *, whole: bool = False
) -> list[Stored]:
    """By id, from the one after `after`. `whole`: without those that were erased."""
    params = {"app": app, "set_name": name, "version": version, **_where(where)}
    rows = tx.all("cases.page", **params, after=after or None, limit=limit, whole=whole or None)
    return [_stored(row) for row in rows]


def count(tx: Tx, app: str, name: str, version: int, where: Filter) -> tuple[int, int]:
    """How many fit, and how many of these were erased."""
    row = tx.one("cases.count", app=app, set_name=name, version=version, **_where(where))
    return (int(row["n"]), int(row["erased"])) if row is not None else (0, 0)


def each(tx: Tx, app: str, name: str, version: int, split: str = "") -> Iterator[Case]:
    """Every case of a version that still has its words, by id."""
    after = ""
    while rows := page(tx, app, name, version, Filter(split=split), after, AT_ONCE, whole=True):
        yield from (row.case for row in rows if row.case is not None)
        after = rows[-1].name


def groups(tx: Tx, app: str, name: str, version: int) -> dict[str, dict[str, int]]:
    """How many cases there are by split, by how they were found, and by tag."""
    out: dict[str, dict[str, int]] = {"split": {}, "found": {}, "tag": {}}
    for row in tx.all("cases.groups", app=app, set_name=name, version=version):
        for kind, keys in (("split", [row["split"]]), ("found", [row["found"]]), ("tag", _tags(row["tags"]))):
            for key in keys:
                out[kind][key] = out[kind].get(key, 0) + row["cases"]
    return {kind: dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))) for kind, found in out.items()}


def has(tx: Tx, app: str, name: str, case: str) -> bool:
    """Whether the newest version has a case of this id."""
    return tx.one("cases.member_now", app=app, set_name=name, name=case, open=OPEN) is not None


def get(tx: Tx, digest: str) -> Stored | None:
    row = tx.one("cases.get", digest=digest)
    return None if row is None else _stored(row)


def memberships(tx: Tx, app: str, name: str, digest: str) -> list[tuple[int, int]]:
    """The intervals of versions that have this case: from the first, to before the second."""
    rows = tx.all("cases.memberships", app=app, set_name=name, digest=digest)
    return [(row["since"], row["until"]) for row in rows]


def history(tx: Tx, app: str, name: str, case: str) -> list[tuple[str, int, int]]:
    """(digest, since, until) of every wording that the case of this id has had, newest first."""
    rows = tx.all("cases.history", app=app, set_name=name, name=case)
    return [(row["digest"], row["since"], row["until"]) for row in rows]


def diff(tx: Tx, app: str, name: str, a: int, b: int, limit: int) -> list[Change]:
    """What version b has that a has not, and the other way round, by id."""
    found: dict[str, list[str]] = {}
    for row in tx.all("cases.changes", app=app, set_name=name, a=a, b=b, limit=2 * limit):
        found.setdefault(row["name"], ["", ""])[0 if row["in_first"] else 1] = row["digest"]
    return [Change(case, *sides) for case, sides in list(found.items())[:limit]]


def _where(where: Filter) -> dict[str, object]:
    words = normal(where.text)
    return {
        "text": f"%{_escaped(words)}%" if words else None,
        "tag": f"%|{_escaped(where.tag)}|%" if where.tag else None,
        "split": where.split or None,
        "found": where.found or None,
    }


def _escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _tags(text: str) -> Sequence[str]:
    return [tag for tag in text.split("|") if tag]


def _stored(row: Row) -> Stored:
    body = bytes(row["body"])
    return Stored(
        digest=row["digest"], name=row["name"], split=row["split"], found=row["found"], trace=row["trace"],
        case=_decode(body) if body else None, erased_us=row["erased_us"], since=row.get("since", 0),
    )  # fmt: skip
