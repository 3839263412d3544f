"""Learning which questions are easy: what is found, and what is not claimed."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.core.difficulty import NAMES, features, score
from waterline.core.verdict import Outcome
from waterline.evals.routing import Pair, fit, train

WORDS = ("what", "when", "price", "school", "bus", "visit", "grade", "fee", "open", "lunch", "child", "year", "month")


def pairs(n: int, *, hard_share: float = 0.3, noise: float = 0.0, doubtful: bool = False) -> list[Pair]:
    """Long questions with several clauses are too hard for the small model; the large one fails 5 % at random."""
    random = Random(f"{n}{hard_share}{noise}")
    made = []
    for number in range(n):
        hard = random.random() < hard_share
        text = " ".join(random.choice(WORDS) for _ in range(random.randint(25, 40) if hard else random.randint(3, 9)))
        text = text.replace(" fee", ", fee") if hard else text
        large = random.random() > 0.05
        small = (large and not hard) if random.random() > noise else random.random() < 0.5
        made.append(Pair(f"case-{number}", features(text), small, large, doubtful and hard, 100, 2000))
    return made


def test_what_separates_easy_from_hard_is_found_and_its_loss_is_shown_to_be_small() -> None:
    found = train(pairs(400), 0.05, routes="r", cases="c")
    assert found.outcome is Outcome.PASS
    assert found.chosen is not None
    assert 0.6 <= found.chosen.share <= 0.75  # 70 % are easy
    assert found.chosen.loss is not None
    assert found.chosen.loss.high < 0.05
    assert found.chosen.cost is not None
    assert found.chosen.cost < 0.45
    assert found.learned is not None
    easy, hard = features("price of lunch"), features("what when price, fee school bus visit grade open " * 4)
    assert score(found.learned, easy) < found.learned.threshold < score(found.learned, hard)


def test_a_small_model_that_fails_at_random_is_given_little_or_nothing() -> None:
    made = [Pair(p.case, p.features, Random(p.case).random() < 0.6, p.large, False, 100, 2000) for p in pairs(300)]
    found = train(made, 0.03, routes="r", cases="c")
    assert found.chosen is None or found.chosen.share <= 0.1


def test_a_few_cases_are_inconclusive_and_nothing_is_learned() -> None:
    for n in (0, 5, 29):
        found = train(pairs(n), 0.05, routes="r", cases="c")
        assert found.outcome is Outcome.INCONCLUSIVE
        assert found.learned is None
        assert "INCONCLUSIVE" in found.reason


def test_forty_perfect_cases_do_not_show_a_loss_below_two_percent() -> None:
    perfect = [Pair(p.case, p.features, True, True, False, 1, 20) for p in pairs(40)]
    found = train(perfect, 0.02, routes="r", cases="c")
    assert found.outcome is Outcome.INCONCLUSIVE


def test_answers_that_are_caught_as_doubtful_cost_both_calls_and_lose_nothing() -> None:
    found = train(pairs(400, doubtful=True), 0.05, routes="r", cases="c")
    assert found.chosen is not None
    assert found.chosen.share == 1.0
    everything = found.points[-1]
    assert everything.cost is not None
    assert everything.cost > 0.3  # 30 % are asked twice


def test_without_a_price_the_cost_is_unknown_and_not_zero() -> None:
    free = [Pair(p.case, p.features, p.small, p.large, False, None, 2000) for p in pairs(100)]
    assert all(point.cost is None for point in train(free, 0.2, routes="r", cases="c").points)


def test_learning_twice_gives_the_same() -> None:
    assert train(pairs(120), 0.1, routes="r", cases="c") == train(pairs(120), 0.1, routes="r", cases="c")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=60), st.booleans()), min_size=1, max_size=40))
def test_fitting_gives_finite_weights_whatever_the_cases(made: list[tuple[str, bool]]) -> None:
    weights, bias = fit([features(text) for text, _ in made], [label for _, label in made])
    assert len(weights) == len(NAMES)
    assert all(abs(w) < 1e9 for w in (*weights, bias))
