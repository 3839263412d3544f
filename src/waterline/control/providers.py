"""How the providers behind the live routes are: what the gateway knows about each, in this process since its start."""

from msgspec import Struct

from waterline.gateway.deps import App
from waterline.gateway.health import Health, Snapshot
from waterline.gateway.upstreams import Upstreams
from waterline.rollout.live import Live


class LiveRoute(Struct, frozen=True):
    """A route of a live release that asks this target. `fallbacks`: the routes after it, in order."""

    name: str
    env: str
    release: str
    fallbacks: tuple[str, ...]


class TargetView(Struct, frozen=True):
    """A model at a provider's address: what all routes that ask it there share. `also`: other apps that do."""

    provider: str
    model: str
    address: str  # empty: a process of our own
    routes: list[LiveRoute]
    health: Snapshot
    also: list[str] = []


class Used(Struct, frozen=True):
    """One of the app's own limits, in the last minute or now; `limit` None: not limited, and not counted."""

    name: str  # rpm, tpm, max_concurrency
    used: int
    limit: int | None


class AppProviders(Struct, frozen=True):
    app: str
    limits: list[Used]
    targets: list[TargetView]


def app_providers(app: App, live: Live, upstreams: Upstreams, now_s: float, clock_us: int) -> AppProviders:
    """Targets in the order of the releases that are live, the heaviest first, and of their routes.

    `now_s` is of the clock that breakers go by, `clock_us` of the one that limits are counted by."""
    known: dict[int, tuple[Health, TargetView]] = {}
    for env, shares in live.environments(app.spec.name).items():
        for share in sorted(shares, key=lambda s: -s.weight_bp):
            release = live.release(share.release)
            for name, route in release.routes.items() if release is not None else ():
                health = upstreams.of(name, route).health(app.spec.name, route.model)
                place = LiveRoute(name, env, share.release, route.fallbacks)
                if id(health) not in known:
                    address = upstreams.address(name, route)
                    snapshot = health.snapshot(now_s)
                    also = sorted(health.apps - {app.spec.name})
                    view = TargetView(route.provider, route.model, address, [], snapshot, also)
                    known[id(health)] = health, view
                known[id(health)][1].routes.append(place)
    return AppProviders(app.spec.name, _limits(app, clock_us / 1e6), [view for _, view in known.values()])


def _limits(app: App, now_s: float) -> list[Used]:
    counted, declared = app.limits, app.limits.limits
    return [
        Used("rpm", counted.requests.now(now_s), declared.rpm),
        Used("tpm", counted.tokens.now(now_s), declared.tpm),
        Used("max_concurrency", counted.in_flight, declared.max_concurrency),
    ]
