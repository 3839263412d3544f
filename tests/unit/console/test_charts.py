"""Charts: what is drawn is what was measured, and what was not measured is not drawn."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.console.charts import (
    DAY_US,
    HEIGHT,
    TOP,
    WIDTH,
    Axis,
    Outlook,
    Series,
    budget_bar,
    lines,
    meter,
    minutes,
    month,
    stacked,
)
from waterline.console.overview import SPANS
from waterline.console.shown import duration, field, money, share

AXIS = Axis(0, 10_000_000, 1_000_000)


def say(value: float) -> str:
    return f"{value:g}"


def parsed(svg) -> ElementTree.Element:
    return ElementTree.fromstring(str(svg))


@given(st.dictionaries(st.sampled_from(list(AXIS.buckets)), st.floats(0, 1e15), min_size=1))
def test_everything_drawn_lies_inside_the_chart(values):
    for chart in (
        lines("t", "u", [Series("a", "s0", values)], AXIS, say, say),
        stacked("t", "u", [Series("a", "s0", values), Series("b", "s1", values)], AXIS, say, say),
    ):
        if chart.svg is None:
            assert not any(values.values())
            continue
        for node in parsed(chart.svg).iter():
            if node.tag == "rect":
                assert 0 <= float(node.get("x")) <= WIDTH
                assert TOP - 0.7 <= float(node.get("y")) <= HEIGHT
            for point in node.get("points", "").split():
                assert TOP - 0.1 <= float(point.split(",")[1]) <= HEIGHT


def test_bars_stand_on_each_other_and_their_heights_are_in_proportion():
    chart = stacked("t", "u", [Series("a", "s0", {0: 30}), Series("b", "s1", {0: 10})], AXIS, say, say)
    a, b = (next(n for n in parsed(chart.svg).iter() if n.get("class") == c) for c in ("s0", "s1"))
    assert float(a.get("height")) == pytest.approx(3 * float(b.get("height")), abs=0.2)
    assert float(b.get("y")) + float(b.get("height")) == pytest.approx(float(a.get("y")), abs=0.2)


def test_a_gap_breaks_the_line_and_a_lone_figure_is_a_dot():
    values = {0: 1.0, 1_000_000: 2.0, 5_000_000: 3.0}
    svg = str(lines("t", "u", [Series("a", "s0", values)], AXIS, say, say).svg)
    assert svg.count("<polyline") == 1
    assert svg.count("<circle") == 1


def test_no_figures_are_no_chart_and_names_are_escaped():
    assert lines("t", "u", [Series("a", "s0", {})], AXIS, say, say).svg is None
    assert stacked("t", "u", [Series("a", "s0", {0: 0})], AXIS, say, say).svg is None
    chart = stacked('"><script>', "u", [Series("<b>&", "s0", {0: 1})], AXIS, say, say)
    assert "<script>" not in str(chart.svg)
    assert "<b>" not in str(chart.svg)


@pytest.mark.parametrize("span", SPANS)
def test_each_span_has_a_readable_number_of_bars_and_of_marks_of_time(span):
    _, length, step = SPANS[span]
    for offset in (0, 1, step - 1, 7 * step + 3):
        until = 1_800_000_000_000_000 + offset
        axis = Axis((until - length) // step * step, until, step)
        assert 50 <= len(axis.buckets) <= 90
        assert 3 <= len(axis.ticks) <= 8
        assert all(at in axis.buckets or at % step for at in axis.ticks)


def test_a_meter_says_how_full_it_is():
    assert "50 % used" in meter(5, 10, "Budget")
    assert 'class="meter full"' in meter(11, 10, "Budget")
    assert not meter(5, None, "Budget")
    assert re.search(r'width="100.00"', meter(11, 10, "Budget"))


def test_figures_for_people_never_round_a_part_to_the_whole_or_to_nothing():
    assert share(9_999, 10_000) == "99.9 %"
    assert share(99_999, 100_000) == "99.9 %"
    assert share(1, 100_000) == "under 0.1 %"
    assert share(10, 10) == "100.0 %"
    assert share(0, 0) == "–"
    assert money(None) == "unpriced"
    assert money(0) == "0.00"
    assert money(500) == "0.000000500"
    assert money(1_234_500_000) == "1.23"
    assert duration(None) == "–"
    assert [duration(us) for us in (850, 9_400, 123_456, 1_234_567, 3_723_000_000)] == [
        "850 µs", "9.4 ms", "123 ms", "1.23 s", "1 h 02 min",
    ]  # fmt: skip
    assert field("cost_nano_usd", None) == "unpriced"
    assert field("retry_after_s", 1.5) == "1.5 s"


def test_a_budget_s_bar_never_leaves_its_rail_and_says_its_shares() -> None:
    bar = str(budget_bar(250, 250, 1000, "today"))
    assert 'aria-label="today: 25 % spent, 25 % reserved, 50 % left"' in bar
    assert 'class="meter budget low"' in bar
    over = str(budget_bar(1500, 500, 1000, "today"))
    assert 'class="meter budget full"' in over
    assert "75 % spent, 25 % reserved, 0 % left" in over
    assert 'aria-label="&lt;b&gt;: 0 %' in str(budget_bar(0, 0, 10, "<b>"))


def test_a_month_draws_the_projection_as_a_band_and_leaves_a_far_limit_out_of_the_picture() -> None:
    axis = Axis(0, 30 * DAY_US, DAY_US)
    spent = {DAY_US * d: float(d) for d in range(1, 11)}
    drawn = month(
        "m", Outlook(spent, 10 * DAY_US, (30.0, 25.0, 36.0), [("near", 40.0), ("far", 4000.0)]), axis, str, str
    )
    svg = str(drawn.svg)
    assert svg.count('class="limit"') == 1
    assert svg.count('class="band"') == 1
    assert svg.count("<circle") == 10
    assert [s.name for s in drawn.legend] == ["spent so far", "projection", "near", "far"]
    assert month("m", Outlook({5: 0.0}, 5, None, []), axis, str, str).svg is None
    unknown = month("m", Outlook(spent, 10 * DAY_US, None, []), axis, str, str)
    assert "band" not in str(unknown.svg)


def test_minutes_are_stacked_within_the_picture_and_said_in_words() -> None:
    svg = str(minutes([(0, 0, 0), (10, 2, 3), (0, 0, 4)], "openai <x>"))
    assert "openai &lt;x&gt;, last 3 minutes: 10 asked, 2 rate-limited, 7 failed" in svg
    assert "a minute ago: 10 asked, 2 rate-limited, 3 failed" in svg
    for y, height in re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', svg):
        assert 0 <= float(y) <= float(y) + float(height) <= 46.5
    assert "0 asked" in str(minutes([], "nobody"))
