"""The trace of one request while it happens: events, attempts that cost money, and the two records it leaves."""

from waterline.access.roles import Principal
from waterline.core.errors import Overloaded, RequestError
from waterline.core.money import NANO, Usage, add_usage, cost_nano_usd
from waterline.core.prices import CACHED_1H
from waterline.core.redact import redact
from waterline.core.request import Request
from waterline.core.trace import (
    Admitted,
    AdmittedRecord,
    Answered,
    Ended,
    Event,
    OutcomeRecord,
    Received,
    Settled,
    SpooledRow,
    TraceOutcome,
    encode_record,
)
from waterline.gateway.budget import Tab
from waterline.gateway.deps import App, Deps
from waterline.gateway.route import Served, Target
from waterline.store.spool import SpoolUnavailable

SEARCHABLE_CHARS = 4000
NO_USAGE = Usage()


class Trail:
    closed = False
    outcome: TraceOutcome = "open"
    target: Target | None = None  # the one that answered, or was tried last
    attempts = 0
    tab: Tab | None = None
    reserved = 0
    usage = NO_USAGE
    tokens_in = 0  # of all attempts, whichever bucket
    tokens_out = 0
    cost: int | None = 0
    price_version = ""
    clamped_from: int | None = None
    first_token_us: int | None = None
    status = 0
    finish_reason = ""
    chunks = 0
    note = ""
    route = ""

    def __init__(self, request: Request, served: Served, principal: Principal, app: App, deps: Deps) -> None:
        self.id = request.trace_id or deps.next_id()
        self.request = request
        self.served = served
        self.principal = principal
        self.app = app
        self.deps = deps
        self.headers = [(b"x-waterline-trace", self.id.encode()), *served.headers]
        self.text: list[str] = []
        self.answer: list[bytes] = []  # as the caller got it
        self.events: list[Event] = [Received(0, request.path, len(request.body), request.stream, request.deadline_ms)]

    def open_tab(self) -> Tab:
        """Every budget that this request draws on. Raises nothing: what they allow is asked by each attempt."""
        tab = self.tab
        if tab is None:
            who, request = self.principal, self.request
            tab = self.app.budget.open(self.id, request.received_us, who.branch, who.key_id, request.subject)
            self.tab = tab
        return tab

    @property
    def elapsed_us(self) -> int:
        return self.deps.clock_us() - self.request.received_us

    def final_headers(self) -> list[tuple[bytes, bytes]]:
        """Of a plain answer: everything is known, the cost too."""
        if self.cost is None:
            return self.headers
        return [*self.headers, (b"x-waterline-cost-usd", b"%.9f" % (self.cost / NANO))]

    def admitted(self, route: str, clock: dict[str, str]) -> None:
        self.route = route
        self.events.append(Admitted(self.elapsed_us, route, clock))

    def log_admitted(self) -> None:
        """Before the first upstream byte: that we are about to spend, and how much at most.

        Raises Overloaded if the trace cannot be written and the app does not want answers without one."""
        head = encode_record(AdmittedRecord(self._row("open", 0, ""), self.events))
        try:
            self.deps.log.admit(head, self.request.body)
        except SpoolUnavailable as error:
            self.deps.metrics.count("trace_not_written")
            hard = self.tab is not None and self.tab.hard  # what is not written would be forgotten by a restart
            if hard or self.app.spec.retention.on_trace_failure == "refuse":
                raise Overloaded(
                    f"This request cannot be traced: {error}. Free disk space on the server"
                    + (
                        "; what a hard budget pays for is never untraced."
                        if hard
                        else ', or set on_trace_failure = "answer" in app.toml [retention].'
                    ),
                    retry_after_s=5,
                ) from error

    def billed(self, target: Target, priced: str, usage: Usage) -> int:
        """Book what one attempt used. Returns its cost in nano-USD (0 where no price is known)."""
        self.usage = usage if self.usage is NO_USAGE else add_usage(self.usage, usage)
        tokens_in = usage.total_input
        self.tokens_in += tokens_in
        self.tokens_out += usage.total_output
        if priced.endswith(CACHED_1H):  # the provider says what was kept for how long
            priced = priced.removesuffix(CACHED_1H)
        price = self.app.prices.find(target.route.provider, priced, self.request.received_us, tokens_in)
        if price is None:
            self.cost = None
            return 0
        self.price_version = price.version
        cost = cost_nano_usd(usage, price)
        if self.cost is not None:
            self.cost += cost
        return cost

    def close(self, outcome: TraceOutcome, error: RequestError | None = None) -> None:
        """The outcome record, written before the caller's last byte. Raises Overloaded as `log_admitted` does."""
        if self.closed:
            return
        self.closed = True
        self.outcome = outcome
        if self.tab is not None:
            self.tab.close()
        now, events, answer = self.elapsed_us, self.events, b"".join(self.answer)
        code, message = "", ""
        if error is not None:
            self.status, code, message = error.status, error.code, error.message[:500]
        elif outcome == "answered":
            self.status = 200
            events.append(Answered(now, 200, len(answer), self.finish_reason, self.chunks, self.note))
        if self.attempts:
            events.append(Settled(now, self.usage, self.cost, self.price_version, self.clamped_from))
        events.append(Ended(now, outcome, code, message))
        row = self._row(outcome, now, code)
        text = redact(f"{self.request.last_text[:SEARCHABLE_CHARS]}\n{''.join(self.text)[:SEARCHABLE_CHARS]}")
        head = encode_record(OutcomeRecord(row, events, text))
        self.deps.metrics.ended(
            row.app, row.route, outcome, code, row.model, now, self.cost, self.tokens_in, self.tokens_out
        )
        try:
            self.deps.log.outcome(head, answer)
        except SpoolUnavailable as failure:
            self.deps.metrics.count("trace_not_written")
            if self.app.spec.retention.on_trace_failure == "refuse" and error is None and outcome == "answered":
                raise Overloaded(
                    f"The answer cannot be traced: {failure}. Free disk space on the server.", retry_after_s=5
                ) from failure

    def _row(self, outcome: TraceOutcome, duration_us: int, code: str) -> SpooledRow:
        request, target, principal = self.request, self.target, self.principal
        # By position, in the order of the fields: names cost five times as much, twice a request.
        return SpooledRow(
            self.id, principal.app, principal.env, self.deps.purpose, self.served.id, self.route,
            target.route.provider if target else "", target.route.model if target else "", principal.key_id,
            request.session, request.subject, request.tags, request.stream, request.received_us, self.first_token_us,
            duration_us, outcome, self.status, code, self.attempts, self.usage, self.cost, self.reserved,
            self.price_version, self.deps.boot, request.idempotency_key,
            principal.branch,
        )  # fmt: skip
