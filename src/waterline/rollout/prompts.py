"""prompts/*.md: a front matter between lines of `+++`, then a template with {{variables}} and {{> includes}}.

Includes are put in when the release is built, so that the release holds the prompt by value.
"""

import re
from typing import Any, Literal

from msgspec import Struct

from waterline.core.release import Prompt
from waterline.rollout.folder import MAX_TEXT_BYTES, Folder
from waterline.rollout.keys import PROMPT
from waterline.rollout.reading import Place, did_you_mean, read_table

Role = Literal["system", "developer", "user"]
FENCE = "+++"
MAX_DEPTH = 32
_BRACES = re.compile(r"\{\{([^{}\n]*)\}\}|\{\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_INCLUDE = re.compile(r">\s*([A-Za-z0-9_][A-Za-z0-9_./-]*)\Z")
_NAMING = 'Write {{name}} with letters, digits and _, or {{> other}}; for literal braces write "{ {"'


class Include(Struct, frozen=True):
    name: str
    line: int
    start: int  # in the text
    end: int


class Source(Struct, frozen=True):
    """One file as it is written."""

    file: str
    text: str
    role: Role
    variables: tuple[str, ...]
    defaults: dict[str, str]
    includes: tuple[Include, ...]


def prompt_name(written: str) -> str:
    """ "system", "system.md" and "prompts/system.md" all name prompts/system.md."""
    return written.removeprefix("prompts/").removesuffix(".md")


def read_prompts(folder: Folder) -> dict[str, Prompt]:
    """Every prompt of the folder that has no mistake, includes put in."""
    sources: dict[str, Source] = {}
    for file in folder.files("prompts"):
        if file.endswith(".md"):
            source = _read(folder, file)
            if source is not None:
                sources[prompt_name(file)] = source
    expander = _Expander(folder, sources)
    return {name: prompt for name in sources if (prompt := expander.prompt(name)) is not None}


def _read(folder: Folder, file: str) -> Source | None:
    whole = folder.text(file)
    if whole is None:
        return None
    lines = whole.splitlines(keepends=True)
    values: dict[str, Any] = {}
    first = 0
    if lines and lines[0].rstrip() == FENCE:
        last = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE), None)
        if last is None:
            folder.wrong(
                file, 1, 'the front matter has no end: there is no second line "+++"', "Close it with a line +++"
            )
            return None
        values = _front_matter(folder, file, "".join(lines[1:last]))
        first = last + 1
    text = "".join(lines[first:])
    text = text.removesuffix("\n").removesuffix("\r")  # the last line's end is the file's, not the prompt's
    variables, includes = _parse(folder, file, text, first + 1)
    role: Role = values.get("role", "system")
    return Source(
        file=file,
        text=text,
        role=role,
        variables=tuple(dict.fromkeys(variables)),
        defaults=values.get("defaults", {}),
        includes=tuple(includes),
    )


def _front_matter(folder: Folder, file: str, text: str) -> dict[str, Any]:
    parsed = folder.toml(file, text, first_line=2)
    if parsed is None:
        return {}
    table, lines = parsed
    place = Place(folder, file, "front matter", lambda key: 1 + lines.line_of(key) if key else 1)
    values = read_table(place, table, PROMPT)
    defaults = {}
    for name, value in values.get("defaults", {}).items():
        line = 1 + lines.line_of("defaults", name)
        if not isinstance(value, str):
            folder.wrong(file, line, f'the default of "{name}" is text', f'Write {name} = "{value}"')
        elif not _NAME.match(name):
            folder.wrong(file, line, f'"{name}" is not the name of a variable', _NAMING)
        else:
            defaults[name] = value
    return {**values, "defaults": defaults}


def _parse(folder: Folder, file: str, text: str, first_line: int) -> tuple[list[str], list[Include]]:
    variables: list[str] = []
    includes: list[Include] = []
    for found in _BRACES.finditer(text):
        line = first_line + text.count("\n", 0, found.start())
        inner = (found.group(1) or "").strip()
        include = _INCLUDE.match(inner)
        if found.group(1) is None:
            folder.wrong(file, line, 'a "{{" is never closed', _NAMING)
        elif include:
            includes.append(Include(prompt_name(include.group(1)), line, found.start(), found.end()))
        elif _NAME.match(inner):
            variables.append(inner)
        else:
            folder.wrong(file, line, f"{found.group()} is not a variable", _NAMING)
    return variables, includes


class _Expander:
    """Puts includes in. A circle and a missing file are told at the line of the include."""

    def __init__(self, folder: Folder, sources: dict[str, Source]) -> None:
        self.folder = folder
        self.sources = sources
        self._texts: dict[str, str | None] = {}  # done; a file included a thousand times is expanded once

    def prompt(self, name: str) -> Prompt | None:
        text = self._text(name, ())
        if text is None:
            return None
        source = self.sources[name]
        reached = self._reached(name)
        variables = tuple(dict.fromkeys(v for n in reached for v in self.sources[n].variables))
        defaults: dict[str, str] = {}
        for other in reversed(reached):  # the includer's default wins
            defaults.update(self.sources[other].defaults)
        unused = sorted(set(source.defaults) - set(variables))
        if unused:
            self.folder.warnings.append(f"{source.file}: a default for {', '.join(unused)}, which the text never uses")
        return Prompt(
            text=text,
            role=source.role,
            variables=variables,
            defaults={k: v for k, v in defaults.items() if k in variables},
        )

    def _text(self, name: str, above: tuple[str, ...]) -> str | None:
        if name not in self._texts:
            self._texts[name] = self._expanded(self.sources[name], (*above, name))
        return self._texts[name]

    def _expanded(self, source: Source, above: tuple[str, ...]) -> str | None:
        pieces: list[str] = []
        at = size = 0
        good = True
        for include in source.includes:
            inner = self._included(source, include, above)
            if inner is None:
                good = False
                continue
            pieces += [source.text[at : include.start], inner]
            at = include.end
            size += len(inner)
            if size > MAX_TEXT_BYTES:
                self.folder.wrong(source.file, include.line, "is too large with its includes", "Include less")
                return None
        pieces.append(source.text[at:])
        return "".join(pieces) if good else None

    def _included(self, source: Source, include: Include, above: tuple[str, ...]) -> str | None:
        if include.name in above:
            way = " -> ".join((*above[above.index(include.name) :], include.name))
            self.folder.wrong(source.file, include.line, f"includes go in a circle: {way}", "Remove one of them")
            return None
        if len(above) > MAX_DEPTH:
            self.folder.wrong(source.file, include.line, f"includes are more than {MAX_DEPTH} deep", "Include less")
            return None
        if include.name in self.sources:
            return self._text(include.name, above)
        if not self.folder.has(f"prompts/{include.name}.md"):  # else its own mistake is told already
            self.folder.wrong(
                source.file,
                include.line,
                f'there is no prompts/{include.name}.md to include as "{include.name}"',
                did_you_mean(include.name, self.sources),
            )
        return None

    def _reached(self, name: str) -> list[str]:
        """The prompt itself and what it includes, once each, in order of reading."""
        reached: dict[str, None] = {}
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current not in reached:
                reached[current] = None
                waiting += [include.name for include in reversed(self.sources[current].includes)]
        return list(reached)
