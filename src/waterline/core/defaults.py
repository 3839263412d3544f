"""The same content, the same bytes: defaults are left out by value, not by identity."""

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T", bound=Struct)


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
