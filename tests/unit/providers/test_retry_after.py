"""How long a provider asks us to stay away, in whatever way it says so."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.providers.base import retry_after_s

DATE = (b"date", b"Sun, 22 Nov 2026 01:00:00 GMT")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"0.5")], 0.5),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"7")], 0.25),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"99999")], 3600.0),
        ([(b"retry-after", b"-1")], None),
        ([(b"retry-after", b"nan")], None),
        ([DATE, (b"retry-after", b"Sun, 22 Nov 2026 01:00:30 GMT")], 30.0),
        ([DATE, (b"retry-after", b"Sunday, 22-Nov-26 01:00:30 GMT")], 30.0),
        ([DATE, (b"retry-after", b"Sun Nov 22 01:00:30 2026")], 30.0),
        ([DATE, (b"retry-after", b"Sun, 22 Nov 2026 00:00:00 GMT")], 0.0),
        ([DATE, (b"retry-after", b"Tue, 24 Nov 2026 01:00:00 GMT")], 3600.0),
        ([(b"retry-after", b"Sun, 22 Nov 2026 01:00:30 GMT")], None),
        ([DATE, (b"retry-after", b"later")], None),
    ],
)
def test_seconds_milliseconds_and_dates_are_honoured(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


WORDS = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from(
            [b"Sun,", b"22", b"Nov", b"2026", b"99999999999999999999", b"01:00:00", b"25:61:61", b"GMT", b"+9999", b"-",
             b"0", b"1e308", b"inf"]
        ),
        max_size=8,
    ).map(b" ".join),
)  # fmt: skip


@settings(max_examples=600, derandomize=True, deadline=None)
@given(WORDS, WORDS)
def test_whatever_is_said_it_is_none_or_within_an_hour(said: bytes, date: bytes) -> None:
    found = retry_after_s([(b"retry-after", said), (b"date", date)])
    assert found is None or 0 <= found <= 3600
