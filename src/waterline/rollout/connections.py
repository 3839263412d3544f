"""[connectors.<name>] of app.toml: a kind and its parameters. Addresses and secrets are the server's settings.

What a connector is declared as goes into the environment record; what its operations ask for and do, which changes
answers, into the release, by value.
"""

from typing import Any

import msgspec

from waterline.connectors import registry
from waterline.connectors.arguments import misfit
from waterline.connectors.base import BadParameter, Kind, Manifest
from waterline.core.app_spec import Connection
from waterline.core.offered import tool_name
from waterline.rollout.environment import AppToml
from waterline.rollout.reading import Place, did_you_mean, plain_json
from waterline.rollout.routes import NAME, NAME_RULE
from waterline.settings.read import connector_variable

_SETTINGS = ("url", "host", "port", "database", "user", "password", "token", "secret", "dsn", "folder")


def read_connectors(app: AppToml) -> tuple[dict[str, Connection], dict[str, Any]]:
    """The connections, and the contracts of their operations, both by name."""
    table = app.table.get("connectors", {})
    place = app.place("connectors")
    if not isinstance(table, dict):
        place.wrong("", '"connectors" is not a table', "Write a table for each: [connectors.crm]")
        return {}, {}
    connections: dict[str, Connection] = {}
    contracts: dict[str, Any] = {}
    for name, values in table.items():
        if not NAME.match(name):
            place.wrong(name, f'"{name}" is not a good name for a connector', NAME_RULE)
        elif not isinstance(values, dict):
            place.wrong(name, f'"connectors.{name}" is not a table', f"Write a table: [connectors.{name}]")
        elif found := _connector(app.place("connectors", name), name, values):
            connections[name], manifest = found
            contracts[name] = contract(manifest)
    return connections, contracts


def read_offered(app: AppToml, contracts: dict[str, Any]) -> tuple[str, ...]:
    """[mcp] tools: the operations that others may call at /mcp."""
    offered: tuple[str, ...] = app.read("mcp").get("tools", ())
    place = app.place("mcp")
    known = [f"{name}.{operation}" for name, told in contracts.items() for operation in told["operations"]]
    names: dict[str, str] = {}
    for one in offered:
        if one not in known:
            remedy = did_you_mean(one, known) if known else "Declare the connector: [connectors.<name>]"
            place.wrong("tools", f'no connector has the operation "{one}"', remedy)
        elif names.setdefault(tool_name(one), one) != one:
            place.wrong("tools", f'"{one}" and "{names[tool_name(one)]}" would be one tool', "Rename a connector")
    return tuple(dict.fromkeys(offered))


def contract(manifest: Manifest) -> dict[str, Any]:
    """What models and flows are told of a connector."""
    operations = {
        operation.name: {
            "description": operation.description,
            "parameters": operation.parameters,
            "effect": operation.effect,
            "confirmation": operation.confirm,
        }
        for operation in manifest.operations
    }
    plain: dict[str, Any] = msgspec.to_builtins({"kind": manifest.kind, "operations": operations})
    return plain


def _connector(place: Place, name: str, values: dict[str, Any]) -> tuple[Connection, Manifest] | None:
    kind_name = values.get("kind")
    if not isinstance(kind_name, str) or kind_name not in registry.KINDS:
        known = ", ".join(registry.KINDS)
        if kind_name is None:
            place.wrong("", f'[connectors.{name}] has no "kind"', f"Write kind = one of {known}")
        else:
            near = did_you_mean(str(kind_name), registry.KINDS)
            place.wrong("kind", f'there is no kind of connector "{kind_name}"', near)
        return None
    kind = registry.kind(kind_name)
    parameters = {key: value for key, value in values.items() if key != "kind"}
    for key in list(parameters):
        try:
            parameters[key] = plain_json(parameters[key])
        except ValueError as error:
            place.wrong(key, f'"{key}": {error}', "Write text, a number, true or false, a list or a table")
            return None
    if not _fits(place, name, kind, parameters):
        return None
    files = _files(place, kind, parameters)
    if files is None:
        return None
    try:
        manifest = kind.describe(parameters, files)
    except BadParameter as error:
        place.wrong(error.key.split(".")[0], f"[connectors.{name}] {error}", error.remedy)
        return None
    return Connection(kind_name, parameters, files), manifest


def _fits(place: Place, name: str, kind: Kind, parameters: dict[str, Any]) -> bool:
    """Each parameter by itself, so that each mistake has its line."""
    properties = kind.PARAMETERS.get("properties", {})
    good = True
    for key, value in parameters.items():
        if key not in properties and key in _SETTINGS:
            remedy = f"Remove it and set {connector_variable(name, key)}"
            place.wrong(key, f'"{key}" is a setting of the server, not of the app', remedy)
            good = False
        elif key not in properties:
            place.wrong(key, f'unknown key "[connectors.{name}] {key}"', did_you_mean(key, {"kind", *properties}))
            good = False
        elif wrong := misfit(value, properties[key]):
            what = wrong.replace("the whole", "it")
            place.wrong(key, f'"[connectors.{name}] {key}" is wrong: {what}', "See docs/reference/connectors.md")
            good = False
    for key in kind.PARAMETERS.get("required", ()):
        if key not in parameters:
            place.wrong("", f'[connectors.{name}] has no "{key}"', "See docs/reference/connectors.md")
            good = False
    return good


def _files(place: Place, kind: Kind, parameters: dict[str, Any]) -> dict[str, str] | None:
    """The texts of files that parameters name, by parameter."""
    found = {}
    for key, schema in kind.PARAMETERS.get("properties", {}).items():
        if schema.get("format") != "file" or key not in parameters:
            continue
        file = parameters[key]
        if not place.folder.inside(file) or not place.folder.has(file):
            place.wrong(key, f'there is no file "{file}" in the app folder', "Write its path from the app folder")
            return None
        text = place.folder.text(file)
        if text is None:
            return None
        found[key] = text
    return found
