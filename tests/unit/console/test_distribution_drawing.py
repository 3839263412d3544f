"""The pictures of an evaluation: every figure that is drawn is said too, and what was not kept is not drawn."""

import msgspec

from waterline.console.distribution_drawing import distributions
from waterline.evals.experiment import Answer, Plan, Tally, judge


def result(against: str = "old", priced: bool = True):  # type: ignore[no-untyped-def]
    plan = Plan(app="a", release="new", case_set="0", cases=40, repeats=2, scorer="1", against=against,
                margin=0.1 if against else None, score_min=0.5)  # fmt: skip
    tally = Tally({f"<{n}>": () for n in range(40)})
    for n in range(40):
        for arm in plan.arms:
            for repeat in range(2):
                passed = n % 4 != 0 or (arm == "first" and repeat == 0)
                tally.add(
                    Answer(
                        f"<{n}>", arm, repeat, passed, ms=100.0 * (n + 1), cost_nano_usd=1000 * n if priced else None
                    )
                )
    return judge(plan, tally)


def test_scores_times_and_prices_of_both_releases_are_drawn_and_said() -> None:
    scores, times, prices = distributions(result())
    assert [one.name for one in scores.legend] == ["before", "after"]
    assert "after: 10 cases passed 0 of 2" in str(scores.svg)
    assert "before: 10 cases passed 1 of 2" in str(scores.svg)
    assert "after: 30 cases passed 2 of 2" in str(scores.svg)
    assert times.legend[1].figure == "p50 2,100 ms, p95 3,800 ms"
    assert prices.unit == "USD a thousand"
    assert "nan" not in str(scores.svg) + str(times.svg) + str(prices.svg)


def test_unpriced_answers_have_no_picture_of_prices_and_an_old_evaluation_has_none_at_all() -> None:
    assert [chart.title for chart in distributions(result(priced=False))] == [
        "Cases by repeats passed", "Whole answers within a time",
    ]  # fmt: skip
    new = result()
    old = msgspec.structs.replace(new, arms={
        name: msgspec.structs.replace(arm, scores=(), ms_spread=(), usd_spread=()) for name, arm in new.arms.items()
    })  # fmt: skip
    assert distributions(old) == []


def test_one_release_alone_has_one_curve() -> None:
    assert [one.name for one in distributions(result(against=""))[1].legend] == ["answers"]
