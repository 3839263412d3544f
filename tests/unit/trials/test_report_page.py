"""The page that an executive reads."""

import re
from html.parser import HTMLParser

import pytest
from made_lines import ALL, SPEC, line_of, passed_section, passing

from waterline.core.app_spec import AppSpec
from waterline.core.verdict import Estimate, Outcome
from waterline.trials import IMPLEMENTED, drawing
from waterline.trials.judging import undeclared, verdict
from waterline.trials.load_line import Section, Series, Table
from waterline.trials.report import page
from waterline.trials.rows import NAMES, NOT_SHOWN, nine_rows


class Reader(HTMLParser):
    """Tags, and what is fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.mark.parametrize(("name", "answer"), [
    ("pass", "MAY SAIL"), ("fail", "MAY NOT SAIL"), ("inconclusive", "INCONCLUSIVE"),
    ("could-not-run", "COULD NOT RUN"),
])  # fmt: skip
def test_one_clear_answer_stands_at_the_top(name: str, answer: str) -> None:
    html = page(line_of(ALL[name]()), "d" * 64)
    assert f'<p class="word">{answer}</p>' in html
    assert html.index(answer, html.index("<main")) < html.index("Figure and evidence")


def test_there_are_nine_rows_and_an_empty_one_says_not_shown() -> None:
    assert [r.name for r in nine_rows(passing(), SPEC)] == list(NAMES)
    assert len(NAMES) == 9
    empty = nine_rows([], AppSpec("tiny"))
    assert [r.figure for r in empty] == [NOT_SHOWN] * 9
    assert all(r.excludes and r.owner for r in empty)
    html = page(line_of(passing()), "d" * 64)
    assert all(f"</i>{name.capitalize()}</th>" in html for name in NAMES)
    assert html.count("<em>not shown</em>") == sum(r.figure == NOT_SHOWN for r in nine_rows(passing(), SPEC)) == 3


def test_a_row_has_a_figure_its_evidence_owner_and_what_it_excludes() -> None:
    for row in nine_rows(passing(), SPEC):
        if row.figure != NOT_SHOWN:
            assert row.evidence.startswith("drill ")
            assert row.owner == "Admissions office"
            assert row.provider in ("real", "simulated")


def test_whatever_users_and_models_wrote_is_escaped() -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>{{ 7*7 }}'
    section = passed_section("quality")
    section.reason = section.detail = evil
    section.tables = [Table(evil, [evil], [[evil]], "real", evil)]
    section.excludes = [evil]
    section.verdicts = [verdict("quality", evil, Outcome.FAIL, evil, provider="real",
                                value=Estimate(0.5, 0.4, 0.6, 9, 0.9, evil), threshold=0.6, unit="share")]  # fmt: skip
    section.curves = [Series(evil, [(50.0, 1.0), (99.0, 2.0)])]
    line = line_of([section])
    line.purpose = line.owner = line.because = evil
    html = page(line, "d" * 64)
    reader = read(html)
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert "&lt;script&gt;" in html
    assert "49" not in re.findall(r"\{\{ 7\*7 \}\}|onerror=alert\(1\)&gt;(\d+)", html)


def test_the_page_fetches_nothing() -> None:
    html = page(line_of(passing()), "d" * 64)
    assert read(html).fetched == []
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html


def test_every_figure_says_which_provider_stood_behind_it() -> None:
    html = page(line_of(passing()), "d" * 64)
    for article in re.findall(r"<article.*?</article>", html, re.DOTALL):
        assert "real provider" in article or "simulated provider" in article


def test_a_drill_that_could_not_run_shows_its_reason_and_remedy() -> None:
    html = page(line_of(ALL["could-not-run"]()), "d" * 64)
    assert "waterline model pull" in html


def test_an_interval_is_drawn_against_its_threshold() -> None:
    seen = verdict("quality", "score", Outcome.PASS, "", provider="real", value=Estimate(0.85, 0.73, 0.92, 40),
                   threshold=0.6, unit="share")  # fmt: skip
    drawn = drawing.bar(seen)
    assert drawn is not None
    assert drawn.threshold is not None
    assert drawn.threshold < drawn.low < drawn.value < drawn.high
    assert (drawn.good_from, drawn.good_to) == (drawn.threshold, drawing.BAR_RIGHT)


@pytest.mark.parametrize("value", [None, Estimate(float("inf"), 0.0, float("inf"), 3), Estimate(0.0, 0.0, 0.0, 5)])
def test_what_cannot_be_drawn_breaks_nothing(value: Estimate | None) -> None:
    odd = verdict("load", "p99", Outcome.FAIL, "no end", provider="simulated", value=value, threshold=0.0, unit="x")
    section = Section("load", verdicts=[odd], curves=[Series("nothing", [])])
    assert "p99" in page(line_of([section]), "d" * 64)


def test_the_latency_drawing_rises_from_left_to_right_and_stays_inside() -> None:
    made = drawing.chart([Series("a", [(0.0, 1.0), (50.0, 10.0), (99.0, 900.0), (99.9, 1000.0), (100.0, 5000.0)])])
    assert made is not None
    numbers = [tuple(map(float, pair.split(","))) for pair in made.lines[0].path[1:].split(" L")]
    assert numbers == sorted(numbers, key=lambda xy: xy[0])
    assert all(drawing.CHART_LEFT <= x <= drawing.CHART_RIGHT for x, _ in numbers)
    assert all(drawing.CHART_TOP <= y <= drawing.CHART_BOTTOM for _, y in numbers)


def test_sections_of_every_drill_are_on_the_page() -> None:
    html = page(line_of(passing()), "d" * 64)
    assert [i for i in re.findall(r'<section class="drill" id="(\w+)"', html) if i in IMPLEMENTED] == list(IMPLEMENTED)


def test_what_was_counted_needs_no_figure_and_what_is_open_says_that_it_has_none() -> None:
    counted = Section("budget", verdicts=[verdict("budget", "held", Outcome.PASS, "it held", provider="simulated")])
    unknown = Section("budget", verdicts=[undeclared("budget", "held", "availability")])
    assert "no figure" not in page(line_of([counted]), "d" * 64)
    assert "no figure" in page(line_of([unknown]), "d" * 64)
