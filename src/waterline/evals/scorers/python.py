"""`python`: functions of the app's own folder, `scorers/tone.py` with `def polite(answer, case)` as "tone:polite".

It answers True or False, or a number that must reach what the case says, or either with a reason: `(0.4, "curt")`. One
that raises fails the case, with what it said. It is the team's own code and runs as such, where `waterline eval` runs.
"""

import importlib.util
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from waterline.core.case import Case
from waterline.core.errors import WaterlineError
from waterline.core.ids import sha256_hex
from waterline.evals.scorers.base import Function, Given, Part

NAME = re.compile(r"([a-z_][a-z0-9_]*):([A-Za-z_]\w*)\Z")


class NoFunction(WaterlineError):
    """A case names a function that is not there."""


def score(case: Case, given: Given) -> list[Part]:
    return [_part(name, least, case, given) for name, least in case.expect.python.items()]


def _part(name: str, least: float, case: Case, given: Given) -> Part:
    if given.functions is None or name not in given.functions:
        return Part(name, False, "functions are run by waterline eval only")
    try:
        found = given.functions[name](given.text, msgspec.to_builtins(case))
    except Exception as error:  # noqa: BLE001  whatever the team's code raises is its answer
        return Part(name, False, f"it raised {type(error).__name__}: {error}"[:300])
    reason = ""
    if isinstance(found, tuple) and len(found) == 2:
        found, reason = found[0], str(found[1])[:300]
    if not isinstance(found, (bool, int, float)) or not math.isfinite(found):
        return Part(name, False, f"it answered {type(found).__name__}, not True, False or a number")
    held = float(found) >= least
    return Part(name, held, "" if held else reason or f"{float(found):g}, at least {least:g}")


def load(folder: Path, cases: Sequence[Case]) -> tuple[dict[str, Function], str]:
    """The functions that the cases name, from `folder`, and a digest of their files. Raises NoFunction."""
    names = sorted({name for case in cases for name in case.expect.python})
    found: dict[str, Function] = {}
    texts: dict[str, str] = {}
    for name in names:
        match = NAME.match(name)
        if match is None:
            raise NoFunction(f'"{name}" is no name of a scorer. Write "file:function" for scorers/file.py.')
        path = folder / f"{match[1]}.py"
        if not path.is_file():
            raise NoFunction(f'A case names "{name}", but there is no {path}. Write it, or correct the name.')
        texts[match[1]] = path.read_text(encoding="utf-8")
        function = getattr(_module(path), match[2], None)
        if not callable(function):
            raise NoFunction(f'{path} has no function "{match[2]}".')
        found[name] = function
    return found, _digest(texts)


def _module(path: Path) -> object:
    spec = importlib.util.spec_from_file_location(f"waterline_scorers_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise NoFunction(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _digest(texts: Mapping[str, str]) -> str:
    return sha256_hex(msgspec.json.encode(sorted(texts.items())))[:12] if texts else ""
