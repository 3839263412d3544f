"""What a trial's exit status means, and what can never be a pass."""

import asyncio
from pathlib import Path

import pytest
from made_lines import SPEC, failing, inconclusive, passing, stuck

from waterline.core.app_spec import AppSpec, Trial, encode_spec
from waterline.core.errors import Refused, WaterlineError
from waterline.core.release import Release, Route, encode_release
from waterline.core.verdict import Outcome
from waterline.trials import DRILLS, IMPLEMENTED, runner
from waterline.trials.drills import DRILL, Drill
from waterline.trials.judging import none_allowed, undeclared
from waterline.trials.load_line import Section, exit_status
from waterline.trials.runner import Order, plan, run_trial
from waterline.trials.sea import Sea

APP = Release("tiny", routes={"main": Route("simulated", "small")})


def order(drills: tuple[str, ...]) -> Order:
    return Order("tiny", encode_release(APP), encode_spec(AppSpec("tiny", trial=Trial(drills=drills))))


def test_all_passed_may_sail() -> None:
    assert exit_status(passing()) == 0


def test_a_failed_drill_beats_one_that_could_not_run_which_beats_an_inconclusive_one() -> None:
    bad = next(s for s in failing() if s.outcome is Outcome.FAIL)
    open_ = next(s for s in inconclusive() if s.outcome is Outcome.INCONCLUSIVE)
    none = next(s for s in stuck() if s.state == "could_not_run")
    assert exit_status([*passing(), open_]) == 2
    assert exit_status([*passing(), open_, none]) == 3
    assert exit_status([*passing(), open_, none, bad]) == 1


def test_no_drill_at_all_is_inconclusive() -> None:
    assert exit_status([]) == 2


def test_a_drill_without_a_verdict_is_inconclusive() -> None:
    assert exit_status([*passing(), Section("leak")]) == 2


def test_a_required_drill_that_was_left_out_leaves_the_question_open() -> None:
    assert exit_status([*passing(), Section("leak", state="not_run", required=True)]) == 2
    assert exit_status([*passing(), Section("leak", state="not_run", required=False)]) == 0


def test_a_failure_of_a_drill_that_was_only_asked_for_counts_too() -> None:
    bad = next(s for s in failing() if s.outcome is Outcome.FAIL)
    bad.required = False
    assert exit_status([*passing(), bad]) == 1


def test_nothing_seen_and_nothing_declared_are_not_green() -> None:
    assert none_allowed("outage", "x", 0, 0, "simulated", "calls").outcome is Outcome.INCONCLUSIVE
    assert undeclared("outage", "x", "availability").outcome is Outcome.INCONCLUSIVE
    assert none_allowed("outage", "x", 1, 5000, "simulated", "calls").outcome is Outcome.FAIL


def test_every_drill_of_this_version_is_known_and_in_order() -> None:
    assert set(DRILL) == set(IMPLEMENTED)
    assert [d for d in DRILLS if d in IMPLEMENTED] == list(IMPLEMENTED)


def test_an_app_that_requires_nothing_gets_everything_that_there_is() -> None:
    found = [d for d, _, run in plan(AppSpec("tiny"), ()) if run]
    assert found == [d for d in IMPLEMENTED if d not in ("branches", "integrations")]  # it has neither


def test_naming_a_drill_runs_only_it_and_shows_the_required_others_as_not_run() -> None:
    planned = plan(SPEC, ["load"])
    assert [d for d, _, run in planned if run] == ["load"]
    assert [d for d, required, run in planned if required and not run] == [d for d in IMPLEMENTED if d != "load"]


async def test_an_unknown_drill_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Refused, match=r'There is no drill "typhoon".*quality'):
        await run_trial(order(("load",)), drills=["typhoon"], quiet=True)


async def test_a_required_drill_that_this_version_has_not_could_not_run() -> None:
    line = await run_trial(order(("leak",)), quiet=True)
    section = next(s for s in line.sections if s.drill == "leak")
    assert (section.state, line.exit_status, line.answer) == ("could_not_run", 3, "COULD NOT RUN")
    assert "does not have the drill leak" in line.because


def replaced(monkeypatch: pytest.MonkeyPatch, run: "object", most_s: float = 5.0) -> None:
    assert callable(run)
    monkeypatch.setitem(runner.DRILL, "load", Drill(run, (1.0, 1.0), (most_s, most_s)))


@pytest.mark.parametrize("error", [ValueError("a mistake"), KeyError("x"), WaterlineError("no address. Set one.")])
async def test_a_drill_that_breaks_off_could_not_run(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def broken(sea: Sea) -> Section:
        raise error

    replaced(monkeypatch, broken)
    line = await run_trial(order(("load",)), quiet=True)
    section = next(s for s in line.sections if s.drill == "load")
    assert (section.state, line.exit_status) == ("could_not_run", 3)
    assert str(error) in section.reason
    assert bool(section.detail) is not isinstance(error, WaterlineError)  # a mistake of ours keeps its traceback


async def test_an_error_inside_a_group_of_tasks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(sea: Sea) -> Section:
        async def one() -> None:
            raise WaterlineError("the disk is full")

        async with asyncio.TaskGroup() as group:
            group.create_task(one())
        raise AssertionError

    replaced(monkeypatch, broken)
    line = await run_trial(order(("load",)), quiet=True)
    assert next(s for s in line.sections if s.drill == "load").reason == "the disk is full"


async def test_a_drill_that_does_not_end_is_stopped_and_could_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []

    async def endless(sea: Sea) -> Section:
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.append(True)
        raise AssertionError

    replaced(monkeypatch, endless, most_s=0.05)
    line = await run_trial(order(("load",)), quiet=True)
    section = next(s for s in line.sections if s.drill == "load")
    assert (section.state, line.exit_status, cleaned) == ("could_not_run", 3, [True])
    assert "did not end within 0.05 s" in section.reason


async def test_cases_with_mistakes_stop_the_trial_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "a.jsonl").write_text('{"id": "x", "input": "hi", "expect": {}}\n')
    told = order(("quality",))
    with pytest.raises(WaterlineError):
        await run_trial(Order(told.app, told.manifest, told.spec, tmp_path), quiet=True)


async def test_quality_without_cases_is_inconclusive_and_says_how_many(tmp_path: Path) -> None:
    told = order(("quality",))
    line = await run_trial(Order(told.app, told.manifest, told.spec, tmp_path), quiet=True)
    section = next(s for s in line.sections if s.drill == "quality")
    assert (section.outcome, line.exit_status) == (Outcome.INCONCLUSIVE, 2)
    assert section.verdicts[0].more_cases == 25  # 0.9 by default: 25 of 25
