"""One HTTP exchange with a system, in a thread: bounded in time and size, to one host, redirects never followed.

Secrets are in the headers, so an answer that points elsewhere is an answer, not a way to go.
"""

import asyncio
import contextlib
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from waterline.connectors.base import ConnectorFault
from waterline.connectors.dial import dial, looked_up
from waterline.connectors.threads import Threads
from waterline.core.egress import never_ours

MAX_BYTES = 4 << 20


class Site(Struct, frozen=True):
    """Where to; from the settings."""

    scheme: str
    host: str
    port: int
    path: str  # what every path begins with; no slash at the end

    def __str__(self) -> str:
        usual = self.port == (443 if self.scheme == "https" else 80)
        return f"{self.scheme}://{self.host}" + ("" if usual else f":{self.port}")


class Reply(Struct, frozen=True):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def retry_after_s(self) -> float | None:
        value = self.headers.get("retry-after", "")
        return min(float(value), 3600.0) if value.isascii() and value.isdigit() else None


def site_of(url: str) -> Site:
    """Raises ConnectorFault when the URL in the settings is none."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConnectorFault(
            "invalid", "The setting url is not an address. Write it as https://host/path, no secret in it."
        )
    return Site(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/"))


async def send(
    threads: Threads,
    site: Site,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | None,
    timeout_s: float,
    *,
    public_only: bool = False,
    context: ssl.SSLContext | None = None,
) -> Reply:
    """`target` begins with a slash, escaped already. `public_only`: never to an address of this machine or of a private
    network. Raises ConnectorFault: slow, down, credentials (a certificate that cannot be trusted), data (too large)."""
    connection = _connection(site, timeout_s, public_only, context)
    try:
        async with asyncio.timeout(timeout_s):
            return await threads.run(_exchange, connection, site, method, target, dict(headers), body, timeout_s)
    except TimeoutError:
        raise _slow(site, timeout_s) from None
    finally:
        _cut(connection)  # a thread that still waits there ends


def _slow(site: Site, timeout_s: float) -> ConnectorFault:
    return ConnectorFault("slow", f"{site} gave no answer within {timeout_s:g} s. Whether it did it is not known.")


def _exchange(
    connection: http.client.HTTPConnection,
    site: Site,
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes | None,
    timeout_s: float,
) -> Reply:
    end = time.monotonic() + timeout_s
    try:
        connection.request(method, site.path + target, body, {"accept": "application/json", **headers})
        response = connection.getresponse()
        data = bytearray()
        while block := response.read1(65536):
            data += block
            if len(data) > MAX_BYTES:
                raise ConnectorFault("data", f"{site} answered more than {MAX_BYTES >> 20} MiB. Ask it for less.")
            if time.monotonic() > end:
                raise TimeoutError
        promised = response.getheader("content-length") or ""
        if method != "HEAD" and promised.isdigit() and len(data) < int(promised):  # which read1 does not say
            raise http.client.IncompleteRead(bytes(data))
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, bytes(data))
    except TimeoutError:
        raise _slow(site, timeout_s) from None
    except ssl.SSLCertVerificationError as error:
        raise ConnectorFault(
            "credentials", f"The certificate of {site} cannot be trusted: {error.verify_message}. Renew or install it."
        ) from None
    except (OSError, http.client.HTTPException) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise ConnectorFault("down", f"{site} cannot be reached or broke off ({what}).") from None
    finally:
        connection.close()


def _connection(
    site: Site, timeout_s: float, public_only: bool, context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    if site.scheme == "http":
        made = http.client.HTTPConnection(site.host, site.port, timeout=timeout_s)
    else:
        made = http.client.HTTPSConnection(
            site.host, site.port, timeout=timeout_s, context=context or ssl.create_default_context()
        )
    # http.client's own seam: the address that was looked at is the one that is connected to.
    made._create_connection = _open_public if public_only else _open  # type: ignore[attr-defined]
    return made


def _open(address: tuple[str, int], timeout: float | None = None, source: Any = None) -> socket.socket:
    return dial(*address, timeout)


def _open_public(address: tuple[str, int], timeout: float | None = None, source: Any = None) -> socket.socket:
    found = looked_up(address[0])
    for where in found:
        if never_ours(ipaddress.ip_address(where)) or not is_public(where):
            raise ConnectorFault(
                "invalid", f"{address[0]} is an address of a private network. Set allow_private = true if it is meant."
            )
    return socket.create_connection((found[0], address[1]), timeout)


def is_public(address: str) -> bool:
    """IPv4 within IPv6 (mapped, 6to4, NAT64) is judged by the IPv4 address in it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _cut(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def judge(reply: Reply, system: str, *, declared: bool = False) -> None:
    """Raises what an unfriendly status means. `declared`: the description knows a 404 (no such record)."""
    status = reply.status
    if 200 <= status < 300:
        return
    if status in (401, 403, 407):
        raise ConnectorFault("credentials", f"{system} refuses our credentials ({status}). Set new ones.")
    if status in (408, 425, 429) or status >= 500:
        raise ConnectorFault("down", f"{system} answered {status}.", retry_after_s=reply.retry_after_s)
    if 300 <= status < 400:
        raise ConnectorFault("schema", f"{system} points elsewhere ({status}), which is not followed. Change the url.")
    if status in (405, 410, 415, 501) or (status == 404 and not declared):
        raise ConnectorFault("schema", f"{system} does not know this operation any more ({status}).")
    raise ConnectorFault("refused", f"{system} says no ({status}).")
