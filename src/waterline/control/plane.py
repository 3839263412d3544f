"""The control plane: every view and every act, with the right it needs, in one place.

The API says the results as JSON, the console draws them, the command line asks the API. Each public method names its
Action first (a test walks all of them against the role matrix); each act that changes something writes the audit log
in its own transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import msgspec

from waterline.access.keys import KeyRing
from waterline.access.roles import Action, Principal, require
from waterline.access.stored import audited
from waterline.control.access import AccessDesk
from waterline.control.behaviour import BehaviourDesk
from waterline.control.canaries import Canaries
from waterline.control.cases import CaseDesk
from waterline.control.channels import ChannelsView, LineState, channels_view
from waterline.control.conversations import ConversationDesk
from waterline.control.coverage import CoverageDesk
from waterline.control.erasure import ErasureDesk
from waterline.control.experiments import ExperimentDesk
from waterline.control.feedback import FeedbackDesk
from waterline.control.gates import in_force, record_stays
from waterline.control.harvest import Harvest
from waterline.control.incidents import IncidentDesk, canary_rolled_back
from waterline.control.judge_calls import JudgeCalls
from waterline.control.judges import Judges
from waterline.control.load_lines import EXPERIMENTAL, SEAWORTHY, LoadLineDesk
from waterline.control.money import MoneyDesk
from waterline.control.named import parsed, resolved
from waterline.control.people import PeopleDesk
from waterline.control.promotion import Gatekeeper
from waterline.control.providers import AppProviders, app_providers
from waterline.control.review import Review
from waterline.control.shadows import Shadows
from waterline.control.sides import Sides
from waterline.control.subject_export import SubjectExport
from waterline.control.traces import TraceDesk
from waterline.control.views import AppView, DiffView, EnvState, LiveShare, ReleaseView, RolloutView, StatusView
from waterline.core.app_spec import AppSpec, asks_less, parse_spec, spec_id
from waterline.core.errors import Refused
from waterline.core.prices import PriceTable
from waterline.core.release import Release, StoredRelease, parse_release, release_id
from waterline.core.rollout import Move
from waterline.evals.near import embedder
from waterline.gateway.deps import App, Deps
from waterline.gateway.ledger import KINDS
from waterline.gateway.route import Served
from waterline.gateway.upstreams import Upstreams
from waterline.providers.base import Provider
from waterline.rollout.diff import diff
from waterline.rollout.live import Live
from waterline.rollout.moves import LONGEST_WHY, Moves, parse_weight
from waterline.store import releases, rollouts
from waterline.store.db import Store, Tx

T = TypeVar("T")
MAX_MANIFEST_BYTES = 8 << 20


class Plane:
    def __init__(
        self,
        *,
        store: Store,
        keys: KeyRing,
        live: Live,
        moves: Moves,
        deps: Deps,
        upstreams: Upstreams,
        providers: dict[str, Provider],
        master_key: bytes,
        preparing: Callable[[AppSpec], AbstractAsyncContextManager[Callable[[], None]]],
        key_budgets_changed: Callable[[str], Coroutine[Any, Any, None]],
        status_changed: Callable[[str], None],
        drain: Callable[[], Awaitable[None]],
        status_now: Callable[[], Awaitable[StatusView]],
        shadow_ready: Callable[[str, Release], Served],
        late: Callable[[], bool],
        woken: Callable[[str], None] = lambda conversation: None,
    ) -> None:
        self._store = store
        self._live = live
        self._moves = moves
        self._deps = deps
        self._upstreams = upstreams
        self._preparing = preparing
        self._key_budgets_changed = key_budgets_changed
        self._under_way: set[asyncio.Task[Any]] = set()
        self._status_changed = status_changed
        self._status_now = status_now
        self.line_state: Callable[[], LineState] = LineState  # set when channels are opened
        self.traces = TraceDesk(store, deps, providers, upstreams, drain)
        self.load_lines = LoadLineDesk(store, deps.apps, deps.clock_us, master_key, self._known_app, status_changed)
        self.access = AccessDesk(store, keys, deps.apps, deps.clock_us, self._known_app, self._count_keys)
        self.people = PeopleDesk(keys, self._known_app)
        self.conversations = ConversationDesk(store, deps.apps, deps.clock_us, woken)
        self.money = MoneyDesk(store, deps.apps, live, deps.clock_us, drain, self._known_app)
        self.experiments = ExperimentDesk(store, deps.clock_us, self._known_app, resolved)
        self.cases = CaseDesk(store, deps.clock_us, self._known_app)
        self.behaviour = BehaviourDesk(store, deps.apps, deps.clock_us)
        self.feedback = FeedbackDesk(store, deps.apps, deps.clock_us, drain, self._release_of)
        self.harvest = Harvest(store, deps.clock_us, self._known_app, drain, embedder)
        self.shadows = Shadows(store=store, deps=deps, resolve=resolved, ready=shadow_ready, late=late)
        calls = JudgeCalls(deps, shadow_ready, store, self._known_app)
        self.judges = Judges(store, deps.clock_us, self._known_app, calls, drain)
        self.canaries = Canaries(
            store=store, moves=moves, live=live, clock_us=deps.clock_us, purpose=deps.purpose, promote=self.promote,
            resolve=resolved, spec_of=lambda app: self._known_app(app).spec,
        )  # fmt: skip
        self.gates = Gatekeeper(store, deps.clock_us, resolved)
        self.incidents = IncidentDesk(store, deps.clock_us, self._environments)
        self.canaries.watch.admit = lambda who, app, env: self.gates.admit(who, app, env, None, "", "")
        self.canaries.watch.rolled_back = canary_rolled_back
        sides = Sides(store, embedder)
        self.review = Review(store, deps.clock_us, self.cases, sides)
        self.coverage = CoverageDesk(store, deps.clock_us, self._known_app, drain, embedder)
        self.subject_export = SubjectExport(store, deps.clock_us, deps.digest_key, drain)
        self.erasure = ErasureDesk(
            store, deps.clock_us, deps.digest_key, drain,
            [self.cases.forget, sides.forget, self.coverage.forget, deps.forget],
        )  # fmt: skip

    # --- views -------------------------------------------------------------------------------------------------

    async def status(self, who: Principal) -> StatusView:
        require(who, Action.OVERVIEW_READ)
        return await self._status_now()

    async def apps(self, who: Principal) -> list[AppView]:
        require(who, Action.APP_LIST)
        good = await self._store.read(self.load_lines.seaworthy)
        mine = self._deps.apps.keys() if who.grants is None else {who.app}
        return [self._app_view(app, good) for name, app in sorted(self._deps.apps.items()) if name in mine]

    async def providers(self, who: Principal, app: str | None) -> list[AppProviders]:
        """How the providers of the live routes are, now and in the last minutes, as this process knows it."""
        require(who, Action.OVERVIEW_READ)
        if app:
            self._known_app(app)
        now_s, clock_us = self._deps.tick_s(), self._deps.clock_us()
        chosen = [known for name, known in sorted(self._deps.apps.items()) if app in (None, name)]
        return [app_providers(known, self._live, self._upstreams, now_s, clock_us) for known in chosen]

    async def channels(self, who: Principal, app: str) -> ChannelsView:
        """How the numbers, templates and mailboxes of an app are."""
        require(who, Action.OVERVIEW_READ)
        spec, now, now_us = self._known_app(app).spec, self.line_state(), self._deps.clock_us()
        theirs = {
            number
            for name, known in self._deps.apps.items()
            if name != app
            for branch in known.spec.branches
            for number in branch.addresses.get("whatsapp", ())
        }
        return await self._store.read(lambda tx: channels_view(tx, spec, theirs.__contains__, now, now_us))

    async def releases(self, who: Principal, app: str | None) -> list[ReleaseView]:
        require(who, Action.ROLLOUT_READ)

        def read(tx: Tx) -> list[ReleaseView]:
            good = self.load_lines.seaworthy(tx)
            return [self._release_view(r, good) for r in releases.list_of(tx, app)]

        return await self._store.read(read)

    async def release(self, who: Principal, wanted: str) -> tuple[ReleaseView, Release, bytes]:
        """By id, or by its first digits."""
        require(who, Action.RELEASE_READ)

        def read(tx: Tx) -> tuple[ReleaseView, Release, bytes]:
            stored = resolved(tx, wanted)
            return self._release_view(stored, self.load_lines.seaworthy(tx)), parsed(stored), stored.manifest

        return await self._store.read(read)

    async def stored(self, who: Principal, wanted: str) -> tuple[bytes, bytes]:
        """The bytes of a release and of the environment record built beside it."""
        require(who, Action.RELEASE_READ)

        def read(tx: Tx) -> tuple[bytes, bytes]:
            found = resolved(tx, wanted)
            record = releases.get_spec(tx, found.spec)
            if record is None:
                raise Refused(f"The environment record of release {found.id[:12]} is not here.", 404)
            return found.manifest, record.bytes

        return await self._store.read(read)

    async def diff(self, who: Principal, a: str, b: str) -> list[DiffView]:
        require(who, Action.RELEASE_READ)
        first, second = await self._store.read(lambda tx: (resolved(tx, a), resolved(tx, b)))
        return [DiffView(d.path, list(d.lines)) for d in diff(parsed(first), parsed(second))]

    async def rollout(self, who: Principal, app: str, env: str) -> RolloutView:
        require(who, Action.ROLLOUT_READ)
        self._known_app(app)

        def read(tx: Tx) -> RolloutView:
            now = rollouts.latest(tx, app, env)
            pinned = {m.session: m.shares[0].release for m in rollouts.pins(tx, app, env) if m.shares}
            return RolloutView(app, env, now.shares if now else (), pinned, rollouts.history(tx, app, env))

        return await self._store.read(read)

    async def spec(self, who: Principal, app: str) -> AppSpec:
        require(who, Action.SPEC_READ)
        return self._known_app(app).spec

    # --- acts --------------------------------------------------------------------------------------------------

    async def add_release(self, who: Principal, manifest: bytes, spec: bytes, message: str) -> ReleaseView:
        """Store what a folder built. Nothing goes live; the environment record applies when it is promoted."""
        require(who, Action.RELEASE_BUILD)
        if len(manifest) > MAX_MANIFEST_BYTES:
            raise Refused(f"The manifest is larger than {MAX_MANIFEST_BYTES:,} bytes.", 413)
        try:
            release, record = parse_release(manifest), parse_spec(spec)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refused(f"This is no release: {error}.", 400) from None
        if release.app != record.name:
            raise Refused(f'The release is of app "{release.app}", its environment record of "{record.name}".', 400)
        try:
            App(record, PriceTable.parse('version = "check"', record.prices))
            self._check_judges(record)
            for name, route in release.routes.items():
                self._upstreams.check(route)
                if missing := [f for f in route.fallbacks if f not in release.routes]:
                    raise ValueError(f'route "{name}" falls back to "{missing[0]}", which is no route')
                if route.prompt and route.prompt not in release.prompts:
                    raise ValueError(f'route "{name}" names the prompt "{route.prompt}", which is not there')
            if problem := release.routing.problem(release.routes):
                raise ValueError(problem)
        except (ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
            raise Refused(f"This release cannot be served: {error}.", 400) from None
        now = self._deps.clock_us()
        made = StoredRelease(
            release_id(manifest), release.app, manifest, now, who.name, message[:500], spec_id(spec), who.owned_by
        )

        def write(tx: Tx) -> bool:
            releases.add_spec(tx, release.app, spec, now, who.name)
            if releases.current_spec(tx, release.app) is None:
                releases.set_current_spec(tx, release.app, made.spec, now, who.name)
            new = releases.add(tx, made)
            if new:
                audited(tx, who, Action.RELEASE_BUILD, made.id, {"app": made.app, "message": made.message}, now)
            return new

        new = await self._store.write(write)
        if release.app not in self._deps.apps:
            await self._to_the_end(self._put_into_force(record))
        view = await self._store.read(lambda tx: self._release_view(made, self.load_lines.seaworthy(tx)))
        return msgspec.structs.replace(view, new=new)

    async def promote(
        self, who: Principal, app: str, wanted: str, env: str, weight: str, why: str, evidence: str = "",
        override: str = "",
    ) -> Move:  # fmt: skip
        """The release's environment record (limits, prices, objectives) becomes the one in force, unless it asks less
        of releases. `override`: why it may go past the gates that it does not pass."""
        require(who, Action.ROLLOUT_PROMOTE)
        if override:
            require(who, Action.GATE_OVERRIDE)
        known = self._known_app(app)
        stored, good = await self._store.read(lambda tx: (resolved(tx, wanted, app), self.load_lines.seaworthy(tx)))
        record = await self._store.read(lambda tx: releases.get_spec(tx, stored.spec))
        brought = parse_spec(record.bytes) if record is not None else known.spec
        stays = record_stays(known.spec, brought)
        spec = known.spec if stays else brought
        if env not in spec.environments:
            names = ", ".join(spec.environments)
            raise Refused(f'App "{app}" has no environment "{env}". It has: {names}.', 404)
        status = SEAWORTHY if stored.id in good else EXPERIMENTAL
        past = override.strip()[:LONGEST_WHY]
        admit = self.gates.admit(who, app, env, None if stays else spec, stays, past, otherwise=status)

        async def _step() -> Move:
            async with self._preparing(spec) as put_into_force:
                return await self._moves.promote(
                    who, app=app, env=env, release=stored.id, weight_bp=parse_weight(weight), why=why,
                    evidence="" if past else evidence,
                    spec="" if stays else stored.spec, apply=put_into_force, admit=admit,
                )  # fmt: skip

        move = await self._to_the_end(_step())
        self._status_changed(app)
        return move

    async def put_into_force(self, who: Principal, record: bytes, why: str) -> AppSpec:
        """An environment record (limits, prices, objectives) on its own: the live release stays as it is. Only an owner
        puts one into force that asks less of releases than the one before."""
        require(who, Action.LIMITS_WRITE)
        try:
            spec = parse_spec(record)
            App(spec, PriceTable.parse('version = "check"', spec.prices))
            self._check_judges(spec)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, KeyError) as error:
            raise Refused(f"This is no environment record: {error}.", 400) from None
        self._known_app(spec.name)

        def write(tx: Tx) -> None:
            less = "; ".join(asks_less(in_force(tx, spec.name), spec))
            if less:
                require(who, Action.GATE_OVERRIDE)
                if not why.strip():
                    raise Refused(f"This record asks less of releases ({less}). Say why: --reason TEXT.", 400)
            now = self._deps.clock_us()
            made = releases.add_spec(tx, spec.name, record, now, who.name)
            releases.set_current_spec(tx, spec.name, made, now, who.name)
            detail = {"environment_record": made, "why": why[:500]} | ({"asks_less": less} if less else {})
            audited(tx, who, Action.LIMITS_WRITE, spec.name, detail, now)

        await self._to_the_end(self._put_into_force(spec, write))
        self._status_changed(spec.name)
        return spec

    async def rollback(self, who: Principal, app: str, wanted: str, env: str, why: str) -> Move:
        """Limits and budgets stay as they are now: going back must not bring an old budget back."""
        require(who, Action.ROLLOUT_ROLLBACK)
        self._known_app(app)
        to = (await self._store.read(lambda tx: resolved(tx, wanted, app))).id if wanted else None
        return await self._moves.rollback(who, app=app, env=env, to=to, why=why)

    async def pin(self, who: Principal, app: str, wanted: str, env: str, session: str, why: str) -> Move:
        """An empty `wanted` unpins."""
        require(who, Action.ROLLOUT_PIN)
        self._known_app(app)
        if not wanted:
            return await self._moves.unpin(who, app=app, env=env, session=session, why=why)
        stored = await self._store.read(lambda tx: resolved(tx, wanted, app))
        return await self._moves.pin(who, app=app, env=env, session=session, release=stored.id, why=why)

    async def _put_into_force(self, spec: AppSpec, write: Callable[[Tx], None] | None = None) -> None:
        async with self._preparing(spec) as put_into_force:
            if write is not None:
                await self._store.write(write)
            put_into_force()

    def _check_judges(self, spec: AppSpec) -> None:
        """A judge is asked at an address and with a secret as a route is. Raises ValueError."""
        for name, judge in spec.judges.items():
            try:
                self._upstreams.check(judge.route)
            except ValueError as error:
                raise ValueError(f'judge "{name}": {error}') from None

    async def _count_keys(self, app: str) -> None:
        await self._to_the_end(self._key_budgets_changed(app))

    async def _to_the_end(self, step: Coroutine[Any, Any, T]) -> T:
        """A caller that leaves must not leave a change half made."""
        task = asyncio.create_task(step)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    def _release_of(self, app: str, env: str, session: str) -> str:
        """The release that a session gets now. Raises Refused, UnknownModel."""
        found = self._live.pick(app, env, session, session)
        if found is None:
            raise Refused(f'App "{app}" has no live release in "{env}".', 404)
        return found.id

    # --- parts -------------------------------------------------------------------------------------------------

    def _app_view(self, app: App, good: set[str]) -> AppView:
        spec, budget = app.spec, app.budget
        budget.roll(self._deps.clock_us())
        day, month = (budget.of_app(kind) for kind in KINDS)
        environments = [EnvState(spec.name, env, *self._live.state(spec.name, env)) for env in spec.environments]
        main = environments[0].shares if environments else ()
        return AppView(
            spec.name, spec.purpose, spec.owner, environments,
            SEAWORTHY if main and all(s.release in good for s in main) else EXPERIMENTAL,
            day.spent, day.limit, month.spent, month.limit,
        )  # fmt: skip

    def _release_view(self, stored: StoredRelease, good: set[str]) -> ReleaseView:
        live = [
            LiveShare(env, share.weight_bp)
            for env, shares in self._live.environments(stored.app).items()
            for share in shares
            if share.release == stored.id
        ]
        status = SEAWORTHY if stored.id in good else EXPERIMENTAL
        return ReleaseView(stored.id, stored.app, stored.at_us, stored.who, stored.message, stored.spec, status, live)

    def _environments(self, app: str) -> tuple[str, ...] | None:
        found = self._deps.apps.get(app)
        return found.spec.environments if found is not None else None

    def _known_app(self, app: str) -> App:
        found = self._deps.apps.get(app)
        if found is None:
            known = ", ".join(sorted(self._deps.apps)) or "none; build one with: waterline release build APP_DIR"
            raise Refused(f'There is no app "{app[:70]}". Known: {known}.', 404)
        return found
