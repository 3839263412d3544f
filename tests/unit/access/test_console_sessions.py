"""Console sessions: how long they last, what ends them, and what another site cannot do with them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.access import sessions as s
from waterline.access.keys import SYSTEM, KeyRing, MemoryKeys, NewKey
from waterline.access.roles import Principal, Role
from waterline.access.sessions import MemorySessions, Sessions, StoredSessions, Visit
from waterline.access.stored import AuditRows, StoredKeys
from waterline.access.throttle import Throttle
from waterline.core.errors import InvalidApiKey, PermissionDenied, RateLimited
from waterline.store import audit_log
from waterline.store import keys as rows
from waterline.store.db import Store

HOUR_US = 3_600_000_000
MASTER = bytes(range(32))
ORIGIN = "https://waterline.example"


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.now_us

    def pass_hours(self, hours: float) -> None:
        self.now_us += int(hours * HOUR_US)


class House:
    """A ring and sessions in memory."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ring = KeyRing(MemoryKeys(), self.clock)
        self.store = MemorySessions()
        self.sessions = Sessions(self.store, self.ring, MASTER, self.clock)
        self.owner: NewKey = self.ring.create_first_key()


@pytest.fixture
def house() -> House:
    return House()


async def ended(house: House, token: str) -> str:
    with pytest.raises(InvalidApiKey) as caught:
        await house.sessions.visit(token)
    return str(caught.value)


async def test_a_pasted_personal_key_opens_a_session(house: House) -> None:
    login = await house.sessions.login(f"  {house.owner.text}\n", "192.0.2.1")
    visit = await house.sessions.visit(login.token)
    assert visit == login.visit
    assert visit.principal.role is Role.OWNER


async def test_only_the_digest_of_a_token_is_kept_and_shown(house: House) -> None:
    login = await house.sessions.login(house.owner.text, "192.0.2.1")
    kept = repr(house.store.sessions) + repr(house.store.acts) + repr(login) + repr(login.__rich_repr__())
    assert login.token not in kept
    assert len(login.token) == 43


async def test_an_app_key_opens_no_session(house: House) -> None:
    app = await house.ring.create_app_key(SYSTEM, name="site", app="school", env="production")
    with pytest.raises(PermissionDenied, match="personal key"):
        await house.sessions.login(app.text, "192.0.2.1")


async def test_a_session_ends_12_hours_after_login_however_busy(house: House) -> None:
    login = await house.sessions.login(house.owner.text, "192.0.2.1")
    for _ in range(11):
        house.clock.pass_hours(1)
        await house.sessions.visit(login.token)
    house.clock.pass_hours(1)
    assert "12 hours after login" in await ended(house, login.token)


async def test_a_session_ends_after_2_hours_unused(house: House) -> None:
    login = await house.sessions.login(house.owner.text, "192.0.2.1")
    house.clock.pass_hours(1.9)
    await house.sessions.visit(login.token)
    house.clock.pass_hours(1.9)
    await house.sessions.visit(login.token)
    house.clock.pass_hours(2)
    assert "2 hours unused" in await ended(house, login.token)


async def test_revoking_the_key_ends_its_session_at_the_next_request(house: House) -> None:
    ana = await house.ring.create_personal_key(SYSTEM, name="Ana", role=Role.VIEWER)
    login = await house.sessions.login(ana.text, "192.0.2.1")
    await house.ring.revoke(SYSTEM, ana.stored.id)
    assert "revoked" in await ended(house, login.token)


async def test_an_expired_key_ends_its_session(house: House) -> None:
    ana = await house.ring.create_personal_key(
        SYSTEM, name="Ana", role=Role.VIEWER, expires_us=house.clock.now_us + HOUR_US
    )
    login = await house.sessions.login(ana.text, "192.0.2.1")
    house.clock.pass_hours(1)
    assert "expired" in await ended(house, login.token)


async def test_login_gives_a_new_token_and_ends_the_browsers_old_one(house: House) -> None:
    first = await house.sessions.login(house.owner.text, "192.0.2.1")
    second = await house.sessions.login(house.owner.text, "192.0.2.1", old_token=first.token)
    assert first.token != second.token
    assert first.visit.csrf != second.visit.csrf
    assert "not signed in" in await ended(house, first.token)
    await house.sessions.visit(second.token)


async def test_logout_ends_the_session_and_both_are_in_the_audit_log(house: House) -> None:
    login = await house.sessions.login(house.owner.text, "192.0.2.1")
    await house.sessions.logout(login.visit)
    assert "not signed in" in await ended(house, login.token)
    assert [act.action for act in house.store.acts] == ["session.login", "session.logout"]


@pytest.mark.parametrize("token", ["", "x", "é" * 43, "\ud800" * 43, "a" * 43, "a" * 100_000])
async def test_a_token_that_was_never_given_is_not_signed_in(house: House, token: str) -> None:
    assert "not signed in" in await ended(house, token)


async def test_ten_failures_from_one_address_close_it_for_a_while(house: House) -> None:
    for _ in range(10):
        with pytest.raises(InvalidApiKey):
            await house.sessions.login("wl-wrong", "192.0.2.1")
    with pytest.raises(RateLimited) as caught:
        await house.sessions.login(house.owner.text, "192.0.2.1")
    assert caught.value.retry_after_s == 300
    await house.sessions.login(house.owner.text, "192.0.2.2")
    house.clock.now_us += 300_000_000
    await house.sessions.login(house.owner.text, "192.0.2.1")


@pytest.mark.parametrize("key", ["", "\0", "é", "\ud800", "wl-" * 100_000])
async def test_an_odd_key_at_login_is_an_invalid_key(house: House, key: str) -> None:
    with pytest.raises(InvalidApiKey):
        await house.sessions.login(key, "not an address")


def test_the_throttle_counts_a_64_of_ipv6_as_one_and_mapped_ipv4_as_ipv4() -> None:
    throttle = Throttle(Clock(), failures=2)
    throttle.failed("2001:db8::1")
    throttle.failed("2001:db8::2")
    throttle.failed("::ffff:192.0.2.1")
    throttle.failed("192.0.2.1")
    for closed in ("2001:db8::3", "192.0.2.1", "::ffff:192.0.2.1"):
        with pytest.raises(RateLimited):
            throttle.check(closed)
    throttle.check("2001:db8:0:1::1")
    throttle.check("192.0.2.2")


def test_the_throttle_remembers_a_bounded_number_of_addresses() -> None:
    throttle = Throttle(Clock(), failures=1, addresses=100)
    for n in range(1000):
        throttle.failed(f"10.0.{n // 250}.{n % 250}")
    assert len(throttle._seen) == 100
    throttle.check("10.0.0.0")
    with pytest.raises(RateLimited):
        throttle.check("10.0.3.249")


def test_a_session_keeps_its_place_in_the_window_not_the_last_failure() -> None:
    """Failures leave the window one by one: a steady drip below the rate is never closed."""
    clock = Clock()
    throttle = Throttle(clock, failures=3, window_s=300)
    for _ in range(20):
        throttle.check("192.0.2.1")
        throttle.failed("192.0.2.1")
        clock.now_us += 101_000_000


def test_the_cookie_cannot_be_read_by_scripts_or_sent_across_sites() -> None:
    plain, secure = s.set_cookie("t", secure=False), s.set_cookie("t", secure=True)
    assert plain == "waterline_session=t; Path=/; HttpOnly; SameSite=Lax"
    assert secure == "__Host-waterline_session=t; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert "Max-Age=0" in s.clear_cookie(secure=True)
    assert s.clear_cookie(secure=True).startswith("__Host-waterline_session=;")


def test_only_the_cookie_of_this_scheme_counts() -> None:
    headers = [(b"cookie", b"a=b; waterline_session=plain; __Host-waterline_session=secure"), (b"host", b"x")]
    assert s.token_of(headers, secure=True) == "secure"
    assert s.token_of(headers, secure=False) == "plain"
    assert s.token_of([(b"cookie", b"xwaterline_session=1;;=;")], secure=False) == ""
    assert s.token_of([], secure=False) == ""


VISIT = Visit(Principal("wl-0a1b2c3d", "person", "Ana", role=Role.OWNER), "e" * 64, s.csrf_token(MASTER, "e" * 64))


def test_the_csrf_token_depends_on_the_session_and_the_master_key() -> None:
    assert len({s.csrf_token(MASTER, "e" * 64), s.csrf_token(MASTER, "f" * 64), s.csrf_token(b"k", "e" * 64)}) == 3
    with pytest.raises(ValueError, match="master key"):
        s.csrf_token(b"", "e" * 64)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "get"])
def test_safe_methods_need_no_token(method: str) -> None:
    s.check_unsafe(method, [(b"sec-fetch-site", b"cross-site")], ORIGIN, VISIT)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "FOO", ""])
@pytest.mark.parametrize("given", ["", "0" * 64, "é", "\ud800"])
def test_every_other_method_needs_this_sessions_token(method: str, given: str) -> None:
    with pytest.raises(PermissionDenied, match="token"):
        s.check_unsafe(method, [], ORIGIN, VISIT, given)
    s.check_unsafe(method, [], ORIGIN, VISIT, VISIT.csrf)
    s.check_unsafe(method, [(s.CSRF_HEADER, VISIT.csrf.encode())], ORIGIN, VISIT)


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ([], True),
        ([(b"sec-fetch-site", b"same-origin")], True),
        ([(b"sec-fetch-site", b"none")], True),
        ([(b"sec-fetch-site", b"same-site")], False),
        ([(b"sec-fetch-site", b"cross-site")], False),
        ([(b"sec-fetch-site", b"")], False),
        ([(b"sec-fetch-site", b"cross-site"), (b"origin", ORIGIN.encode())], False),
        ([(b"sec-fetch-site", b"same-origin"), (b"origin", b"null")], True),  # Referrer-Policy: no-referrer
        ([(b"origin", b"https://waterline.example")], True),
        ([(b"origin", b"https://WATERLINE.example:443")], True),
        ([(b"origin", b"http://waterline.example")], False),
        ([(b"origin", b"https://waterline.example:8443")], False),
        ([(b"origin", b"https://waterline.example.evil.example")], False),
        ([(b"origin", b"null")], False),
        ([(b"origin", b"\xff")], False),
        ([(b"origin", b"https://[")], False),
    ],
)
def test_another_site_is_refused_even_with_a_good_token(headers: list[tuple[bytes, bytes]], good: bool) -> None:
    if good:
        s.check_unsafe("POST", headers, ORIGIN, VISIT, VISIT.csrf)
    else:
        with pytest.raises(PermissionDenied, match="another site"):
            s.check_unsafe("POST", headers, ORIGIN, VISIT, VISIT.csrf)


def test_an_origin_that_cannot_be_read_never_equals_one_that_cannot_be_read() -> None:
    with pytest.raises(PermissionDenied):
        s.check_origin([(b"origin", b"null")], s.own_origin([], "http"))


def test_our_origin_is_the_public_address_or_else_the_host_that_was_asked() -> None:
    assert s.own_origin([(b"host", b"Box:8400")], "http") == "http://box:8400"
    assert s.own_origin([(b"host", b"[::1]:8400")], "http") == "http://[::1]:8400"
    assert s.own_origin([(b"host", b"box:443")], "https") == "https://box"
    assert s.own_origin([(b"host", b"internal:1")], "http", "https://Waterline.example/console") == ORIGIN


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from([b"origin", b"sec-fetch-site", b"cookie", b"host"]), st.binary(max_size=60))))
def test_arbitrary_headers_are_refused_and_never_crash(headers: list[tuple[bytes, bytes]]) -> None:
    s.token_of(headers, secure=True)
    s.own_origin(headers, "http")
    with pytest.raises(PermissionDenied):
        s.check_unsafe("POST", headers, ORIGIN, VISIT, "guess")


async def test_sessions_live_in_the_real_store_across_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    store = Store.open(tmp_path / "waterline.db")
    ring = KeyRing(StoredKeys(store), clock)
    owner = ring.create_first_key()
    ana = await ring.create_personal_key(owner.stored.principal(), name="Ana", role=Role.VIEWER)
    sessions = Sessions(StoredSessions(store), ring, MASTER, clock)
    old = await sessions.login(owner.text, "192.0.2.1")
    login = await sessions.login(owner.text, "192.0.2.1", old_token=old.token)
    hers = await sessions.login(ana.text, "192.0.2.1")
    store.close()

    store = Store.open(tmp_path / "waterline.db")
    ring = KeyRing(StoredKeys(store), clock)
    sessions = Sessions(StoredSessions(store), ring, MASTER, clock)
    clock.pass_hours(1)
    assert await sessions.visit(login.token) == login.visit
    with pytest.raises(InvalidApiKey):
        await sessions.visit(old.token)
    await ring.revoke(owner.stored.principal(), ana.stored.id)
    with pytest.raises(InvalidApiKey):
        await sessions.visit(hers.token)
    kept = store.read_sync(rows.all_sessions)
    assert [(row.digest, row.seen_us) for row in kept] == [(login.visit.session_id, clock.now_us)]  # touched; hers gone
    clock.pass_hours(3)
    newest = await sessions.login(owner.text, "192.0.2.1")  # sweeps what has ended
    assert [row.digest for row in store.read_sync(rows.all_sessions)] == [newest.visit.session_id]
    await sessions.logout(newest.visit)
    assert store.read_sync(rows.all_sessions) == []
    acts = store.read_sync(lambda tx: [AuditRows.read(row).entry.action for row in audit_log.entries(tx)])
    assert acts.count("session.login") == 4
    assert acts[-1] == "session.logout"
    store.close()
