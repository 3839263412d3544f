"""Named statements: hand-written SQL in `sql/<noun>.sql`, one block a statement, asked for as "<noun>.<name>".

    -- name: page
    SELECT ... FROM traces t
    WHERE t.started_us >= :since_us
      AND t.app = :app                  --? app
    ORDER BY ...

A line that ends in `--? x` stays only if the parameter `x` is given and not None. So an optional filter costs nothing
when it is not used, an index can serve it when it is, and the text stays one statement that can be read and explained.
"""

import re
from collections.abc import Mapping
from importlib import resources

from msgspec import Struct

_NAME = re.compile(r"^-- name: ([a-z_0-9]+)\s*$")
_OPTIONAL = re.compile(r"--\? ([a-z_0-9]+)\s*$")
PARAMETER = re.compile(r"(?<![:\w]):([a-z_][a-z_0-9]*)")


class Line(Struct, frozen=True):
    text: str
    needs: str  # parameter that keeps the line; empty: always there


class Statement(Struct, frozen=True):
    """One named statement. `optional`: the parameters that switch lines on, in order of appearance."""

    name: str
    lines: tuple[Line, ...]
    optional: tuple[str, ...]

    def given(self, params: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(x for x in self.optional if params.get(x) is not None)

    def text(self, given: tuple[str, ...]) -> str:
        return "\n".join(line.text for line in self.lines if not line.needs or line.needs in given)


def parse(noun: str, source: str) -> dict[str, Statement]:
    """The blocks of one file. Raises ValueError for SQL before the first name, or a name used twice."""
    blocks: dict[str, list[Line]] = {}
    current: list[Line] | None = None
    for raw in source.splitlines():
        if found := _NAME.match(raw):
            name = f"{noun}.{found[1]}"
            if name in blocks:
                raise ValueError(f"sql/{noun}.sql names {found[1]!r} twice")
            current = blocks[name] = []
            continue
        optional = _OPTIONAL.search(raw)
        text = (raw[: optional.start()] if optional else raw).rstrip()
        if not text or (text.lstrip().startswith("--") and not optional):
            continue
        if current is None:
            raise ValueError(f"sql/{noun}.sql has SQL before its first '-- name:'")
        current.append(Line(text, optional[1] if optional else ""))
    return {
        name: Statement(name, tuple(lines), tuple(dict.fromkeys(line.needs for line in lines if line.needs)))
        for name, lines in blocks.items()
    }


def load() -> dict[str, Statement]:
    """Every statement of the package."""
    found: dict[str, Statement] = {}
    for file in sorted(resources.files(__package__).joinpath("sql").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            found.update(parse(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")))
    return found
