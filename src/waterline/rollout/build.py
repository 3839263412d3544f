"""From an app folder to a release: its manifest, whose SHA-256 is its id, and the environment record beside it.

The manifest holds what can change an answer, by value, with sorted keys. So the same content gives the same id in
any folder on any machine, whatever the order and the dates of the files; limits, prices, objectives and cases do
not change it.
"""

import difflib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from waterline.core.app_spec import encode_spec, spec_id
from waterline.core.release import Prompt, Release, Route, encode_release, release_id
from waterline.rollout.check import check

Change = Literal["added", "removed", "changed"]


class Built(Struct, frozen=True):
    app: str
    release_id: str
    manifest: bytes  # stored as they are; the id is their digest
    spec_id: str
    spec_record: bytes
    warnings: list[str]


def build(folder: Path, *, model_digests: Mapping[str, str], known_drills: Collection[str]) -> Built:
    """Raises AppFolderError with every mistake in the folder."""
    checked = check(folder, model_digests=model_digests, known_drills=known_drills)
    manifest = encode_release(with_default_objects(checked.release))
    record = encode_spec(with_default_objects(checked.spec))
    return Built(checked.release.app, release_id(manifest), manifest, spec_id(record), record, checked.warnings)


T = TypeVar("T", bound=Struct)


def with_default_objects(value: T) -> T:
    """The same struct, with the very default object wherever a value equals its default.

    msgspec leaves a default out by identity for texts and numbers, so a "system" that was read from a file would be
    written and one that was not said would be left out: the same content, two ids."""
    changes = {}
    for field in msgspec.structs.fields(type(value)):
        now = getattr(value, field.name)
        if type(now) is type(field.default) and now == field.default:
            changes[field.name] = field.default
        else:
            changes[field.name] = _inner_defaults(now)
    return msgspec.structs.replace(value, **changes)


def _inner_defaults(value: Any) -> Any:
    if isinstance(value, Struct):
        return with_default_objects(value)
    if isinstance(value, dict):
        return {k: _inner_defaults(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_inner_defaults(v) for v in value)
    return value


class Difference(Struct, frozen=True):
    """One thing in which two releases differ. `lines`: a unified diff where the thing is a text."""

    what: str  # "route main", "prompt agent", "tool book_visit", "file flows/visit.toml", "purpose"
    key: str  # "params.temperature"; empty for the thing as a whole
    change: Change
    old: str = ""
    new: str = ""
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f"{self.what} {self.key}".strip()
        if self.lines:
            return "\n".join((f"{name} changed", *self.lines))
        if self.change == "changed":
            return f"{name}: {self.old} -> {self.new}"
        value = self.new if self.change == "added" else self.old
        return f"{name} {self.change}" + (f": {value}" if value else "")


def diff(a: Release, b: Release) -> list[Difference]:
    """What one must know to go from `a` to `b`: texts line by line, parameters old -> new."""
    found: list[Difference] = []
    if a.app != b.app:
        found.append(Difference("app", "", "changed", a.app, b.app))
    if a.purpose != b.purpose:
        found.append(Difference("purpose", "", "changed", _show(a.purpose), _show(b.purpose)))
    for name in _names(a.routes, b.routes):
        found += _routes(f"route {name}", a.routes.get(name), b.routes.get(name))
    for name in _names(a.prompts, b.prompts):
        found += _prompts(f"prompt {name}", a.prompts.get(name), b.prompts.get(name))
    for name in _names(a.tools, b.tools):
        found += _values(f"tool {name}", a.tools.get(name), b.tools.get(name))
    for name in _names(a.files, b.files):
        found += _values(f"file {name}", a.files.get(name), b.files.get(name))
    return found


def _names(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return sorted({*a, *b})


def _routes(what: str, old: Route | None, new: Route | None) -> list[Difference]:
    if old is not None and new is not None:
        return list(_parts(what, "", _fields(old), _fields(new)))
    if new is not None:
        return [Difference(what, "", "added", new=f'{new.provider} "{new.model}"')]
    return [Difference(what, "", "removed", old=f'{old.provider} "{old.model}"')] if old is not None else []


def _prompts(what: str, old: Prompt | None, new: Prompt | None) -> list[Difference]:
    if old is None or new is None:
        change: Change = "added" if old is None else "removed"
        return [Difference(what, "", change)]
    found = []
    if old.text != new.text:
        lines = difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), "old", "new", lineterm="", n=2)
        shown = tuple(lines) or (f"-{_show(old.text[-40:])}", f"+{_show(new.text[-40:])}")  # only line ends differ
        found.append(Difference(what, "text", "changed", lines=shown))
    if old.role != new.role:
        found.append(Difference(what, "role", "changed", old.role, new.role))
    return found + list(_parts(what, "defaults", old.defaults, new.defaults))


def _values(what: str, old: Any, new: Any) -> list[Difference]:
    if old is None or new is None:
        return [Difference(what, "", "added" if old is None else "removed")]
    if isinstance(old, str) and isinstance(new, str):  # a digest
        return [Difference(what, "", "changed", old[:12], new[:12])] if old != new else []
    return list(_parts(what, "", old, new))


def _fields(route: Route) -> dict[str, Any]:
    """With the defaults, so that a parameter is seen to change from its default."""
    return msgspec.structs.asdict(route)


def _parts(what: str, key: str, old: Any, new: Any) -> Iterator[Difference]:
    """Leaves of two JSON values that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in _names(old, new):
            inner = f"{key}.{name}" if key else name
            yield from _parts(what, inner, old.get(name, msgspec.NODEFAULT), new.get(name, msgspec.NODEFAULT))
    elif old is msgspec.NODEFAULT:
        yield Difference(what, key, "added", new=_show(new))
    elif new is msgspec.NODEFAULT:
        yield Difference(what, key, "removed", old=_show(old))
    elif old != new or type(old) is not type(new):
        yield Difference(what, key, "changed", _show(old), _show(new))


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
