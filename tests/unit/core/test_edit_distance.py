"""The share of a text that was changed is the textbook's, however long the text is."""

import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.core.edit_distance import MOST, changed, levenshtein, normalised


def textbook(a: Sequence[object], b: Sequence[object]) -> int:
    """Wagner and Fischer 1974, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


@settings(max_examples=150, deadline=None)
@given(st.text("abçé ", max_size=40), st.text("abçé ", max_size=40))
def test_the_distance_is_the_textbook_one(a: str, b: str) -> None:
    assert levenshtein(a, b) == levenshtein(b, a) == textbook(a, b)
    longest = max(len(a), len(b))
    assert normalised(a, b) == (textbook(a, b) / longest if longest else 0.0)


@pytest.mark.parametrize(("a", "b", "far"), [("kitten", "sitting", 3), ("intention", "execution", 5), ("", "abc", 3)])
def test_published_distances(a: str, b: str, far: int) -> None:
    assert levenshtein(a, b) == far


def test_words_and_characters_are_counted_apart() -> None:
    found = changed("We open at nine.", "We open at ten.")
    assert found is not None
    assert found.words == 0.25
    assert found.characters == pytest.approx(3 / 16)
    assert changed("the same", "the  same\n") == changed("the same", "the  same\n")
    assert changed("one two", "one two") is not None


def test_the_longest_texts_are_compared_soon_and_longer_ones_by_words_only() -> None:
    rng = random.Random(1)
    letters = [rng.choice("abcdefgh ") for _ in range(MOST)]
    others = [rng.choice("abcdefgh ") for _ in range(MOST)]
    began = time.perf_counter()
    assert normalised(letters, others) is not None
    assert time.perf_counter() - began < 10
    long = "word " * MOST
    assert changed("a" + long, "b" + long[:-2] + "x") is not None
    assert normalised("a" * MOST + "b", "c" + "d" * MOST) is None
    same_ends = "a" * 5 * MOST
    assert normalised(same_ends + "x" + same_ends, same_ends + "y" + same_ends) == pytest.approx(1 / (10 * MOST + 1))
