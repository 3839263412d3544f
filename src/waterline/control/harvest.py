"""Candidates for cases, from what people really asked: found, redacted, told apart, put into the queue."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal, require
from waterline.access.stored import AuditRows
from waterline.control.cases import NAME
from waterline.core.case import BASES, Basis, Case
from waterline.core.errors import Refused
from waterline.core.said import answer_text
from waterline.core.trace import TraceRow
from waterline.evals import harvest
from waterline.evals.harvest import WAYS, Asked, Told, Wanted
from waterline.evals.near import COVERED_COSINE, COVERED_JACCARD, Embed, Index
from waterline.store import candidates, cases, traces, verdicts
from waterline.store.candidates import Made
from waterline.store.db import Store, Tx
from waterline.store.traces import Cursor, TraceFilter

MOST_LOOKED_AT = 20_000  # traces of one harvest
MOST_MADE = 1000
AT_ONCE = 200  # traces of one read
MOST_WAITING = 20_000  # candidates of a set that a new one is compared with


class HarvestBody(Struct, forbid_unknown_fields=True):
    """`by`: the ways, see WAYS. `basis`: why people's words may be kept. `look_at`: the newest so many live traces that
    fit; `most`: candidates made."""

    by: list[str]
    basis: str = ""
    set: str = "main"
    release: str = ""
    route: str = ""
    tag: str = ""
    text: str = ""
    since_us: int | None = None
    until_us: int | None = None
    below: float = 0.5
    scores: list[str] = []
    share: float = 0.0
    seed: int = 1
    far_below: float | None = None
    look_at: int = 5000
    most: int = 200
    redact: bool = True


class Harvested(Struct):
    """What became of the traces that were looked at: every one is in one of the counts. `left`: fit, but were not
    looked at. `by_meaning` False: the extra `semantic` is not installed, likeness is of what is written."""

    looked_at: int = 0
    left: int = 0
    made: int = 0
    not_wanted: int = 0
    known: int = 0  # a candidate before, decided or not
    like_a_case: int = 0
    like_another: int = 0  # folded into a candidate that asks the same
    too_many: int = 0
    no_text: int = 0  # its time is over, or it was not kept
    no_case: dict[str, int] = {}  # why -> traces
    found: dict[str, int] = {}
    redacted: int = 0  # candidates that something was taken out of
    by_meaning: bool = True


class _Pick(Struct):
    told: Told
    asked: Asked
    found: str
    why: str
    alike: int = 0


class Harvest:
    def __init__(
        self, store: Store, clock_us: Callable[[], int], known: Callable[[str], object],
        drain: Callable[[], Awaitable[None]], embedder: Callable[[], Embed | None],
    ) -> None:  # fmt: skip
        """`embedder` loads it the first time, which takes a second: it is called in a thread."""
        self._store = store
        self._clock_us = clock_us
        self._known = known
        self._drain = drain
        self._embedder = embedder

    async def run(self, who: Principal, app: str, said: HarvestBody) -> Harvested:
        """Look at live traces and put what is worth a case into the queue. Nothing becomes a case by itself."""
        require(who, Action.CASE_REVIEW)
        require(who, Action.BODIES_READ)
        self._known(app)
        wanted, basis = _checked(said)
        await self._drain()
        done = Harvested()
        picks: list[_Pick] = []
        seen: set[str] = set()
        if wanted.ways & {"feedback", "score"}:
            await self._judged(app, said, wanted, picks, done, seen)
        await self._newest(app, said, wanted, picks, done, seen)
        made = await self._told_apart(app, said, wanted, picks, done)
        await self._store.write(lambda tx: self._put(tx, who, app, said, basis, made, done))
        return done

    async def _judged(
        self, app: str, said: HarvestBody, wanted: Wanted, picks: list[_Pick], done: Harvested, seen: set[str]
    ) -> None:
        """Those with a verdict, however old they are."""
        names = await self._store.read(
            lambda tx: candidates.traces_judged(
                tx, app, said.release or None, said.route or None, said.since_us, said.until_us, said.look_at
            )
        )
        for at in range(0, len(names), AT_ONCE):
            part = names[at : at + AT_ONCE]
            told = await self._store.read(lambda tx, p=part: [_told(tx, trace, None) for trace in p])  # type: ignore[misc]
            fit = [one for one in told if one is not None and _fits(one.row, said)]
            seen.update(one.row.id for one in fit)
            await asyncio.to_thread(self._look, fit, wanted, picks, done)

    async def _newest(
        self, app: str, said: HarvestBody, wanted: Wanted, picks: list[_Pick], done: Harvested, seen: set[str]
    ) -> None:
        where = TraceFilter(
            app=app, purpose="live", release=said.release or None, route=said.route or None, since_us=said.since_us,
            until_us=said.until_us, text=said.text or None,
        )  # fmt: skip
        before: Cursor | None = None
        read_so_far = 0
        while read_so_far < said.look_at:
            limit = min(AT_ONCE, said.look_at - read_so_far)
            read_so_far += limit

            def read(tx: Tx, before: Cursor | None = before, limit: int = limit) -> tuple[list[Told | None], Any]:
                page = traces.page(tx, where, before=before, limit=limit)
                rows = [row for row in page.rows if row.id not in seen and _fits(row, said)]
                return [_told(tx, row.id, row) for row in rows], page.next

            told, before = await self._store.read(read)
            await asyncio.to_thread(self._look, [one for one in told if one is not None], wanted, picks, done)
            if before is None:
                return
        total = await self._store.read(lambda tx: traces.count(tx, where))
        done.left = max(0, total - read_so_far)

    def _look(self, found: list[Told], wanted: Wanted, picks: list[_Pick], done: Harvested) -> None:
        for told in found:
            self._look_at(told, wanted, picks, done)

    def _look_at(self, told: Told, wanted: Wanted, picks: list[_Pick], done: Harvested) -> None:
        done.looked_at += 1
        found = harvest.why(told, wanted)
        if found is None and "far" not in wanted.ways:
            done.not_wanted += 1
            return
        if not told.request:
            done.no_text += 1
            return
        asked = harvest.asked_of(told.request)
        if isinstance(asked, str):
            done.no_case[asked] = done.no_case.get(asked, 0) + 1
            return
        picks.append(_Pick(told, asked, *(found or ("", ""))))

    async def _told_apart(
        self, app: str, said: HarvestBody, wanted: Wanted, picks: list[_Pick], done: Harvested
    ) -> list[_Pick]:
        def compare() -> list[_Pick]:
            embed = self._embedder()
            done.by_meaning = embed is not None
            known, waiting = self._store.read_sync(lambda tx: _there(tx, app, said.set))
            return _chosen(picks, Index(known, embed), Index(waiting, embed), wanted, said, done)

        fresh = []
        for at in range(0, len(picks), AT_ONCE):
            part = picks[at : at + AT_ONCE]
            there = await self._store.read(
                lambda tx, p=part: [  # type: ignore[misc]
                    candidates.known(tx, app, said.set, pick.told.row.id, pick.asked.last) for pick in p
                ]
            )
            fresh += [pick for pick, old in zip(part, there, strict=True) if not old]
        done.known = len(picks) - len(fresh)
        picks[:] = fresh
        return await asyncio.to_thread(compare)

    def _put(
        self, tx: Tx, who: Principal, app: str, said: HarvestBody, basis: Basis, picks: list[_Pick], done: Harvested
    ) -> None:
        now_us = self._clock_us()
        for pick in picks:
            now = traces.get(tx, pick.told.row.id)
            if now is None or now[0].session != pick.told.row.session or now[0].subject != pick.told.row.subject:
                done.no_text += 1  # erased since it was read
                continue
            case, redacted = harvest.propose(pick.told, pick.asked, pick.found, basis, redact=said.redact)
            made = Made(case, pick.told.row.id, pick.found, pick.why, redacted, pick.alike)
            if candidates.add(tx, app, said.set, made, now_us):
                done.made += 1
                done.redacted += bool(redacted)
                done.found[pick.found] = done.found.get(pick.found, 0) + 1
            else:
                done.known += 1
        detail = {"app": app, "by": ",".join(said.by), "basis": basis, "candidates": str(done.made),
                  "looked_at": str(done.looked_at), "redacted": "yes" if said.redact else "no"}  # fmt: skip
        audit.append(
            AuditRows(tx), at_us=now_us, by=who, action=Action.CASE_REVIEW.value, target=f"harvest {said.set}",
            detail=detail,
        )  # fmt: skip


def _checked(said: HarvestBody) -> tuple[Wanted, Basis]:
    if not said.by or set(said.by) - set(WAYS):
        raise Refused(f"Say how to find cases: --by {', '.join(WAYS)}.", 400)
    if said.basis not in BASES:
        raise Refused(f"Say why these people's words may be kept (GDPR article 6): --basis {', '.join(BASES)}.", 400)
    if not NAME.match(said.set):
        raise Refused(f'"{said.set[:70]}" is no name of a set: a to z, 0 to 9, "-" and "_", at most 64.', 400)
    if not 1 <= said.look_at <= MOST_LOOKED_AT or not 1 <= said.most <= MOST_MADE:
        raise Refused(f"look_at is 1 to {MOST_LOOKED_AT:,}, most is 1 to {MOST_MADE:,}.", 400)
    if not 0 <= said.share <= 1 or ("random" in said.by and not said.share):
        raise Refused("By chance needs a share above 0 and at most 1: --share 0.01.", 400)
    if said.text and not said.text.strip():
        raise Refused("There is no word to search for.", 400)
    wanted = Wanted(frozenset(said.by), said.below, tuple(said.scores), said.share, said.seed)
    return wanted, said.basis


def _fits(row: TraceRow, said: HarvestBody) -> bool:
    """What the query did not ask: never anything but live traffic, and nothing that is under way."""
    tagged = not said.tag or said.tag in row.tags.split(",")
    return row.purpose == "live" and row.outcome != "open" and tagged


def _told(tx: Tx, trace: str, row: TraceRow | None) -> Told | None:
    found = traces.get(tx, trace)
    if found is None:
        return None
    request, answer = traces.body(tx, trace, "request"), traces.body(tx, trace, "answer")
    said = tuple(v.verdict for v in verdicts.of(tx, "trace", trace))
    edits = [f.edit for f in verdicts.feedback_of(tx, trace) if f.edit] if said else []
    return Told(found[0], found[1], request or b"", answer_text(answer or b""), said, edits[-1] if edits else "")


def _there(tx: Tx, app: str, set_name: str) -> tuple[list[str], list[str]]:
    """What the set asks, and what waits for it."""
    head = cases.head(tx, app, set_name)
    known: Iterator[Case] = cases.each(tx, app, set_name, head.version) if head else iter(())
    return [case.asked for case in known], [c.asked for c in candidates.waiting(tx, app, set_name, MOST_WAITING)]


def _chosen(
    picks: list[_Pick], known: Index, waiting: Index, wanted: Wanted, said: HarvestBody, done: Harvested
) -> list[_Pick]:
    least = said.far_below if said.far_below is not None else (
        COVERED_COSINE if known.by_meaning else COVERED_JACCARD
    )  # fmt: skip
    already = len(waiting)
    nearest = known.nearest([pick.asked.last for pick in picks]) if "far" in wanted.ways else [None] * len(picks)
    chosen: list[_Pick] = []
    for pick, hit in zip(picks, nearest, strict=True):
        if not pick.found:
            if hit is not None and hit.likeness >= least:
                done.not_wanted += 1
                continue
            pick.found = "far"
            pick.why = f"the nearest case is {hit.likeness:.2f} near" if hit else "there is no case yet"
        if known.same(pick.asked.last):
            done.like_a_case += 1
        elif same := waiting.same(pick.asked.last):
            done.like_another += 1
            if same[0].row >= already:
                chosen[same[0].row - already].alike += 1
        elif len(chosen) >= said.most:
            done.too_many += 1
        else:
            waiting.add([pick.asked.last])
            chosen.append(pick)
    return chosen
