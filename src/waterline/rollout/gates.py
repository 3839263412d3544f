"""[environments.<env>]: what must be shown before a release is promoted there."""

import re
from collections.abc import Mapping
from typing import Any

from waterline.core.app_spec import Quality
from waterline.core.gates import GATE_NAMES, LIVE, SCORE_MIN, GateName, Gates, named_cases
from waterline.rollout import keys
from waterline.rollout.reading import Place, did_you_mean, read_table

_DIGITS = re.compile(r"[0-9a-f]{8,64}")
_OF: Mapping[GateName, tuple[str, ...]] = {
    "load_line": ("load_line_days",),
    "evaluation": (
        "evaluation_days",
        "evaluation_against",
        "evaluation_margin",
        "evaluation_cases",
        "evaluation_must_pass",
    ),
    "no_open_incident": (),
    "approval": ("approvals",),
}


def read_gates(place: Place, table: Mapping[str, Any], quality: Quality) -> Gates:
    values = read_table(place, table, keys.GATES)
    said = values.get("requires", ())
    requires: list[GateName] = []
    for name in said:
        known = next((gate for gate in GATE_NAMES if gate == name), None)
        if known is None:
            place.wrong("requires", f'there is no gate "{name}"', did_you_mean(name, GATE_NAMES))
        elif known in requires:
            place.wrong("requires", f'"{name}" is there twice', "Remove one of them")
        else:
            requires.append(known)
    if "requires" in values and not said:
        place.wrong("requires", "nothing is required", f'Write requires = ["{GATE_NAMES[0]}"], or remove the table')
    for gate, options in _OF.items():
        for option in options:
            if option in values and said and gate not in said:
                text = f'"{option}" is of the gate "{gate}", which is not required'
                place.wrong(option, text, f'Add "{gate}" to requires, or remove it')
    gates = Gates(**{**values, "requires": tuple(requires)})
    if "evaluation" in requires:
        _evaluation(place, gates, quality)
    return gates


def _evaluation(place: Place, gates: Gates, quality: Quality) -> None:
    against = gates.evaluation_against
    if against not in (LIVE, SCORE_MIN) and not _DIGITS.fullmatch(against):
        text = f'"{against}" is neither "{LIVE}", "{SCORE_MIN}" nor the first digits of a release'
        place.wrong("evaluation_against", text, f'Write evaluation_against = "{LIVE}", or 8 to 64 digits of a release')
    if gates.evaluation_cases and named_cases(gates.evaluation_cases) is None:
        text = f'"{gates.evaluation_cases}" is neither a case set nor the digest of one'
        remedy = 'Write its name, perhaps with ":held_out" or ":tuning", or the first 8 to 64 digits of its digest'
        place.wrong("evaluation_cases", text, remedy)
    for tag in gates.evaluation_must_pass:
        if not tag.strip() or "|" in tag:
            place.wrong("evaluation_must_pass", f'"{tag}" is no tag of a case', 'Write such as ["regression"]')
    if against == SCORE_MIN:
        if gates.evaluation_margin is not None:
            text = '"evaluation_margin" is of a comparison, but "evaluation_against" is "score_min"'
            place.wrong("evaluation_margin", text, "Remove it")
        if quality.score_min is None:
            text = 'the gate "evaluation" is against score_min, which is not declared'
            place.wrong("evaluation_against", text, "Write [objectives.quality] score_min = 0.8")
    elif gates.evaluation_margin is None and quality.regression_max is None:
        text = 'the gate "evaluation" has no margin: how much worse may a release be?'
        place.wrong("requires", text, "Write evaluation_margin = 0.05, or [objectives.quality] regression_max = 0.05")
