"""What perturbations cost, in pairs."""

import pytest

from waterline.evals.robustness import Pair, robustness
from waterline.evals.statistics import newcombe_difference


def pair(case: int, kind: str, before: int, after: int, tag: str = "en") -> Pair:
    return Pair(str(case), kind, float(before), float(after), before != after, (tag,))


def test_the_worst_kind_comes_first_with_its_drop_its_flips_and_its_interval() -> None:
    pairs = [pair(i, "typos", 1, int(i % 2 == 0)) for i in range(40)] + [pair(i, "emoji", 1, 1) for i in range(40)]
    found = robustness(pairs, (4, 40))
    assert [kind.name for kind in found.kinds] == ["typos", "emoji"]
    worst = found.kinds[0]
    assert (worst.before, worst.after, worst.lost, worst.won, worst.n) == (1.0, 0.5, 20, 0, 40)
    assert worst.drop is not None
    assert worst.drop.low < -0.5 < worst.drop.high < 0.0
    assert worst.p < 0.001 < found.kinds[1].p
    assert worst.beyond is not None
    assert worst.beyond.value == pytest.approx(0.5 - 0.1)
    assert found.worst == "typos: -50 pp over 40 pairs"
    assert found.all is not None
    assert found.all.n == 80
    assert found.all.drop is not None
    assert found.all.drop.n == 40  # clusters are cases: the same case twice is no new case


def test_flips_that_the_same_input_has_too_are_no_finding() -> None:
    pairs = [pair(i, "typos", i % 2, (i + (i % 10 == 0)) % 2) for i in range(100)]
    found = robustness(pairs, (10, 100)).kinds[0]
    assert found.flips.value == pytest.approx(0.1)
    assert found.beyond is not None
    assert found.beyond.low < 0.0 < found.beyond.high


def test_a_slice_can_be_the_worst() -> None:
    pairs = [pair(i, "typos", 1, int(i >= 20), "pt" if i < 25 else "en") for i in range(100)]
    found = robustness(pairs, None)
    assert found.slices[0].name == "pt"
    assert found.worst.startswith("pt: -80 pp")
    assert found.slices[0].beyond is None


def test_no_pairs_are_no_finding() -> None:
    found = robustness([], (0, 0))
    assert (found.all, found.kinds, found.worst, found.baseline) == (None, (), "", None)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090), ((10, 10, 0, 10), 0.6075, 1.0)],
)
def test_the_difference_of_two_rates_has_the_published_values(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    # Newcombe (1998), Statistics in Medicine 17:873-890, table II, method 10, examples a, b and h.
    found = newcombe_difference(*counts)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert newcombe_difference(0, 0, 3, 5).high == 1.0


def test_many_perturbations_of_two_inputs_are_two_inputs_and_show_nothing() -> None:
    # Forty pairs, all of them lost: counted as independent the sign test would say p < 0.000001.
    pairs = [Pair(f"case-{n % 2}", f"kind-{n}", 1.0, 0.0, True, ("cards",)) for n in range(40)]
    found = robustness(pairs, (0, 40))
    (cards,) = found.slices
    assert (cards.n, cards.lost) == (40, 40)
    assert cards.p == pytest.approx(0.5)
    assert cards.beyond is None
    assert found.worst == ""  # two inputs name no worst slice
    alone = robustness([Pair(f"case-{n}", "typos", 1.0, 0.0, True, ("cards",)) for n in range(40)], (0, 40))
    assert alone.slices[0].p < 1e-6
    assert alone.slices[0].beyond is not None
    assert alone.worst
