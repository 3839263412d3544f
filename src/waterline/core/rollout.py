"""The one mutable pointer: app + environment -> weighted Releases. Every move is an append-only record.

A session stays on its release because the choice is a hash of salt and session over cumulative weights, so it
survives restarts. Weights are in basis points (1/100 of a percent) and sum to 10_000.
"""

import hashlib
from typing import Literal

from msgspec import Struct

FULL_BP = 10_000
MoveKind = Literal["promote", "rollback", "pin", "unpin"]


class Share(Struct, frozen=True):
    release: str
    weight_bp: int


class Move(Struct, frozen=True):
    """One line of the history of a rollout. `shares` is the state after the move."""

    app: str
    env: str
    kind: MoveKind
    shares: tuple[Share, ...]
    salt: str  # changes only when a full promotion or rollback ends a comparison
    who: str
    why: str
    evidence: str  # a load line, an evaluation, or "experimental"
    at_us: int
    session: str = ""  # pin and unpin
    seq: int = 0  # given by the store


def bucket_of(salt: str, session: str) -> int:
    """Where a session falls, 0..9999; stable across processes and restarts."""
    digest = hashlib.blake2b(f"{salt}\0{session}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % FULL_BP


def choose(shares: tuple[Share, ...], salt: str, session: str) -> str:
    """The release of a session. `shares` are in order and sum to FULL_BP."""
    if len(shares) == 1:
        return shares[0].release
    at = bucket_of(salt, session)
    for share in shares:
        at -= share.weight_bp
        if at < 0:
            return share.release
    return shares[-1].release


def with_weight(shares: tuple[Share, ...], release: str, weight_bp: int) -> tuple[Share, ...]:
    """Give `release` its weight; the others keep their proportions. The new one comes first, so that raising its
    weight only ever adds sessions to it (nobody flips back and forth)."""
    if not 0 < weight_bp <= FULL_BP:
        raise ValueError("a weight is above 0 % and at most 100 %")
    others = [s for s in shares if s.release != release]
    rest = FULL_BP - weight_bp
    if rest == 0:
        return (Share(release, FULL_BP),)
    if not others:
        raise ValueError("there is no other release to carry the rest")
    total = sum(s.weight_bp for s in others)
    scaled = [Share(s.release, s.weight_bp * rest // total) for s in others]
    short_by = rest - sum(s.weight_bp for s in scaled)
    scaled[-1] = Share(scaled[-1].release, scaled[-1].weight_bp + short_by)
    return (Share(release, weight_bp), *(s for s in scaled if s.weight_bp))
