"""What a release declares to make answers cheaper. All of it can change an answer, so it is part of the Release."""

from msgspec import Struct


class Cache(Struct, frozen=True, omit_defaults=True):
    """The exact cache: in memory, of one process, empty after a restart."""

    exact: bool = False
    ttl_s: int = 3600
    max_mb: int = 64  # of this app in one process; the least recently used go first
    shared: bool = False  # between the keys and subjects of an environment; groups never share
    tool_calls: bool = False  # answers that call tools are kept too
