"""What a trial says while it runs: which drill, how far, how long still. A live line on a terminal, else lines."""

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

PLAIN_EVERY_S = 10.0
TELLING = 5  # calls, before their pace says how long the rest takes: a model reads its whole prompt for the first


class Teller(Protocol):
    def begin(self, drill: str, number: int, of: int, left_s: float) -> None: ...
    def doing(self, what: str, total: int) -> None: ...
    def step(self, count: int = 1) -> None: ...
    def end(self, said: str) -> None: ...


class Silent:
    """For programs."""

    def begin(self, drill: str, number: int, of: int, left_s: float) -> None: ...
    def doing(self, what: str, total: int) -> None: ...
    def step(self, count: int = 1) -> None: ...
    def end(self, said: str) -> None: ...


class Plain:
    """Lines for a log: at the start, at the end, and every ten seconds between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._what, self._done, self._total = "", 0, 0
        self._since = self._told = 0.0

    def begin(self, drill: str, number: int, of: int, left_s: float) -> None:
        self._since = self._told = time.monotonic()
        self._say(f"[{number}/{of}] {drill}   about {minutes(left_s)} left in all")

    def doing(self, what: str, total: int) -> None:
        self._what, self._done, self._total = what, 0, total
        self._since = time.monotonic()

    def step(self, count: int = 1) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._told >= PLAIN_EVERY_S and self._done < self._total:
            self._told = now
            left = (now - self._since) / self._done * (self._total - self._done)
            pace = f", {minutes(left)} left" if self._done >= TELLING else ""
            self._say(f"      {self._what}: {self._done} of {self._total}{pace}")

    def end(self, said: str) -> None:
        self._say(f"      {said}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True, highlight=False)


class Live:
    """One moving line a drill."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._head = ""
        self._task: TaskID | None = None

    def begin(self, drill: str, number: int, of: int, left_s: float) -> None:
        self._head = f"{number}/{of} {drill}"
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("about {task.fields[left]} left in all"), console=self._console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(self._head, total=None, left=minutes(left_s))
        self._bar.start()

    def doing(self, what: str, total: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"{self._head}: {what}", total=total, completed=0)

    def step(self, count: int = 1) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, count)

    def end(self, said: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._console.print(f"{self._head}: {said}", markup=False, soft_wrap=True, highlight=False)


def teller(quiet: bool) -> Teller:
    console = Console(stderr=True, highlight=False)
    if quiet:
        return Silent()
    return Live(console) if console.is_terminal else Plain(console)


def minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min"
