"""The composition root: builds everything from settings, holds no globals. `waterline up` runs one of these."""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import resources
from typing import TYPE_CHECKING, cast
from zoneinfo import ZoneInfo

import msgspec

from waterline import __version__
from waterline.access.feedback_tokens import FeedbackTokens
from waterline.access.keys import SYSTEM, KeyRing
from waterline.access.roles import Action, Principal
from waterline.access.stored import StoredKeys
from waterline.api.asgi import Application, DataPlane
from waterline.api.chat import Completions
from waterline.api.control import control_routes
from waterline.api.count_tokens import CountTokens
from waterline.api.feedback import EVENTS, LARGEST, Feedback, FeedbackDoor, FeedbackScript, FeedbackTokenRoute
from waterline.api.http import Patience, Server
from waterline.api.mcp import Mcp
from waterline.api.messages import Messages, MessagesSink
from waterline.api.models import TREE as MODELS
from waterline.api.models import Models
from waterline.api.ops import MetricsPage, Readyz, healthz
from waterline.api.responses import TREE, Responses, ResponsesSink, ResponseTree
from waterline.console.pages import console_app
from waterline.control.budgets import Alerts
from waterline.control.canary_watch import note_sessions
from waterline.control.judge_watch import JudgeWatch
from waterline.control.listening import Listener, note_traces
from waterline.control.plane import Plane
from waterline.control.responses import StoredResponses
from waterline.control.views import Shed, StatusView
from waterline.core.app_spec import AppSpec, Connection, Limits, parse_spec
from waterline.core.egress import Egress
from waterline.core.errors import UnknownModel
from waterline.core.ids import trace_id
from waterline.core.prices import PriceTable
from waterline.core.release import release_id
from waterline.core.trace import Received
from waterline.core.web import Door
from waterline.gateway.budget import Preparation
from waterline.gateway.deps import App, Deps
from waterline.gateway.idempotency import Ident, Once
from waterline.gateway.idempotency import Stored as Answered
from waterline.gateway.ledger import bounds
from waterline.gateway.metrics import Metrics
from waterline.gateway.pressure import PRIORITIES, Pressure
from waterline.gateway.route import Served, make_ready
from waterline.gateway.upstreams import Upstreams
from waterline.providers import all_providers
from waterline.providers.local import LocalModels
from waterline.rollout.live import Live
from waterline.rollout.moves import Moves
from waterline.settings import Settings
from waterline.store import releases, retention, traces
from waterline.store.db import Store, StoreUnavailable, Tx
from waterline.store.drain import Drainer
from waterline.store.spool import Spool
from waterline.worker import Worker

if TYPE_CHECKING:
    from waterline.channels.opened import Channels
    from waterline.connected import Connected
    from waterline.connectors.systems import Systems
    from waterline.conversations import Conversations

log = logging.getLogger("waterline")

GRACE_S = 10  # how long a stop waits for answers under way
SETTLED_US = 60_000_000
DAY_US = 86_400_000_000
LATE_S = 0.02  # behind, smoothed: one branch of many may then have few conversations under way at once


def clock_us() -> int:
    return time.time_ns() // 1000


class Waterline:
    """Everything, wired. Made in the thread that will run the event loop; `start` inside it, `stop` at the end."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.started_us = clock_us()
        self.boot = os.urandom(3).hex()
        data = settings.data
        self.store = Store.open(data / "waterline.db", on_error=log.error)
        self.drainer = Drainer(self.store, data / "spool", self.boot, on_error=log.error)
        self.drainer.watchers += [note_traces, lambda tx, stored: note_sessions(tx, stored, settings.purpose)]
        self.drainer.recover()
        self.spool = Spool.open(data / "spool", self.boot, settings.min_free_mb << 20, on_error=log.error)
        self.drainer.spool = self.spool
        self.keys = KeyRing(StoredKeys(self.store), clock_us)
        self.live = Live.load(self.store)
        self.worker = Worker(self.drainer, self._retain, self._look)
        self.local = LocalModels(settings.models_dir, data / "logs")
        self.providers = all_providers(clock_us)
        self.upstreams, self.shadow_upstreams = self._upstreams(environ), self._upstreams(environ)
        self.price_text = resources.files("waterline.core").joinpath("prices.toml").read_text(encoding="utf-8")
        self.metrics = Metrics()
        self.alerts = Alerts(self.store, clock_us, self.metrics.count)
        self.server: Server | None = None
        self.served: dict[str, Served] = {}
        counter, process = itertools.count(), int(self.boot, 16)
        self.deps = Deps(
            clock_us=clock_us,
            tick_s=time.monotonic,
            next_id=lambda: trace_id(clock_us() // 1000, next(counter), process),
            log=self.spool,
            apps={},
            metrics=self.metrics,
            digest_key=settings.master_key[:32],
            boot=self.boot,
            purpose=settings.purpose,
            sleep=asyncio.sleep,
            jitter=random.random,
            once=Once(clock_us, self._answered_before),
        )
        for stored in self.store.read_sync(releases.current_specs):
            try:
                self._start_app(parse_spec(stored.bytes))
            except (msgspec.MsgspecError, ValueError, KeyError) as error:
                log.error("app %s is not served: its environment record cannot be applied: %s", stored.app, error)
        self.alerts.write_now()
        self.plane = Plane(
            store=self.store,
            keys=self.keys,
            live=self.live,
            moves=Moves(self.store, self.live, clock_us),
            deps=self.deps,
            upstreams=self.upstreams,
            providers={str(kind): provider for kind, provider in self.providers.items()},
            master_key=settings.master_key,
            preparing=self._preparing,
            key_budgets_changed=self._key_budgets_changed,
            status_changed=self._restate,
            drain=self._drain,
            status_now=self.status,
            woken=self._woken,
            shadow_ready=lambda i, release: make_ready(i, release, self.shadow_upstreams.of, "shadow"),
            late=lambda: self.pressure.refuses > 0,
        )
        self.judge_watch = JudgeWatch(
            self.store, self.deps.apps, self.plane.judges.calls, clock_us, self.deps.digest_key,
            late=lambda: self.pressure.refuses > 0,
        )  # fmt: skip
        self.listener = Listener(self.store, self.deps.apps, clock_us)
        self.plane.erasure.begin_spool = self.spool.next_segment
        self.pressure = Pressure(settings.shed_lag_ms, self.deps.apps, self.metrics)
        self.conversations: Conversations | None = None  # until a branch with an address is declared
        self.channels: Channels | None = None
        self.connected: Connected | None = None
        self.gate = self._routes()

    # --- wiring ------------------------------------------------------------------------------------------------

    def _upstreams(self, environ: Mapping[str, str]) -> Upstreams:
        """Those of shadow traffic are apart: its connections and what it learns of a provider are not the callers'."""
        settings = self.settings
        return Upstreams(
            self.providers,
            self.local.address,
            redirect=settings.redirect_providers,
            base_urls=settings.provider_urls,
            secret=lambda name: settings.secret(name, environ) or "",
            egress=Egress(settings.egress_hosts),
        )

    def _routes(self) -> DataPlane:
        settings = self.settings
        routes = control_routes(self.plane, self.keys.authenticate)
        console = console_app(self.plane, self.keys, self.store, settings, clock_us, routes)
        plane = DataPlane(
            self.keys.authenticate,
            self.metrics.count,
            cast(Application, console),
            settings.max_body_bytes,
            self.pressure,
        )
        plane.add("POST", "/v1/chat/completions", Action.DATA_CALL, self._completions("chat"))
        stored = StoredResponses(self.store, self._drain, clock_us)
        responses = Responses(self.find, self.deps, settings.max_body_bytes, stored)
        plane.add("POST", "/v1/responses", Action.DATA_CALL, responses, ResponsesSink)
        plane.add_tree(TREE, Action.DATA_CALL, ResponseTree(stored, self.deps.digest_key))
        plane.add("POST", "/v1/embeddings", Action.DATA_CALL, self._completions("embeddings"))
        messages = Messages(self.find, self.deps, settings.max_body_bytes)
        plane.add("POST", "/v1/messages", Action.DATA_CALL, messages, MessagesSink)
        counting = CountTokens(self.find, self.deps, settings.max_body_bytes)
        plane.add("POST", "/v1/messages/count_tokens", Action.DATA_CALL, counting, MessagesSink)
        plane.add_tree(MODELS, Action.DATA_CALL, Models(self.find))
        self._add_feedback(plane)
        mcp = Mcp(
            systems=self._systems, apps=self.deps.apps, store=self.store, clock_us=clock_us,
            digest_key=self.deps.digest_key, count=self.metrics.count,
        )  # fmt: skip
        plane.add("POST", "/mcp", Action.TOOLS_CALL, mcp)
        plane.add("GET", "/metrics", Action.METRICS_READ, MetricsPage(self._metrics_text))
        plane.open_routes["/healthz"] = healthz
        plane.open_routes["/readyz"] = Readyz(self._trouble)
        return plane

    def _add_feedback(self, plane: DataPlane) -> None:
        take, tokens = self.plane.feedback.take, FeedbackTokens(self.settings.master_key, clock_us)
        plane.add("POST", "/v1/feedback", Action.DATA_FEEDBACK, Feedback(take))
        plane.add("POST", "/v1/feedback/tokens", Action.DATA_FEEDBACK, FeedbackTokenRoute(tokens))
        plane.open_routes["/v1/feedback.js"] = FeedbackScript()
        plane.doors.add(EVENTS, Door(FeedbackDoor(tokens, self.keys.principal, take), LARGEST))

    def _completions(self, kind: str) -> Completions:
        return Completions(
            "chat" if kind == "chat" else "embeddings", self.find, self.deps, self.settings.max_body_bytes
        )

    def find(self, principal: Principal, session: str, otherwise: str) -> Served:
        """The release that is live for this caller, ready to serve. Raises UnknownModel if none is."""
        picked = self.live.pick(principal.app, principal.env, session, otherwise)
        if picked is None or principal.app not in self.deps.apps:
            raise UnknownModel(
                f'App "{principal.app}" has no live release in "{principal.env}". Promote one: '
                f"waterline promote {principal.app} RELEASE --to {principal.env}"
            )
        served = self.served.get(picked.id)
        if served is None:
            status = self.store.read_sync(lambda tx: self.plane.load_lines.status(tx, picked.id))
            served = self.served[picked.id] = make_ready(picked.id, picked.release, self.upstreams.of, status)
        return served

    def _restate(self, app: str) -> None:
        """New statuses in the headers; what was learned about the targets stays."""
        for served in [s for s in self.served.values() if s.release.app == app]:
            status = self.store.read_sync(lambda tx, i=served.id: self.plane.load_lines.status(tx, i))  # type: ignore[misc]
            served.headers[1] = (b"x-waterline-status", status.encode())

    def _start_app(self, spec: AppSpec) -> None:
        """As it was when the server stopped: what was spent is asked of the store, never forgotten."""
        prices = PriceTable.parse(self.price_text, spec.prices)
        app = App(spec, prices, self.alerts.put)
        keys = self.keys.budgets(spec.name)
        made = app.budget.prepare(spec.limits, keys, clock_us())
        made.restore(self.store.read_sync(lambda tx: self._spent(tx, spec.name, made)))
        app.apply(spec, prices, keys, made)
        app.budget.drop(made)
        self.deps.apps[spec.name] = app

    @contextlib.asynccontextmanager
    async def _preparing(self, spec: AppSpec) -> AsyncIterator[Callable[[], None]]:
        """What puts an environment record into force."""
        prices = PriceTable.parse(self.price_text, spec.prices)
        app = self.deps.apps.get(spec.name) or App(spec, prices, self.alerts.put)
        async with self._counting(app, spec.limits) as made:

            def apply() -> None:
                app.apply(spec, prices, self.keys.budgets(spec.name), made)
                self.deps.apps[spec.name] = app
                self._converse()

            yield apply

    async def _key_budgets_changed(self, name: str) -> None:
        app = self.deps.apps[name]
        async with self._counting(app, app.spec.limits) as made:
            app.budget.configure(app.spec.limits, self.keys.budgets(name), made)

    @contextlib.asynccontextmanager
    async def _counting(self, app: App, limits: Limits) -> AsyncIterator[Preparation]:
        """Budgets that nobody has counted yet count from here on, and the store is asked, off the event loop, what was
        spent before."""
        made = app.budget.prepare(limits, self.keys.budgets(app.spec.name), clock_us())
        try:
            if made.asked:
                await self._drain()
                made.restore(await self.store.read(lambda tx: self._spent(tx, app.spec.name, made)))
            yield made
        finally:
            app.budget.drop(made)

    def _spent(self, tx: Tx, app: str, made: Preparation) -> list[dict[str, int]]:
        """What the store has of each ledger, without the requests that the ledger counts itself."""
        asked = [(ledger.scope, window.start_us, ledger.most_names + 1) for ledger, window in made.asked]
        return [traces.spent_by(tx, app, *one, made.ids.copy, self.settings.purpose) for one in asked]

    async def _answered_before(self, ident: Ident, since_us: int) -> Answered | None:
        if clock_us() - self.started_us < SETTLED_US:
            await self._drain()  # what the process before us has left
        return await self.store.read(lambda tx: _answered(tx, ident, since_us))

    async def _drain(self) -> None:
        """What is in the spool now is in the store when this returns."""
        await asyncio.to_thread(self.drainer.drain_all)

    def _look(self) -> bool:
        """What the worker does with what was stored, a bounded batch of it."""
        more = False
        for look in (self.plane.feedback.join_waiting, self.listener.look, self.plane.canaries.watch.round):
            try:
                more = look() or more
            except StoreUnavailable:
                raise
            except Exception:
                log.exception("what was stored is not looked at; traces are stored all the same")
        return more

    def _retain(self) -> bool:
        more = False
        for app in list(self.deps.apps.values()):
            kept, now = app.spec.retention, clock_us()
            # A start adds up the running month from the rows: none of it goes before the month has ended.
            rows_us = min(now - kept.rows_days * DAY_US, bounds("month", now, ZoneInfo(app.declared.timezone))[0])
            swept = self.store.write_sync(
                lambda tx, a=app.spec.name, b=now - kept.bodies_days * DAY_US, r=rows_us: retention.sweep(tx, a, b, r)  # type: ignore[misc]
            )
            more = more or swept.more
        return more

    # --- what it says of itself ----------------------------------------------------------------------------------

    async def status(self) -> StatusView:
        account = await asyncio.to_thread(self.drainer.accounting)
        return StatusView(
            version=__version__,
            boot=self.boot,
            started_us=self.started_us,
            data=str(self.settings.data),
            emitted=account.emitted,
            stored=account.stored,
            rejected=account.rejected,
            waiting=account.waiting,
            lost=account.lost,
            in_flight=max(0, self.server.in_flight - 1) if self.server is not None else 0,  # not the one that asks
            apps=sorted(self.deps.apps),
            lag_ms=round(self.pressure.lag_s * 1000, 1),
            shedding=list(PRIORITIES[: self.pressure.refuses]),
            shed=[Shed(app, why, priority, n) for (app, why, priority), n in sorted(self.metrics.sheds.items())],
        )

    def _trouble(self) -> str:
        return self.worker.trouble or (
            "" if self.worker.alive else "the drain thread has died; see the log and restart"
        )

    async def _metrics_text(self) -> str:
        s = await self.status()
        gauges: dict[str, float] = {
            "waterline_in_flight": s.in_flight,
            "waterline_event_loop_lag_seconds": self.pressure.lag_s,
            "waterline_traces_emitted": s.emitted,
            "waterline_traces_stored": s.stored,
            "waterline_traces_rejected": s.rejected,
            "waterline_traces_waiting": s.waiting,
            "waterline_traces_lost": s.lost,
        }
        return self.metrics.text(gauges)

    # --- life --------------------------------------------------------------------------------------------------

    def _converse(self) -> None:
        """From the first branch with an address on."""
        if self.conversations is None and any(
            b.addresses for app in self.deps.apps.values() for b in app.spec.branches
        ):
            self.conversations = self._connect()
            self._open_channels(self.conversations)
            self.conversations.start()

    def _open_channels(self, conversations: "Conversations") -> None:
        from waterline.channels.opened import Channels

        self.channels = Channels(
            self.settings,
            store=self.store,
            desk=conversations.desk,
            specs=lambda: [app.spec for app in self.deps.apps.values()],
            clock_us=clock_us,
            count=self.metrics.count,
            digest_key=self.deps.digest_key,
        )
        self.channels.start()
        self.plane.line_state = self.channels.state
        for channel in self.channels.opened:
            conversations.add(channel)
        for path, door in self.channels.doors.items():
            self.gate.doors.add(path, door)

    def _woken(self, conversation: str) -> None:
        if self.conversations is not None:
            self.conversations.woken(conversation)

    def _connect(self) -> "Conversations":
        from waterline.conversations import Conversations

        return Conversations(
            store=self.store,
            deps=self.deps,
            find=self.find,
            systems=self._systems,
            url=lambda c: f"{self.settings.public_url}/conversations/{c}",
            late=lambda: self.pressure.lag_s > LATE_S,
        )

    def _systems(self, app: str) -> "Systems | None":
        """The connected systems of an app, from the first time that somebody asks for any."""
        if self.connected is None:
            from waterline.connected import Connected

            self.connected = Connected(
                self._connections, self.settings.connector, self.metrics.count, self.settings.redirect_systems
            )
        return self.connected.of(app)

    def _connections(self, app: str) -> Mapping[str, Connection]:
        known = self.deps.apps.get(app)
        return known.spec.connectors if known is not None else {}

    async def start(self) -> None:
        self.plane.canaries.watch.begin(asyncio.get_running_loop())
        self.worker.start()
        self.judge_watch.start()
        await self.plane.shadows.resume()
        self._converse()
        gc.collect()
        gc.freeze()  # what was built lives as long as the process; the collector need not look at it again
        gc.set_threshold(100_000, 10, 10)

    async def listen(self, sock: socket.socket) -> None:
        """From now on requests are answered."""
        patience = Patience(head_s=self.settings.header_timeout_s, body_s=self.settings.body_timeout_s)
        self.server = Server(self.gate, clock_us, patience)
        await self.server.start(sock)
        self.pressure.start()

    async def hang_up(self) -> None:
        """No new requests; those under way may end."""
        self.pressure.stop()
        if self.server is not None:
            await self.server.stop(GRACE_S)

    async def stop(self) -> None:
        await self.judge_watch.stop()
        await self.plane.shadows.stop()
        if self.conversations is not None:
            await self.conversations.stop()
        if self.channels is not None:
            await self.channels.stop()
        if self.connected is not None:
            await self.connected.close()
        await self.alerts.close()
        self.upstreams.close()
        self.shadow_upstreams.close()
        await self.local.stop()
        self.spool.close()
        await asyncio.to_thread(self.worker.stop)
        self.store.close()

    async def install(self, manifest: bytes, spec: bytes) -> None:
        """Build's result goes live only where nothing is live yet."""
        view = await self.plane.add_release(SYSTEM, manifest, spec, "waterline up")
        record = parse_spec(spec)
        env = record.environments[0]
        if not self.live.state(record.name, env)[0]:
            why = "first release, by waterline up"
            await self.plane.promote(SYSTEM, record.name, view.id, env, "100%", why, override=why)
        elif release_id(manifest) not in {s.release for s in self.live.state(record.name, env)[0]}:
            log.warning(
                "the folder of app %s differs from what is live; to change it: waterline promote %s %s --to %s",
                record.name, record.name, view.id[:12], env,
            )  # fmt: skip


def _answered(tx: Tx, ident: Ident, since_us: int) -> Answered | None:
    """What the store has of a request with this idempotency key that was answered."""
    found = traces.answered_once(tx, *ident, since_us)
    if found is None:
        return None
    trace, release, stream, started_us, events = found
    path = next(e.path for e in events if isinstance(e, Received))
    request, answer = traces.body(tx, trace, "request"), traces.body(tx, trace, "answer")
    return Answered(trace, release, path, stream, request or b"", answer, started_us)
