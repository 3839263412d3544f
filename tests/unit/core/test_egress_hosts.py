"""Which hosts the operator allows, however they are written, and which addresses nobody may name."""

import socket
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from waterline.core.egress import Egress, hands_out_credentials, host_of, literal, never_ours
from waterline.providers.upstream import Origin


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("api.openai.com", True), ("API.OpenAI.com.", True), ("a.example.org", True), ("a.b.EXAMPLE.org", True),
        ("bücher.example.org", True), ("xn--bcher-kva.de", True), ("bücher.de", True), ("10.0.0.7", True),
        ("167772167", True), ("0x0a000007", True), ("::1", True), ("0:0:0:0:0:0:0:1", True),
        ("example.org", False), ("evilexample.org", False), ("api.openai.com.evil.net", False), ("10.0.0.8", False),
        ("x.api.openai.com", False), ("", False), (".example.org", True), ("::2", False), ("*.example.org", True),
    ],
)  # fmt: skip
def test_a_host_is_allowed_by_its_name_by_a_name_above_it_or_by_its_address(host: str, allowed: bool) -> None:
    hosts = ("api.openai.com", "*.example.org", "bücher.de", "10.0.0.7", "::1")
    assert Egress(hosts).allows(host) is allowed
    assert Egress().allows(host)


def test_a_refusal_names_the_host_the_list_and_the_next_step() -> None:
    problem, remedy = Egress(("api.openai.com", "*.example.org")).refusal("https://evil.net:8443/v1")
    assert '"evil.net"' in problem
    assert "WATERLINE_EGRESS_HOSTS: api.openai.com, *.example.org" in problem
    assert "add" in remedy
    assert Egress(tuple(f"h{n}.org" for n in range(9))).refusal("http://x")[0].endswith("h4.org and 4 more)")
    assert Egress(("a.org",)).refusal("https://a.org/v1") == Egress(("a.org",)).refusal("") == ("", "")


def test_what_hands_out_credentials_is_refused_whatever_the_list() -> None:
    assert all(hands_out_credentials(host) for host in ("１６９.２５４.169.254", "169.254.169.254。", "metadata。goog"))
    assert "credentials" in Egress(("169.254.169.254",)).refusal("http://169.254.169.254/v1")[0]
    assert "credentials" in Egress().refusal("http://[::ffff:169.254.169.254]/v1")[0]


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1", "::ffff:169.254.1.1", "2002:a9fe:a9fe::",
     "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16"],
)  # fmt: skip
def test_link_local_and_metadata_addresses_are_never_ours(address: str) -> None:
    assert never_ours(ip_address(address))
    assert hands_out_credentials(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "fd00::1", "8.8.8.8"])
def test_loopback_and_private_addresses_stay_possible_for_local_models(address: str) -> None:
    assert not never_ours(ip_address(address))
    assert not hands_out_credentials(address)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.one_of(st.text("0123456789abcfx.X", max_size=14), st.lists(
    st.integers(0, 2**33).flatmap(lambda n: st.sampled_from((str(n), hex(n), f"0{n:o}", str(n % 256)))), min_size=1,
    max_size=5).map(".".join)))  # fmt: skip
@example("0251.0376.0251.0376")
@example("169.254.43518")
@example("0xA9FEA9FE")
@example("08.1.1.1")
@example("1..1")
def test_no_number_that_the_resolver_reads_as_an_address_is_taken_for_a_name(host: str) -> None:
    """What C's inet_aton reads, we read as the same address."""
    try:
        theirs = IPv4Address(socket.inet_aton(host))
    except OSError:
        return
    assert literal(host) == theirs


PIECES = st.sampled_from(
    ["http://", "https://", "a.org", "b.org", "evil.net", "@", ":", "80", "/", "\\", "#", "?", ".", "%2e", "[", "]",
     "::1", "\t", "\n", " ", "Ａ", "ß", "。", "xn--", "169.254.169.254", "0xa9fea9fe", "*."]
)  # fmt: skip


@settings(max_examples=600, derandomize=True, deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join))
@example("http://evil.net\\@a.org/v1")
@example("http://a.org@evil.net")
@example("http://Ａ.org/v1")
@example("https://a.org。")
@example("http://１６９.254.169.254。/v1")
def test_what_is_allowed_when_it_is_read_is_allowed_where_it_is_connected_to(url: str) -> None:
    """Two readers of one address: `waterline check` reads the URL, the client the origin that it makes of it."""
    listed = Egress(("a.org", "*.b.org", "::1"))
    try:
        origin = Origin.from_url(url)
    except (ValueError, UnicodeError):
        return
    assert (listed.refusal(url) == ("", "")) is (listed.refusal(origin.host) == ("", ""))
    if listed.refusal(url) == ("", ""):
        assert origin.host.rstrip(".") in ("a.org", "::1") or origin.host.rstrip(".").endswith(".b.org")


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.text(max_size=30))
def test_no_text_makes_it_fail(text: str) -> None:
    Egress(("a.org", "*.b.org")).refusal(text)
    host_of(f"http://{text}/v1")
    hands_out_credentials(text)
