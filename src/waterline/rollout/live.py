"""What is live, in memory: for each app and environment the weighted releases, the salt and the pinned sessions.

It is loaded from the store when the server starts and moved by `rollout/moves.py` in the same step that the caller
waits for, so the next request sees a move. Which release a session gets is a hash (core/rollout.py), so it is the
same after a restart.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from waterline.core.errors import UnknownModel
from waterline.core.ids import short
from waterline.core.release import Release, StoredRelease, parse_release
from waterline.core.rollout import Move, Share, choose
from waterline.store import releases, rollouts
from waterline.store.db import Store, Tx


class LiveRelease(Struct, frozen=True):
    """The release that a request is served with."""

    id: str
    release: Release


class Unreadable(Struct, frozen=True):
    """A release that is in the history, but that this version cannot serve any more."""

    id: str
    why: str


class _State:
    """One environment of one app."""

    def __init__(self) -> None:
        self.shares: tuple[Share, ...] = ()
        self.salt = ""
        self.pins: dict[str, str] = {}  # session -> release


class Live:
    """Only the event loop's thread reads and moves it."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], _State] = {}
        self._releases: dict[str, LiveRelease | Unreadable] = {}

    @classmethod
    def load(cls, store: Store) -> "Live":
        """The state that the history in the store ends in. A release that cannot be read stops nobody but itself."""
        live = cls()

        def read(tx: Tx) -> tuple[list[Move], dict[str, StoredRelease]]:
            moves = []
            for latest in rollouts.latest_all(tx):
                moves += [latest, *rollouts.pins(tx, latest.app, latest.env)]
            wanted = {share.release for move in moves for share in move.shares}
            return moves, {i: found for i in wanted if (found := releases.get(tx, i)) is not None}

        moves, stored = store.read_sync(read)
        live.put(moves, stored)
        return live

    def put(self, moves: Iterable[Move], stored: Mapping[str, StoredRelease]) -> None:
        """Apply moves in their order. `stored`: the releases that they name; one that is missing is told as such."""
        for move in moves:
            for share in move.shares:
                if share.release not in self._releases or share.release in stored:
                    self._releases[share.release] = read_release(share.release, stored.get(share.release))
            self._apply(move)
        self._forget()

    def pick(self, app: str, env: str, session: str, otherwise: str) -> LiveRelease | None:
        """The release of a session: its pin, else its place in the weights. Without a session `otherwise` (the
        request's own id) takes a place, so that the weights hold over requests. None: nothing is live there.

        Raises UnknownModel if the release can no longer be read, saying why and what to do."""
        state = self._states.get((app, env))
        if state is None or not state.shares:
            return None
        chosen = state.pins.get(session) if session else None
        if chosen is None:
            chosen = choose(state.shares, state.salt, session or otherwise)
        found = self._releases[chosen]
        if isinstance(found, Unreadable):
            raise UnknownModel(
                f'Release {short(chosen)}, live for app "{app}" in "{env}", {found.why}. '
                f"Go back to another one: waterline rollback {app} --env {env}"
            )
        return found

    def state(self, app: str, env: str) -> tuple[tuple[Share, ...], int]:
        """The weighted releases (empty: nothing is live) and the number of pinned sessions."""
        state = self._states.get((app, env))
        return (state.shares, len(state.pins)) if state is not None else ((), 0)

    def environments(self, app: str) -> dict[str, tuple[Share, ...]]:
        """The environments of an app in which something is live."""
        return {env: s.shares for (name, env), s in sorted(self._states.items()) if name == app and s.shares}

    def release(self, release: str) -> Release | None:
        """One that is live or pinned somewhere; None: it is not, or it cannot be read."""
        found = self._releases.get(release)
        return found.release if isinstance(found, LiveRelease) else None

    def unreadable(self) -> list[Unreadable]:
        """Releases that are live or pinned and cannot be served; for the log at the start and for `doctor`."""
        return [found for found in self._releases.values() if isinstance(found, Unreadable)]

    def _apply(self, move: Move) -> None:
        state = self._states.setdefault((move.app, move.env), _State())
        match move.kind:
            case "promote":
                state.shares, state.salt = move.shares, move.salt
            case "rollback":
                state.shares, state.salt = move.shares, move.salt
                state.pins = {}  # nobody stays on what was rolled back
            case "pin":
                state.pins[move.session] = move.shares[0].release
            case "unpin":
                state.pins.pop(move.session, None)

    def _forget(self) -> None:
        """Releases that nobody can get any more."""
        used = {share.release for state in self._states.values() for share in state.shares}
        used |= {release for state in self._states.values() for release in state.pins.values()}
        self._releases = {i: found for i, found in self._releases.items() if i in used}


def read_release(release: str, stored: StoredRelease | None) -> LiveRelease | Unreadable:
    """The stored bytes as a Release, or why they are none for this version."""
    if stored is None:
        return Unreadable(release, "is in the history, but not in the store")
    try:
        return LiveRelease(release, parse_release(stored.manifest))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Unreadable(release, f"can no longer be read: {error}")
