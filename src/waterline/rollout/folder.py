"""Reads the files of an app folder, safely: nothing outside it, nothing too large, nothing that is not UTF-8.

Every reading ends in text or in a Mistake, never in an exception, so that all mistakes can be told at once.
"""

import errno
import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from waterline.core.errors import Mistake
from waterline.rollout.toml_lines import TomlLines, syntax_error_line

MAX_TEXT_BYTES = 1024 * 1024  # app.toml, prices.toml, a prompt, a contract
MAX_CASES_BYTES = 64 * 1024 * 1024
MAX_FILE_BYTES = 16 * 1024 * 1024  # a file that is only hashed

# What a key of a provider, of a cloud or of ours looks like. Only the kind is reported, never the text.
SECRETS = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{12,}|wl-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{30,}|AKIA[A-Z0-9]{16}\b|gh[pousr]_[A-Za-z0-9]{30,}"
    r"|xox[abp]-[A-Za-z0-9-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_SKIPPED_DIRS = frozenset({"__pycache__", "node_modules"})
SECRET_REMEDY = "Remove it (and revoke it): secrets come from the environment. Name the variable in api_key_env"


class Folder:
    """An app folder being read. `mistakes` and `warnings` grow as it is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.real = Path(os.path.realpath(root))
        self.mistakes: list[Mistake] = []
        self.warnings: list[str] = []

    def wrong(self, file: str, line: int, problem: str, remedy: str) -> None:
        mistake = Mistake(file, line, problem, remedy)
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)

    def has(self, file: str) -> bool:
        """Whether there is such a file (a link counts, wherever it leads: reading it tells)."""
        path = self.root / file
        return path.is_symlink() or path.is_file()

    def inside(self, file: str) -> bool:
        """Whether a path written in a file of the app stays within the folder, links followed."""
        if not file or "\0" in file or file.startswith("/") or ".." in Path(file).parts:
            return False
        return Path(os.path.realpath(self.root / file)).is_relative_to(self.real)

    def files(self, under: str) -> Iterator[str]:
        """Relative paths of the files below a sub-folder, sorted, hidden ones and caches left out."""
        found: list[str] = []
        for where, dirs, names in os.walk(self.root / under):
            for name in sorted(dirs):
                path = Path(where, name)
                if path.is_symlink():
                    self.wrong(
                        path.relative_to(self.root).as_posix(),
                        0,
                        "a linked folder is not followed",
                        "Put the files themselves into the app folder",
                    )
            dirs[:] = [d for d in dirs if not d.startswith(".") and d not in _SKIPPED_DIRS]
            found += [
                Path(where, name).relative_to(self.root).as_posix()
                for name in names
                if not name.startswith(".") and not name.endswith(("~", ".pyc"))
            ]
        yield from sorted(found)

    def read(self, file: str, limit: int) -> bytes | None:
        """The bytes of a file, or None and a mistake."""
        if not self.inside(file):
            self.wrong(file, 0, "leads out of the app folder", "Put the file itself into the app folder")
            return None
        try:
            with open(self.root / file, "rb", opener=_regular) as opened:
                data = opened.read(limit + 1)
        except OSError as error:
            self.wrong(file, 0, f"cannot be read ({error.strerror})", "Check that it is a file and its permissions")
            return None
        if len(data) > limit:
            self.wrong(file, 0, f"is larger than {limit // 1024} KiB", "Split it, or keep large data out of the folder")
            return None
        return data

    def text(self, file: str, limit: int = MAX_TEXT_BYTES, secrets: bool = True) -> str | None:
        """The text of a file, or None and a mistake. Looks for secrets unless told not to (cases may plant some)."""
        data = self.read(file, limit)
        if data is None:
            return None
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.wrong(file, line, "is not UTF-8 text", "Save the file as UTF-8")
            return None
        if secrets:
            self._look_for_secrets(file, text)
        return text

    def digest(self, file: str) -> str | None:
        """SHA-256 of a file that is declared by its bytes only."""
        data = self.read(file, MAX_FILE_BYTES)
        if data is None:
            return None
        self._look_for_secrets(file, data.decode("utf-8", "replace"))
        return hashlib.sha256(data).hexdigest()

    def toml(self, file: str, text: str, first_line: int = 1) -> tuple[dict[str, Any], TomlLines] | None:
        """A parsed TOML text (decimals exact), or None and a mistake. `first_line`: where it starts in the file."""
        try:
            return tomllib.loads(text, parse_float=Decimal), TomlLines(text)
        except tomllib.TOMLDecodeError as error:
            line = syntax_error_line(str(error), text) + first_line - 1
            problem = re.sub(r" \(at (?:line.*|end of document)\)$", "", str(error))
            self.wrong(file, line, f"TOML syntax: {problem}", "See https://toml.io for how it is written")
        except (ValueError, RecursionError, ArithmeticError) as error:
            self.wrong(file, first_line, f"TOML: {error}", "See https://toml.io for how it is written")
        return None

    def _look_for_secrets(self, file: str, text: str) -> None:
        for found in SECRETS.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            self.wrong(file, line, "holds what looks like a secret", SECRET_REMEDY)


def _regular(path: str, flags: int) -> int:
    """Opens files only: a pipe or a device would keep its reader waiting. Raises OSError."""
    opened = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "it is a folder, a pipe or a device")
    return opened
