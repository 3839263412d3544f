"""An evaluation with judges, as users run it, the simulated provider in the place of both models."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from whole_app import Sim

from waterline.core.app_spec import AppSpec
from waterline.core.case import Case, Expect
from waterline.core.case import Judged as Given
from waterline.core.judge import Judge, judge_id
from waterline.core.release import Release, Route, encode_release
from waterline.core.verdict import Outcome
from waterline.evals.judged import Standing
from waterline.evals.statistics import JudgeErrors
from waterline.providers.simulated_script import Answer, Fault, Target, When
from waterline.trials.evaluation import Done, Work, evaluate
from waterline.trials.progress import Silent

ROUTE = Route(provider="simulated", model="judge-2026-01-01", retries=0, total_s=60.0)
POLITE = Judge("Is it polite?", "Polite? {{answer}}", ROUTE)
CASES = tuple(
    Case(id=f"case-{i}", input=f"say please number {i}", expect=Expect(judge={"polite": Given()})) for i in range(60)
)
YES, NO = '{"reason": "it is", "verdict": "yes"}', '{"reason": "it is not", "verdict": "no"}'
CALIBRATED = Standing("polite", judge_id(POLITE), True, "", JudgeErrors((97, 100), (95, 100)))


def release(**main: Any) -> bytes:
    given = {"provider": "simulated", "model": "small", "retries": 0, "total_s": 60.0, **main}
    return encode_release(Release(app="judged", routes={"main": Route(**given)}))


async def run(sim: Sim, folder: Path, *standings: Standing, **more: Any) -> Done:
    given: dict[str, Any] = {
        "manifest": release(), "spec": AppSpec(name="judged", judges={"polite": POLITE}), "cases": CASES,
        "score_min": 0.8, "redirect": f"{sim.address}/{{route}}", "at_once": 8,
        "standings": {one.name: one for one in standings}, **more,
    }  # fmt: skip
    return await evaluate(Work(**given), folder, Silent())


async def test_a_judge_that_nobody_calibrated_gives_no_pass_and_says_why(sim: Sim, tmp_path: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True)), polite=Target(answer=Answer(text=YES)))
    done = await run(sim, tmp_path)
    result = done.result
    assert (result.outcome, result.exit_status) == (Outcome.INCONCLUSIVE, 2)
    assert 'the judge "polite" may not gate: nobody has labelled' in result.reason
    assert result.judges[0].asked == 60
    assert result.judges[0].passed == 60


@pytest.mark.slow
async def test_a_standing_of_another_wording_is_none(sim: Sim, tmp_path: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True)), polite=Target(answer=Answer(text=YES)))
    stale = msgspec.structs.replace(CALIBRATED, id="of another wording")
    assert (await run(sim, tmp_path / "stale", stale)).result.outcome is Outcome.INCONCLUSIVE


@pytest.mark.slow
async def test_a_calibrated_judge_gates_and_its_error_is_in_the_interval(sim: Sim, tmp_path: Path) -> None:
    sim.play(main=Target(answer=Answer(echo=True)), polite=Target(answer=Answer(text=YES)))
    passed = (await run(sim, tmp_path, CALIBRATED)).result
    assert passed.outcome is Outcome.PASS
    assert "corrected for the judge" in passed.reason
    few = msgspec.structs.replace(CALIBRATED, errors=JudgeErrors((10, 11), (10, 12)))
    wide = (await run(sim, tmp_path / "few", few)).result
    assert passed.estimate is not None
    assert wide.estimate is not None
    assert wide.estimate.low < passed.estimate.low
    sim.play(main=Target(answer=Answer(echo=True)), polite=Target(answer=Answer(text=NO)))
    assert (await run(sim, tmp_path / "no", CALIBRATED)).result.outcome is Outcome.FAIL


@pytest.mark.slow
async def test_what_fails_without_the_judge_fails_although_the_judge_is_not_calibrated(
    sim: Sim, tmp_path: Path
) -> None:
    sim.play(main=Target(answer=Answer(echo=True)), polite=Target(answer=Answer(text=YES)))
    asked = tuple(
        msgspec.structs.replace(c, expect=Expect(contains=("hazel",), judge={"polite": Given()})) for c in CASES
    )
    result = (await run(sim, tmp_path, cases=asked)).result
    assert result.outcome is Outcome.FAIL
    assert "even with a yes to all of it" in result.reason
    assert sim.asked("polite") == 1  # the probe: nobody asks about an answer that has failed already


@pytest.mark.slow
async def test_verdicts_that_cannot_be_read_count_as_failures_and_are_shown(sim: Sim, tmp_path: Path) -> None:
    broken = Fault(kind="http", status=500, when=When(every=3))
    sim.play(main=Target(answer=Answer(echo=True)), polite=Target(answer=Answer(text=YES), faults=(broken,)))
    result = (await run(sim, tmp_path, CALIBRATED)).result
    use = result.judges[0]
    assert (use.asked, use.no_verdict) == (60, 20)
    assert result.arms["second"].passed == 40
    assert result.outcome is Outcome.FAIL


@pytest.mark.slow
async def test_a_release_that_the_judge_likes_less_is_worse(sim: Sim, tmp_path: Path) -> None:
    rude = Answer(text=NO, match=r"(?s)<<ANSWER \w+\n\w+\nANSWER")  # one word is all it says
    sim.play(
        main=Target(answer=Answer(echo=True)), polite=Target(answer=Answer(text=YES), rules=(rude,)),
    )  # fmt: skip
    short = release(max_tokens=1)
    done = await run(sim, tmp_path, CALIBRATED, manifest=short, against=release(), margin=0.05)
    assert done.result.word == "worse"
    assert done.result.lost == 60
    again = await run(sim, tmp_path / "same", CALIBRATED, against=release(), margin=0.2)
    assert again.result.word == "non-inferior"
    silent = await run(sim, tmp_path / "silent", manifest=short, against=release(), margin=0.05)
    assert silent.result.word == "unknown"
