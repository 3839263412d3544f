"""Web hooks out: an event to a receiver, signed as https://www.standardwebhooks.com says.

The delivery's id is made from the key, and a repeat has the same id and the same body, so that a receiver can drop it.
The signature covers id, time and body. While a secret is being changed both are used: the receiver may know either.
Nothing is sent to an address of a private network, and no redirect is followed: whoever can change the receiver's DNS
or its answers must not reach our neighbours.
"""

import base64
import binascii
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from waterline.connectors.base import Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.http import judge, send, site_of
from waterline.connectors.once import safe_key
from waterline.connectors.threads import Threads

_PREFIX = "whsec_"


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    events: tuple[str, ...] = ()  # that may be sent; none: any
    allow_private: bool = False  # the receiver is on our own network, and that is meant
    timeout_s: float = 8.0


class Webhook:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "events": {"type": "array", "items": {"type": "string", "minLength": 1}},
            "allow_private": {"type": "boolean"},
            "timeout_s": {"type": "number", "minimum": 0.1, "maximum": 60},
        },
    }

    def __init__(self, config: Config, clock: Callable[[], float] = time.time) -> None:
        self.options = msgspec.convert(dict(config.parameters), Options)
        self.manifest = _manifest(self.options)
        self.settings = config.settings
        self.clock = clock
        self._threads = Threads(config.name)
        self._context: ssl.SSLContext | None = None

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        return _manifest(msgspec.convert(dict(parameters), Options))

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        self.manifest.operation(operation)
        site = site_of(self.settings.get("url", ""))
        if site.scheme == "http" and not self.options.allow_private:
            raise ConnectorFault("invalid", "A web hook goes over https. Write https:// in its url.")
        delivery = safe_key(key)
        body = encode(delivery, str(arguments["event"]), scope.branch, arguments.get("data", {}))
        at_s = int(self.clock())
        secrets = [s for name in ("secret", "previous_secret") if (s := self.settings.get(name, ""))]
        if not secrets:
            raise ConnectorFault("credentials", "The web hook has no secret to sign with. Set it.")
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery,
            "webhook-timestamp": str(at_s),
            "webhook-signature": " ".join(sign(secret, delivery, at_s, body) for secret in secrets),
        }
        if site.scheme == "https" and self._context is None:
            self._context = ssl.create_default_context()
        reply = await send(
            self._threads, site, "POST", "" if site.path else "/", headers, body, self.options.timeout_s,
            public_only=not self.options.allow_private, context=self._context,
        )  # fmt: skip
        judge(reply, str(site))
        return {"delivery": delivery, "status": reply.status}

    async def close(self) -> None:
        self._threads.close()


def _manifest(options: Options) -> Manifest:
    event: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 100}
    if options.events:
        event["enum"] = list(options.events)
    return Manifest(
        kind="webhook",
        title="Web hooks out",
        settings=("url", "secret", "previous_secret"),
        secrets=("secret", "previous_secret"),
        operations=(
            Operation(
                "send",
                "write",
                "Tells the receiver that something happened.",
                {
                    "type": "object",
                    "properties": {"event": event, "data": {"type": "object", "additionalProperties": True}},
                    "required": ["event"],
                    "additionalProperties": False,
                },
                once="native",
                personal=("data",),
                timeout_s=options.timeout_s + 1,
            ),
        ),
    )


def encode(delivery: str, event: str, branch: str, data: Mapping[str, Any]) -> bytes:
    """The same bytes for the same delivery: no time in them, keys sorted."""
    body = {"id": delivery, "type": event, "branch": branch, "data": data}
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sign(secret: str, delivery: str, at_s: int, body: bytes) -> str:
    """`v1,<base64 of HMAC-SHA256>`. A secret is `whsec_` and base64, or any text. Raises ConnectorFault."""
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise ConnectorFault("credentials", "The secret of the web hook is not whsec_ and base64.") from None
    else:
        key = secret.encode()
    if len(key) < 16:
        raise ConnectorFault("credentials", "The secret of the web hook is shorter than 16 bytes. Make a longer one.")
    signed = f"{delivery}.{at_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
