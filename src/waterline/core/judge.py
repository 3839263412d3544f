"""A judge as an app folder declares it: a question about an answer, and the pinned model that is asked it.

It is no part of a release (rolling back must not bring an old judge back); it is an environment record. Its id is what
it was calibrated as: another prompt, model or parameter is another judge.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from waterline.core.ids import sha256_hex
from waterline.core.release import Route

Scale = Literal["yes/no", "pairwise"]
HARNESS = "1"  # of what is put around a judge's text (evals/judges.py); another one makes other judges
VARIABLES = ("input", "answer", "expected", "context", "other")


class Judge(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    question: str  # what people are asked when they label: "Is the answer polite?"
    text: str  # the rubric, with {{answer}} and others of VARIABLES
    route: Route
    scale: Scale = "yes/no"  # yes is good
    sample: float = 0.0  # the share of live answers that it looks at
    nano_usd_per_day: int | None = None  # what that may cost; None: nothing that has a price


def judge_id(judge: Judge) -> str:
    route = judge.route
    pinned = (
        HARNESS, judge.scale, judge.question, judge.text, route.provider, route.model, route.base_url, route.digest,
        route.params, route.max_tokens,
    )  # fmt: skip
    return sha256_hex(msgspec.json.encode(pinned, order="deterministic"))


def question_id(judge: Judge) -> str:
    """What labels are of: people who were asked another question labelled something else."""
    return sha256_hex(" ".join(judge.question.split()).casefold().encode())[:16]


def is_pinned(judge: Judge, answered_as: str) -> bool:
    """Whether the model that says it answered is the one that was declared. Local weights are pinned by their digest,
    and a provider that does not say is believed."""
    route = judge.route
    if route.provider == "local" or not answered_as:
        return True
    return answered_as.removeprefix("models/") == route.model.removeprefix("models/")
