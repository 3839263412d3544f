"""What connectors share to do a thing once: a key that fits anywhere, and the record that it wrote before."""

import hashlib
from typing import Any

from waterline.connectors.base import ConnectorFault


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
