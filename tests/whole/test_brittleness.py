"""`waterline robustness`: inputs and prompts in another form, asked beside the tidy ones."""

from typing import Any

import pytest
from whole_app import Sim

from waterline.core.app_spec import AppSpec
from waterline.core.case import Case, Expect, Judged
from waterline.core.release import Prompt, Release, Route, encode_release
from waterline.evals.robustness import Robustness
from waterline.providers.simulated_script import Answer, Target
from waterline.trials.asking import CouldNotRun
from waterline.trials.brittleness import Found, Look, _found, _prompts, _questions, look, operators
from waterline.trials.calls import Call
from waterline.trials.progress import Silent

TEXT = (
    "# Task\nAnswer parents of the school.\n\n# Rules\n- Say the price: 790 EUR.\n- Be brief.\n- Write to {{contact}}."
)
RELEASE = Release(
    app="brittle", routes={"main": Route(provider="simulated", model="small", prompt="agent")},
    prompts={"agent": Prompt(text=TEXT, variables=("contact",), defaults={"contact": "the office"})},
)  # fmt: skip
CASES = tuple(
    Case(id=f"c{n}", input=f"What does Grade {n} cost, please?", expect=Expect(contains=("cost",)), tags=("en",))
    for n in range(12)
)


def answers(questions: Any, right: Any) -> list[Call]:
    return [
        Call(status=200, complete=True, text="it costs" if right(q) else "?", finish_reason="stop") for q in questions
    ]


def judged(of: str, right: Any) -> Found:
    wanted = Look(of=of)  # type: ignore[arg-type]
    kinds = operators(wanted.of)
    changed = _prompts(RELEASE, kinds, 1) if of == "prompts" else {}
    questions = _questions(CASES, kinds, wanted, changed)
    return _found(wanted, CASES, questions, answers(questions, right), (), RELEASE)


def test_what_a_change_of_the_prompt_costs_is_found_and_the_worst_operator_named() -> None:
    found = judged("prompts", lambda q: q.kind != "headings")
    kinds = {kind.name: kind for kind in found.robustness.kinds}
    assert kinds["headings"].drop is not None
    assert kinds["headings"].drop.value == -1.0
    assert kinds["list_order"].lost == 0
    assert found.robustness.worst.startswith("headings: -100 pp")
    assert found.robustness.baseline is not None
    assert found.robustness.baseline.n == 6  # every second case is asked twice


def test_what_changes_between_two_equal_questions_is_not_blamed_on_the_change() -> None:
    nth = {"asked": 0}

    def coin(_: Any) -> bool:
        nth["asked"] += 1
        return nth["asked"] % 2 == 0

    found: Robustness = judged("inputs", coin).robustness
    assert found.baseline is not None
    assert found.baseline.value > 0


def test_an_answer_that_never_comes_has_failed() -> None:
    wanted = Look(of="inputs", kinds=("typos",))
    questions = _questions(CASES, wanted.kinds, wanted, {})
    lost = [Call(status=503, code="overloaded") if q.kind == "typos" else c
            for q, c in zip(questions, answers(questions, lambda q: True), strict=True)]  # fmt: skip
    found = _found(wanted, CASES, questions, lost, (), RELEASE)
    assert found.unanswered == len([q for q in questions if q.kind == "typos"]) > 0
    assert found.robustness.all is not None
    assert found.robustness.all.after == 0.0


async def test_cases_that_cannot_be_measured_here_are_no_evidence_of_anything() -> None:
    judge = Expect(contains=("cost",), judge={"polite": Judged()})
    asked = [Case(id=f"c{n}", input="?", expect=judge) for n in range(12)]
    with pytest.raises(CouldNotRun, match="only waterline eval"):
        await look(encode_release(RELEASE), AppSpec(name="brittle"), asked, Look(of="inputs"), Silent())


@pytest.mark.slow
async def test_prompts_in_another_form_are_asked_of_a_running_waterline(sim: Sim) -> None:
    sim.play(main=Target(answer=Answer(echo=True)))
    wanted = Look(of="prompts", redirect=f"{sim.address}/{{route}}", at_once=8)
    judged_too = Case(id="judged", input="?", expect=Expect(judge={"polite": Judged()}))
    found = await look(encode_release(RELEASE), AppSpec(name="brittle"), [*CASES, judged_too], wanted, Silent())
    assert (found.simulated, found.left_out, found.cases) == (True, 1, 12)
    assert found.unanswered == 0
    assert len(found.robustness.kinds) >= 5
    assert all(kind.drop is not None and kind.drop.value == 0.0 for kind in found.robustness.kinds)
    bare = encode_release(Release(app="brittle", routes={"main": Route(provider="simulated", model="small")}))
    with pytest.raises(CouldNotRun, match="no prompt to change"):
        await look(bare, AppSpec(name="brittle"), CASES, wanted, Silent())
    with pytest.raises(CouldNotRun, match="changes no prompts"):
        await look(bare, AppSpec(name="brittle"), CASES, Look(of="prompts", kinds=("typos",)), Silent())
