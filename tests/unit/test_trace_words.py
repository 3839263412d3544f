"""What `waterline traces show` prints of an event."""

from waterline.cli.traces import in_words


def test_an_event_is_told_in_words_and_what_has_no_price_is_never_left_out():
    settled = {"usage": {"input": 34, "output": 9, "estimated": False}, "cost_nano_usd": None, "clamped_from": None}
    assert in_words(settled) == "usage (input 34, output 9), cost unpriced"
    attempted = {"route": "main", "first_byte_us": 3328, "reserved_nano_usd": 0, "stream": True, "code": ""}
    assert in_words(attempted) == "route main, first byte 3 ms, reserved 0.000000 USD, stream"
