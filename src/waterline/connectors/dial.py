"""A connection to a system: its name is looked up by us, once, and what was looked at is what is connected to.

Whatever the settings or DNS say, nobody is connected to where a cloud hands out credentials. A client library is given
the open socket or the addresses, and the name beside them for the certificate.
"""

import socket
from ipaddress import ip_address

from waterline.connectors.base import ConnectorFault
from waterline.core.egress import never_ours


def addresses_of(host: str) -> list[str]:
    """Where a host may be connected to now, at least one. Blocks. Raises OSError (no such name) and ConnectorFault: it
    leads to nothing but addresses of a link or of a cloud's metadata server."""
    found = looked_up(host)
    good = [address for address in found if not never_ours(ip_address(address))]
    if not good:
        raise ConnectorFault(
            "invalid", f"{host} leads to {found[0]}, where a cloud hands out credentials. Correct the address."
        )
    return good


def dial(host: str, port: int, timeout_s: float | None) -> socket.socket:
    """Connected to the first of its addresses that answers. `timeout_s`: of each. Raises as `addresses_of` does."""
    *others, last = addresses_of(host)
    for address in others:
        try:
            return socket.create_connection((address, port), timeout_s)
        except OSError:
            pass  # the next
    return socket.create_connection((last, port), timeout_s)


def looked_up(host: str) -> list[str]:
    return list(dict.fromkeys(str(i[4][0]) for i in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)))
