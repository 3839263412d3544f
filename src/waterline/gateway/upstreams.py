"""Where a route's provider is: its address, its secret, its pool of connections. One upstream an address and secret."""

import os
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote, urlsplit

from msgspec import Struct, structs

from waterline.core.egress import EVERYWHERE, Egress
from waterline.core.release import ProviderKind, Route
from waterline.core.request import Kind
from waterline.gateway.health import Health
from waterline.providers.base import Provider
from waterline.providers.upstream import ConnectFailed, Origin, Pool


class Link(Struct, frozen=True):
    """A pool and the request heads for it, built once."""

    pool: Pool
    chat: bytes
    stream: bytes
    embeddings: bytes
    count: bytes = b""
    transcription: bytes = b""  # without its content type, which names a boundary

    def head(self, kind: Kind, stream: bool) -> bytes:
        if stream:
            return self.stream
        if kind == "transcription":
            return self.transcription
        return self.chat if kind == "chat" else self.embeddings


class Upstream:
    """A local model's address is known only when its process answers, and may become another one."""

    def __init__(
        self, provider: Provider, secret: str, address: Callable[[], Awaitable[str]], model: str = "",
        *, stays: bool = False, stands_in: bool = False,
    ) -> None:  # fmt: skip
        """`stays`: the address is always the same. `stands_in`: what is there stands in for the provider."""
        self._stands_in = stands_in
        self.provider = provider
        self.ready: Link | None = None  # known, and will not change
        self._stays = stays
        self._model = model  # where the provider's paths name it
        self._secret = secret
        self._address = address
        self._linked_to = ""
        self._link: Link | None = None
        self.healths: dict[tuple[str, str], Health] = {}

    async def link(self) -> Link:
        """Raises ConnectFailed if there is no address (a local model that does not start)."""
        address = await self._address()
        if self._link is None or address != self._linked_to:
            old, self._link = self._link, link_to(address, self.provider, self._secret, self._model)
            self._linked_to = address
            if old is not None:
                old.pool.close()
            if self._stays:
                self.ready = self._link
        return self._link

    def health(self, app: str, model: str) -> Health:
        """Of a model here: shared by all routes, releases and apps, so a promotion forgets nothing, and a dead provider
        is asked as seldom by two apps as by one. What stands in for providers (in a trial) has one for each app."""
        health = self.healths.setdefault((app if self._stands_in else "", model), Health())
        health.apps.add(app)
        return health

    def hide(self, said: str) -> str:
        """What the provider said, without our secret, nor its beginning where the text was cut: some echo it."""
        secret = self._secret
        if not secret:
            return said
        said = said.replace(secret, "(hidden)")
        for length in range(len(secret) - 1, 7, -1):
            if said.endswith(secret[:length]):
                return said[:-length] + "(hidden)"
        return said

    def close(self) -> None:
        if self._link is not None:
            self._link.pool.close()
            self._link = self.ready = None


def link_to(base_url: str, provider: Provider, secret: str, model: str) -> Link:
    pool = Pool(Origin.from_url(base_url))
    path = urlsplit(base_url).path.rstrip("/")
    headers = provider.headers(secret)

    def head(wanted: str) -> bytes:
        return pool.head("POST", path + wanted.replace("{model}", quote(model, safe="")), headers) if wanted else b""

    paths = (provider.chat_path, provider.stream_path, provider.embeddings_path, provider.count_path)
    link = Link(pool, *map(head, paths))
    if provider.transcriptions_path:
        headers = [(name, value) for name, value in headers if name != b"content-type"]
        link = structs.replace(link, transcription=head(provider.transcriptions_path))
    return link


class Upstreams:
    """Finds or makes the upstream of a route.

    `redirect`: a URL template with `{route}`; every provider is replaced by what answers there (a trial's simulated
    server), with the wire format of the declared provider."""

    def __init__(
        self,
        providers: Mapping[ProviderKind, Provider],
        local_address: Callable[[Route], Awaitable[str]],
        *,
        redirect: str = "",
        base_urls: Mapping[str, str] | None = None,
        secret: Callable[[str], str] = lambda name: os.environ.get(name, ""),
        egress: Egress = EVERYWHERE,
    ) -> None:
        self._providers = providers
        self._local_address = local_address
        self._redirect = redirect
        self._base_urls = base_urls or {}
        self._secret = secret
        self._egress = egress
        self._known: dict[tuple[str, ...], Upstream] = {}

    def check(self, route: Route) -> None:
        """Raises ValueError for an address that may not be asked, or a secret that is not a provider's."""
        if refusal := self._refusal(route):
            raise ValueError(refusal)

    def _refusal(self, route: Route) -> str:
        if route.api_key_env and not route.api_key_env.endswith(("_API_KEY", "_API_TOKEN")):
            return f'api_key_env = "{route.api_key_env}" is no provider\'s; its name ends in _API_KEY or _API_TOKEN'
        address = self._declared(route, self._providers[route.provider])
        problem, remedy = self._egress.refusal(Origin.from_url(address).host if address else "")
        return f'model "{route.model}" at {address}: {problem}. {remedy}' if problem else ""

    def of(self, name: str, route: Route) -> Upstream:
        provider = self._providers[route.provider]
        url = self._url(name, route, provider)
        secret_name = route.api_key_env or provider.default_key_env
        model = route.model if "{model}" in provider.chat_path else ""
        key = (
            (route.provider, url, secret_name, model)
            if url
            else (route.provider, route.digest or route.model, str(route.reproducible), str(route.context))
        )
        found = self._known.get(key)
        if found is None:
            secret = self._secret(secret_name) if secret_name and not self._redirect else ""
            found = self._known[key] = Upstream(
                provider, secret, self._addresser(route, url), model, stays=bool(url), stands_in=bool(self._redirect)
            )
        return found

    def address(self, name: str, route: Route) -> str:
        """For people; empty: a process of our own, or nowhere."""
        return self._url(name, route, self._providers[route.provider])

    def _url(self, name: str, route: Route, provider: Provider) -> str:
        if self._redirect:
            return self._redirect.format(route=name) + "/v1"
        return self._declared(route, provider)

    def _declared(self, route: Route, provider: Provider) -> str:
        return route.base_url or self._base_urls.get(route.provider, "") or provider.default_base_url

    def _addresser(self, route: Route, url: str) -> Callable[[], Awaitable[str]]:
        async def fixed() -> str:
            if not self._redirect and (refusal := self._refusal(route)):  # stored before the list was as it is now
                raise ConnectFailed(refusal)
            return url

        async def local() -> str:
            return await self._local_address(route)

        async def nowhere() -> str:
            raise ConnectFailed(
                f'provider "{route.provider}" of model "{route.model}" has no address; set base_url on the route'
            )

        if url:
            return fixed
        return local if route.provider == "local" else nowhere

    def close(self) -> None:
        for upstream in self._known.values():
            upstream.close()
        self._known.clear()
