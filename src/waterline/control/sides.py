"""The side of a case that is about to be accepted: that of the cases which ask the same, else by a hash.

The questions of the set that was worked on last are kept compared; a new version brings only what changed in it.
"""

import asyncio
from collections.abc import Callable
from threading import Lock

from msgspec import Struct

from waterline.core.case import Case, Split
from waterline.core.errors import Refused
from waterline.evals.leaks import Bridged, side_of
from waterline.evals.near import Embed, Index
from waterline.store import cases
from waterline.store.db import Store, Tx

MOST_CHANGES = 500  # beyond it the set is read again


class _Known(Struct):
    app: str
    name: str
    version: int
    index: Index
    ids: list[str]
    splits: list[str]


class Sides:
    def __init__(self, store: Store, embedder: Callable[[], Embed | None]) -> None:
        self._store = store
        self._embedder = embedder
        self._known: _Known | None = None
        self._lock = Lock()

    async def of(self, app: str, name: str, case: Case, auto: bool) -> tuple[Split, int]:
        """The side, and the version of the set that it is right for (0: there is none). Raises Refused where the case
        would ask on one side what the other side asks."""
        return await asyncio.to_thread(self._of, app, name, case, auto)

    def forget(self) -> None:
        self._known = None

    def _of(self, app: str, name: str, case: Case, auto: bool) -> tuple[Split, int]:
        with self._lock:
            known = self._known = self._read(app, name)
            splits = [split if one != case.id else "" for one, split in zip(known.ids, known.splits, strict=True)]
            try:
                right = side_of(case.asked, known.index, splits)
            except Bridged as both:
                raise Refused(
                    f'It asks the same as "{known.ids[both.tuning][:80]}" (tuning) and as '
                    f'"{known.ids[both.held_out][:80]}" (held out). Put it on no side, or take one of them out.',
                    409,
                ) from None
            if auto or not case.split or case.split == right:
                return (right if auto else case.split), known.version
            same = next((hit.row for hit in known.index.same(case.asked) if splits[hit.row] == right), None)
            if same is None:
                return case.split, known.version
            raise Refused(
                f'It asks the same as "{known.ids[same][:80]}", which is on the side {right}. Put it there too.', 409
            )

    def _read(self, app: str, name: str) -> _Known:
        def read(tx: Tx) -> tuple[int, list[Case], list[str]] | None:
            """The cases to put in, and the ids to leave out; None: what is known is the newest."""
            head = cases.head(tx, app, name)
            version = head.version if head else 0
            if same and known is not None:
                if version == known.version:
                    return None
                changes = cases.diff(tx, app, name, known.version, version, MOST_CHANGES + 1)
                if len(changes) <= MOST_CHANGES:
                    found = [cases.get(tx, change.second) for change in changes if change.second]
                    gone = [change.name for change in changes]
                    return version, [one.case for one in found if one is not None and one.case is not None], gone
            return version, list(cases.each(tx, app, name, version)) if version else [], []

        known = self._known
        same = known is not None and (known.app, known.name) == (app, name)
        found = self._store.read_sync(read)
        if found is None and known is not None:
            return known
        assert found is not None
        version, fresh, gone = found
        if not same or known is None or not gone:
            known = _Known(app, name, version, Index([], self._embedder()), [], [])
        left = set(gone)
        known.splits = ["" if one in left else split for one, split in zip(known.ids, known.splits, strict=True)]
        known.index.add([case.asked for case in fresh])
        known.ids += [case.id for case in fresh]
        known.splits += [case.split for case in fresh]
        known.version = version
        return known
