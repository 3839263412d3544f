"""What differs between two releases, for people: texts line by line, parameters old and new."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.release import Prompt, Release, Route

Change = Literal["added", "removed", "changed"]
_ABSENT = object()


class Difference(Struct, frozen=True):
    """One thing in which two releases differ. `lines` begin with "-" (old), "+" (new) or a space (both)."""

    path: str  # "route main params.temperature", "prompt agent text", "tool book_visit", "purpose"
    change: Change
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join((f"{self.path} {self.change}", *self.lines))


def diff(a: Release, b: Release) -> list[Difference]:
    """What one must know to go from `a` to `b`; empty only if they behave the same."""
    found = [*_parts("app", a.app, b.app), *_parts("purpose", a.purpose, b.purpose)]
    for name in _names(a.routes, b.routes):
        found += _routes(f"route {name}", a.routes.get(name), b.routes.get(name))
    for name in _names(a.prompts, b.prompts):
        found += _prompts(f"prompt {name}", a.prompts.get(name), b.prompts.get(name))
    for name in _names(a.tools, b.tools):
        found += _parts(f"tool {name}", a.tools.get(name, _ABSENT), b.tools.get(name, _ABSENT))
    for name in _names(a.files, b.files):
        found += _parts(f"file {name}", a.files.get(name, _ABSENT), b.files.get(name, _ABSENT))
    for name in _names(a.flows, b.flows):
        old, new = a.flows.get(name), b.flows.get(name)
        both = [_ABSENT if flow is None else msgspec.to_builtins(flow) for flow in (old, new)]
        found += _parts(f"flow {name}", both[0], both[1])
    for name in _names(a.handbooks, b.handbooks):
        found += _texts(f"handbook {name}", a.handbooks.get(name), b.handbooks.get(name))
    found += _parts("cache", msgspec.to_builtins(a.cache), msgspec.to_builtins(b.cache))
    found += _parts("history", msgspec.structs.asdict(a.history), msgspec.structs.asdict(b.history))
    found += _parts("routing", msgspec.to_builtins(a.routing), msgspec.to_builtins(b.routing))
    return found


def _names(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return sorted({*a, *b})


def _routes(path: str, old: Route | None, new: Route | None) -> Iterator[Difference]:
    """With the defaults, so that a parameter is seen to change from its default."""
    if old is not None and new is not None:
        yield from _parts(path, msgspec.structs.asdict(old), msgspec.structs.asdict(new))
    elif new is not None:
        yield Difference(path, "added", (f'+{new.provider} "{new.model}"',))
    elif old is not None:
        yield Difference(path, "removed", (f'-{old.provider} "{old.model}"',))


def _prompts(path: str, old: Prompt | None, new: Prompt | None) -> Iterator[Difference]:
    if old is None or new is None:
        text, sign = (new.text, "+") if new is not None else (old.text, "-") if old is not None else ("", "")
        yield Difference(path, "added" if old is None else "removed", tuple(sign + line for line in text.splitlines()))
        return
    if old.text != new.text:
        yield Difference(f"{path} text", "changed", _text_lines(old.text, new.text))
    yield from _parts(f"{path} role", old.role, new.role)
    yield from _parts(f"{path} defaults", old.defaults, new.defaults)


def _texts(path: str, old: str | None, new: str | None) -> Iterator[Difference]:
    if old is None or new is None:
        text, sign = (new or "", "+") if old is None else (old, "-")
        yield Difference(path, "added" if old is None else "removed", tuple(sign + line for line in text.splitlines()))
    elif old != new:
        yield Difference(path, "changed", _text_lines(old, new))


def _text_lines(old: str, new: str) -> tuple[str, ...]:
    """Changed lines with two lines around them; where only invisible characters differ, both ends, escaped."""
    lines: list[str] = []
    for line in list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:]:
        if not line.startswith("@@"):
            lines.append(line)
        elif lines:
            lines.append(" ...")
    return tuple(lines) or (f"-{_show(old[-40:])}", f"+{_show(new[-40:])}")


def _parts(path: str, old: Any, new: Any, join: str = " ") -> Iterator[Difference]:
    """The leaves of two JSON values that differ: "route main params.temperature"."""
    if isinstance(old, dict) and isinstance(new, dict):
        if list(old) != list(new) and old.keys() == new.keys() and join == ".":
            yield Difference(f"{path} order", "changed", (f"-{_show(list(old))}", f"+{_show(list(new))}"))
        for name in _names(old, new):
            yield from _parts(f"{path}{join}{name}", old.get(name, _ABSENT), new.get(name, _ABSENT), ".")
    elif old is _ABSENT:
        yield Difference(path, "added", (f"+{_show(new)}",))
    elif new is _ABSENT:
        yield Difference(path, "removed", (f"-{_show(old)}",))
    elif old != new or type(old) is not type(new):
        yield Difference(path, "changed", (f"-{_show(old)}", f"+{_show(new)}"))


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
