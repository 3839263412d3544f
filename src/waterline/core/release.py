"""A Release: an immutable, content-addressed manifest, by value, of everything that can change an answer.

Its id is the SHA-256 of the manifest's stored bytes; the bytes are never re-serialised. `parse_release` reads any
manifest ever written (`format` tells which); `tests/golden/` holds old ones that must load for ever.
Limits, prices, objectives and judges are not here: they are environment records (`core/app_spec.py`).
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.defaults import with_default_objects
from waterline.core.flow import Flow
from waterline.core.ids import sha256_hex
from waterline.core.savings import Cache, History, Routing

FORMAT = 1
ProviderKind = Literal["openai", "anthropic", "gemini", "local", "simulated"]


class Prompt(Struct, frozen=True, omit_defaults=True):
    """A template with {{variables}}, includes already put in. A variable without a default must be given."""

    text: str
    role: Literal["system", "developer", "user"] = "system"
    variables: tuple[str, ...] = ()
    defaults: dict[str, str] = {}


class Route(Struct, frozen=True, omit_defaults=True):
    """What `model` in a request names: a provider, a model, its parameters, and where to go when it fails."""

    provider: ProviderKind
    model: str
    base_url: str = ""  # an OpenAI-compatible server; empty: the provider's own (settings may say otherwise)
    api_key_env: str = ""  # the environment variable that holds the secret; empty: the provider's usual one
    digest: str = ""  # local models: SHA-256 of the weights
    prompt: str = ""
    params: dict[str, Any] = {}  # defaults; what the caller sends wins
    max_tokens: int = 0  # length of an answer where the caller names none; 0: the provider's own limit
    fallbacks: tuple[str, ...] = ()
    answers_to: tuple[str, ...] = ()
    reproducible: bool = False
    prefill: bool = False  # the model goes on with a last message of the assistant
    on_broken_stream: Literal["fail", "restart", "continue"] = "fail"  # when a stream breaks after content
    hedge_ms: int = 0  # ask the first fallback too when there is no content after so long; 0: never
    forward_deadline: bool = False  # tell the upstream (another Waterline) how much time is left
    retries: int = 1  # further tries on the same route after a connect error, a 429 or a 5xx
    first_token_s: float = 30.0
    idle_s: float = 30.0
    keep_alive_s: float = 0.0  # comments to the caller of a stream until its first content; 0: none
    total_s: float = 120.0
    context: int = 0  # tokens; 0: unknown
    embeddings: bool = False
    betas: tuple[str, ...] = ()  # those that callers may ask for with the header anthropic-beta
    prompt_cache: bool = False  # tell the provider which part of the prompt stays the same


class Release(Struct, frozen=True, omit_defaults=True):
    app: str
    format: int = FORMAT
    purpose: str = ""
    routes: dict[str, Route] = {}
    prompts: dict[str, Prompt] = {}
    tools: dict[str, Any] = {}
    files: dict[
        str, str
    ] = {}  # other declared files of the app (tool code; flows in the oldest releases): path -> SHA-256
    cache: Cache = Cache()
    routing: Routing = Routing()
    history: History = History()
    flows: dict[str, Flow] = {}
    handbooks: dict[str, str] = {}  # knowledge/*.md by name, whole
    connectors: dict[str, Any] = {}  # contracts of the connectors' operations, by connector


class StoredRelease(Struct, frozen=True):
    """A release as the store keeps it. `id` is the SHA-256 of `manifest`."""

    id: str
    app: str
    manifest: bytes
    at_us: int
    who: str
    message: str
    spec: str  # digest of the environment record built beside it
    person: str = ""  # who built it, whatever the key was called; "": who it says


def encode_release(release: Release) -> bytes:
    """The bytes that are hashed and stored: names sorted, JSON values in the order in which they were written, because
    models fill in the fields of a JSON Schema in its order."""
    routes = {
        name: msgspec.structs.replace(route, params=_sorted(route.params))
        for name, route in sorted(release.routes.items())
    }
    prompts = {
        name: msgspec.structs.replace(prompt, defaults=_sorted(prompt.defaults))
        for name, prompt in sorted(release.prompts.items())
    }
    ordered = msgspec.structs.replace(
        release,
        routes=routes,
        prompts=prompts,
        tools=_sorted(release.tools),
        files=_sorted(release.files),
        flows=_sorted(release.flows),
        handbooks=_sorted(release.handbooks),
        connectors=_sorted(release.connectors),
    )
    return msgspec.json.encode(with_default_objects(ordered))


def _sorted(table: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(table.items()))


def release_id(manifest: bytes) -> str:
    return sha256_hex(manifest)


def parse_release(manifest: bytes) -> Release:
    """Read stored bytes. Raises msgspec.DecodeError (or ValidationError) if they are not a manifest we know."""
    release = msgspec.json.decode(manifest, type=Release)
    if release.format > FORMAT:
        raise msgspec.ValidationError(
            f"release format {release.format} is newer than this Waterline knows ({FORMAT}); upgrade Waterline"
        )
    return release


def behaviour_digest(release: Release, routes: tuple[str, ...]) -> str:
    """Of what these routes would say: models, prompts, parameters. Time-outs and names do not count."""
    parts = []
    for name in routes:
        route = release.routes[name]
        prompt = release.prompts.get(route.prompt)
        parts.append(
            [route.provider, route.model, route.base_url, route.digest, route.params, route.max_tokens, prompt]
        )
    return sha256_hex(msgspec.json.encode(parts, order="deterministic"))
