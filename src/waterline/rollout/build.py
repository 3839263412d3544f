"""From an app folder to a release: its manifest, whose SHA-256 is its id, and the environment record beside it.

The manifest holds what can change an answer, by value. Names are sorted, so the same content gives the same id in any
folder on any machine, whatever the order and the dates of the files; limits, prices, objectives and cases do not change
it. Inside a JSON Schema the keys stay as they were written, because models fill in fields in the order of the schema.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from waterline.core.app_spec import encode_spec, spec_id
from waterline.core.release import Release, release_id
from waterline.rollout.check import check

T = TypeVar("T", bound=Struct)


class Built(Struct, frozen=True):
    app: str
    release_id: str
    manifest: bytes  # stored as they are; the id is their digest
    spec_id: str
    spec_record: bytes
    warnings: list[str]


def build(folder: Path, *, model_digests: Mapping[str, str], known_drills: Collection[str]) -> Built:
    """Raises AppFolderError with every mistake in the folder."""
    checked = check(folder, model_digests=model_digests, known_drills=known_drills)
    manifest = encode_in_order(checked.release)
    record = encode_spec(with_default_objects(checked.spec))
    return Built(checked.release.app, release_id(manifest), manifest, spec_id(record), record, checked.warnings)


def encode_in_order(release: Release) -> bytes:
    """The manifest: names sorted, JSON values in the order in which they were written."""
    routes = {
        name: msgspec.structs.replace(route, params=_sorted(route.params))
        for name, route in sorted(release.routes.items())
    }
    prompts = {
        name: msgspec.structs.replace(prompt, defaults=_sorted(prompt.defaults))
        for name, prompt in sorted(release.prompts.items())
    }
    ordered = msgspec.structs.replace(
        release, routes=routes, prompts=prompts, tools=_sorted(release.tools), files=_sorted(release.files)
    )
    return msgspec.json.encode(with_default_objects(ordered))


def _sorted(table: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(table.items()))


def with_default_objects(value: T) -> T:
    """The same struct, with the very default object wherever a value equals its default.

    msgspec leaves a default out by identity for texts and numbers, so a "system" that was read from a file would be
    written and one that was not said would be left out: the same content, two ids."""
    changes = {}
    for field in msgspec.structs.fields(type(value)):
        now = getattr(value, field.name)
        if type(now) is type(field.default) and now == field.default:
            changes[field.name] = field.default
        else:
            changes[field.name] = _inner_defaults(now)
    return msgspec.structs.replace(value, **changes)


def _inner_defaults(value: Any) -> Any:
    if isinstance(value, Struct):
        return with_default_objects(value)
    if isinstance(value, dict):
        return {k: _inner_defaults(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_inner_defaults(v) for v in value)
    return value
