"""Where a provider is: its address, the heads of requests to it, and the addresses that its name leads to."""

import asyncio
import base64
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self
from urllib.parse import unquote, urlsplit

from waterline.core.egress import literal, never_ours
from waterline.providers.upstream_errors import ConnectFailed

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 5.6.2
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # never in a field value (RFC 9110 5.5)
_PATH = re.compile(r'/[!"$-~]*')  # origin-form: visible ASCII, no fragment
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_OURS = frozenset(
    b"host content-length transfer-encoding connection keep-alive proxy-connection proxy-authorization "
    b"te trailer upgrade expect".split()
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a pool's connections go. `base_path` is for the caller to put before its paths; no part of identity."""

    host: str  # lower case; ASCII (IDNA)
    port: int
    tls: bool = True
    proxy: tuple[str, int] | None = None  # an http:// proxy; CONNECT for tls, absolute-form without
    proxy_auth: bytes | None = field(default=None, repr=False)  # the value of Proxy-Authorization
    base_path: str = field(default="", compare=False)  # "/v1", or empty; never ends in "/"

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"Host {self.host!r} is no host name. Use lower-case ASCII or an IP address.")
        if not 0 < self.port < 65536:
            raise ValueError(f"Port {self.port} of {self.host} is not between 1 and 65535.")
        if self.base_path and not _PATH.fullmatch(self.base_path):
            raise ValueError(f"Path {self.base_path!r} of {self.host} is not visible ASCII starting with '/'.")
        if self.proxy_auth is not None and _CONTROL.search(self.proxy_auth):
            raise ValueError("The proxy's credentials hold a control character.")

    @classmethod
    def from_url(cls, base_url: str, proxy: str | None = None) -> Self:
        """Parse `https://api.example/v1`, and a proxy as `http://user:password@host:port`. Raises ValueError."""
        parts = urlsplit(base_url)
        if not base_url.isprintable() or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"Base URL {base_url!r} is not http(s)://host[:port][/path].")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("A base URL holds no credentials, query or fragment; keys go in headers.")
        tls = parts.scheme == "https"
        proxy_at, proxy_auth = _parse_proxy(proxy) if proxy else (None, None)
        return cls(
            _ascii_host(parts.hostname),
            parts.port or (443 if tls else 80),
            tls,
            proxy_at,
            proxy_auth,
            parts.path.rstrip("/"),
        )

    @property
    def address(self) -> str:
        """host:port, with brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own (RFC 9110 7.2)."""
        default = self.port == (443 if self.tls else 80)
        return self.address.rpartition(":")[0] if default else self.address

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"


def request_head(origin: Origin, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The validated request line and headers, without the length and the blank line. Raises ValueError."""
    if method not in _METHODS or not _PATH.fullmatch(path):
        raise ValueError(f"{method!r} {path!r} is not a method and path we send.")
    via_proxy = origin.proxy is not None and not origin.tls
    target = f"http://{origin.authority}{path}" if via_proxy else path
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {origin.authority}\r\n".encode("ascii")]
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or _CONTROL.search(value) or name.lower() in _OURS:
            raise ValueError(f"Header {name!r} is not allowed: framing is ours, and values hold no control characters.")
        lines.append(b"%b: %b\r\n" % (name, value))
    if via_proxy and origin.proxy_auth:
        lines.append(b"proxy-authorization: %b\r\n" % origin.proxy_auth)
    return b"".join(lines)


async def addresses_of(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[str]:
    """Where a host may be connected to now, at least one. Raises OSError (no such name) and ConnectFailed: it leads to
    nothing but addresses of a link or of a cloud's metadata server."""
    known = literal(host)
    if known is not None:
        found = [str(known)]
    else:
        told = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(str(info[4][0]) for info in told))
    good = [address for address in found if not never_ours(ip_address(address))]
    if not good:
        where = "" if known is not None else f" leads to {found[0]}, which"
        raise ConnectFailed(f"{host}{where} is where a cloud hands credentials to whoever asks. Correct the address.")
    return good


def _ascii_host(host: str) -> str:
    return (host if host.isascii() else host.encode("idna").decode("ascii")).lower()


def _parse_proxy(url: str) -> tuple[tuple[str, int], bytes | None]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path.rstrip("/") or parts.query or parts.fragment:
        raise ValueError("A proxy is given as http://[user:password@]host[:port].")  # not echoed: it may hold a secret
    auth = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        auth = b"Basic " + base64.b64encode(pair.encode())
    return (_ascii_host(parts.hostname), parts.port or 80), auth
