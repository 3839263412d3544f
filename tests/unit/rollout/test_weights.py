"""The arithmetic of a weighted rollout."""

from hypothesis import given
from hypothesis import strategies as st

from waterline.core.rollout import FULL_BP, Share, bucket_of, choose, with_weight

NAMES = st.sampled_from("abcdef")
STEPS = st.lists(st.tuples(NAMES, st.integers(1, FULL_BP)), max_size=12)
PINNED = [5269, 8330, 4128, 6690, 4565]
FIRST = (Share("first", FULL_BP),)


def after(steps: list[tuple[str, int]]) -> tuple[Share, ...]:
    shares = FIRST
    for release, weight_bp in steps:
        if weight_bp == FULL_BP or any(s.release != release for s in shares):
            shares = with_weight(shares, release, weight_bp)
    return shares


@given(STEPS)
def test_weights_always_sum_to_the_whole_and_are_positive(steps: list[tuple[str, int]]) -> None:
    shares = after(steps)
    assert sum(s.weight_bp for s in shares) == FULL_BP
    assert all(s.weight_bp > 0 for s in shares)
    assert len({s.release for s in shares}) == len(shares)


@given(STEPS, st.integers(1, FULL_BP))
def test_the_promoted_release_gets_exactly_its_weight(steps: list[tuple[str, int]], weight_bp: int) -> None:
    shares = with_weight(after(steps), "new", weight_bp)
    assert shares[0] == Share("new", weight_bp)


@given(
    st.lists(st.integers(1, FULL_BP), min_size=2, max_size=6, unique=True), st.text(), st.lists(st.text(), max_size=30)
)
def test_raising_a_weight_only_ever_moves_a_session_to_the_new_release(
    weights: list[int], salt: str, sessions: list[str]
) -> None:
    shares = FIRST
    last = dict.fromkeys(sessions, "first")
    for weight_bp in sorted(weights):
        shares = with_weight(shares, "new", weight_bp)
        now = {s: choose(shares, salt, s) for s in sessions}
        assert all(now[s] == "new" for s in sessions if now[s] != last[s])
        last = now


@given(STEPS, st.text(), st.text())
def test_the_same_salt_and_session_always_give_the_same_release(
    steps: list[tuple[str, int]], salt: str, session: str
) -> None:
    shares = after(steps)
    assert choose(shares, salt, session) == choose(tuple(Share(s.release, s.weight_bp) for s in shares), salt, session)


def test_the_choice_is_pinned_to_values_of_today() -> None:
    """A change of the hash would move every live session at once."""
    assert [bucket_of("salt", f"session-{n}") for n in range(5)] == PINNED


def test_sessions_spread_by_weight() -> None:
    shares = (Share("c", 1000), Share("b", 2500), Share("a", 6500))
    number = 20_000
    picked = [choose(shares, "salt", f"s{n}") for n in range(number)]
    for share in shares:
        got = picked.count(share.release) / number
        assert abs(got - share.weight_bp / FULL_BP) < 0.015, (share, got)
