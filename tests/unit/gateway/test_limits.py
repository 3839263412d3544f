"""Declared limits hold in any minute, and a refusal says when a retry can help."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.app_spec import Limits
from waterline.core.errors import RateLimited
from waterline.gateway.limits import AppLimits


@given(st.lists(st.floats(0, 5), max_size=200))
def test_never_more_requests_in_any_minute_than_declared(gaps):
    limits = AppLimits("a", Limits(rpm=10))
    now, admitted, waits = 1_000_000.0, [], []
    for gap in gaps:
        now += gap
        try:
            limits.admit(now, 0)
            limits.release(now, 0, 0, now)
            admitted.append(now)
        except RateLimited as error:
            waits.append(error.retry_after_s)
    assert all(w is not None and 1 <= w <= 60 for w in waits)
    for start in admitted:
        assert sum(start <= t < start + 59 for t in admitted) <= 10


def test_after_the_time_given_a_retry_is_admitted():
    limits = AppLimits("a", Limits(rpm=2))
    limits.admit(100.5, 0)
    limits.admit(130.5, 0)
    with pytest.raises(RateLimited) as caught:
        limits.admit(131.0, 0)
    assert caught.value.retry_after_s is not None
    limits.admit(131.0 + caught.value.retry_after_s, 0)


def test_concurrency_is_given_back():
    limits = AppLimits("a", Limits(max_concurrency=1))
    limits.admit(1.0, 5)
    with pytest.raises(RateLimited, match="max_concurrency"):
        limits.admit(1.0, 5)
    limits.release(2.0, 5, 9, 1.0)
    limits.admit(2.0, 5)


def test_tokens_are_corrected_by_what_was_used():
    limits = AppLimits("a", Limits(tpm=1000))
    limits.admit(10.0, 900)
    limits.release(11.0, 900, 100, 10.0)
    limits.admit(12.0, 800)
    with pytest.raises(RateLimited, match="tpm"):
        limits.admit(13.0, 200)


def test_a_single_request_larger_than_the_limit_is_not_refused_for_ever():
    limits = AppLimits("a", Limits(tpm=100))
    limits.admit(10.0, 5000)
