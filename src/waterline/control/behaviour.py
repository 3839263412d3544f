"""How users behave, for people: signs, acceptance, edits and the funnel, by release and by day, each share with its
interval; and the sessions that went off the rails, one by one. Read from counts by day, never from all traces."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from waterline.access.roles import Action, Principal, require
from waterline.control.feedback import LATE_US
from waterline.core.errors import Refused
from waterline.core.signal import SIGNALS
from waterline.core.verdict import Estimate
from waterline.evals.statistics.proportions import wilson
from waterline.gateway.deps import App
from waterline.store import behaviour, traces
from waterline.store.behaviour import DAY_US, DayCount, Session, day_of
from waterline.store.db import Store, Tx

DAYS = 30
MOST_DAYS = 400
MOST_ROWS = 500
DECIDED = ("accepted", "edited", "rejected")


class Share(Struct, frozen=True):
    """`k` of `n`, with its Wilson interval. `estimate` None: there is nothing to be a share of."""

    k: int
    n: int
    estimate: Estimate | None


class FunnelStep(Struct, frozen=True):
    """`of_all`: of the sessions; `of_before`: of those that came to the step before; `lost`: who did not come on."""

    step: str
    sessions: int
    of_all: Share
    of_before: Share
    lost: int


class Behaviour(Struct, frozen=True):
    """Of one release; of all where it is "". Signs and off the rails are shares of sessions, decisions of answers that
    were decided on (the first decision counts)."""

    release: str
    answers: int
    sessions: int
    off_rails: Share
    signals: dict[str, Share]
    decided: dict[str, Share]
    feedback: dict[str, int]
    edits: list[int]  # by tenth of the words that were changed
    seen_ms_median: float | None  # how long users had answers before their eyes
    funnel: list[FunnelStep]


class Day(Struct, frozen=True):
    day: int
    release: str
    sessions: int
    off_rails: int
    decided: int
    accepted: int


class BehaviourView(Struct, frozen=True):
    app: str
    env: str
    since_us: int
    until_us: int
    steps: list[str]
    total: Behaviour
    releases: list[Behaviour]  # the one with most sessions first
    days: list[Day]
    waiting: int  # feedback whose trace is not here yet
    unknown: int  # of that, for longer than an hour


class OffRails(Struct, frozen=True):
    session: str
    env: str
    release: str
    first_us: int
    last_us: int
    answers: int
    signals: list[str]
    trace: str  # of the last answer
    conversation: bool


class OffRailsView(Struct, frozen=True):
    """`next`: what `before` takes for the page after this one; "": there are no more."""

    app: str
    since_us: int
    share: Share
    releases: dict[str, Share]
    rows: list[OffRails]  # newest first
    next: str


class BehaviourDesk:
    def __init__(self, store: Store, apps: Mapping[str, App], clock_us: Callable[[], int]) -> None:
        self._store = store
        self._apps = apps
        self._clock_us = clock_us

    async def view(
        self, who: Principal, app: str, env: str, since_us: int | None, until_us: int | None
    ) -> BehaviourView:
        """Of the sessions and answers that began in a span of UTC days, the last 30 unless told otherwise."""
        require(who, Action.OVERVIEW_READ)
        spec = self._known(app).spec
        since, until = self._span(since_us, until_us)
        now = self._clock_us()

        def read(tx: Tx) -> BehaviourView:
            rows = behaviour.counts(tx, app, since, until, env or None)
            waiting, unknown = behaviour.waiting_count(tx, app, now - LATE_US)
            steps = _steps(rows, spec.funnel.steps)
            by_release: dict[str, Counter[str]] = defaultdict(Counter)
            for row in rows:
                by_release[row.release][row.name] += row.n
            total = sum(by_release.values(), Counter[str]())
            releases = [_behaviour(release, names, steps) for release, names in by_release.items()]
            releases.sort(key=lambda one: (-one.sessions, -one.answers, one.release))
            return BehaviourView(
                app, env, since, until, steps, _behaviour("", total, steps), releases, _days(rows), waiting, unknown
            )

        return await self._store.read(read)

    async def off_rails(
        self, who: Principal, app: str, env: str, release: str, since_us: int | None, before: str = "", limit: int = 50
    ) -> OffRailsView:
        """The sessions that went off the rails since a UTC day, 7 days ago unless told otherwise."""
        require(who, Action.TRACES_READ)
        self._known(app)
        if not 1 <= limit <= MOST_ROWS:
            raise Refused(f"A page has 1 to {MOST_ROWS} rows, not {limit}.", 400)
        now = self._clock_us()
        since, until = self._span(since_us if since_us is not None else now - 7 * DAY_US, None)
        cursor = _cursor(before)

        def read(tx: Tx) -> OffRailsView:
            rows = behaviour.counts(tx, app, since, until, env or None, release or None)
            found = behaviour.off_rails(tx, app, since, env or None, release or None, cursor, limit + 1)
            names = {row.release for row in rows}
            last = found[limit - 1] if len(found) > limit else None
            return OffRailsView(
                app, since, _off_rails(rows),
                {name: _off_rails([row for row in rows if row.release == name]) for name in sorted(names)},
                [_row(one) for one in found[:limit]], f"{last.first_us}-{last.session}" if last else "",
            )  # fmt: skip

        return await self._store.read(read)

    def _known(self, app: str) -> App:
        found = self._apps.get(app)
        if found is None:
            raise Refused(f'There is no app "{app[:70]}". Known: {", ".join(sorted(self._apps)) or "none"}.', 404)
        return found

    def _span(self, since_us: int | None, until_us: int | None) -> tuple[int, int]:
        """Whole days."""
        until = day_of((until_us or self._clock_us() + 1) - 1) + DAY_US
        since = day_of(since_us) if since_us is not None else until - DAYS * DAY_US
        if not 0 < until - since <= MOST_DAYS * DAY_US:
            raise Refused(f"That span has no day, or more than {MOST_DAYS}.", 400)
        return since, until


def share(k: int, n: int) -> Share:
    return Share(k, n, wilson(min(k, n), n) if n else None)


def _behaviour(release: str, names: Mapping[str, int], steps: list[str]) -> Behaviour:
    sessions = names.get("sessions", 0)
    decided = sum(names.get(f"decided.{kind}", 0) for kind in DECIDED)
    seen = {int(name[5:]): n for name, n in names.items() if name.startswith("time.")}
    median = traces.percentile_us(seen, 0.5)
    return Behaviour(
        release, names.get("answers", 0), sessions, share(names.get("off_rails", 0), sessions),
        {name: share(names.get(f"signal.{name}", 0), sessions) for name in SIGNALS},
        {kind: share(names.get(f"decided.{kind}", 0), decided) for kind in DECIDED},
        {name[9:]: n for name, n in sorted(names.items()) if name.startswith("feedback.")},
        [names.get(f"edit.{tenth}", 0) for tenth in range(10)],
        None if median is None else median / 1000,
        _funnel(names, steps, sessions),
    )  # fmt: skip


def _funnel(names: Mapping[str, int], steps: list[str], sessions: int) -> list[FunnelStep]:
    """A page may report steps of sessions that never asked anything: they began as well."""
    counts = [names.get(f"step.{step}", 0) for step in steps]
    began = max([sessions, *counts]) if any(counts) else 0
    found, before = [], began
    for step, n in zip(steps, counts, strict=True):
        found.append(FunnelStep(step, n, share(n, began), share(n, max(before, n)), max(0, before - n)))
        before = n
    return found if began else []


def _steps(rows: Iterable[DayCount], declared: tuple[str, ...]) -> list[str]:
    """As declared; then those that were only counted (the stages of conversations), the most frequent first."""
    counted = Counter[str]()
    for row in rows:
        if row.name.startswith("step."):
            counted[row.name[5:]] += row.n
    return [*declared, *(step for step, _ in counted.most_common() if step not in declared)]


def _days(rows: Iterable[DayCount]) -> list[Day]:
    by: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        by[row.day, row.release][row.name] += row.n
    return [
        Day(day, release, names["sessions"], names["off_rails"],
            sum(names[f"decided.{kind}"] for kind in DECIDED), names["decided.accepted"])
        for (day, release), names in sorted(by.items())
    ]  # fmt: skip


def _off_rails(rows: Iterable[DayCount]) -> Share:
    names = Counter[str]()
    for row in rows:
        names[row.name] += row.n
    return share(names["off_rails"], names["sessions"])


def _row(one: Session) -> OffRails:
    return OffRails(
        one.session, one.env, one.release, one.first_us, one.last_us, one.answers, list(one.signals), one.trace,
        one.said > 0,
    )  # fmt: skip


def _cursor(text: str) -> tuple[int, str] | None:
    if not text:
        return None
    first, dash, session = text.partition("-")
    if not dash or not (first.isascii() and first.isdigit() and len(first) <= 18):
        raise Refused(f"{text[:60]!r} is no cursor of a page of sessions.", 400)
    return int(first), session
