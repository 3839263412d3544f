"""`waterline robustness`: the same cases with messy inputs, or with prompts in another form; what is lost, in pairs.

Every changed question and every changed prompt is asked beside the tidy one, and the tidy one is asked twice: what
changes between two identical questions is the model's own doing.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.app_spec import AppSpec, Limits, encode_spec
from waterline.core.case import Case
from waterline.core.release import Release, encode_release, parse_release
from waterline.evals.perturbation import OPERATORS, perturb
from waterline.evals.prompt_perturbation import PROMPT_OPERATORS, perturb_prompt
from waterline.evals.robustness import Pair, Robustness, robustness
from waterline.evals.scorers import score
from waterline.trials.asking import AT_ONCE, AT_ONCE_LOCAL, CouldNotRun
from waterline.trials.calls import Call, Caller
from waterline.trials.instance import Instance
from waterline.trials.patience import Patience
from waterline.trials.progress import Teller

GIVE_UP_S = 300.0
AGAIN_EVERY = 2  # every second case is asked twice as it is
LANGUAGES = ("en", "pt", "es")
Of = Literal["inputs", "prompts"]


class Look(Struct, frozen=True):
    """What is changed. `kinds` (): all of them, those that keep what is asked."""

    of: Of
    kinds: tuple[str, ...] = ()
    seed: int = 1
    at_once: int = 0
    redirect: str = ""


class Asked(Struct, frozen=True):
    case: Case
    kind: str  # "", "again", an operator
    environment: str
    text: str = ""  # instead of what the user says last


class Found(Struct, frozen=True):
    """`unchanged`: operators that had nothing to change. `unanswered`: answers that never came, which failed.
    `left_out`: cases that expect what only `waterline eval` measures."""

    of: Of
    cases: int
    asked: int
    unanswered: int
    unchanged: tuple[str, ...]
    robustness: Robustness
    simulated: bool
    left_out: int = 0


def measured(case: Case) -> bool:
    expect = case.expect
    return not (expect.judge or expect.python or expect.tool or expect.max_ms or expect.max_usd)


def operators(of: Of) -> tuple[str, ...]:
    if of == "prompts":
        return tuple(PROMPT_OPERATORS)
    return tuple(name for name, one in OPERATORS.items() if one.label_preserving)


async def look(manifest: bytes, spec: AppSpec, cases: Sequence[Case], wanted: Look, tell: Teller) -> Found:
    """Raises CouldNotRun."""
    if not cases:
        raise CouldNotRun("There are no cases to ask. Write them to cases/*.jsonl, or name a file: --cases FILE.")
    every, cases = len(cases), [case for case in cases if measured(case)]
    if not cases:
        raise CouldNotRun(
            "Every case expects a judge, a tool call, a time, a price or a function, which only waterline eval "
            "measures. Name others: --cases FILE."
        )
    known = operators(wanted.of)
    if strange := [kind for kind in wanted.kinds if kind not in known]:
        raise CouldNotRun(f'"{strange[0]}" changes no {wanted.of}. Known: {", ".join(known)}.')
    kinds = wanted.kinds or known
    release = parse_release(manifest)
    changed = _prompts(release, kinds, wanted.seed) if wanted.of == "prompts" else {}
    questions = _questions(cases, kinds, wanted, changed)
    unchanged = tuple(kind for kind in kinds if not any(q.kind == kind for q in questions))
    if len(unchanged) == len(kinds):
        what = "there is no prompt to change" if wanted.of == "prompts" else "no input has anything to change"
        raise CouldNotRun(f"Nothing to compare: {what}.")
    answers = await _ask(release, manifest, spec, changed, questions, wanted, tell)
    found = _found(wanted, cases, questions, answers, unchanged, release)
    return msgspec.structs.replace(found, left_out=every - len(cases))


def _prompts(release: Release, kinds: Sequence[str], seed: int) -> dict[str, bytes]:
    """By kind: the release with every prompt that this operator changes, changed."""
    made = {}
    for kind in kinds:
        prompts = dict(release.prompts)
        for name, prompt in release.prompts.items():
            if (text := perturb_prompt(prompt.text, kind, seed)) is not None:
                prompts[name] = msgspec.structs.replace(prompt, text=text)
        if prompts != release.prompts:
            made[kind] = encode_release(msgspec.structs.replace(release, prompts=prompts))
    return made


def _questions(cases: Sequence[Case], kinds: Sequence[str], wanted: Look, changed: dict[str, bytes]) -> list[Asked]:
    """The tidy ones first, case by case with everything that is compared with it."""
    asked = []
    for number, case in enumerate(cases):
        asked.append(Asked(case, "", "tidy"))
        if number % AGAIN_EVERY == 0:
            asked.append(Asked(case, "again", "tidy"))
        language = next((tag for tag in case.tags if tag in LANGUAGES), "en")
        for kind in kinds:
            if wanted.of == "prompts":
                if kind in changed:
                    asked.append(Asked(case, kind, _environment(kind)))
            elif (found := perturb(case.asked, (kind,), wanted.seed, language)) is not None:
                asked.append(Asked(case, kind, "tidy", found.text))
    return asked


def _environment(kind: str) -> str:
    return kind.replace("_", "-")


async def _ask(
    release: Release, manifest: bytes, spec: AppSpec, changed: dict[str, bytes], questions: Sequence[Asked],
    wanted: Look, tell: Teller,
) -> list[Call]:  # fmt: skip
    local = any(route.provider == "local" for route in release.routes.values())
    at_once = wanted.at_once or (AT_ONCE_LOCAL if local else AT_ONCE)
    releases = {"tidy": manifest, **{_environment(kind): made for kind, made in changed.items()}}
    limits = Limits(
        nano_usd_per_day=spec.limits.nano_usd_per_day, nano_usd_per_month=spec.limits.nano_usd_per_month,
        timezone=spec.limits.timezone,
    )  # fmt: skip
    record = encode_spec(msgspec.structs.replace(spec, limits=limits, environments=tuple(releases)))
    done: list[Call] = [Call()] * len(questions)
    todo, patience = iter(range(len(questions))), Patience()
    callers: dict[str, Caller] = {}
    with tempfile.TemporaryDirectory(prefix="waterline-robustness-") as folder:
        environ = {"WATERLINE_PURPOSE": "eval"}
        async with Instance(Path(folder), redirect=wanted.redirect, environ=environ) as instance:
            for name, made in releases.items():
                await instance.install(made, record, name)
                callers[name] = instance.caller(await instance.app_key(spec.name, name), at_once)
            try:
                for caller in callers.values():
                    await caller.__aenter__()
                await _probe(callers["tidy"], questions)
                tell.begin("robustness", 1, 1, 0.0)
                tell.doing("asking", len(questions))

                async def one_after_the_other() -> None:
                    for place in todo:
                        done[place] = await _call(questions[place], callers, patience)
                        tell.step()

                await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
            finally:
                for caller in callers.values():
                    await caller.__aexit__()
    if starved := next((call for call in done if call.code == "budget_exceeded"), None):
        raise CouldNotRun(f"The app's budget ended: {starved.message}")
    return done


async def _probe(caller: Caller, questions: Sequence[Asked]) -> None:
    for route in sorted({question.case.route for question in questions}):
        hello = [{"role": "user", "content": "Hello"}]
        call = await caller.chat(hello, model=route, extra={"max_tokens": 1}, give_up_s=GIVE_UP_S)
        if not call.complete and call.code != "invalid_request":  # a prompt may need variables
            raise CouldNotRun(f'Route "{route}" does not answer: {call.message or call.code or call.status}')


async def _call(question: Asked, callers: dict[str, Caller], patience: Patience) -> Call:
    case = question.case
    turns = [{"role": m.role, "content": m.content} for m in case.turns()]
    if question.text:
        turns[-1] = {"role": "user", "content": question.text}
    extra: dict[str, Any] = {"waterline": {"variables": case.variables}} if case.variables else {}
    caller = callers[question.environment]
    return await patience(lambda: caller.chat(turns, model=case.route, extra=extra, give_up_s=GIVE_UP_S))


def _found(
    wanted: Look, cases: Sequence[Case], questions: Sequence[Asked], answers: Sequence[Call],
    unchanged: tuple[str, ...], release: Release,
) -> Found:  # fmt: skip
    passed: dict[tuple[str, str], bool] = {}
    for question, call in zip(questions, answers, strict=True):
        text, reason = (call.text, call.finish_reason) if call.complete else (None, None)
        passed[question.case.id, question.kind] = score(question.case, text, reason).passed
    pairs, twice = [], []
    for question in questions:
        before, after = passed[question.case.id, ""], passed[question.case.id, question.kind]
        if question.kind == "again":
            twice.append(before != after)
        elif question.kind:
            tags = (*question.case.tags, f"route:{question.case.route}")
            pairs.append(Pair(question.case.id, question.kind, float(before), float(after), before != after, tags))
    return Found(
        of=wanted.of, cases=len(cases), asked=len(questions), unanswered=sum(not call.complete for call in answers),
        unchanged=unchanged, robustness=robustness(pairs, (sum(twice), len(twice)), seed=wanted.seed),
        simulated=bool(wanted.redirect) or any(r.provider == "simulated" for r in release.routes.values()),
    )  # fmt: skip
