"""Answers kept in memory, and what an answer depends on.

A key that leaves something out gives one caller another's answer, so it holds more than is needed: who asks, under
which release, and the whole upstream request as rendered. See docs/adr/0004-cache-key.md.
"""

import re
from collections import OrderedDict

import msgspec
from msgspec import Struct

from waterline.access.roles import Principal
from waterline.core.ids import keyed_digest
from waterline.core.request import Request

ENTRY_BYTES = 600  # about what an entry takes beside its answer
_COMPLETE = frozenset(("stop", "end_turn", "stop_sequence", "completed"))
_TOOL_FINISH = frozenset(("tool_calls", "function_call", "tool_use"))
# Quotes inside a JSON string are escaped, so these are keys, and values that are not empty.
_CALLS_TOOL = re.compile(
    rb'"(?:tool_calls|function_call)"\s*:(?!\s*(?:null|\[\s*\]))|"type"\s*:\s*"(?:tool_use|function_call)"'
)
_encode = msgspec.json.Encoder().encode


class Kept(Struct, frozen=True):
    """A complete answer as its caller got it."""

    body: bytes
    at_us: int
    trace: str
    text: tuple[str, ...]
    finish_reason: str
    chunks: int

    @property
    def size(self) -> int:
        return len(self.body) + sum(map(len, self.text)) + ENTRY_BYTES


class AnswerCache:
    """Least recently used first out, bounded by bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: str, now_us: int, ttl_s: int) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if not 0 <= now_us - kept.at_us < ttl_s * 1_000_000:  # too old, or the clock was set back
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def keep(self, key: str, kept: Kept, max_bytes: int) -> None:
        """An answer larger than an eighth of the whole is not kept: it would push out too many others."""
        if kept.size > max_bytes // 8:
            return
        self._drop(key)
        self._kept[key] = kept
        self.bytes += kept.size
        while self.bytes > max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self.bytes -= old.size


def key_of(
    request: Request, principal: Principal, release_id: str, route: str, rendered: bytes, *, shared: bool, secret: bytes
) -> str:
    """Keyed digest of everything the answer may depend on. `rendered`: the upstream body, prompt and clock put in.

    The shape of the answer counts too: the path, streamed or not, with the usage event or not."""
    scope = _encode(
        [
            principal.app,
            principal.env,
            principal.branch,
            "" if shared else principal.key_id,
            "" if shared else request.subject,
            sorted(request.groups),
            release_id,
            route,
            request.path,
            request.stream,
            request.include_usage,
            *request.betas,
        ]
    )
    return keyed_digest(secret, scope + rendered)


def may_be_kept(finish_reason: str, body: bytes, *, chat: bool, tool_calls: bool) -> bool:
    """Whole answers only: nothing truncated, filtered or broken; answers that call tools only where declared.

    Some servers say "stop" where a tool is called, so the answer itself is looked at as well."""
    if not chat:
        return True
    if finish_reason not in _COMPLETE and not (tool_calls and finish_reason in _TOOL_FINISH):
        return False
    return tool_calls or not calls_tool(body)


def calls_tool(body: bytes) -> bool:
    return _CALLS_TOOL.search(body) is not None
