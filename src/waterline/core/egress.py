"""Where this server may connect to: the hosts that the operator allows, and the addresses that nobody may name.

A host is compared in one form, however it was written: lower case, IDNA, no dot at its end, an address in digits.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from msgspec import Struct

# Where clouds hand credentials to whoever asks from inside: by name, and by addresses that are not link-local (AWS and
# Google over IPv6, Alibaba, Azure).
_METADATA_NAMES = frozenset(("metadata.google.internal", "metadata.goog", "metadata", "instance-data"))
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16")))
_NAT64 = ip_network("64:ff9b::/96")
_TOLD = 5


class Egress(Struct, frozen=True):
    """`hosts`: names, `*.name` for all below a name, and IP addresses; none: every host that is configured."""

    hosts: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        if not self.hosts:
            return True
        said = normal(host)
        return any(said.endswith(h[1:]) if h.startswith("*.") else said == normal(h) for h in self.hosts)

    def refusal(self, url: str) -> tuple[str, str]:
        """What is wrong with an address, and the next step; two empty texts: nothing."""
        host = host_of(url)
        if hands_out_credentials(host):
            return f'"{host}" is where a cloud hands credentials to whoever asks', "Name the host of a provider"
        if host and not self.allows(host):
            more = len(self.hosts) - _TOLD
            told = ", ".join(self.hosts[:_TOLD]) + (f" and {more} more" if more > 0 else "")
            return (
                f'the operator does not allow connections to "{host}" (WATERLINE_EGRESS_HOSTS: {told})',
                f'Name a host of the list, or have the operator add "{host}" to it',
            )
        return "", ""


EVERYWHERE = Egress()


def host_of(url: str) -> str:
    """Empty: there is none. A URL, or a host alone."""
    if literal(url) is not None:
        return url
    try:
        return urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""


def normal(host: str) -> str:
    said = _ascii(host)
    address = literal(said)
    return said if address is None else str(address)


def _ascii(host: str) -> str:
    """As the resolver is asked for it; full-width digits and dots are ASCII's then."""
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            pass
    return host.rstrip(".").lower()


def hands_out_credentials(host: str) -> bool:
    """A cloud's metadata server by its name, or an address of one in any way in which the resolver reads one."""
    said = _ascii(host)
    if said in _METADATA_NAMES:
        return True
    address = literal(said)
    return address is not None and never_ours(address)


def never_ours(address: IPv4Address | IPv6Address) -> bool:
    """Link-local, or a metadata server. IPv4 within IPv6 (mapped, 6to4, NAT64) is judged by the IPv4 address in it."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return never_ours(inner)
        address = IPv6Address(int(address))  # without its zone
    return address.is_link_local or address in _METADATA


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, also as C's inet_aton reads one (2852039166, 0xa9fea9fe, 169.254.43518, 0251.0376.1);
    None: it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    *first, last = (_number(part) for part in host.split("."))
    if last is None or len(first) > 3 or last >= 256 ** (4 - len(first)):
        return None
    value = last
    for place, part in enumerate(first):
        if part is None or part > 255:
            return None
        value |= part << (24 - 8 * place)
    return IPv4Address(value)


def _number(part: str) -> int | None:
    """Decimal, octal with a 0 before it, hexadecimal with 0x."""
    try:
        if not part.isascii() or not part.isalnum():
            return None
        if part[:2].lower() == "0x":
            return int(part[2:] or "0", 16)
        return int(part, 8 if part[0] == "0" else 10)
    except ValueError:
        return None
