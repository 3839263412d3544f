"""Coverage: the share that no case is near with its interval, and what the rest is about, by name."""

import pytest

from waterline.evals.coverage import Request, measure
from waterline.evals.near import embedder
from waterline.evals.statistics import wilson

EMBED = embedder()
CASES = ["When do you open on weekdays?", "What does the third grade cost per month?"]
BOATS = [f"Can I rent a sailing boat for {n} people on the lake" for n in range(7)]
DOGS = [f"Are dogs allowed in the restaurant at table {n}" for n in range(4)]
KNOWN = ["when do you open on week days", "What is the cost of the third grade per month"]
ALONE = ["Who painted the ceiling of the chapel"]


def requests(texts: list[str]) -> list[Request]:
    return [Request(f"{n:024x}", text) for n, text in enumerate(texts)]


@pytest.mark.parametrize("embed", [None, pytest.param(EMBED, marks=pytest.mark.skipif(EMBED is None, reason="extra"))])
def test_what_no_case_is_near_is_counted_with_its_interval_and_grouped_by_what_it_is_about(embed) -> None:  # type: ignore[no-untyped-def]
    found = measure(requests(KNOWN + BOATS + DOGS + ALONE), CASES, embed)
    assert (found.requests, found.without_case, found.cases) == (14, 12, 2)
    assert found.uncovered == wilson(12, 14)
    assert sum(found.bins) == 14
    assert [group.requests for group in found.groups] == [7, 4]
    assert (found.alone, found.left) == (1, 0)
    assert set(found.groups[0].name.split()) <= {"sailing", "boat", "rent", "lake"}
    assert set(found.groups[1].name.split()) <= {"dogs", "restaurant", "allowed", "table"}
    assert found.groups[0].example in BOATS


def test_without_requests_there_is_no_share_and_without_cases_nothing_is_covered() -> None:
    assert measure([], CASES, None).uncovered is None
    none = measure(requests(KNOWN), [], None)
    assert (none.without_case, none.cases) == (2, 0)


def test_the_threshold_that_is_asked_for_is_used_and_said() -> None:
    strict = measure(requests(KNOWN), CASES, None, threshold=1.0)
    assert (strict.threshold, strict.without_case) == (1.0, 2)
