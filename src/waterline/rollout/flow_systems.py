"""What a flow asks of connected systems, held to what they offer: the connector, its operation, its arguments."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from waterline.core.flow import Flow
from waterline.rollout.reading import did_you_mean

GIVEN_TO_LOOKUPS = ("from", "days", "not_before", "limit")  # besides what the flow says
Wrong = Callable[[tuple[str | int, ...], str, str], None]  # path in the file, problem, remedy


def check_systems(flow: Flow, contracts: Mapping[str, Any], declared: Collection[str], wrong: Wrong) -> None:
    """`contracts`: of the connectors that are declared well; what is `declared` otherwise has a mistake of its own."""
    uses: list[tuple[tuple[str | int, ...], str, str, Mapping[str, str], str]] = []
    if flow.lookup is not None:
        of = flow.lookup
        uses.append(
            (("lookup",), of.connector, of.operation, {**of.arguments, **dict.fromkeys(GIVEN_TO_LOOKUPS, "")}, "")
        )
    for number, action in enumerate(flow.actions):
        uses.append((("action", number), action.connector, action.operation, action.arguments, action.when))
    for path, connector, name, arguments, when in uses:
        if connector not in declared:
            wrong((*path, "connector"), f"there is no [connectors.{connector}]", did_you_mean(connector, declared))
            continue
        if connector not in contracts:
            continue
        operations = contracts[connector]["operations"]
        if name not in operations:
            wrong((*path, "operation"), f'{connector} has no operation "{name}"', did_you_mean(name, operations))
            continue
        operation = operations[name]
        if not when and operation["effect"] != "read":
            wrong((*path, "operation"), f"{name} changes something", "A lookup only reads")
        if when == "known" and operation["confirmation"]:
            wrong((*path, "when"), f"{name} asks first", 'Write when = "confirmed", "moved" or "cancelled"')
        _arguments(path, name, operation["parameters"], arguments, wrong, lookup=not when)


def _arguments(
    path: tuple[str | int, ...],
    name: str,
    schema: Mapping[str, Any],
    given: Mapping[str, str],
    wrong: Wrong,
    lookup: bool,
) -> None:
    known = schema.get("properties", {})
    if schema.get("additionalProperties") is not True:
        for argument in given:
            if argument not in known and not (lookup and argument in GIVEN_TO_LOOKUPS):
                wrong((*path, "arguments"), f"{name} takes no {argument}", did_you_mean(argument, known))
    for argument in schema.get("required", ()):
        if argument not in given:
            wrong((*path, "arguments"), f"{name} needs {argument}", f'Write {argument} = "..."')
