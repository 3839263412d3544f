"""The part of COST.md that says what a shortened history does to answers, from what history_answers.json keeps."""
# ruff: noqa: E501

import json
from typing import Any

from history_answers import ANSWERS, HISTORY
from history_cases import Talk, talks

from waterline.core.case import Case
from waterline.core.verdict import Estimate
from waterline.evals.scorers import score
from waterline.evals.statistics.paired import paired_difference
from waterline.evals.statistics.proportions import wilson

ARMS = {
    "whole": "the whole conversation",
    "note": "a note, without a model (`summary_route` not set)",
    "summary": "a summary by the model, with what is open, promised and said word for word",
    "note_before": "a note, as it was before this was measured (two conversations)",
    "summary_before": "a summary, as it was before this was measured (two conversations; the model went on with the talk instead)",
}


def history_part() -> str:
    if not ANSWERS.exists():
        return "  What that does to answers was not measured with a model: `python bench/history_answers.py`."
    kept = json.loads(ANSWERS.read_text(encoding="utf-8"))
    if not kept["answers"].get("summary"):
        return "  What that does to answers is being measured: `python bench/history_answers.py`."
    rows = [_row(kept, arm) for arm in ARMS if kept["answers"].get(arm)]
    told = list(kept["summaries"].values())
    made = f"{_mean([t['tokens_in'] for t in told]):.0f} tokens read and {_mean([t['tokens_out'] for t in told]):.0f} written"
    head = (
        "sent",
        "tokens",
        "needs an early turn",
        "needs only the last",
        "lost where an early turn is needed",
        "else lost",
    )
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return f"""  What that does to answers, measured on {kept["model"]} ({kept["asked_on"]}; [history_cases.py](history_cases.py): made-up conversations
  of 28 messages in three languages, declared at {HISTORY.max_tokens} tokens and {HISTORY.keep_last} messages; the same last questions in each way, in pairs; intervals over whole
  conversations; below 0: gained). A summary takes one call more for each beginning: {made}.

{chr(10).join(f"| {line} |" for line in lines)}

{_lost(kept)}"""


def note_loss() -> Estimate | None:
    """Lost where an early turn is needed, by a note in place of the whole conversation; below 0: gained."""
    kept = json.loads(ANSWERS.read_text(encoding="utf-8"))
    pairs = _pairs(kept, "note", "early")
    scores = [[float(passed(kept, way, case)) for _, case in pairs] for way in ("note", "whole")]
    return paired_difference(*scores, [talk.id for talk, _ in pairs])


def _row(kept: dict[str, Any], arm: str) -> tuple[str, ...]:
    early, recent = (_pairs(kept, arm, which) for which in ("early", "recent"))
    tokens = [kept["answers"][arm][case.id]["tokens_in"] for _, case in (*early, *recent)]
    base = "" if arm == "whole" else None
    return (
        f"{ARMS[arm]}", f"{_mean(tokens):.0f}", _share(kept, arm, early), _share(kept, arm, recent),
        _loss(kept, arm, early) if base is None else "", _loss(kept, arm, recent) if base is None else "",
    )  # fmt: skip


def _pairs(kept: dict[str, Any], arm: str, which: str) -> list[tuple[Talk, Case]]:
    """Cases that were asked in this way and with the whole conversation."""
    there = kept["answers"]
    return [
        (talk, case) for talk in talks() for case in getattr(talk, which)
        if case.id in there[arm] and case.id in there["whole"]
    ]  # fmt: skip


def passed(kept: dict[str, Any], arm: str, case: Case) -> bool:
    answer = kept["answers"][arm][case.id]
    return score(case, answer["text"], answer["finish_reason"]).passed


def _share(kept: dict[str, Any], arm: str, pairs: list[tuple[Talk, Case]]) -> str:
    good = sum(passed(kept, arm, case) for _, case in pairs)
    found = wilson(good, len(pairs))
    return f"{good} of {len(pairs)}, {found.value:.0%} [{found.low:.0%}, {found.high:.0%}]"


def _loss(kept: dict[str, Any], arm: str, pairs: list[tuple[Talk, Case]]) -> str:
    def of(way: str) -> list[float]:
        return [float(passed(kept, way, case)) for _, case in pairs]

    return _interval(paired_difference(of(arm), of("whole"), [talk.id for talk, _ in pairs]))


def _interval(found: Estimate | None) -> str:
    return "unknown" if found is None else f"{found.value:+.0%} [{found.low:+.0%}, {found.high:+.0%}]"


def _lost(kept: dict[str, Any]) -> str:
    """What kind of fact a summary lost, and in which language."""
    pairs = _pairs(kept, "summary", "early")
    by: dict[str, list[bool]] = {}
    for talk, case in pairs:
        if passed(kept, "whole", case):
            for name in (case.id.partition("-")[2], talk.language):
                by.setdefault(name, []).append(passed(kept, "summary", case))
    told = ", ".join(f"{name} {sum(good)} of {len(good)}" for name, good in sorted(by.items()))
    return f"""  Of what the model answered rightly with the whole conversation, it still did with the summary: {told}.
  The conversations, and the words by which sentences are kept (a name, a figure, "only", "cannot", "do not want" and their like
  in three languages), have one author: on conversations of others expect more to be lost."""


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
