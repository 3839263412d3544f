"""The tables of docs/reference/connectors.md, from the kinds themselves."""

from typing import Any

from waterline.connectors import registry
from waterline.connectors.base import Manifest

_QUERY = {"queries": {"find": {"sql": "SELECT 1"}}}
_LEAST: dict[str, dict[str, Any]] = {  # parameters with which a kind says what it is
    "ldap": {"base": "dc=example"},
    "mail": {"sender": "school@example.org"},
    "mariadb": _QUERY,
    "postgresql": _QUERY,
}
_BY_FILE = {
    "mcp": "`url`, `token`*",
    "openapi": "`url`, and what its description asks for",
    "python": "none",
    "soap": "`url`, `user`, `password`*",
}


def described(name: str) -> Manifest | None:
    """What a kind can do when as little as possible is declared; None: only its files say so."""
    return None if name in _BY_FILE else registry.kind(name).describe(_LEAST.get(name, {}), {})


def kinds() -> str:
    """One row a kind: its settings (* secret) and parameters."""
    lines = ["| kind | settings (* secret) | parameters in app.toml |", "| --- | --- | --- |"]
    for name in registry.KINDS:
        kind, manifest = registry.kind(name), described(name)
        shown = _BY_FILE.get(name) or _settings(manifest)
        required = kind.PARAMETERS.get("required", ())
        parameters = ", ".join(
            f"`{one}`{' (required)' if one in required else ''}" for one in kind.PARAMETERS.get("properties", {})
        )
        lines.append(f"| `{name}` | {shown} | {parameters or '-'} |")
    return "\n".join(lines) + "\n"


def _settings(manifest: Manifest | None) -> str:
    if manifest is None:
        return "none"
    return ", ".join(f"`{one}`{'*' if one in manifest.secrets else ''}" for one in manifest.settings)


def operations(manifest: Manifest) -> str:
    """One row an operation."""
    lines = [
        "| operation | effect | once by | asks first | arguments | does |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in manifest.operations:
        confirm = "yes" if one.confirm else "-"
        arguments = _arguments(one.parameters, one.personal) or "-"
        lines.append(
            f"| `{one.name}` | {one.effect} | {one.once or '-'} | {confirm} | {arguments} | {one.description} |"
        )
    return "\n".join(lines) + "\n"


def _arguments(schema: dict[str, Any], personal: tuple[str, ...]) -> str:
    required = schema.get("required", ())
    return ", ".join(
        f"`{name}`{'' if name in required else '?'}{' (personal)' if name in personal else ''}"
        for name in schema.get("properties", {})
    )
