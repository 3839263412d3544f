"""Promotion, rollback and pins, over a real store: what is live, and what the next request gets."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.access.roles import Principal, Role
from waterline.core.app_spec import AppSpec, encode_spec
from waterline.core.errors import Refused, UnknownModel
from waterline.core.release import Release, Route, StoredRelease, encode_release, release_id
from waterline.core.rollout import FULL_BP, Move, Share
from waterline.rollout.live import Live
from waterline.rollout.moves import Moves, before, parse_weight
from waterline.store import audit_log, releases, rollouts
from waterline.store.db import Store

ANA = Principal(key_id="wl-1a2b3c4d", kind="person", name="ana", role=Role.OWNER)
ENV = "production"


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_795_000_000_000_000

    def __call__(self) -> int:
        self.now_us += 1_000_000
        return self.now_us


class Harbour:
    """A store with some releases, what is live, and the acts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.open()
        self.a, self.b, self.c = (self.add(model) for model in ("a", "b", "c"))

    def open(self) -> None:
        self.store = Store.open(self.path)
        self.live = Live.load(self.store)
        self.moves = Moves(self.store, self.live, self.clock)

    def restart(self) -> None:
        self.store.close()
        self.open()

    def add(self, model: str, app: str = "school", manifest: bytes | None = None) -> str:
        record = encode_spec(AppSpec(name=app, environments=("staging", ENV)))
        data = manifest or encode_release(Release(app, routes={"main": Route("openai", model)}))
        made = release_id(data)

        def write(tx) -> None:  # type: ignore[no-untyped-def]
            spec = releases.add_spec(tx, app, record, 1, "ana")
            releases.add(tx, StoredRelease(made, app, data, 1, "ana", "", spec))

        self.store.write_sync(write)
        return made

    async def promote(self, release: str, weight: str = "100%", env: str = ENV) -> Move:
        return await self.moves.promote(
            ANA, app="school", env=env, release=release, weight_bp=parse_weight(weight), why="because"
        )

    async def rollback(self, to: str | None = None) -> Move:
        return await self.moves.rollback(ANA, app="school", env=ENV, to=to, why="it was worse")

    def pick(self, session: str = "", otherwise: str = "t", env: str = ENV) -> str:
        found = self.live.pick("school", env, session, otherwise)
        assert found is not None
        return found.id

    def sessions(self, number: int = 2000) -> dict[str, str]:
        return {f"s{n}": self.pick(f"s{n}") for n in range(number)}


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Harbour]:
    made = Harbour(tmp_path / "waterline.db")
    yield made
    made.store.close()


async def test_nothing_is_live_before_the_first_promotion(harbour: Harbour) -> None:
    assert harbour.live.pick("school", ENV, "s", "t") is None
    assert harbour.live.state("school", ENV) == ((), 0)
    move = await harbour.promote(harbour.a)
    assert move.seq > 0
    assert harbour.pick("s") == harbour.a
    assert harbour.live.state("school", ENV) == ((Share(harbour.a, FULL_BP),), 0)
    assert harbour.live.environments("school") == {ENV: (Share(harbour.a, FULL_BP),)}
    assert harbour.live.pick("school", "staging", "s", "t") is None


async def test_a_promotion_by_weight_splits_sessions_and_keeps_each_on_its_release(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    await harbour.promote(harbour.b, "10%")
    first = harbour.sessions()
    assert first == harbour.sessions()
    assert 0.08 < sum(r == harbour.b for r in first.values()) / len(first) < 0.12
    harbour.restart()
    assert harbour.sessions() == first


async def test_raising_the_weight_only_moves_sessions_to_the_new_release(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    last = harbour.sessions()
    for weight in ("5%", "10%", "25%", "50%", "90%"):
        await harbour.promote(harbour.b, weight)
        now = harbour.sessions()
        assert {now[s] for s in now if now[s] != last[s]} <= {harbour.b}
        last = now
    await harbour.promote(harbour.b)
    assert set(harbour.sessions().values()) == {harbour.b}


async def test_requests_without_a_session_share_by_weight(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    await harbour.promote(harbour.b, "30%")
    picked = [harbour.pick("", f"trace-{n}") for n in range(3000)]
    assert 0.26 < picked.count(harbour.b) / len(picked) < 0.34


async def test_a_rollback_takes_effect_on_the_next_pick(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    await harbour.promote(harbour.b)
    assert harbour.pick("s") == harbour.b
    move = await harbour.rollback()
    assert move.shares == (Share(harbour.a, FULL_BP),)
    assert set(harbour.sessions(200).values()) == {harbour.a}


async def test_a_rollback_during_a_comparison_ends_it(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    await harbour.promote(harbour.b, "10%")
    await harbour.promote(harbour.c, "20%")
    await harbour.rollback()
    assert set(harbour.sessions(200).values()) == {harbour.a}


async def test_two_rollbacks_go_two_releases_back_and_never_forth(harbour: Harbour) -> None:
    for release in (harbour.a, harbour.b, harbour.c):
        await harbour.promote(release)
    await harbour.rollback()
    assert harbour.pick() == harbour.b
    await harbour.rollback()
    assert harbour.pick() == harbour.a
    with pytest.raises(Refused, match="nothing to roll back to") as caught:
        await harbour.rollback()
    assert "--to RELEASE" in str(caught.value)
    await harbour.rollback(to=harbour.c)
    assert harbour.pick() == harbour.c


async def test_a_new_comparison_draws_other_sessions_than_the_last_one(harbour: Harbour) -> None:
    """Else the same users would be the test subjects of every canary."""
    await harbour.promote(harbour.a)
    await harbour.promote(harbour.b, "10%")
    first = {s for s, r in harbour.sessions().items() if r == harbour.b}
    await harbour.rollback()
    await harbour.promote(harbour.c, "10%")
    second = {s for s, r in harbour.sessions().items() if r == harbour.c}
    assert len(first & second) < len(first) / 3


async def test_a_pin_survives_promotions_and_a_restart_but_not_a_rollback(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    await harbour.moves.pin(ANA, app="school", env=ENV, session="vip", release=harbour.c)
    assert (harbour.pick("vip"), harbour.pick("other")) == (harbour.c, harbour.a)
    await harbour.promote(harbour.b)
    assert (harbour.pick("vip"), harbour.pick("other")) == (harbour.c, harbour.b)
    harbour.restart()
    assert harbour.pick("vip") == harbour.c
    assert harbour.live.state("school", ENV)[1] == 1
    await harbour.rollback()
    assert harbour.pick("vip") == harbour.a
    harbour.restart()
    assert harbour.pick("vip") == harbour.a


async def test_an_unpinned_session_follows_the_weights_again(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    await harbour.moves.pin(ANA, app="school", env=ENV, session="vip", release=harbour.b)
    await harbour.moves.unpin(ANA, app="school", env=ENV, session="vip")
    assert harbour.pick("vip") == harbour.a
    harbour.restart()
    assert harbour.pick("vip") == harbour.a


async def test_every_act_is_in_the_history_and_in_the_audit_log(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    await harbour.promote(harbour.b, "10%")
    await harbour.moves.pin(ANA, app="school", env=ENV, session="vip", release=harbour.b, why="asked")
    await harbour.moves.unpin(ANA, app="school", env=ENV, session="vip")
    await harbour.rollback()
    told = harbour.store.read_sync(lambda tx: rollouts.history(tx, "school", ENV))
    assert [m.kind for m in told] == ["rollback", "unpin", "pin", "promote", "promote"]
    assert {m.who for m in told} == {"ana"}
    assert told[0].why == "it was worse"
    entries = harbour.store.read_sync(lambda tx: [e.entry for e in audit_log.entries(tx)])
    actions = ("rollout.promote", "rollout.promote", "rollout.pin", "rollout.pin", "rollout.rollback")
    assert len(entries) == len(actions)
    for entry, action in zip(entries, actions, strict=True):
        assert action.encode() in entry
        assert b"wl-1a2b3c4d" in entry


async def test_what_cannot_be_done_is_refused_with_a_way_out_and_changes_nothing(harbour: Harbour) -> None:
    other = harbour.add("x", app="other")
    with pytest.raises(Refused, match="Nothing is live") as caught:
        await harbour.rollback()
    assert caught.value.status == 404
    with pytest.raises(Refused, match="nothing is live there to take the rest"):
        await harbour.promote(harbour.a, "10%")
    await harbour.promote(harbour.a)
    await harbour.promote(harbour.b, "10%")
    before_all = harbour.store.read_sync(lambda tx: rollouts.history(tx, "school"))
    with pytest.raises(Refused, match="already"):
        await harbour.promote(harbour.b, "10%")
    for unknown in ("f" * 64, other):
        with pytest.raises(Refused, match="has no release") as caught:
            await harbour.promote(unknown)
        assert caught.value.status == 404
        assert "waterline release list school" in str(caught.value)
    with pytest.raises(Refused, match="no environment") as caught:
        await harbour.promote(harbour.a, env="prod")
    assert "staging, production" in str(caught.value)
    with pytest.raises(Refused, match="Nothing is live"):
        await harbour.moves.pin(ANA, app="school", env="staging", session="s", release=harbour.a)
    with pytest.raises(Refused, match="1 to 512"):
        await harbour.moves.pin(ANA, app="school", env=ENV, session="", release=harbour.a)
    with pytest.raises(Refused, match="not pinned"):
        await harbour.moves.unpin(ANA, app="school", env=ENV, session="s")
    with pytest.raises(Refused, match="above 0"):
        await harbour.moves.promote(ANA, app="school", env=ENV, release=harbour.c, weight_bp=0)
    assert harbour.store.read_sync(lambda tx: rollouts.history(tx, "school")) == before_all
    assert harbour.live.state("school", ENV)[0] == (Share(harbour.b, 1000), Share(harbour.a, 9000))


async def test_promoting_what_is_fully_live_is_refused(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    with pytest.raises(Refused, match=r"100 % of app .school. in .production. already"):
        await harbour.promote(harbour.a)
    with pytest.raises(Refused, match="nothing else is live"):
        await harbour.promote(harbour.a, "10%")


async def test_a_caller_that_leaves_does_not_leave_live_behind_the_store(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    act = asyncio.create_task(harbour.promote(harbour.b))
    await asyncio.sleep(0)
    act.cancel()
    with pytest.raises(asyncio.CancelledError):
        await act
    for _ in range(3000):
        if harbour.pick() == harbour.b:
            break
        await asyncio.sleep(0.01)
    latest = harbour.store.read_sync(lambda tx: rollouts.latest(tx, "school", ENV))
    assert latest is not None
    assert latest.shares == harbour.live.state("school", ENV)[0]


async def test_acts_at_the_same_time_leave_live_as_the_history_ends(harbour: Harbour) -> None:
    await harbour.promote(harbour.a)
    acts = [harbour.promote(r, w) for r in (harbour.b, harbour.c) for w in ("10%", "20%", "30%", "40%")]
    done = await asyncio.gather(*acts)
    assert len({move.seq for move in done}) == len(acts)
    latest = harbour.store.read_sync(lambda tx: rollouts.latest(tx, "school", ENV))
    assert latest is not None
    assert latest.shares == harbour.live.state("school", ENV)[0]


async def test_a_release_that_can_no_longer_be_read_says_so_and_stops_nobody_else(harbour: Harbour) -> None:
    broken = harbour.add("", manifest=b'{"app":"school","format":99}')
    await harbour.promote(harbour.a)
    with pytest.raises(Refused, match="format 99 is newer"):
        await harbour.promote(broken)
    await harbour.moves.pin(ANA, app="school", env=ENV, session="vip", release=harbour.b)
    now = harbour.store.read_sync(lambda tx: rollouts.latest(tx, "school", ENV))
    assert now is not None
    # As if an older Waterline had been put back after a newer one had promoted.
    shares = (Share(broken, 5000), Share(harbour.a, 5000))
    forced = Move("school", ENV, "promote", shares, "salt", "ana", "", "", now.at_us + 1)
    harbour.store.write_sync(lambda tx: rollouts.append(tx, forced))
    harbour.restart()
    assert [found.id for found in harbour.live.unreadable()] == [broken]
    assert harbour.pick("vip") == harbour.b
    answers: set[str] = set()
    told: set[str] = set()
    for n in range(50):
        try:
            answers.add(harbour.pick(f"s{n}"))
        except UnknownModel as error:
            told.add(error.message)
    assert answers == {harbour.a}
    assert len(told) == 1
    assert "format 99 is newer" in told.copy().pop()
    assert f"waterline rollback school --env {ENV}" in told.pop()
    await harbour.rollback()
    assert set(harbour.sessions(50).values()) == {harbour.a}


@pytest.mark.parametrize(
    ("text", "bp"),
    [("10%", 1000), ("100%", 10_000), ("12.5 %", 1250), ("0.01%", 1), ("10", 1000), (" 100 ", 10_000), ("1", 100)],
)
def test_a_weight_is_read_as_a_percentage(text: str, bp: int) -> None:
    assert parse_weight(text) == bp


@pytest.mark.parametrize("text", ["", "%", "ten", "0%", "-5%", "101%", "0.001%", "nan", "inf", "1e9", "0.1", "10%%"])
def test_a_weight_that_is_none_or_unclear_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_weight(text)
    assert caught.value.status == 400


@given(st.lists(st.tuples(st.sampled_from(["promote", "rollback"]), st.sampled_from("abc")), max_size=12))
def test_a_rollback_never_goes_to_what_is_live(acts: list[tuple[str, str]]) -> None:
    moves = [
        Move("x", "y", kind, (Share(release, FULL_BP),), "", "", "", "", n)  # type: ignore[arg-type]
        for n, (kind, release) in enumerate(acts)
    ]
    if not moves:
        assert before(moves, ()) is None
        return
    target = before(moves, moves[-1].shares)
    assert target != moves[-1].shares[0].release or target is None
    assert target is None or target in {release for _, release in acts}
