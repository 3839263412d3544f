"""How often the detector of implicit signals is right, on labelled messages; the figures of the page are these."""

import time
from pathlib import Path

import pytest

from waterline.core.language import identify
from waterline.core.signal import SIGNALS
from waterline.evals.signals import hear
from waterline.evals.statistics.proportions import wilson

HERE = Path(__file__).parents[2]
PAGE = (HERE.parent / "docs" / "howto" / "behaviour.md").read_text(encoding="utf-8")


class Example:
    def __init__(self, line: str) -> None:
        self.language, before, self.text, labels = line.split(" | ")
        self.before = [] if before == "-" else before.split(" ;; ")
        self.wanted = set() if labels == "-" else set(labels.split(","))
        assert self.wanted <= set(SIGNALS), line

    @property
    def heard(self) -> set[str]:
        spoken = [found for one in self.before if (found := identify(one))]
        return set(hear(self.text, self.before, spoken[-1] if spoken else self.language).signals)


def examples(name: str) -> list[Example]:
    lines = (HERE / "data" / name).read_text(encoding="utf-8").splitlines()
    return [Example(line) for line in lines if not line.startswith("#")]


def table(found: list[Example]) -> dict[str, tuple[int, int, int]]:
    """By signal: found rightly, found, there."""
    pairs = [(one.heard, one.wanted) for one in found]
    return {
        name: (
            sum(name in heard & wanted for heard, wanted in pairs),
            sum(name in heard for heard, _ in pairs),
            sum(name in wanted for _, wanted in pairs),
        )
        for name in SIGNALS
        if name != "abandoned"  # no message says it
    }


KNOWN, UNSEEN = table(examples("signals.txt")), table(examples("signals_unseen.txt"))


def test_there_are_enough_messages_of_every_language_and_of_what_only_looks_alike() -> None:
    known, unseen = examples("signals.txt"), examples("signals_unseen.txt")
    assert len(known) >= 300
    assert len(unseen) >= 50
    for language in ("en", "pt", "es"):
        of = [one for one in known if one.language == language]
        assert len(of) >= 80
        assert sum(not one.wanted for one in of) >= 25
    assert not {one.text for one in known} & {one.text for one in unseen} - {"can i bring my own food"}


@pytest.mark.parametrize("name", KNOWN)
def test_messages_that_it_was_written_for_are_understood(name: str) -> None:
    right, found, there = KNOWN[name]
    assert right / found >= 0.84, name
    assert right / there >= 0.84, name


def test_what_it_says_of_unseen_messages_is_nearly_always_so_and_about_half_is_found() -> None:
    right, found, there = (sum(row[i] for row in UNSEEN.values()) for i in range(3))
    assert right / found >= 0.85
    assert right / there >= 0.45


def test_the_figures_on_the_page_are_these() -> None:
    for name, (right, found, there) in UNSEEN.items():
        k, n, m = KNOWN[name]
        assert f"| `{name}` | {k} of {n} | {k} of {m} | {right} of {found} | {right} of {there} |" in PAGE
    right, found, there = (sum(row[i] for row in UNSEEN.values()) for i in range(3))
    precision, recall = wilson(right, found), wilson(right, there)
    assert f"precision {right} of {found} ({precision.low:.0%} to {precision.high:.0%})" in PAGE
    assert f"recall {right} of {there} ({recall.low:.0%} to {recall.high:.0%})" in PAGE


def test_the_longest_message_takes_no_time_that_others_feel() -> None:
    long = "a" * 200_000 + " what time do you open?!" * 10_000
    began = time.perf_counter()
    for _ in range(3):
        hear(long, [long[::-1]] * 3, "en")
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize("text", ["", " ", "?", "!!!", "\0", "😀" * 50, "\ud83d", "ß" * 3000])
def test_strange_messages_say_nothing(text: str) -> None:
    assert hear(text, ["", text], "en").signals == ()
