"""What connectors share to do a thing once: how it is declared, a key that fits anywhere, the record written before."""

import hashlib
from typing import Any

from waterline.connectors.base import ConnectorFault


def writes(once: tuple[str, ...], texts: tuple[str, ...], required: tuple[str, ...] = ("once",)) -> dict[str, Any]:
    """JSON Schema of [connectors.<name>.writes.<operation>]. `once`: the ways that this kind knows; `texts`: what says
    where the key goes and how it is found."""
    one = {
        "once": {"type": "string", "enum": list(once)},
        "effect": {"type": "string", "enum": ["write", "irreversible"]},
        "confirm": {"type": "boolean"},
        **{name: {"type": "string"} for name in texts},
        "timeout_s": {"type": "number", "minimum": 0.1, "maximum": 120},
    }
    of_one = {"type": "object", "properties": one, "required": list(required)}
    return {"type": "object", "additionalProperties": of_one}


def safe_key(key: str) -> str:
    """The key as any header, path or field takes it: at most 64 letters, digits, - and _."""
    return "wl-" + hashlib.sha256(key.encode()).hexdigest()[:40]


def written_before(found: dict[str, Any], field: str, name: str, asked: str) -> dict[str, Any] | None:
    """The record of an answer (alone, or in a list in a field) whose `field` is `name`. Raises ConnectorFault if there
    are records, and none is the asked one: the filter is not obeyed or the field is not told, so a repeat could not be
    seen."""
    lists = [value for value in found.values() if isinstance(value, list)]
    records = [r for many in lists for r in many if isinstance(r, dict)] if lists else [found] if found else []
    for record in records:
        if record.get(field) == name:
            return record
    if records:
        raise ConnectorFault("schema", f"{asked} found records that are not the asked one. Nothing was written.")
    return None
