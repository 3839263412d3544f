"""What the control plane shows: plain structs; the API says them as JSON, the console draws them."""

from msgspec import Struct

from waterline.access.roles import Role
from waterline.core.rollout import Move, Share
from waterline.core.trace import Event, TraceRow
from waterline.core.verdict import Verdict


class EnvState(Struct, frozen=True):
    """What is live in one environment of an app."""

    app: str
    env: str
    shares: tuple[Share, ...]
    pins: int


class AppView(Struct, frozen=True):
    name: str
    purpose: str
    owner: str
    environments: list[EnvState]
    status: str  # "seaworthy" or "experimental", of the main live release in production
    spent_today_nano_usd: int
    limit_today_nano_usd: int | None
    spent_month_nano_usd: int
    limit_month_nano_usd: int | None


class RowView(Struct, frozen=True):
    """A trace as a line of a list."""

    id: str
    app: str
    env: str
    purpose: str
    release: str
    route: str
    provider: str
    model: str
    key: str
    session: str
    tags: str
    stream: bool
    started_us: int
    first_token_us: int | None
    duration_us: int
    outcome: str
    status: int
    code: str
    attempts: int
    tokens_in: int
    tokens_out: int
    tokens_estimated: bool
    cost_nano_usd: int | None
    price_version: str

    @classmethod
    def of(cls, row: TraceRow) -> "RowView":
        return cls(
            row.id, row.app, row.env, row.purpose, row.release, row.route, row.provider, row.model, row.key,
            row.session, row.tags, row.stream, row.started_us, row.first_token_us, row.duration_us, row.outcome,
            row.status, row.code, row.attempts, row.usage.total_input, row.usage.total_output, row.usage.estimated,
            row.cost_nano_usd, row.price_version,
        )  # fmt: skip


class TracePage(Struct, frozen=True):
    rows: list[RowView]
    next: str  # cursor of the next page; "" when there is none
    total: int | None  # how many match; None where it was not asked


class TraceView(Struct, frozen=True):
    """One trace. `request` and `answer` are None for who may not read bodies, and where they are not kept."""

    row: TraceRow
    events: list[Event]
    verdicts: list[Verdict]
    request: str | None
    answer: str | None
    bodies_hidden: bool  # this role may not read them


class LiveShare(Struct, frozen=True):
    env: str
    weight_bp: int


class ReleaseView(Struct, frozen=True):
    id: str
    app: str
    at_us: int
    who: str
    message: str
    spec: str
    status: str
    live: list[LiveShare]
    new: bool = False


class DiffView(Struct, frozen=True):
    """One difference. `lines` start with "+", "-" or a space."""

    path: str
    lines: list[str]


class RolloutView(Struct, frozen=True):
    app: str
    env: str
    shares: tuple[Share, ...]
    pins: dict[str, str]
    history: list[Move]


class ReplayedAttempt(Struct, frozen=True):
    number: int
    route: str
    model: str
    same: bool
    digest: str
    sealed_digest: str
    bytes: int


class ReplayView(Struct, frozen=True):
    trace: str
    release: str
    same: bool
    not_replayable: str  # the reason, or ""
    attempts: list[ReplayedAttempt]
    answer: str  # what was found about the answer, in a sentence


class KeyView(Struct, frozen=True):
    id: str
    kind: str
    name: str
    app: str
    env: str
    role: str
    assert_identity: bool
    created_us: int
    created_by: str
    expires_us: int | None
    revoked_us: int | None
    key: str = ""  # only in the answer to its creation
    branch: str = ""
    nano_usd_per_day: int | None = None
    nano_usd_per_month: int | None = None
    priority: str = ""  # "": none of its own
    person: str = ""  # "": who it is named after
    grants: dict[str, Role] | None = None  # branch of `app` -> role, from the sheet of its branches


class LoadLineView(Struct, frozen=True):
    id: str
    app: str
    release: str
    spec: str
    exit_status: int
    at_us: int
    who: str
    valid: bool  # still of a known release and of the objectives in force


class CostRow(Struct, frozen=True):
    app: str
    route: str
    provider: str
    model: str
    requests: int
    tokens_in: int
    tokens_out: int
    cost_nano_usd: int
    unpriced: int


class Shed(Struct, frozen=True):
    """Requests that were refused because there was too much to do, or went to a fallback for it."""

    app: str
    why: str  # event_loop: this process was late; provider: more than it takes at once
    priority: str
    requests: int


class StatusView(Struct, frozen=True):
    """The loss account and the state of the process: emitted = stored + rejected + waiting."""

    version: str
    boot: str
    started_us: int
    data: str
    emitted: int
    stored: int
    rejected: int
    waiting: int
    lost: int
    in_flight: int
    apps: list[str]
    lag_ms: float = 0.0  # of the event loop, smoothed
    shedding: list[str] = []  # priorities that are refused now
    shed: list[Shed] = []  # since the start
