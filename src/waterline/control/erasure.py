"""Erasing a person: `waterline subject erase`. What is taken out where is the answer; docs/howto/erase-a-person.md says
what is not."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal, require
from waterline.access.stored import AuditRows
from waterline.core.errors import Refused
from waterline.core.ids import keyed_digest
from waterline.evals.experiment import Item
from waterline.store import erasure
from waterline.store.db import Store, Tx
from waterline.store.erasure import LONGEST, Count, Person


class ErasureBody(Struct, forbid_unknown_fields=True):
    """`subject`: as the app sends it (x-waterline-subject), its keyed hash as traces show it, a proven phone number or
    address, or the id of a conversation."""

    subject: str
    why: str = ""


class Erased(Struct, frozen=True):
    """`rewritten`: the database file holds no byte of it any more. `reference`: what the audit log calls it."""

    reference: str
    count: Count
    rewritten: bool


class ErasureDesk:
    def __init__(
        self, store: Store, clock_us: Callable[[], int], digest_key: bytes, drain: Callable[[], Awaitable[None]],
        forget: Iterable[Callable[[], None]],
    ) -> None:  # fmt: skip
        """`forget`: drop what is kept in memory (answers, summaries, measurements)."""
        self._store = store
        self._clock_us = clock_us
        self._key = digest_key
        self._drain = drain
        self._to_forget = list(forget)
        self.begin_spool: Callable[[], None] = lambda: None  # set by who has the spool: what was spooled can be deleted
        self._one = asyncio.Lock()

    async def erase(self, who: Principal, said: ErasureBody) -> Erased:
        """May take minutes on a large database: its file is written anew. Nothing found is an answer, no error."""
        require(who, Action.SUBJECT_ERASE)
        text = said.subject.strip()
        if not text or len(text) > LONGEST:
            raise Refused(f"Name the person in 1 to {LONGEST} characters.", 400)
        async with self._one:
            return await asyncio.shield(asyncio.create_task(self._erase(who, text, said.why)))

    async def _erase(self, who: Principal, text: str, why: str) -> Erased:
        subjects = [self._hash(text), *([text] if erasure.is_subject(text) else [])]
        reference = subjects[-1][:12]
        count = Count()
        self._forget()
        self.begin_spool()
        await self._drain()
        person = await self._store.read(lambda tx: erasure.person(tx, text, self._of_identity, subjects))
        while await self._store.write(lambda tx: self._batch(tx, who, person, count)):
            pass
        await self._store.write(lambda tx: self._rest(tx, who, person, count, reference, why))
        self._forget()  # what was measured meanwhile
        return Erased(reference, count, await self._store.rewrite())

    def _batch(self, tx: Tx, who: Principal, person: Person, count: Count) -> bool:
        """Whether there may be more."""
        before = count.traces
        found = erasure.erase_traces(tx, person, count)
        erasure.erase_cases(tx, found, count, who.name, self._clock_us(), blank_item)
        return count.traces > before

    def _rest(self, tx: Tx, who: Principal, person: Person, count: Count, reference: str, why: str) -> None:
        now = self._clock_us()
        found = erasure.erase_rest(tx, person, count, now)
        erasure.erase_cases(tx, found, count, who.name, now, blank_item)
        detail = {"why": why[:300], **{name: str(n) for name, n in msgspec.structs.asdict(count).items() if n}}
        audit.append(
            AuditRows(tx), at_us=now, by=who, action=Action.SUBJECT_ERASE.value, target=reference, detail=detail
        )

    def _forget(self) -> None:
        for forget in self._to_forget:
            forget()

    def _hash(self, text: str) -> str:
        return keyed_digest(self._key, text.encode())

    def _of_identity(self, identity: str) -> str:
        return self._hash(f"person:{identity}")  # as conversations.py asks in their name


def blank_item(stored: bytes, name: str) -> bytes:
    """A case of an evaluation without words; its figures stay."""
    item = msgspec.json.decode(stored, type=Item)
    answers = tuple(msgspec.structs.replace(a, case=name, text="", reason="") for a in item.answers)
    return msgspec.json.encode(
        msgspec.structs.replace(item, case=name, tags=(), asked="(erased)", expect="{}", answers=answers)
    )
