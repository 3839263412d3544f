"""Where a key stands in a TOML text. tomllib reads values but keeps no lines, and a mistake needs its line.

The text is walked once after tomllib has accepted it, so the walk need not validate anything.
"""

import re

Path = tuple[str | int, ...]  # ("models", "main", "fallbacks", 0); an array's elements by index

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]*")
_AT_LINE = re.compile(r"at line (\d+)")


def syntax_error_line(message: str, text: str) -> int:
    """The line that a tomllib.TOMLDecodeError names; the last one for "at end of document"."""
    found = _AT_LINE.search(message)
    return int(found.group(1)) if found else max(1, len(text.splitlines()))


class TomlLines:
    """Lines of a text that tomllib accepts."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: dict[Path, int] = {}
        self._at = 0
        self._arrays: dict[Path, int] = {}
        self._walk()

    def line_of(self, *path: str | int) -> int:
        """1-based line of a table, key or element; of its nearest known parent if it is not in the text; else 1."""
        for length in range(len(path), 0, -1):
            line = self._lines.get(path[:length])
            if line is not None:
                return line
        return 1

    def _walk(self) -> None:
        table: Path = ()
        while True:
            self._skip(_GAP)
            if self._at >= len(self._text):
                return
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        many = self._text.startswith("[[", self._at)
        line = self._line()
        self._at += 2 if many else 1
        keys = self._keys()
        self._at += 2 if many else 1
        path: Path = ()
        for key in keys[:-1]:
            path = self._within((*path, key))
            self._lines.setdefault(path, line)
        path = (*path, keys[-1])
        if many:
            self._lines.setdefault(path, line)
            number = self._arrays.get(path, -1) + 1
            self._arrays[path] = number
            path = (*path, number)
        self._lines[path] = line
        return path

    def _within(self, path: Path) -> Path:
        """A header under an array of tables means its last element."""
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1  # "="
        self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            quoted = _QUOTED.match(self._text, self._at)
            if quoted:
                keys.append(_unquoted(quoted.group()))
                self._at = quoted.end()
            else:
                bare = _BARE.match(self._text, self._at)
                keys.append(bare.group() if bare else "")
                self._at = bare.end() if bare else self._at + 1
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        if self._text.startswith("[", self._at):
            self._array(path)
        elif self._text.startswith("{", self._at):
            self._inline_table(path)
        else:
            string = _STRING.match(self._text, self._at)
            scalar = string or _SCALAR.match(self._text, self._at)
            self._at = scalar.end() if scalar else self._at + 1

    def _array(self, path: Path) -> None:
        self._at += 1
        number = 0
        while True:
            self._skip(_GAP)
            if self._at >= len(self._text) or self._text[self._at] == "]":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._lines[(*path, number)] = self._line()
            self._value((*path, number))
            number += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip(_GAP)
            if self._at >= len(self._text) or self._text[self._at] == "}":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._pair(path)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1


def _unquoted(text: str) -> str:
    """A quoted key as tomllib gives it; escapes beyond the simple ones do not occur in our keys."""
    inner = text[1:-1]
    return inner.replace('\\"', '"').replace("\\\\", "\\") if text[0] == '"' else inner
