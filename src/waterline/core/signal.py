"""The signs in what a user says or does next that the answer before it was no good. Heard by `evals/signals.py`."""

from typing import Literal, get_args

Signal = Literal["rephrased", "retried", "not_what_i_asked", "anger", "language_switch", "human_requested", "abandoned"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)
# Two points are off the rails: one of the strong ones, or two of the others.
POINTS: dict[Signal, int] = {
    "not_what_i_asked": 2, "anger": 2, "human_requested": 2, "rephrased": 1, "retried": 1, "abandoned": 1,
    "language_switch": 0,
}  # fmt: skip
