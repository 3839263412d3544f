"""What is wrong with a setting, and the remedy."""

import difflib

from msgspec import Struct


class Problem(Struct, frozen=True):
    """One thing that is wrong: where, what, and what to write instead. The value of a secret is never in it."""

    where: str  # a variable, or file:line
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.remedy}"


class SettingsError(Exception):
    """The settings cannot be used; nothing was started. Holds every problem found.

    (Not under core's WaterlineError: settings and core are the same, lowest layer and do not know each other.)"""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


class BadValueError(ValueError):
    """A value that a reader refuses: what is wrong, and the remedy."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
