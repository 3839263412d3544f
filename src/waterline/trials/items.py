"""The cases of an evaluation as they are kept: what was asked, and what either release answered."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from waterline.core.case import Case
from waterline.evals.experiment import Answer, Arm, Item, Plan, change

TEXT_CHARS = 20_000  # of one answer; a longer one is kept whole in the journal


def items_of(journal: Path, plan: Plan, cases: Sequence[Case]) -> Iterator[Item]:
    """In the order of the cases. Only where each answer lies is held in memory."""
    places: dict[str, list[int]] = {case.id: [] for case in cases}
    decoder = msgspec.json.Decoder(Answer)
    with journal.open("rb") as stream:
        at = len(stream.readline())
        seen: set[tuple[str, Arm, int]] = set()
        for line in stream:
            try:
                answer = decoder.decode(line)
            except msgspec.DecodeError:
                answer = None
            if answer is not None and (answer.case, answer.arm, answer.repeat) not in seen:
                seen.add((answer.case, answer.arm, answer.repeat))
                places[answer.case].append(at)
            at += len(line)
        for ordinal, case in enumerate(cases, start=1):
            found = []
            for place in places[case.id]:
                stream.seek(place)
                found.append(decoder.decode(stream.readline()))
            yield _item(ordinal, case, plan, found)


def _item(ordinal: int, case: Case, plan: Plan, found: list[Answer]) -> Item:
    def score(arm: Arm) -> float:
        return sum(a.passed for a in found if a.arm == arm) / plan.repeats

    first, second = (score("first") if plan.against else None), score("second")
    answers = sorted(found, key=lambda a: (a.repeat, a.arm))
    return Item(
        ordinal=ordinal, case=case.id, tags=case.tags, asked=case.turns()[-1].content[:TEXT_CHARS],
        expect=msgspec.json.encode(case.expect).decode(), first=first, second=second,
        change=change(first, second) if first is not None else "same",
        answers=tuple(msgspec.structs.replace(a, text=a.text[:TEXT_CHARS]) for a in answers),
    )  # fmt: skip
