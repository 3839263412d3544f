"""What an environment asks of a release before users get it: [environments.<env>] in app.toml, a part of the
environment record."""

import re
from collections.abc import Mapping
from typing import Literal, get_args

from msgspec import Struct

GateName = Literal["load_line", "evaluation", "no_open_incident", "approval"]
GATE_NAMES: tuple[GateName, ...] = get_args(GateName)
LIVE, SCORE_MIN = "live", "score_min"


class Gates(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`evaluation_margin` None: [objectives.quality] regression_max. Days: how old the evidence may be."""

    requires: tuple[GateName, ...] = ()
    load_line_days: int = 30
    evaluation_days: int = 30
    evaluation_against: str = LIVE  # or "score_min", or the first digits of a release
    evaluation_margin: float | None = None
    evaluation_cases: str = ""  # see `named_cases`; "": any
    evaluation_must_pass: tuple[str, ...] = ()  # tags: of their cases every answer passes
    approvals: int = 1


NONE = Gates()
_CASES = re.compile(r"(?P<digest>[0-9a-f]{8,64})|(?P<name>[a-z0-9][a-z0-9_-]{0,63})(:(?P<split>tuning|held_out))?")


class NamedCases(Struct, frozen=True):
    """The first digits of a set's digest; or a set of the server, in its newest version, perhaps one side of it."""

    digest: str = ""
    name: str = ""
    split: str = ""


def named_cases(text: str) -> NamedCases | None:
    """None: it is neither."""
    found = _CASES.fullmatch(text)
    return NamedCases(*(found[part] or "" for part in ("digest", "name", "split"))) if found else None


def loosened(now: Mapping[str, Gates], then: Mapping[str, Gates]) -> list[str]:
    """What `then` no longer asks, or asks less of, in words; empty: it is at least as strict everywhere. Both have
    their margins filled in. An environment that is left out asks for nothing."""
    found = []
    for env, gates in now.items():
        new = then.get(env, NONE)
        found += [f'"{env}" no longer requires {name}' for name in gates.requires if name not in new.requires]
        kept = [name for name in gates.requires if name in new.requires]
        found += [f'"{env}": {said}' for name in kept for said in _less(name, gates, new)]
    return found


def _less(name: GateName, now: Gates, then: Gates) -> list[str]:
    match name:
        case "load_line":
            more = then.load_line_days > now.load_line_days
            return [f"load_line_days {now.load_line_days} -> {then.load_line_days}"] if more else []
        case "approval":
            fewer = then.approvals < now.approvals
            return [f"approvals {now.approvals} -> {then.approvals}"] if fewer else []
        case "evaluation":
            return _less_evaluated(now, then)
        case "no_open_incident":
            return []


def _less_evaluated(now: Gates, then: Gates) -> list[str]:
    found = []
    if then.evaluation_days > now.evaluation_days:
        found.append(f"evaluation_days {now.evaluation_days} -> {then.evaluation_days}")
    if (then.evaluation_margin or 0.0) > (now.evaluation_margin or 0.0):
        found.append(f"evaluation_margin {now.evaluation_margin or 0.0:g} -> {then.evaluation_margin or 0.0:g}")
    if then.evaluation_against != now.evaluation_against:
        found.append(f'evaluation_against "{now.evaluation_against}" -> "{then.evaluation_against}"')
    was, is_ = named_cases(now.evaluation_cases), named_cases(then.evaluation_cases)
    longer = was is not None and is_ is not None and was.digest != "" and is_.digest.startswith(was.digest)
    if now.evaluation_cases and now.evaluation_cases != then.evaluation_cases and not longer:
        found.append(f'evaluation_cases "{now.evaluation_cases}" -> "{then.evaluation_cases or "any"}"')
    for tag in now.evaluation_must_pass:
        if tag not in then.evaluation_must_pass:
            found.append(f'evaluation_must_pass without "{tag}"')
    return found
