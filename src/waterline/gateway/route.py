"""A live release made ready to serve: every route a list of targets, the fallbacks behind it in order."""

from collections.abc import Callable

from waterline.core.errors import UnknownModel
from waterline.core.release import Release, Route
from waterline.gateway.health import Health
from waterline.gateway.lengths import AnswerLengths
from waterline.gateway.upstreams import Upstream


class Target:
    """A route at its provider's address, with what we have learned about it."""

    def __init__(self, name: str, route: Route, upstream: Upstream, health: Health) -> None:
        self.name = name
        self.route = route
        self.upstream = upstream
        self.provider = upstream.provider
        self.health = health
        self.lengths = AnswerLengths()
        n = route.params.get("n", 1)
        self.choices = n if isinstance(n, int) and n > 0 else 1  # answers asked for where the caller does not say

    def betas(self, asked: tuple[str, ...]) -> bytes:
        """The header line for those that are asked for and declared here."""
        declared = [beta for beta in asked if beta in self.route.betas]
        return f"anthropic-beta: {','.join(declared)}\r\n".encode() if declared else b""


class Served:
    """A release and its plans. `headers` go with every answer."""

    def __init__(self, release_id: str, release: Release, targets: dict[str, Target], status: str) -> None:
        self.id = release_id
        self.release = release
        self.targets = targets
        self.routed = release.routing.on
        shortens = release.history.max_tokens > 0
        self.plain = not (
            release.cache.exact or self.routed or shortens
        )  # nothing stands between a request and its provider
        prompts = [release.prompts.get(route.prompt) for route in release.routes.values() if route.prompt]
        self.varies = any(prompt is not None and prompt.variables for prompt in prompts)
        self.nothing: dict[str, dict[str, str]] = {name: {} for name in targets}  # variables, where no prompt has any
        self.plans: dict[str, list[Target]] = {}
        for name, route in release.routes.items():
            plan = [targets[name], *(targets[f] for f in route.fallbacks)]
            for known in (name, *route.answers_to):
                self.plans[known] = plan
        self.headers = [
            (b"x-waterline-release", release_id.encode()),
            (b"x-waterline-status", status.encode()),
        ]

    def plan(self, model: str) -> list[Target]:
        """Raises UnknownModel, naming what there is."""
        found = self.plans.get(model)
        if found is None:
            known = ", ".join(sorted(self.plans)) or "none"
            raise UnknownModel(
                f'App "{self.release.app}" has no route "{model[:200]}" in its live release. It knows: {known}. '
                'Use one of them, or let a route answer to this name: answers_to = ["..."] in app.toml.',
                param="model",
            )
        return found


def make_ready(release_id: str, release: Release, upstream_of: Callable[[str, Route], Upstream], status: str) -> Served:
    targets = {}
    for name, route in release.routes.items():
        upstream = upstream_of(name, route)
        targets[name] = Target(name, route, upstream, upstream.health(release.app, route.model))
    return Served(release_id, release, targets, status)
