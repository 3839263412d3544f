"""From a caller's request and a route to the bytes that a provider gets. Pure: the same inputs, the same bytes.

Replay depends on it, so a change of what it makes needs a new RENDERER version.
"""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw

from waterline.core.errors import InvalidRequest
from waterline.core.release import Prompt, Release, Route
from waterline.core.request import Request
from waterline.core.savings import History
from waterline.gateway.history import shorten
from waterline.gateway.plain import plain
from waterline.gateway.prompt_cache import steer
from waterline.providers.base import Fields, Provider

RENDERER = 2
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


def clock_variables(now_us: int, timezone: str) -> dict[str, str]:
    """What every prompt may use: `today`, `weekday` and `now`, in the app's time zone."""
    now = datetime.fromtimestamp(now_us / 1e6, ZoneInfo(timezone))
    return {"today": now.strftime("%Y-%m-%d"), "weekday": now.strftime("%A"), "now": now.strftime("%Y-%m-%d %H:%M")}


def prompt_variables(prompt: Prompt, given: dict[str, str], clock: dict[str, str]) -> dict[str, str]:
    """The value of each variable the prompt uses: the caller's, else the clock's, else the default.

    Raises InvalidRequest naming the variables that have none."""
    values: dict[str, str] = {}
    missing = []
    for name in prompt.variables:
        value = given.get(name, clock.get(name, prompt.defaults.get(name)))
        if value is None:
            missing.append(name)
        else:
            values[name] = value
    if missing:
        raise InvalidRequest(
            f"The prompt of this route needs a value for {', '.join(missing)}. "
            'Send it in the body: "waterline": {"variables": {...}}.',
            param="waterline.variables",
        )
    return values


def fill(prompt: Prompt, values: dict[str, str]) -> str:
    """Variables are put in once: a value that looks like a variable stays text."""
    return _VARIABLE.sub(lambda m: values.get(m.group(1), m.group(0)), prompt.text)


def render(
    request: Request,
    release: Release,
    route: Route,
    provider: Provider,
    variables: dict[str, str],
    max_tokens: int | None,
    prefill: str = "",
) -> bytes:
    """The upstream body of one attempt. `prefill`: what the answer begins with; the model says the rest.

    Raises ProviderFault("invalid") for what the provider cannot express."""
    fields: Fields = dict(request.fields)
    fields.pop("waterline", None)
    fields["model"] = Raw(_encode(route.model))
    for name, value in route.params.items():
        if name not in fields:
            fields[name] = Raw(_encode(value))
    if request.kind == "chat":
        if release.history.max_tokens:
            fields["messages"] = shortened(request, release.history)
        _put_prompt(fields, release, route, variables)
        if route.prompt_cache:
            steer(fields, release, route)
        _put_length(fields, route, max_tokens)
        if prefill:
            _put_prefill(fields, prefill)
        if request.stream:
            _ask_for_usage(fields)
    if request.extended and route.provider != "anthropic":
        fields = plain(fields)
    return provider.request(fields, route)


def shortened(request: Request, history: History) -> Raw:
    """The messages under the release's history policy; made once a request."""
    if not request.shortened:
        request.shortened = shorten(bytes(request.fields["messages"]), history, request.summary)
    return Raw(request.shortened)


def _put_prompt(fields: Fields, release: Release, route: Route, variables: dict[str, str]) -> None:
    if route.prompt:
        prompt = release.prompts[route.prompt]
        first = _encode({"role": prompt.role, "content": fill(prompt, variables)})
        fields["messages"] = Raw(b"[" + first + b"," + bytes(fields["messages"]).lstrip()[1:])


def _put_prefill(fields: Fields, prefill: str) -> None:
    last = _encode({"role": "assistant", "content": prefill})
    fields["messages"] = Raw(bytes(fields["messages"]).rstrip()[:-1] + b"," + last + b"]")


def _put_length(fields: Fields, route: Route, max_tokens: int | None) -> None:
    if max_tokens is None:
        return
    value = Raw(b"%d" % max_tokens)
    names = [name for name in ("max_tokens", "max_completion_tokens") if name in fields]
    if not names:
        names = ["max_completion_tokens" if route.provider == "openai" and not route.base_url else "max_tokens"]
    for name in names:
        fields[name] = value


def _ask_for_usage(fields: Fields) -> None:
    options = fields.get("stream_options")
    given = _decode_fields(options) if options is not None and bytes(options) != b"null" else {}
    given["include_usage"] = Raw(b"true")
    fields["stream_options"] = Raw(_encode(given))
